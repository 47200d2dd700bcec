"""Pixel contrast and the information bottleneck: against plain loops and closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.losses import InformationBottleneck, PixelContrast, bottleneck_rate, supervised_contrastive
from segmi.types import Batch, Output


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scene(width: int = 6) -> tuple[dict[str, Output], Batch]:
    labels = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    labels[:, 0] = 255
    return {"a": Output(features(2, 3, 8, 8), {"body": features(2, width, 4, 4)})}, Batch(
        torch.zeros(2, 3, 8, 8), labels
    )


def test_contrast_equals_a_plain_loop() -> None:
    vectors = F.normalize(features(14, 5))
    classes, group = torch.arange(14) % 3, torch.arange(14) // 7
    classes[0] = 9  # which is alone
    hardness, counts = supervised_contrastive(vectors, classes, group, temperature=0.3, base_temperature=0.1)
    for i in range(14):
        likeness = [float(vectors[i] @ vectors[j]) / 0.3 for j in range(14)]
        positive = [j for j in range(14) if j != i and classes[j] == classes[i] and group[j] == group[i]]
        against = sum(math.exp(likeness[j]) for j in range(14) if classes[j] != classes[i] and group[j] == group[i])
        terms = [likeness[j] - math.log(math.exp(likeness[j]) + against) for j in positive]
        expected = -3 * sum(terms) / len(terms) if terms else 0.0
        assert hardness[i].item() == pytest.approx(expected)
        assert bool(counts[i]) == bool(positive)


def test_contrast_across_batch_or_image() -> None:
    outputs, batch = scene()
    found = {}
    for across in ("batch", "image"):
        objective = PixelContrast(layers={"a": "body"}, across=across, dimensions=4, per_class=100)
        objective.prepare(outputs, seed=0)
        term = objective.double()(outputs, batch)["pixel_contrast/a"]
        cells = batch.labels[:, 1::2, 1::2]
        vectors = F.normalize(objective.heads["a"](outputs["a"].features["body"]).movedim(1, -1)[cells != 255])
        images = torch.arange(2).repeat_interleave(16).view(2, 4, 4)[cells != 255]
        hardness, counts = supervised_contrastive(
            vectors, cells[cells != 255], images if across == "image" else torch.zeros_like(images)
        )
        torch.testing.assert_close(term.value, hardness.sum() / counts.sum())
        assert objective.scope == across
        found[across] = term.value
    assert found["batch"] > found["image"]


def test_training_groups_embeddings_by_class() -> None:
    outputs, batch = scene()
    kinds = batch.labels[:, 1::2, 1::2].clamp(max=3)
    body = F.one_hot(kinds, 4).movedim(-1, 1).float() + 0.5 * features(2, 4, 4, 4).float()
    outputs = {"a": Output(outputs["a"].logits.float(), {"body": body})}
    objective = PixelContrast(layers={"a": "body"}, dimensions=8)
    objective.prepare(outputs, seed=0)
    optimizer = torch.optim.Adam(objective.parameters(), 0.02)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        value = objective(outputs, batch)["pixel_contrast/a"].value
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.3 * values[0]


def test_rate_equals_torch_distributions() -> None:
    mean, variance = features(2, 3, 4, 4), features(2, 3, 4, 4, seed=1).exp()
    law, prior = (torch.distributions.Normal(m, s) for m, s in ((mean, variance.sqrt()), (0 * mean, mean.new_ones(()))))
    torch.testing.assert_close(bottleneck_rate(mean, variance), torch.distributions.kl_divergence(law, prior).sum(1))


def test_rate_bounds_the_information_of_the_code() -> None:
    """Of x ~ N(0, s²) and z = x + σε, whose mutual information is ½ log(1 + s²/σ²)."""
    generator = torch.Generator().manual_seed(0)
    for signal, noise in ((1.0, 1.0), (0.5, 0.3), (3.0, 0.1)):
        x = signal * torch.randn(1, 1, 100, 1000, generator=generator, dtype=torch.float64)
        told = bottleneck_rate(x, torch.full_like(x, noise**2)).mean().item()
        assert told >= math.log(1 + signal**2 / noise**2) / 2
    matched = bottleneck_rate(
        math.sqrt(0.75) * torch.randn(1, 1, 300, 1000, generator=generator), torch.tensor(0.25).expand(1, 1, 300, 1000)
    )
    assert matched.mean().item() == pytest.approx(math.log(4) / 2, abs=5e-3), "exact where the code is standard normal"


@pytest.mark.parametrize("kind", [PixelContrast, InformationBottleneck])
def test_heads_depend_on_the_seed_only(kind: type) -> None:
    outputs, _ = scene()
    made, before = [], torch.get_rng_state()
    for seed in (0, 0, 1):
        objective = kind(layers={"a": "body"})
        objective.prepare(outputs, seed=seed)
        made.append(torch.cat([p.detach().flatten() for p in objective.parameters()]))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(made[0], made[1])
    assert made[0].isfinite().all()
    assert torch.equal(made[0], made[2]) == (kind is InformationBottleneck)  # whose noise begins alike everywhere


def test_noise_has_the_penalized_variance() -> None:
    outputs, batch = scene()
    objective = InformationBottleneck(layers={"a": ["body"]}, initial_variance=0.3, frozen=["t"])
    objective.prepare(outputs, seed=0)
    objective.double()
    body = outputs["a"].features["body"]
    torch.manual_seed(0)
    noise = torch.stack([objective.transform_features("a", "body", body) - body for _ in range(400)])
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.var().item() == pytest.approx(0.3, rel=0.02)
    assert torch.equal(objective.transform_features("t", "body", body), body)
    term = objective(outputs, batch)["information_bottleneck.body/a"]
    cells = batch.labels[:, 1::2, 1::2] != 255
    torch.testing.assert_close(
        term.value, bottleneck_rate(body, torch.full_like(body, 0.3))[cells].mean(), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PixelContrast(layers={}, per_class=0), "per_class: expected a number above 0, got 0"),
        (lambda: PixelContrast(layers={}, across="all"), "across: expected 'batch' or 'image', got 'all'"),
        (
            lambda: PixelContrast(layers={"b": "x"})(*scene()),
            "expected a layer of a trained network, got",
        ),
        (
            lambda: PixelContrast(layers={"a": "body"})(*scene()),
            r"heads: expected one for a, got none. Fix: call",
        ),
        (
            lambda: InformationBottleneck(layers={"a": "body"}, initial_variance=0),
            "initial_variance: expected",
        ),
        (lambda: InformationBottleneck(layers={"b": "x"})(*scene()), "expected a layer of a trained network"),
        (lambda: bottleneck_rate(torch.zeros(1, 2, 1, 1), torch.ones(2)), "variance: expected the shape of mean"),
    ],
)
def test_invalid_options_raise(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()
