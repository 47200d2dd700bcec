"""Cases that `test_triton` runs in a separate process. Maps are small: the interpreter takes a second for each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.losses.rmi import cuda, dispatch
from segmi.losses.rmi.cuda.launches import CUDAResult
from segmi.losses.rmi.maps import counted_pairs, whole_windows
from segmi.losses.rmi.reference import region_mutual_information_plain
from segmi.losses.rmi.rmi_config import RMIConfig
from segmi.losses.targets import read_targets

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"


class Outcome(NamedTuple):
    value: Tensor
    pixels: Tensor
    slope: Tensor
    result: CUDAResult


def _pixel_weights(logits: Tensor) -> Tensor:
    n, c = logits.shape[:2]
    return torch.linspace(0.5, 1.5, n * c, dtype=torch.float64, device=logits.device).view(n, c)


def _kernels(logits: Tensor, labels: Tensor, config: RMIConfig, *, integers: bool = False) -> Outcome:
    """Return the loss from the kernels, and the gradient of the loss and of weighted pixel losses."""
    targets = read_targets(logits, labels, 255)
    classes = torch.where(targets.valid, targets.classes, -1).to(torch.int16)
    active = counted_pairs(targets, logits.shape[1], config)
    whole = whole_windows(targets.valid, config.radius) if config.ignored == "drop" else None
    published = config.variant == "published"
    ridge = config.alpha if published else config.relative_ridge
    result = cuda.compute_terms(
        logits, classes, active, radius=config.radius, published=published, ridge=ridge, pixels=True, whole=whole,
        integers=integers,
    )  # fmt: skip
    if config.class_reduction == "present":
        scale = active.double() / active.sum().clamp(min=1)
        terms = result.terms
    else:
        scale = torch.full_like(result.terms, 1 / max(len(logits), 1))
        terms = torch.where(active, result.terms, config.absent_value)
    scale = scale / config.dimension
    slope = cuda.compute_gradient(
        logits, classes, active, result.coefficients, result.offsets, scale, _pixel_weights(logits),
        radius=config.radius, whole=whole, integers=integers,
    )  # fmt: skip
    return Outcome((terms * scale).sum(), result.pixels, slope, result)


def _truth(logits: Tensor, labels: Tensor, config: RMIConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Return the value, the pixel losses, and the gradient of value and weighted pixel losses, in float64."""
    leaf = logits.detach().double().requires_grad_()
    value = region_mutual_information_plain(
        leaf, labels, radius=config.radius, variant=config.variant, ignored=config.ignored, alpha=config.alpha
    )
    channels = logits.shape[1]
    ids = torch.arange(channels, device=logits.device) if channels > 1 else labels.new_ones(1)
    truth = (labels.unsqueeze(1) == ids.view(1, -1, 1, 1)).double()
    pixels = F.binary_cross_entropy_with_logits(leaf, truth, reduction="none") * (labels != 255).unsqueeze(1)
    pixels = pixels.sum((2, 3))
    (slope,) = torch.autograd.grad(value + (_pixel_weights(logits) * pixels).sum(), leaf)
    return value.detach(), pixels.detach(), slope


def _agree(
    logits: Tensor,
    labels: Tensor,
    config: RMIConfig,
    *,
    within: float,
    absolute: float = 0.0,
    integers: bool = False,
) -> Outcome:
    outcome = _kernels(logits, labels, config, integers=integers)
    value, pixels, slope = _truth(logits, labels, config)
    # The value is a logarithm, so its absolute error is the relative error of the determinant.
    torch.testing.assert_close(outcome.value, value, rtol=0, atol=within)
    torch.testing.assert_close(outcome.pixels, pixels, rtol=within, atol=1e-14)
    assert (outcome.slope.double() - slope).norm() <= within * slope.norm() + absolute
    assert int(outcome.result.jittered) == 0
    return outcome


SHAPES: dict[str, tuple[tuple[int, int, int, int], dict[str, Any]]] = {
    "two images": ((2, 2, 9, 8), {"radius": 2}),
    "corrected": ((1, 1, 12, 11), {"variant": "corrected"}),
    "ignored dropped": ((1, 1, 11, 12), {"ignored": "drop"}),
    "corrected, ignored zeroed": ((1, 1, 9, 9), {"variant": "corrected", "ignored": "zero"}),
    "radius 1": ((1, 3, 9, 7), {"radius": 1, "variant": "corrected"}),
    "radius 2": ((1, 3, 9, 7), {"radius": 2}),
    "radius 2, corrected": ((1, 1, 12, 12), {"radius": 2, "variant": "corrected"}),
    "radius 5": ((1, 1, 12, 13), {"radius": 5, "alpha": 0.1}),
    "binary": ((2, 1, 9, 8), {"radius": 2}),
    "narrower than two margins": ((1, 1, 12, 4), {"alpha": 0.1}),
    "one window": ((1, 1, 3, 3), {}),
    "several tiles and blocks": ((1, 1, 65, 64), {}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_float64(name: str, scene: SimpleNamespace) -> None:
    (n, channels, height, width), options = SHAPES[name]
    labels = scene.labels(n, max(channels, 2), height, width, ignored=height > 3)
    _agree(scene.logits(labels, channels).to(DEVICE), labels.to(DEVICE), RMIConfig(**options), within=1e-9)


@pytest.mark.parametrize(
    ("contrast", "integers"), [(2.0, False), (20.0, False), (300.0, False), (0.01, True), (20.0, True), (300.0, True)]
)
def test_float32(scene: SimpleNamespace, contrast: float, integers: bool) -> None:
    """Logits from noise to certainty, with labels whose covariances are nearly singular."""
    labels = torch.zeros(1, 10, 12, dtype=torch.long, device=DEVICE)
    labels[:, 3:7, 2:9] = 1
    logits = scene.logits(labels.cpu(), 1, contrast=contrast).float().to(DEVICE)
    within = 1e-6 if contrast > 1 else 1e-5  # float32 logits of nearly constant maps have few digits
    outcome = _agree(logits, labels, RMIConfig(), within=within, absolute=1e-30, integers=integers)
    assert outcome.slope.dtype == torch.float32


@pytest.mark.parametrize("confidence", [8.0, 15.0])
def test_integers_keep_the_errors_of_a_confident_network(confidence: float) -> None:
    """Rounded to 26 bits, all errors would be equal; sums of float32 are wrong by percents."""
    labels = torch.zeros(1, 16, 18, dtype=torch.long, device=DEVICE)
    labels[:, 3:9, 4:13] = 1
    logits = confidence * (2.0 * labels.unsqueeze(1) - 1) + torch.linspace(0, 1, 18, device=DEVICE)
    _agree(logits, labels, RMIConfig(), within=2e-5, integers=True)


def test_integers_do_not_overflow() -> None:
    """Extreme covariances in the largest sums of one thread: 32 products of 52 bits."""
    labels = torch.zeros(1, 4, 520, dtype=torch.long, device=DEVICE)
    labels[:, :, 260:] = 1
    wrong = 30 * (1 - 2.0 * labels.unsqueeze(1))
    _agree(wrong, labels, RMIConfig(radius=2, variant="corrected"), within=1e-5, absolute=1e-12, integers=True)


OPTIONS: dict[str, dict[str, Any]] = {
    "average": {"pooling": "average", "stride": 2},
    "max, corrected": {"pooling": "max", "stride": 2, "variant": "corrected"},
    "interpolation": {"pooling": "interpolation", "stride": 2},
    "legacy interpolation, dropped": {
        "pooling": "interpolation", "stride": 2, "legacy_interpolation": True, "ignored": "drop",
    },
    "softmax": {"probability": "softmax"},
    "softmax, average by 3, corrected": {
        "probability": "softmax", "pooling": "average", "stride": 3, "variant": "corrected",
    },
    "permuted pixels": {"shuffle": "pixels", "variant": "corrected"},
    "shuffled labels": {"shuffle": "labels"},
    "error determinant": {"quantity": "error_determinant"},
    "own pixel, softmax, max": {"quantity": "own_pixel", "probability": "softmax", "pooling": "max", "stride": 2},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "integers"), [*((name, True) for name in OPTIONS), ("average", False), ("max, corrected", False)]
)
def test_options_reach_the_kernels(name: str, integers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignored pixels, a class absent from an image, values and gradients against float64."""
    config = RMIConfig(radius=2, **OPTIONS[name])
    generator = torch.Generator().manual_seed(1)
    scale = config.stride if config.stride == 3 else 2
    labels = torch.randint(0, 2, (2, 6, 6), generator=generator).repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    labels[0, 3, 4:6] = 255
    labels[1] = 0
    logits = 2 * torch.randn(2, 2, *labels.shape[1:], generator=generator)
    monkeypatch.setattr(dispatch, "kernel_obstacle", lambda kernel, logits: "")
    monkeypatch.setenv("SEGMI_SUMS", "integer" if integers else "float64")
    calls = []
    for name in ("window_sums", "window_sums_gradient"):
        kernel = getattr(cuda, name)
        monkeypatch.setattr(cuda, name, lambda *inputs, name=name, kernel=kernel: calls.append(name) or kernel(*inputs))
    found = []
    for leaf, routine in ((logits.to(DEVICE), "triton"), (logits.double(), "torch")):
        leaf.requires_grad_()
        result = dispatch.compute_regions(leaf, labels.to(leaf.device), config, 255, routine)
        value = dispatch.region_term(leaf, result, config).value
        found.append((value.detach().double().cpu(), *torch.autograd.grad(value, leaf)))
    assert calls == ["window_sums", "window_sums_gradient"]
    (got, slope), (expected, exact) = found
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    assert (slope.cpu().double() - exact).norm() <= (1e-5 if integers else 2e-6) * exact.norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(scene: SimpleNamespace, dtype: torch.dtype) -> None:
    labels = scene.labels(1, 2, 9, 10, ignored=True).to(DEVICE)
    logits = scene.logits(labels.cpu(), 1).to(DEVICE, dtype)
    outcome = _kernels(logits, labels, RMIConfig())
    value, pixels, slope = _truth(logits, labels, RMIConfig())
    torch.testing.assert_close(outcome.value, value, rtol=1e-6, atol=0)
    torch.testing.assert_close(outcome.pixels, pixels, rtol=1e-6, atol=0)
    assert outcome.slope.dtype == dtype
    # at most the rounding of the result
    torch.testing.assert_close(outcome.slope.double(), slope, rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_any_strides(scene: SimpleNamespace) -> None:
    labels = scene.labels(2, 2, 9, 10, ignored=True).to(DEVICE)
    logits = scene.logits(labels.cpu(), 2).to(DEVICE).contiguous(memory_format=torch.channels_last)
    wide = torch.cat([logits, logits], 3)[..., ::2]
    turned = labels.mT.contiguous().mT
    outcome = _agree(logits, turned, RMIConfig(radius=2), within=1e-9)
    assert outcome.slope.stride() == logits.stride()
    _agree(wide[:1], labels[:1, :, [0, 2, 4, 6, 8] * 2], RMIConfig(radius=2, variant="corrected"), within=1e-9)


def test_absent_classes_have_only_a_pixel_loss(scene: SimpleNamespace) -> None:
    labels = scene.labels(2, 2, 9, 8).to(DEVICE)
    labels[1] = 3
    logits = scene.logits(labels.cpu(), 4).to(DEVICE)
    outcome = _agree(logits, labels, RMIConfig(radius=2, variant="corrected"), within=1e-9)
    absent = torch.tensor([[False, False, True, True], [True] * 4], device=DEVICE)
    assert not outcome.result.terms[absent].any()
    assert not outcome.result.information[absent].any()
    assert (outcome.result.information[~absent] > 0).all()


def test_all_ignored_and_empty_batch(scene: SimpleNamespace) -> None:
    for config in (RMIConfig(radius=2), RMIConfig(radius=2, variant="corrected")):
        labels = torch.full((1, 5, 6), 255, device=DEVICE)
        outcome = _kernels(torch.randn(1, 2, 5, 6, device=DEVICE), labels, config)
        assert outcome.value == pytest.approx(2 * config.absent_value / 4)
        assert not outcome.pixels.any()
        assert not outcome.slope.any()
        none = _kernels(torch.zeros(0, 2, 5, 6, device=DEVICE), labels[:0], config)
        assert none.value == 0
        assert none.slope.shape == (0, 2, 5, 6)
        assert none.result.coefficients.shape == (0, 2, 4, 8)


def test_nan_affects_only_its_map(scene: SimpleNamespace) -> None:
    labels = scene.labels(1, 2, 8, 8).to(DEVICE)
    logits = scene.logits(labels.cpu(), 2).to(DEVICE)
    logits[0, 1, 4, 4] = torch.nan
    outcome = _kernels(logits, labels, RMIConfig(radius=2))
    assert outcome.result.terms.isnan().tolist() == [[False, True]]
    assert outcome.pixels.isnan().tolist() == [[False, True]]
    assert outcome.slope.isnan().any((2, 3)).tolist() == [[False, True]]


def test_without_pixel_losses(scene: SimpleNamespace) -> None:
    labels = scene.labels(1, 2, 8, 8).to(DEVICE)
    classes, active = labels.short(), torch.tensor([[True, False]], device=DEVICE)
    logits = scene.logits(labels.cpu(), 2).to(DEVICE)
    both = [
        cuda.compute_terms(logits, classes, active, radius=2, published=True, ridge=5e-4, pixels=pixels)
        for pixels in (True, False)
    ]
    assert torch.equal(both[0].terms, both[1].terms)
    assert (both[0].pixels > 0).all()
    assert not both[1].pixels.any()


@pytest.mark.skipif(not CUDA, reason="takes a GPU: maps of real size")
@pytest.mark.parametrize(
    "options", [{}, {"variant": "corrected"}, {"radius": 1}, {"radius": 5}, {"radius": 10}], ids=str
)
@pytest.mark.parametrize("contrast", [0.01, 2.0, 20.0])
def test_real_sizes(scene: SimpleNamespace, options: dict[str, Any], contrast: float) -> None:
    labels = scene.labels(2, 8, 224, 231, ignored=True).to(DEVICE)
    logits = scene.logits(labels.cpu(), 8, contrast=contrast).float().to(DEVICE)
    outcome = _agree(logits, labels, RMIConfig(**options), within=1e-6)
    again = _kernels(logits, labels, RMIConfig(**options))
    assert torch.equal(outcome.slope, again.slope)
    assert torch.equal(outcome.value, again.value)


@pytest.mark.skipif(not CUDA, reason="takes a GPU: nothing waits for it elsewhere")
def test_kernels_do_not_synchronize(scene: SimpleNamespace) -> None:
    labels = scene.labels(1, 3, 32, 32).to(DEVICE)
    logits = scene.logits(labels.cpu(), 3).float().to(DEVICE)
    classes, active = labels.short(), torch.ones(1, 3, dtype=torch.bool, device=DEVICE)
    whole = torch.ones(1, 30, 30, dtype=torch.bool, device=DEVICE)
    scale = torch.ones(1, 3, dtype=torch.float64, device=DEVICE)
    for mode in ("default", "error"):  # the first run compiles
        torch.cuda.set_sync_debug_mode(mode)
        try:
            outcome = cuda.compute_terms(
                logits, classes, active, radius=3, published=True, ridge=5e-4, pixels=True, whole=whole
            )
            cuda.compute_gradient(
                logits, classes, active, outcome.coefficients, outcome.offsets, scale, scale, radius=3, whole=whole
            )
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(("published", "drop"), [(True, False), (False, True)])
def test_operator_equals_the_cpu_operator(published: bool, drop: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 3, (2, 11, 12), generator=generator).repeat_interleave(2, 1)[:, :11]
    labels[:, 4, 5:8] = 255
    labels[1] = labels[1].clamp(max=1)
    logits = 2 * torch.randn(2, 3, 11, 12, generator=generator)
    variant, ignored = "published" if published else "corrected", "drop" if drop else "zero"
    config = RMIConfig(variant=variant, ignored=ignored, alpha=0.1)
    expected = torch.ops.segmi.region_forward(logits, labels, config.text, True, 255)
    options = (3, published, drop, config.ridge, config.absent_value, True, 255)
    got = cuda.forward(logits.to(DEVICE), labels.to(DEVICE), *options)
    counted = expected[3]
    for ours, theirs in zip(got[:5], expected[:5], strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-5, atol=1e-7)
    assert float(got[8]) == 0
    scale = torch.rand(2, 3, dtype=torch.float64, generator=generator)
    slope = torch.ops.segmi.region_backward(
        logits, labels, counted, expected[5], expected[6], scale, scale, config.text, 255
    )
    ours = cuda.backward(
        logits.to(DEVICE), labels.to(DEVICE), got[3], got[5], got[6], scale.to(DEVICE), scale.to(DEVICE), 3, drop, 255
    )
    torch.testing.assert_close(ours.cpu(), slope, rtol=1e-5, atol=1e-6)


def test_operator_returns_nan_for_invalid_input() -> None:
    options = (3, True, False, 5e-4, -3.8, True, 255)
    logits, labels = torch.zeros(1, 2, 6, 6, device=DEVICE), torch.zeros(1, 6, 6, dtype=torch.long, device=DEVICE)
    assert float(cuda.forward(logits, labels, *options)[8]) == 0
    logits[0, 1, 2, 2] = float("nan")
    assert cuda.forward(logits, labels, *options)[8].isnan()
    labels[0, 0, 0] = 7
    assert cuda.forward(torch.zeros_like(logits), labels, *options)[8].isnan()
