"""Shuffled teacher, channel-wise distillation, DIST: against plain loops, and what each of them takes away."""

import pytest
import torch
from torch import Tensor

from segmi.information import kl_divergence
from segmi.losses import channel_wise_distillation, dist, distillation, shuffled_teacher
from segmi.losses.distillation.dist import dist_terms
from segmi.losses.features import shuffled_positions


def networks(count: int = 2, classes: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [2 * torch.randn(2, classes, 8, 9, generator=generator, dtype=torch.float64) for _ in range(count)]


def labels() -> Tensor:
    found = torch.randint(0, 3, (2, 8, 9), generator=torch.Generator().manual_seed(1))
    found[0, 0] = 255
    return found


@pytest.mark.parametrize("within", [True, False])
def test_shuffling_is_a_permutation_within_classes(within: bool) -> None:
    classes, valid = labels().clamp(max=3), labels() != 255
    order = shuffled_positions(classes, valid, within_class=within, seed=3)
    assert torch.equal(order.sort(1).values, torch.arange(72).expand(2, 72))
    moved = classes.flatten(1).gather(1, order)
    assert torch.equal(valid.flatten(1).gather(1, order), valid.flatten(1))
    assert torch.equal(moved, classes.flatten(1)) == within
    assert (order != torch.arange(72)).float().mean() > 0.8
    other = shuffled_positions(classes, valid, within_class=within, seed=4)
    assert not torch.equal(order, other)
    assert torch.equal(order.flip(0), shuffled_positions(classes.flip(0), valid.flip(0), within_class=within, seed=3))


def test_shuffled_teacher_is_distillation_from_permuted_pixels() -> None:
    own, teacher = networks()
    order = shuffled_positions(labels(), labels() != 255, within_class=True, seed=5)
    moved = torch.stack([teacher[n].flatten(1)[:, order[n]] for n in range(2)]).view_as(teacher)
    assert not torch.equal(moved, teacher)
    torch.testing.assert_close(shuffled_teacher(own, teacher, labels(), seed=5), distillation(own, moved, labels()))


def test_shuffled_teacher_keeps_information_about_the_class() -> None:
    """I(U; Ŷ) = I(Y; Ŷ) + I(U; Ŷ | Y): the best answer to a teacher shuffled in its class pays the second addend."""
    teacher = networks(1)[0][:1].expand(1, 4, 8, 9)
    truth = torch.randint(0, 3, (1, 8, 9), generator=torch.Generator().manual_seed(2))
    p = teacher.softmax(1)
    best = torch.zeros_like(p)
    for c in range(3):
        mean = p[:, :, truth[0] == c].mean(2)
        best += (truth == c).unsqueeze(1) * mean[..., None, None]
    paid = torch.stack([shuffled_teacher(best.log(), teacher, truth, seed=seed) for seed in range(3)])
    within = kl_divergence(p.movedim(1, -1), best.movedim(1, -1)).mean()
    torch.testing.assert_close(paid, within.expand(3), msg="I(U; Ŷ | Y) for any permutation")
    alone = p.mean((2, 3), keepdim=True).expand_as(p)
    nothing = shuffled_teacher(alone.log(), teacher, truth, keep="nothing")
    torch.testing.assert_close(nothing, kl_divergence(p.movedim(1, -1), alone.movedim(1, -1)).mean())
    assert nothing > within


def test_channel_wise_distillation_equals_a_plain_loop() -> None:
    own, teacher = networks()
    total = 0.0
    for n in range(2):
        valid = labels()[n] != 255
        for c in range(4):
            q, t = ((z[n, c][valid] / 4).softmax(0) for z in (own, teacher))
            total += 16 * float((t * (t / q).log()).sum())
    assert channel_wise_distillation(own, teacher, labels()).item() == pytest.approx(total / 8)


def test_channel_wise_distillation_ignores_a_constant_per_channel() -> None:
    _, teacher = networks()
    shifted = teacher + torch.tensor([5.0, 0.0, -5.0, 0.0]).view(1, 4, 1, 1)
    assert (shifted.argmax(1) != teacher.argmax(1)).any()
    assert channel_wise_distillation(shifted, teacher, labels()).item() == pytest.approx(0, abs=1e-12)


def test_dist_is_pearsons_correlation_over_classes_and_pixels() -> None:
    own, teacher = networks()
    q, t = (z.softmax(1) for z in (own, teacher))
    parts = dist_terms(own, teacher, labels(), 1.0, 1.0, 1.0, 255)
    inter = [
        1 - torch.corrcoef(torch.stack([q[n, :, i, j], t[n, :, i, j]]))[0, 1]
        for n, i, j in (labels() != 255).nonzero().tolist()
    ]
    intra = []
    for n in range(2):
        valid = labels()[n] != 255
        intra += [1 - torch.corrcoef(torch.stack([q[n, c][valid], t[n, c][valid]]))[0, 1] for c in range(4)]
    torch.testing.assert_close(parts["inter"].value, torch.stack(inter).mean(), rtol=1e-5, atol=0)
    torch.testing.assert_close(parts["intra"].value, torch.stack(intra).mean(), rtol=1e-5, atol=0)
    torch.testing.assert_close(
        dist(own, teacher, labels(), inter=2.0, intra=0.5),
        2 * parts["inter"].value + 0.5 * parts["intra"].value,
    )


def test_dist_of_two_classes_depends_on_their_order_only() -> None:
    own, teacher = networks(classes=2)
    own, teacher = own.abs() * teacher.sign(), teacher
    own = torch.where(teacher[:, :1] > teacher[:, 1:], own.sort(1, descending=True).values, own.sort(1).values)
    assert dist_terms(own, teacher, labels().clamp(max=1), 1.0, 1.0, 1.0, 255)["inter"].value < 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: shuffled_teacher(z, z, labels(), keep="all"), "keep: expected 'class' or 'nothing', got 'all'"),
        (lambda z: channel_wise_distillation(z, z, labels(), temperature=0), "temperature: .* got 0"),
        (lambda z: dist(z, z[:1], labels()), "expected the shape of logits"),
    ],
)
def test_invalid_options_raise(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call(networks(1)[0])
