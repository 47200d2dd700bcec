"""Moving averages of the prediction sums: values, gradients and state."""

from typing import Any

import pytest
import torch
from torch import Tensor

from segmi.losses import PerNetwork, SoftConfusion, build_objective
from segmi.losses.build import LOSSES
from segmi.types import Batch, Output

Scene = Any
FOUR = ("soft_confusion", "determinant_information", "conditional_information", "normalized_conditional_information")


@pytest.fixture
def stream(scene: Scene) -> list[tuple[Tensor, Tensor]]:
    """Batches of other sizes of other scenes, the second one without the last class."""
    labels = [scene.labels(n, 4, 10, 12, seed=n) for n in (2, 1, 3)]
    labels[1] = labels[1].clamp(max=2)
    labels[2][0] = 255
    return [(scene.logits(one, 4, contrast=0.7, seed=number), one) for number, one in enumerate(labels)]


def sums_of(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Σ p by class, and the valid pixels, by a loop over classes."""
    p = logits.softmax(1).movedim(1, -1)
    return torch.stack([p[labels == a].sum(0) for a in range(4)]), (labels != 255).sum()


def dependence(table: Tensor) -> Tensor:
    q = table / table.sum()
    return (q * (q / (q.sum(1, keepdim=True) * q.sum(0))).log()).sum()


def test_value_is_of_the_average_table(stream: Any) -> None:
    loss, table = SoftConfusion(momentum=0.7), torch.zeros(4, 4, dtype=torch.float64)
    for logits, labels in stream:
        table = 0.7 * table + 0.3 * sums_of(logits, labels)[0]
        found = loss(logits.clone().requires_grad_(), labels)
        assert found.item() == pytest.approx(-dependence(table).item(), rel=1e-10)


def test_gradient_is_scaled_as_without_an_average(stream: Any) -> None:
    loss, table = SoftConfusion(momentum=0.7), torch.zeros(4, 4, dtype=torch.float64)
    for logits, labels in stream:
        leaf = logits.clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(leaf, labels), leaf)
        own, count = sums_of(logits, labels)
        table = 0.7 * table + 0.3 * own
        q = table / table.sum()
        information = (q / (q.sum(1, keepdim=True) * q.sum(0))).log()
        z = logits.clone().requires_grad_()
        valid = labels != 255
        reward = information[labels.where(valid, 0)].movedim(-1, 1) * valid.unsqueeze(1)
        (expected,) = torch.autograd.grad(-(z.softmax(1) * reward).sum() / count, z)
        torch.testing.assert_close(slope, expected, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("name", FOUR)
def test_repeated_batch_equals_no_average(stream: Any, name: str) -> None:
    (logits, labels), plain, remembering = stream[0], LOSSES[name](), LOSSES[name](momentum=0.9)
    for _ in range(3):
        found = []
        for loss in (plain, remembering):
            leaf = logits.clone().requires_grad_()
            value = loss(leaf, labels)
            found.append((value.detach(), *torch.autograd.grad(value, leaf)))
        torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", FOUR)
def test_average_has_less_variance(scene: Scene, name: str) -> None:
    spreads = []
    for momentum in (0.0, 0.9):
        loss, values = LOSSES[name](momentum=momentum), []
        for seed in range(40):
            labels = scene.labels(1, 4, 8, 8, seed=seed)
            values.append(loss(scene.logits(labels, 4, contrast=0.7, seed=seed).requires_grad_(), labels).item())
        spreads.append(torch.tensor(values[20:]).std())
    assert spreads[1] < spreads[0] / 2


def test_average_is_updated_in_training_by_finite_batches(stream: Any) -> None:
    loss = SoftConfusion(momentum=0.9)
    loss(stream[0][0].clone().requires_grad_(), stream[0][1])
    before = loss.memory.sums.clone()
    logits, labels = stream[2]
    loss(logits, labels)  # without a gradient
    torch.testing.assert_close(loss.eval()(logits.requires_grad_(), labels), SoftConfusion()(logits, labels))
    loss.train()
    assert loss(torch.full_like(logits, torch.nan).requires_grad_(), labels).isnan()
    assert torch.equal(loss.memory.sums, before)
    assert loss(logits, labels).isfinite()


def test_batch_without_valid_pixels_is_zero(stream: Any) -> None:
    loss = SoftConfusion(momentum=0.9)
    loss(stream[0][0].clone().requires_grad_(), stream[0][1])
    leaf = stream[1][0].clone().requires_grad_()
    value = loss(leaf, torch.full_like(stream[1][1], 255))
    (slope,) = torch.autograd.grad(value, leaf)
    assert value == 0
    assert not slope.any()


def test_average_per_network_survives_resume(stream: Any) -> None:
    def made() -> Any:
        return build_objective({"soft_confusion": {"momentum": 0.9}}, networks=["a.1", "b", "t"], frozen=["t"])

    def term(objective: Any, number: int) -> dict[str, Tensor]:
        logits, labels = stream[number]
        outputs = {m: Output((scale * logits).requires_grad_()) for m, scale in (("a.1", 1.0), ("b", 2.0), ("t", 0))}
        found = objective(outputs, Batch(torch.zeros(len(labels), 3, 1, 1), labels))
        return {name: one.value.detach() for name, one in found.items()}

    objective, alone = made(), SoftConfusion(momentum=0.9)
    for number in range(2):
        found = term(objective, number)
        expected = alone((2 * stream[number][0]).requires_grad_(), stream[number][1])
        torch.testing.assert_close(found["soft_confusion/b"], expected.detach())
    assert list(found) == ["soft_confusion/a.1", "soft_confusion/b"]
    resumed = made()
    resumed.load_state_dict(objective.state_dict())
    assert term(resumed, 2) == term(objective, 2)


def test_invalid_averages_raise(stream: Any) -> None:
    for impossible in (1.0, -0.1):
        with pytest.raises(ValueError, match=f"momentum: expected at least 0 and less than 1, got {impossible}"):
            SoftConfusion(momentum=impossible)
    logits, labels = stream[0]
    loss = SoftConfusion(momentum=0.9)
    loss(logits.clone().requires_grad_(), labels)
    with pytest.raises(ValueError, match=r"has 37 sums and the batch 56: expected the same number of classes"):
        loss(torch.cat([logits, logits[:, :1]], 1).requires_grad_(), labels)
    both = PerNetwork(SoftConfusion(momentum=0.9), "soft")
    outputs = {name: Output(logits) for name in "ab"}
    with pytest.raises(ValueError, match=r"soft is stateful: expected one copy for each of a, b"):
        both(outputs, Batch(torch.zeros(2, 3, 1, 1), labels))
