"""Probabilities, pooling, ignored pixels and class reductions of region mutual information."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from segmi.losses import (
    RegionMutualInformation,
    RMILoss,
    binary_cross_entropy,
    region_information,
    region_mutual_information,
    region_mutual_information_plain,
    rmi_loss,
)
from segmi.losses.rmi.maps import region_maps
from segmi.losses.rmi.rmi_config import RMIConfig
from segmi.losses.targets import read_targets

Scene = Any
Gradient = Callable[..., tuple[Tensor, Tensor]]
Options = dict[str, Any]
ALPHA = 5e-4
ABSENT = math.log(math.sqrt(ALPHA) + 1e-8)
POOLINGS: list[Options] = [
    {}, {"pooling": "average", "stride": 2}, {"pooling": "max", "stride": 3},
    {"pooling": "interpolation", "stride": 2}, {"pooling": "interpolation", "stride": 2, "legacy_interpolation": True},
]  # fmt: skip
EVERY = [
    {**pooling, "probability": probability, "variant": variant, "ignored": ignored}
    for pooling, probability, variant, ignored in product(
        POOLINGS, ("sigmoid", "softmax"), ("published", "corrected"), ("zero", "drop")
    )
]


def named(options: Options) -> str:
    return "-".join(str(value) for value in options.values())


def windows(image: np.ndarray, keep: np.ndarray, radius: int) -> np.ndarray:
    """Return the centered d×n matrix of the windows of a map whose cells are all kept."""
    points = []
    for r in range(image.shape[0] - radius + 1):
        for c in range(image.shape[1] - radius + 1):
            if keep[r : r + radius, c : c + radius].all():
                points.append(image[r : r + radius, c : c + radius].flatten())
    matrix = np.array(points).T
    return matrix - matrix.mean(1, keepdims=True)


def by_hand(p: np.ndarray, y: np.ndarray, keep: np.ndarray, variant: str, radius: int) -> float | None:
    """Return the term of one pair over d; None if the label does not vary."""
    p_windows, y_windows, d = windows(p, keep, radius), windows(y, keep, radius), radius**2
    n = 1 if variant == "published" else y_windows.shape[1]
    s_pp, s_yy, s_yp = (a @ b.T / n for a, b in ((p_windows,) * 2, (y_windows,) * 2, (y_windows, p_windows)))
    varies = np.abs(y_windows).max() > 1e-10
    ridge = (ALPHA if variant == "published" else 1e-3 * np.trace(s_yy) / d) * np.eye(d)
    if variant == "published":
        conditional = s_yy - s_yp @ np.linalg.inv(s_pp + ridge) @ s_yp.T
        return float(np.log(np.diag(np.linalg.cholesky(conditional + ridge)) + 1e-8).sum() / d)
    if not varies:
        return None
    conditional = s_yy - s_yp @ np.linalg.inv(s_pp + ridge) @ s_yp.T
    return float((np.linalg.slogdet(conditional + ridge)[1] - np.linalg.slogdet(s_yy + ridge)[1]) / 2 / d)


# --- against other implementations


@pytest.mark.parametrize("options", EVERY, ids=named)
def test_equals_brute_force(scene: Scene, options: Options) -> None:
    labels = scene.labels(2, 3, 21, 24, ignored=True)
    logits = scene.logits(labels, 4)
    config = RMIConfig(radius=2, **options)
    maps = region_maps(logits, read_targets(logits, labels, 255), config)
    terms = [
        by_hand(
            p.numpy(), y.numpy(), np.ones_like(keep) if config.ignored == "zero" else keep.numpy(), config.variant, 2
        )
        for p_n, y_n, keep in zip(*maps, strict=True)
        for p, y in zip(p_n, y_n, strict=True)
    ]
    present = [term for term in terms if term is not None]
    expected = sum(present) / (2 if config.variant == "published" else len(present))
    assert region_mutual_information(logits, labels, radius=2, **options).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("options", EVERY, ids=named)
@pytest.mark.parametrize("class_reduction", ["sum", "mean", "present"])
def test_equals_reference(scene: Scene, gradient: Gradient, options: Options, class_reduction: str) -> None:
    labels = scene.labels(4, 4, 24, 31, ignored=True)
    labels[1] = 255
    labels[2] = 2
    labels[3, :12] = 255
    for contrast, noise in ((0.0, 0.01), (2.0, 1.0), (8.0, 0.0)):
        logits = scene.logits(labels, 5, contrast=contrast, noise=noise)
        used = {**options, "class_reduction": class_reduction}
        got, slope = gradient(lambda z, o=used: region_mutual_information(z, labels, **o), logits)
        expected, plain = gradient(lambda z, o=used: region_mutual_information_plain(z, labels, **o), logits)
        assert got.item() == pytest.approx(expected.item(), rel=1e-8)
        assert (slope - plain).norm() <= 1e-6 * plain.norm()


@pytest.mark.parametrize("options", EVERY, ids=named)
def test_gradient_is_the_derivative(scene: Scene, options: Options) -> None:
    labels = scene.labels(2, 3, 9, 8, ignored=False)
    labels[0, 0, 0] = labels[1, 4, 4] = 255
    logits = scene.logits(labels, 3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: region_mutual_information(z, labels, radius=2, **options), logits, fast_mode=True
    )


@pytest.mark.parametrize("radius", range(1, 11))
@pytest.mark.parametrize("pooling", ["none", "average"])
def test_every_published_radius(scene: Scene, gradient: Gradient, radius: int, pooling: str) -> None:
    labels = scene.labels(1, 3, 46, 45, ignored=True)  # more windows than positions, even with pooling
    logits = scene.logits(labels, 3)
    used = {"radius": radius, "pooling": pooling, "stride": 1 if pooling == "none" else 2}
    got, slope = gradient(lambda z: region_mutual_information(z, labels, **used), logits)
    expected, plain = gradient(lambda z: region_mutual_information_plain(z, labels, **used), logits)
    assert got.item() == pytest.approx(expected.item(), rel=1e-8)
    assert (slope - plain).norm() <= 1e-6 * plain.norm()


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize(("theirs", "ours"), [("avg", "average"), ("max", "max")])
def test_equals_rmi_pytorch(
    scene: Scene, gradient: Gradient, monkeypatch: pytest.MonkeyPatch, theirs: str, ours: str, stride: int
) -> None:
    rmi = pytest.importorskip("rmi")
    monkeypatch.setattr(torch, "cholesky", torch.linalg.cholesky, raising=False)  # removed from PyTorch
    rival = rmi.RMILoss(with_logits=True, bce_weight=0, pool=theirs, stride=stride)
    labels = scene.labels(2, 5, 40, 33)
    one_hot = torch.nn.functional.one_hot(labels, 5).movedim(-1, 1).double()
    logits = scene.logits(labels, 5)
    expected, slope = gradient(lambda z: rival(z, one_hot), logits)
    got, our_slope = gradient(lambda z: region_mutual_information(z, labels, pooling=ours, stride=stride), logits)
    assert got.item() == pytest.approx(expected.item(), rel=1e-5)  # rmi-pytorch omits the 1e-6 and the 1e-8
    assert (our_slope - slope).norm() < 1e-4 * slope.norm()


@pytest.mark.parametrize("options", [POOLINGS[1], POOLINGS[3], {"probability": "softmax"}], ids=named)
def test_many_chunks_equal_one(
    scene: Scene, gradient: Gradient, monkeypatch: pytest.MonkeyPatch, options: Options
) -> None:
    labels = scene.labels(3, 5, 20, 20, ignored=True)
    logits = scene.logits(labels, 5)
    for variant in ("published", "corrected"):
        used = {**options, "variant": variant}
        whole = gradient(lambda z, o=used: region_mutual_information(z, labels, **o), logits)
        with monkeypatch.context() as patch:
            patch.setattr("segmi.losses.rmi.windows._CHUNK_BYTES", 1)
            single = gradient(lambda z, o=used: region_mutual_information(z, labels, **o), logits)
        torch.testing.assert_close(single, whole)


# --- properties of pooling


def discs(size: int = 160) -> Tensor:
    grid = torch.arange(size)
    truth = torch.zeros(1, size, size, dtype=torch.bool)
    for row, column, radius in ((40, 50, 17), (110, 40, 9), (60, 120, 12), (120, 118, 21)):
        truth |= (grid[:, None] - row) ** 2 + (grid - column) ** 2 < radius**2
    truth[:, :9, 70:100] = True  # at the border, where averages include zeros
    return truth


def test_effect_of_pooling_on_the_complement() -> None:
    """The complement is perfect for averages without a border of zeros, but not with it or for maxima."""
    truth = discs()
    sharp = 60 * (2 * truth.double() - 1)[:, None]

    def values(**options: Any) -> tuple[float, ...]:
        return tuple(
            region_mutual_information(z, truth, **options).item() for z in (sharp, -sharp, torch.zeros_like(sharp))
        )

    best = 0.5 * math.log(2 * ALPHA)
    perfect, complement, constant = values(pooling="average", stride=4, ignored="drop")
    assert perfect == pytest.approx(best, abs=2e-3)
    assert complement == pytest.approx(perfect, abs=1e-6)
    perfect, complement, constant = values(pooling="average", stride=4)
    assert perfect == pytest.approx(best, abs=2e-3)
    assert perfect + 1 < complement < constant
    perfect, complement, constant = values(pooling="max", stride=4)
    assert perfect == pytest.approx(best, abs=2e-2)
    assert perfect + 3 < complement < constant
    perfect, complement, constant = values(pooling="interpolation", stride=4)
    assert perfect == pytest.approx(best, abs=2e-2)
    assert complement == pytest.approx(perfect, abs=1e-6)
    assert constant > perfect + 3


def test_legacy_interpolation_values_a_perfect_prediction_like_a_constant() -> None:
    truth = discs()
    sharp = 60 * (2 * truth.double() - 1)[:, None]

    def value(z: Tensor, **options: Any) -> float:
        return region_mutual_information(z, truth, pooling="interpolation", stride=4, **options).item()

    assert value(sharp, legacy_interpolation=True) > value(sharp) + 3
    assert value(sharp, legacy_interpolation=True) > value(torch.zeros_like(sharp), legacy_interpolation=True) - 2


# --- softmax


def test_softmax_moves_the_logits_of_absent_classes(scene: Scene, gradient: Gradient) -> None:
    labels = scene.labels(1, 3, 14, 14)
    logits = scene.logits(labels, 4)
    for probability, moves in (("sigmoid", False), ("softmax", True)):
        _, slope = gradient(lambda z, p=probability: region_mutual_information(z, labels, probability=p), logits)
        assert bool(slope[:, 3].abs().max() > 0) == moves
        if moves:
            assert slope.sum(1).abs().max() < 1e-12  # a constant added to all logits changes nothing


def test_softmax_of_two_classes_counts_each_region_twice(scene: Scene) -> None:
    labels = scene.labels(1, 2, 16, 16)
    logits = scene.logits(labels, 2)
    difference = logits[:, 1:] - logits[:, :1]
    both = region_mutual_information(logits, labels, probability="softmax")
    assert both.item() == pytest.approx(2 * region_mutual_information(difference, labels).item(), rel=1e-10)


# --- ignored pixels and reductions


def test_dropped_pixels_have_no_effect(scene: Scene) -> None:
    """Dropping an ignored frame equals cropping it."""
    labels = scene.labels(1, 3, 20, 20)
    framed = torch.nn.functional.pad(labels, (4, 4, 4, 4), value=255)
    logits = scene.logits(framed, 3)
    inner = logits[..., 4:-4, 4:-4]
    torch.testing.assert_close(
        region_mutual_information(logits, framed, ignored="drop"), region_mutual_information(inner, labels)
    )
    torch.testing.assert_close(
        region_mutual_information(logits, framed, ignored="drop", pooling="max", stride=4),
        region_mutual_information(inner, labels, ignored="drop", pooling="max", stride=4),
    )


@pytest.mark.parametrize("pooling", POOLINGS, ids=named)
def test_class_reductions(scene: Scene, pooling: Options) -> None:
    labels = scene.labels(2, 3, 24, 24)
    labels[1] = 0
    logits = scene.logits(labels, 5)
    used = {**pooling, "ignored": "drop"}
    values = {
        reduction: region_mutual_information(logits, labels, class_reduction=reduction, **used).item()
        for reduction in ("sum", "mean", "present")
    }
    present = region_information(logits, labels, **used) > 0
    assert present.sum() == len(labels[0].unique())
    assert values["mean"] == pytest.approx(values["sum"] / 5, rel=1e-12)
    assert values["present"] == pytest.approx(
        (2 * values["sum"] - (10 - present.sum().item()) * ABSENT) / present.sum().item(), rel=1e-9
    )
    assert region_mutual_information(logits, labels, **used).item() == values["sum"]
    corrected = {**pooling, "variant": "corrected"}
    assert region_mutual_information(logits, labels, **corrected) == region_mutual_information(
        logits, labels, class_reduction="present", **corrected
    )


def test_denominators_count_what_is_averaged(scene: Scene) -> None:
    labels = scene.labels(2, 3, 24, 24, ignored=True)
    logits = scene.logits(labels, 5)
    for reduction, expected in (("sum", 2), ("mean", 10), ("present", 6)):
        loss = RegionMutualInformation(class_reduction=reduction, pooling="average", stride=2)  # type: ignore[arg-type]
        assert loss.term(logits, labels).denominator == loss.denominators(logits, labels)[""] == expected


def test_information_belongs_to_the_loss(scene: Scene) -> None:
    labels = scene.labels(2, 3, 24, 24, ignored=True)
    logits = scene.logits(labels, 3)
    used: Options = {"variant": "corrected", "probability": "softmax", "pooling": "average", "stride": 2}
    information = region_information(logits, labels, **used)
    assert region_mutual_information(logits, labels, **used).item() == pytest.approx(-information.mean().item() / 9)


# --- inputs


@pytest.mark.parametrize("options", EVERY, ids=named)
def test_all_input_types(scene: Scene, gradient: Gradient, options: Options) -> None:
    labels = scene.labels(2, 4, 24, 22, ignored=True)
    logits = scene.logits(labels, 4).float()

    def both(z: Tensor, y: Tensor, **more: Any) -> tuple[Tensor, Tensor]:
        return gradient(lambda x: region_mutual_information(x, y, **options, **more), z)

    value, slope = both(logits, labels)
    for dtype in (torch.uint8, torch.int16, torch.int32, torch.uint16):
        assert torch.equal(both(logits, labels.to(dtype))[0], value)
    assert torch.equal(both(logits, labels.masked_fill(labels == 255, -3), ignore_index=-3)[0], value)
    swapped = labels.mT.contiguous().mT
    for other in (logits.to(memory_format=torch.channels_last), torch.stack([logits, logits], -1)[..., 0]):
        torch.testing.assert_close(both(other, swapped), (value, slope))
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        given = logits.to(dtype)
        exact, exact_slope = both(given.double(), labels)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got, got_slope = both(given, labels)
        assert (got.dtype, got_slope.dtype) == (torch.float32, dtype)
        assert got.item() == pytest.approx(exact.item(), rel=1e-5)
        tolerance = 1e-5 if dtype == torch.float32 else 1e-2
        assert (got_slope.double() - exact_slope).norm() <= tolerance * exact_slope.norm()


@pytest.mark.parametrize("options", EVERY, ids=named)
def test_empty_and_constant_inputs(gradient: Gradient, options: Options) -> None:
    """An empty batch, ignored images and a single class give constants, attached to the graph."""

    def both(labels: Tensor) -> tuple[float, float]:
        z = torch.randn(len(labels), 3, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        value, slope = gradient(lambda x: region_mutual_information(x, labels, **options), z)
        return value.item(), slope.abs().max().item() if len(labels) else 0.0

    constant = 3 * ABSENT if options["variant"] == "published" else 0.0
    assert both(torch.zeros(0, 12, 12, dtype=torch.long)) == (0, 0)
    assert both(torch.full((2, 12, 12), 255)) == (pytest.approx(constant), 0)
    full, slope = both(torch.full((2, 12, 12), 1))
    if options["ignored"] == "drop" or options.get("pooling") != "average":
        assert (full, slope) == (pytest.approx(constant), 0)
    else:  # zeros beyond the border make the label vary
        assert full != pytest.approx(constant, abs=1e-3)


@pytest.mark.parametrize("probability", ["sigmoid", "softmax"])
def test_saturated_softmax_and_sigmoid_stay_finite(scene: Scene, gradient: Gradient, probability: str) -> None:
    labels = scene.labels(2, 4, 16, 16)
    for contrast, pooling in product((30.0, 1e4, -1e4), POOLINGS):
        logits = scene.logits(labels, 4, contrast=contrast).float()
        used = {**pooling, "probability": probability}
        value, slope = gradient(lambda z, o=used: region_mutual_information(z, labels, **o), logits)
        assert value.isfinite()
        assert slope.isfinite().all()


# --- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probability": "tanh"}, "probability: expected 'sigmoid' or 'softmax', got 'tanh'"),
        ({"pooling": "mean", "stride": 2}, "pooling: expected 'none', 'average', 'max' or 'interpolation', got 'mean'"),
        ({"ignored": "ignore"}, "ignored: expected 'zero' or 'drop', got 'ignore'"),
        ({"class_reduction": "max"}, "class_reduction: expected 'sum', 'mean' or 'present', got 'max'"),
        ({"stride": 4}, "stride: expected 1 without pooling, got 4. Fix: set pooling as well"),
        ({"pooling": "max"}, "stride: expected an integer of at least 2 with pooling 'max', got 1. Fix: use 4"),
        ({"pooling": "max", "stride": 2.0}, "stride: expected an integer of at least 2"),
        ({"legacy_interpolation": True}, "legacy_interpolation: expected pooling 'interpolation', .* got 'none'"),
        (
            {"pooling": "average", "stride": 4, "ignored": "drop"},
            "at least 3×3 cells, the window, after pooling by 4, got 1×4 cells of 8×20 pixels. Fix: use larger crops, "
            "a smaller stride or a smaller radius",
        ),
        ({"pooling": "interpolation", "stride": 3}, "got 2×6 cells of 8×20 pixels"),
        ({"pooling": "max", "stride": 4, "radius": 4}, "at least 4×4 cells, .* got 3×6 cells"),
    ],
)
def test_impossible_options_are_refused(options: Options, message: str) -> None:
    labels = torch.zeros(1, 8, 20, dtype=torch.long)
    with pytest.raises(ValueError, match=message):
        region_mutual_information(torch.zeros(1, 2, 8, 20), labels, **options)
    with pytest.raises(ValueError, match=message):
        rmi_loss(torch.zeros(1, 2, 8, 20), labels, **options)


def test_softmax_of_one_channel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected two or more channels for probability 'softmax', .* got 1. Fix"):
        region_mutual_information(
            torch.zeros(1, 1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long), probability="softmax"
        )


# --- presets


def test_as_published_pools_and_as_run_does_not(scene: Scene) -> None:
    labels = scene.labels(2, 4, 24, 24, ignored=True)
    logits = scene.logits(labels, 4)
    valid = (labels != 255).sum()
    pixels = binary_cross_entropy(logits, labels) * valid / (valid + 1)
    pooled = region_mutual_information(logits, labels, pooling="average", stride=4)
    torch.testing.assert_close(RMILoss.as_published()(logits, labels), (pixels + pooled) / 2)
    torch.testing.assert_close(
        RMILoss.as_run()(logits, labels), (pixels + region_mutual_information(logits, labels)) / 2
    )
    only_regions = RMILoss.as_published(bce_weight=0.0, stride=2)(logits, labels)
    torch.testing.assert_close(only_regions, region_mutual_information(logits, labels, pooling="average", stride=2))
