import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmi.information import jensen_shannon_divergence, kl_divergence
from segmi.losses import MutualLearning, PerNetwork, WeightedSum, mutual_learning
from segmi.losses.distillation.mutual_learning import AS_RUN
from segmi.losses.pixel import cross_entropy
from segmi.losses.pixel.cross_entropy import CrossEntropy
from segmi.types import Batch, Output

Scene = Any
Gradient = Callable[..., tuple[Tensor, Tensor]]


def peers_of(labels: Tensor, scene: Scene, number: int, channels: int = 4) -> list[Tensor]:
    return [scene.logits(labels, channels, seed=10 + k) for k in range(number)]


def test_equals_torch_with_the_right_reduction(scene: Scene) -> None:
    """Per pixel it is C times kl_div's ``mean`` and its ``batchmean`` over H·W."""
    labels = scene.labels(2, 4, 6, 5)
    ours, theirs = peers_of(labels, scene, 2)
    got = mutual_learning(ours, [theirs], labels)
    log_q, p = ours.log_softmax(1), theirs.softmax(1)
    torch.testing.assert_close(got, 4 * F.kl_div(log_q, p, reduction="none").mean())
    torch.testing.assert_close(got, F.kl_div(log_q, p, reduction="batchmean") / 30)


def test_ignored_pixels_are_left_out(scene: Scene) -> None:
    labels = scene.labels(2, 4, 12, 12, ignored=True)
    ours, theirs = peers_of(labels, scene, 2)
    divergence = kl_divergence(theirs.softmax(1), ours.softmax(1), dim=1)
    torch.testing.assert_close(mutual_learning(ours, [theirs], labels), divergence[labels != 255].mean())


def test_peers_must_be_floating_point(scene: Scene) -> None:
    labels = scene.labels(1, 4, 6, 6)
    (ours,) = peers_of(labels, scene, 1)
    for temperature in (1.0, 2.0):
        with pytest.raises(TypeError, match=r"peers\[0\]: expected a floating-point tensor, got torch.int64"):
            mutual_learning(ours, [ours.long()], labels, temperature=temperature)


def test_as_run_equals_the_code_of_the_study(scene: Scene) -> None:
    """kl_div of the peer's logits, averaged over everything; where one is negative, PyTorch said 0 then and NaN now."""
    labels = scene.labels(2, 4, 6, 5, ignored=True)
    ours, theirs = peers_of(labels, scene, 2)
    log_q = ours.log_softmax(1)
    assert F.kl_div(log_q, theirs).isnan()
    found = mutual_learning(ours, [theirs], labels, **AS_RUN)
    torch.testing.assert_close(found, F.kl_div(log_q, theirs, reduction="none").nan_to_num(0.0).mean())
    assert mutual_learning(ours, [ours], labels, **AS_RUN) != 0  # an equal peer is not a minimum
    module = MutualLearning.as_run(frozen=("peer",))
    outputs = {"net": Output(ours), "peer": Output(theirs)}
    (term,) = module(outputs, Batch(ours, labels)).values()
    torch.testing.assert_close(term.value, found)
    assert (
        term.denominator == module.denominators(outputs, Batch(ours, labels))["mutual_learning/net"] == labels.numel()
    )


def test_each_option_of_the_study_separately(scene: Scene, gradient: Gradient) -> None:
    labels = scene.labels(2, 4, 6, 5, ignored=True)
    ours, theirs = peers_of(labels, scene, 2)
    right = mutual_learning(ours, [theirs], labels)
    torch.testing.assert_close(mutual_learning(ours, [theirs], labels, class_reduction="mean"), right / 4)
    everywhere = kl_divergence(theirs.softmax(1), ours.softmax(1), dim=1).mean()
    torch.testing.assert_close(mutual_learning(ours, [theirs], labels, ignored="include"), everywhere)
    _, slope = gradient(lambda z: mutual_learning(z, [theirs], labels, ignored="include"), ours)
    assert (slope.abs().sum(1)[labels == 255] > 0).all()
    one, two = ours[:, :1], torch.cat([torch.zeros_like(ours[:, :1]), ours[:, :1]], 1)
    peer, peer_two = theirs[:, :1], torch.cat([torch.zeros_like(theirs[:, :1]), theirs[:, :1]], 1)
    binary = torch.where(labels == 255, 255, labels % 2)
    torch.testing.assert_close(
        mutual_learning(one, [peer], binary, target="logits"), mutual_learning(two, [peer_two], binary, target="logits")
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"target": "logit"}, "target: expected 'probabilities' or 'logits', got 'logit'"),
        ({"ignored": "zero"}, "ignored: expected 'drop' or 'include', got 'zero'"),
        ({"class_reduction": "max"}, "class_reduction: expected 'sum' or 'mean', got 'max'"),
    ],
)
def test_unknown_choices(option: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MutualLearning(**option)  # type: ignore[arg-type]


def test_mean_or_sum_over_peers(scene: Scene) -> None:
    labels = scene.labels(1, 4, 6, 6)
    ours, *theirs = peers_of(labels, scene, 4)
    alone = torch.stack([mutual_learning(ours, [peer], labels) for peer in theirs])
    torch.testing.assert_close(mutual_learning(ours, theirs, labels), alone.mean())
    torch.testing.assert_close(mutual_learning(ours, theirs, labels, peer_reduction="sum"), alone.sum())


def test_one_channel_equals_two(scene: Scene) -> None:
    labels = scene.labels(1, 2, 6, 6)
    ours, theirs = peers_of(labels, scene, 2, channels=1)
    both = [torch.cat([torch.zeros_like(z), z], 1) for z in (ours, theirs)]
    torch.testing.assert_close(
        mutual_learning(ours, [theirs], labels, temperature=2.0),
        mutual_learning(both[0], [both[1]], labels, temperature=2.0),
    )


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_gradient_is_of_the_mean_of_the_peers(scene: Scene, gradient: Gradient, temperature: float) -> None:
    """Σ KL(p_l ‖ q) / K = KL(p̄ ‖ q) + JSD, whose last term does not depend on q."""
    labels = scene.labels(1, 4, 6, 6)
    ours, *theirs = peers_of(labels, scene, 4)
    tempered = [(peer / temperature).softmax(1) for peer in theirs]
    mean = torch.stack(tempered).mean(0)
    value, slope = gradient(lambda z: mutual_learning(z, theirs, labels, temperature=temperature), ours)
    ensemble = temperature * mean.log()
    other, other_slope = gradient(lambda z: mutual_learning(z, [ensemble], labels, temperature=temperature), ours)
    spread = jensen_shannon_divergence(*tempered, dim=1).mean() * temperature**2
    torch.testing.assert_close(value, other + spread)
    torch.testing.assert_close(slope, other_slope, rtol=1e-10, atol=1e-15)


def test_bounds_the_information_about_the_network(scene: Scene) -> None:
    labels = scene.labels(1, 4, 6, 6)
    networks = peers_of(labels, scene, 3)
    total = sum(mutual_learning(z, [o for o in networks if o is not z], labels, peer_reduction="sum") for z in networks)
    assert jensen_shannon_divergence(*(z.softmax(1) for z in networks), dim=1).mean() <= total / 9


def test_with_cross_entropy_it_is_label_smoothing(scene: Scene, gradient: Gradient) -> None:
    """CE + KL(p ‖ q) has the logit gradient 2 (q - (y + p) / 2) / n."""
    labels = scene.labels(1, 4, 6, 6)
    ours, theirs = peers_of(labels, scene, 2)
    _, slope = gradient(lambda z: cross_entropy(z, labels) + mutual_learning(z, [theirs], labels), ours)
    target = (F.one_hot(labels, 4).movedim(-1, 1) + theirs.softmax(1)) / 2
    torch.testing.assert_close(slope, 2 * (ours.softmax(1) - target) / 36)


def test_high_temperature_matches_logits(scene: Scene, gradient: Gradient) -> None:
    labels = scene.labels(1, 4, 6, 6)
    ours, theirs = peers_of(labels, scene, 2)
    _, slope = gradient(lambda z: mutual_learning(z, [theirs], labels, temperature=1000.0), ours)
    centered = (ours - ours.mean(1, keepdim=True)) - (theirs - theirs.mean(1, keepdim=True))
    torch.testing.assert_close(slope * 36, centered / 4, rtol=0, atol=5e-3)


def test_no_gradient_reaches_the_peers(scene: Scene) -> None:
    labels = scene.labels(1, 4, 6, 6)
    ours, theirs = (z.requires_grad_() for z in peers_of(labels, scene, 2))
    mutual_learning(ours, [theirs], labels).backward()
    assert theirs.grad is None
    assert ours.grad is not None


def test_frozen_networks_have_no_term(scene: Scene) -> None:
    labels = scene.labels(1, 4, 6, 6)
    a, b, teacher = peers_of(labels, scene, 3)
    outputs = {"a": Output(a), "b": Output(b), "teacher": Output(teacher)}
    found = MutualLearning(frozen=["teacher"], weight=0.5)(outputs, Batch(a, labels))
    assert list(found) == ["mutual_learning/a", "mutual_learning/b"]
    torch.testing.assert_close(found["mutual_learning/a"].value, mutual_learning(a, [b, teacher], labels))
    assert found["mutual_learning/a"].weight == 0.5


OPTIMIZERS = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-2),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=1e-2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_summed_loss_equals_two_optimizers(scene: Scene, name: str) -> None:
    torch.manual_seed(0)
    labels = scene.labels(2, 3, 6, 6, ignored=True)
    images = torch.randn(2, 3, 6, 6)

    def network() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))

    joint = nn.ModuleDict({"a": network(), "b": network()})
    apart = copy.deepcopy(joint)
    objective = WeightedSum([PerNetwork(CrossEntropy(), "ce"), MutualLearning()])

    def terms(networks: nn.ModuleDict) -> dict[str, Tensor]:
        outputs = {k: Output(network(images)) for k, network in networks.items()}
        return {k: term.weight * term.value for k, term in objective(outputs, Batch(images, labels)).items()}

    one = OPTIMIZERS[name](joint.parameters())
    two = {k: OPTIMIZERS[name](apart[k].parameters()) for k in "ab"}
    for _ in range(20):
        one.zero_grad()
        torch.stack(list(terms(joint).values())).sum().backward()
        one.step()
        found = terms(apart)
        for k, optimizer in two.items():
            optimizer.zero_grad()
            (found[f"ce/{k}"] + found[f"mutual_learning/{k}"]).backward()
        for optimizer in two.values():
            optimizer.step()
    for a, b in zip(joint.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_gradient_clipping_breaks_the_equivalence(scene: Scene) -> None:
    """Cutting by the norm of all gradients does; so would peers that are not held constant."""
    labels = scene.labels(1, 4, 6, 6)
    one, two = (z.requires_grad_() for z in peers_of(labels, scene, 2))
    outputs = {"a": Output(one), "b": Output(5 * two)}
    terms = MutualLearning()(outputs, Batch(one, labels))
    apart = [
        torch.autograd.grad(terms[f"mutual_learning/{k}"].value, z, retain_graph=True)[0]
        for k, z in zip("ab", (one, two), strict=True)
    ]
    joint = torch.autograd.grad(sum(term.value for term in terms.values()), (one, two))  # type: ignore[arg-type]
    torch.testing.assert_close(joint, tuple(apart))

    def cut(*slopes: Tensor) -> list[Tensor]:
        held = [nn.Parameter(torch.zeros_like(slope)) for slope in slopes]
        for parameter, slope in zip(held, slopes, strict=True):
            parameter.grad = slope.clone()
        nn.utils.clip_grad_norm_(held, 1e-3)
        return [parameter.grad for parameter in held]  # type: ignore[misc]

    assert (cut(*apart)[0] - cut(apart[0])[0]).norm() > 1e-2 * cut(apart[0])[0].norm()
    logs = [z.log_softmax(1) for z in (one, 5 * two)]
    free = sum(F.kl_div(q, p, reduction="batchmean", log_target=True) / 36 for q, p in (logs, logs[::-1]))
    (slope,) = torch.autograd.grad(free, one)  # type: ignore[arg-type]
    assert (slope - apart[0]).norm() > 1e-2 * apart[0].norm()


def test_invalid_cohorts_and_options_raise(scene: Scene) -> None:
    labels = scene.labels(1, 4, 6, 6)
    z = torch.zeros(1, 4, 6, 6)
    with pytest.raises(ValueError, match="peers: expected the logits of at least one other network, got none"):
        mutual_learning(z, [], labels)
    with pytest.raises(
        ValueError, match=r"peers\[0\]: expected the shape of logits, \(1, 4, 6, 6\), got \(1, 3, 6, 6\)"
    ):
        mutual_learning(z, [z[:, :3]], labels)
    with pytest.raises(ValueError, match="temperature: expected a number above 0, got 0"):
        MutualLearning(temperature=0)
    with pytest.raises(ValueError, match="peer_reduction: expected 'mean' or 'sum', got 'max'"):
        MutualLearning(peer_reduction="max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected two or more networks, one of them not frozen"):
        MutualLearning()({"a": Output(z)}, Batch(z, labels))
    with pytest.raises(ValueError, match="expected two or more networks, one of them not frozen"):
        MutualLearning(frozen=["a", "b"])({"a": Output(z), "b": Output(z)}, Batch(z, labels))
