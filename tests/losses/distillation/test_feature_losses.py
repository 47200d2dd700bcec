"""Variational and contrastive distillation: against closed forms and plain loops."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmi.information import conditional_cholesky
from segmi.losses import (
    ContrastiveDistillation,
    VariationalInformationDistillation,
    gaussian_negative_log_likelihood,
    info_nce_per_pair,
)
from segmi.losses.features import sample_positions
from segmi.types import Batch, Output

LAYERS = {"a": "body", "t": "body"}


def outputs(student: Tensor, teacher: Tensor, size: int = 8) -> dict[str, Output]:
    logits = torch.zeros(len(student), 3, size, size, dtype=student.dtype)
    return {"a": Output(logits, {"body": student}), "t": Output(logits, {"body": teacher})}


def batch(count: int, size: int = 8) -> Batch:
    found = torch.randint(0, 3, (count, size, size), generator=torch.Generator().manual_seed(0))
    found[:, 0] = 255
    return Batch(torch.zeros(count, 3, size, size), found)


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_likelihood_is_the_gaussian_density_up_to_a_constant() -> None:
    truth, mean, variance = features(2, 3, 4, 4), features(2, 3, 4, 4, seed=1), torch.tensor([0.1, 1.0, 7.0]).double()
    law = torch.distributions.Normal(mean, variance.sqrt().view(1, 3, 1, 1))
    expected = -law.log_prob(truth) - math.log(2 * math.pi) / 2
    torch.testing.assert_close(gaussian_negative_log_likelihood(truth, mean, variance), expected)


def test_optimum_of_a_linear_head_is_the_residual_variance() -> None:
    student, teacher = features(1, 4, 16, 16), features(1, 3, 16, 16, seed=1)
    teacher = teacher + 2 * student[:, :3]
    s, t = student[0].flatten(1), teacher[0].flatten(1)
    s, t = s - s.mean(1, keepdim=True), t - t.mean(1, keepdim=True)
    fitted = t @ s.T @ torch.linalg.inv(s @ s.T)
    residual = ((t - fitted @ s) ** 2).mean(1)
    closed = gaussian_negative_log_likelihood(t[None, :, :, None], (fitted @ s)[None, :, :, None], residual).mean()
    torch.testing.assert_close(closed, residual.log().mean() / 2 + 0.5)
    whole = conditional_cholesky(torch.cov(torch.cat([s, t]), correction=0), 4).diagonal().log().mean() + 0.5
    assert whole < closed, "channels that know of each other are worth more"


def test_ignored_positions_are_left_out() -> None:
    found = outputs(features(2, 4, 4, 4), features(2, 5, 4, 4, seed=1))
    objective = VariationalInformationDistillation(layers=LAYERS, frozen=["t"])
    objective.prepare(found, seed=0)
    objective.double()
    term = objective(found, batch(2))["variational_information_distillation/a"]
    mean = objective.heads["a"](found["a"].features["body"])
    cells = batch(2).labels[:, 1::2, 1::2] != 255
    variance = torch.full((5,), 5.0, dtype=torch.float64)
    expected = gaussian_negative_log_likelihood(found["t"].features["body"], mean, variance).mean(1)[cells].mean()
    torch.testing.assert_close(term.value, expected, rtol=1e-6, atol=0)
    assert term.denominator == cells.sum()
    assert [p.shape[0] for p in objective.heads["a"].parameters() if p.ndim == 4] == [5, 5, 5]


def bilinear(maps: Tensor, size: int) -> Tensor:
    """Square maps at another size, cell by cell: between the middles of the cells, and flat beyond the outermost."""
    old = maps.shape[-1]
    mixing = torch.zeros(size, old, dtype=maps.dtype)
    for cell in range(size):
        place = min(max((cell + 0.5) * old / size - 0.5, 0), old - 1)
        before = int(place)
        mixing[cell, before] += 1 - (place - before)
        mixing[cell, min(before + 1, old - 1)] += place - before
    return mixing @ maps @ mixing.T


def test_maps_are_resized_to_the_teacher() -> None:
    found = outputs(features(2, 4, 2, 2), features(2, 5, 4, 4, seed=1))
    for kind in (VariationalInformationDistillation, ContrastiveDistillation):
        objective = kind(layers=LAYERS, frozen=["t"])
        objective.prepare(found, seed=0)
        (term,) = objective.double()(found, batch(2)).values()
        own = objective.heads["a"](found["a"].features["body"])
        if kind is VariationalInformationDistillation:
            mean, variance = bilinear(own, 4), torch.full((5,), 5.0, dtype=torch.float64)
            cells = batch(2).labels[:, 1::2, 1::2] != 255
            expected = (
                gaussian_negative_log_likelihood(found["t"].features["body"], mean, variance).mean(1)[cells].mean()
            )
        else:
            told = bilinear(objective.heads["t for a"](found["t"].features["body"]), 2)
            cells = batch(2).labels[:, 2::4, 2::4] != 255
            images = torch.arange(2).view(2, 1, 1).expand(2, 2, 2)[cells]
            ours, theirs = (F.normalize(maps.movedim(1, -1)[cells]) for maps in (own, told))
            expected = info_nce_per_pair(ours, theirs, images, images).mean()
        torch.testing.assert_close(term.value, expected, rtol=1e-6, atol=0)
        assert torch.equal(term.denominator, next(iter(objective.denominators(found, batch(2)).values())))


def test_training_increases_the_bound() -> None:
    """A function of the student's features is predicted, random features are not."""
    student, chance = features(4, 4, 8, 8).float(), features(4, 5, 8, 8, seed=2).float()
    known = torch.cat([student.abs(), student[:, :1] - student[:, 1:2]], 1)
    ends = []
    for teacher in (known, chance):
        found = outputs(student, teacher)
        objective = VariationalInformationDistillation(layers=LAYERS, initial_variance=1.0, frozen=["t"])
        objective.prepare(found, seed=0)
        optimizer = torch.optim.Adam(objective.parameters(), 0.02)
        for _ in range(150):
            optimizer.zero_grad()
            (term,) = objective(found, batch(4)).values()
            term.value.backward()
            optimizer.step()
        ends.append(term.value.item())
    entropy = 0.5  # of a channel of unit variance, less the constant that the surprise leaves out
    assert ends[0] < -0.5 < entropy - 0.2 < ends[1]


@pytest.mark.parametrize("negatives", ["all", "other_classes"])
def test_contrast_equals_a_plain_loop(negatives: str) -> None:
    ours, theirs = (F.normalize(features(12, 6, seed=seed)) for seed in (0, 1))
    group, classes = torch.arange(12) // 6, torch.arange(12) % 3
    expected = []
    for i in range(12):
        partner = math.exp(float(ours[i] @ theirs[i]) / 0.2)
        others = sum(
            math.exp(float(ours[i] @ theirs[j]) / 0.2)
            for j in range(12)
            if j != i and group[j] == group[i] and (negatives == "all" or classes[j] != classes[i])
        )
        expected.append(-math.log(partner / (partner + others)))
    found = info_nce_per_pair(ours, theirs, group, classes, temperature=0.2, negatives=negatives)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("count", [8, 64, 512])
def test_estimate_is_at_most_the_logarithm_of_the_number_of_pairs(count: int) -> None:
    """Even of perfect pairs, whose mutual information has no end."""
    pairs = torch.eye(count)
    estimate = math.log(count) - info_nce_per_pair(
        pairs, pairs, torch.zeros(count), torch.zeros(count), temperature=0.01
    )
    assert estimate.mean().item() == pytest.approx(math.log(count), abs=1e-4)
    assert estimate.max() <= math.log(count) + 1e-6


def test_sampling_is_uniform_and_independent_of_the_batch() -> None:
    classes = torch.randint(0, 3, (3, 6, 6), generator=torch.Generator().manual_seed(0))
    valid = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(1)) > 0.3
    seen = torch.zeros(3, 36)
    for seed in range(300):
        sample = sample_positions(classes, valid, 12, per_class=4, seed=seed)
        image, column = sample.included.nonzero(as_tuple=True)
        position, kinds = sample.position[image, column], sample.classes[image, column]
        assert torch.equal(kinds, classes.flatten(1)[image, position])
        seen[image, position] += 1
        counts = torch.zeros(3, 3).index_put((image, kinds), torch.tensor(1.0), accumulate=True)
        assert counts.max() <= 4
    assert (seen[~valid.flatten(1)] == 0).all()
    for n in range(3):
        for c in range(3):
            cells = ((classes[n] == c) & valid[n]).flatten()
            share = min(4, int(cells.sum())) / int(cells.sum())
            assert (seen[n, cells] / 300 - share).abs().max() < 0.12
    chosen, alone = (
        sample_positions(classes, valid, 12, per_class=4, seed=7),
        sample_positions(classes[1:2], valid[1:2], 12, per_class=4, seed=7),
    )
    assert torch.equal(alone.position[alone.included], chosen.position[1][chosen.included[1]])


def test_training_decreases_the_contrastive_loss() -> None:
    student = features(2, 6, 8, 8).float()
    mixed = nn.Conv2d(6, 10, 1).requires_grad_(False)(student)
    found = outputs(student, mixed)
    objective = ContrastiveDistillation(layers=LAYERS, dimensions=16, frozen=["t"], per_class=20)
    objective.prepare(found, seed=0)
    optimizer = torch.optim.Adam(objective.parameters(), 0.02)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        (term,) = objective(found, batch(2)).values()
        term.value.backward()
        optimizer.step()
        values.append(term.value.item())
    assert values[-1] < 0.25 * values[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: VariationalInformationDistillation(layers=LAYERS, initial_variance=0),
            "initial_variance: expected",
        ),
        (
            lambda: ContrastiveDistillation(layers=LAYERS, temperature=0),
            "temperature: expected a number above 0",
        ),
        (lambda: ContrastiveDistillation(layers=LAYERS, negatives="x"), "negatives: expected 'all' or 'other_classes'"),
        (
            lambda: ContrastiveDistillation(layers=LAYERS, frozen=["t"])(
                {name: Output(torch.zeros(2, 3, 8, 8)) for name in "at"}, batch(2)
            ),
            "features of a: expected the output of 'body', got none. Fix: train with segmi.training.fit",
        ),
        (
            lambda: ContrastiveDistillation(layers=LAYERS, frozen=["t"])(
                outputs(features(2, 4, 8, 8), features(2, 4, 8, 8)), batch(2)
            ),
            r"heads: expected one for t for a, got none. Fix: call prepare\(outputs, seed\)",
        ),
        (
            lambda: VariationalInformationDistillation(layers={"a": "body"}, frozen=["t"]).prepare(
                outputs(features(2, 4, 8, 8), features(2, 4, 8, 8)), 0
            ),
            "expected a frozen network, the teacher, and a trained one, got",
        ),
        (
            lambda: gaussian_negative_log_likelihood(torch.zeros(1, 2, 1, 1), torch.zeros(1, 3, 1, 1), torch.ones(2)),
            "of one shape",
        ),
    ],
)
def test_invalid_options_raise(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()
