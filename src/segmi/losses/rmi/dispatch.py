"""Which routine computes region mutual information, and one result for all of them.

- ``numba``: `segmi.losses.rmi.cpu`, compiled for the CPU;
- ``triton``: `segmi.losses.rmi.cuda`, compiled for CUDA: one pass over the logits for sigmoids without pooling, else
  and for ablations the sums over windows of maps that PyTorch computes and differentiates;
- ``torch``: `segmi.losses.rmi.torch`, runs everywhere and is slower.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor

from segmi.losses.base import Diagnostic, Term
from segmi.losses.compiled import is_eager, kernel_obstacle
from segmi.losses.compiled.grad_scale import GradScale
from segmi.losses.compiled.kernel_cache import ABLATIONS_MODULE, CELLS_MODULE, RMI_MODULE, is_compiled, kernel_mode
from segmi.losses.compiled.kernel_check import agrees
from segmi.losses.option_checks import check_choice
from segmi.losses.pixel.binary_cross_entropy import PixelKernel, binary_cross_entropy_term
from segmi.losses.rmi.covariances import MOVES_ABSENT_CLASSES
from segmi.losses.rmi.maps import counted_pairs, pooled_size
from segmi.losses.rmi.operators import fused_region_sums, region_kernel_result, sums_integers
from segmi.losses.rmi.rmi_config import Kernel, Pooling, Probability, RMIConfig, Variant
from segmi.losses.rmi.torch import region_terms
from segmi.losses.targets import Targets, check_targets, ignore_value, is_transformed, read_targets, upcast
from segmi.types import Labels, Logits

__all__ = ["region_kernel"]

_TRITON_SOURCES: Final = Path(__file__).parent / "cuda"


def region_kernel(
    logits: Logits, *, probability: Probability = "sigmoid", pooling: Pooling = "none", kernel: Kernel = "auto"
) -> Kernel:
    """Return which routine `region_mutual_information` uses with these options: ``numba``, ``triton`` or ``torch``.

    Shapes: logits N×C×H×W, any float type and device.
    Raises: ValueError for a routine that cannot run with these options, with the reason.
    Example:
        >>> region_kernel(torch.zeros(1, 2, 8, 8)), region_kernel(torch.zeros(1, 2, 8, 8, dtype=torch.float64))
        ('numba', 'torch')
    """
    stride = 1 if pooling == "none" else 2
    return choose_kernel(logits, RMIConfig(probability=probability, pooling=pooling, stride=stride), kernel)


def cpu_module(config: RMIConfig) -> str:
    """Return the module with the routine ``numba`` for these options, see `segmi.losses.compiled.kernel_cache`."""
    if config.needs_cells:
        return CELLS_MODULE
    return ABLATIONS_MODULE if config.quantity in MOVES_ABSENT_CLASSES else RMI_MODULE


def choose_kernel(logits: Logits, config: RMIConfig, kernel: Kernel = "auto") -> Kernel:
    """Return the routine that ``kernel`` selects for these logits: ``numba``, ``triton`` or ``torch``.

    Raises:
        ValueError: an unknown name, or a routine that cannot run with these options, with the reason.
    """
    check_choice("kernel", kernel, get_args(Kernel))
    if kernel == "torch":
        return kernel
    if kernel == "auto":
        if kernel_mode() == "off":
            return "torch"
        if not _obstacle("numba", logits, config):
            return "numba"
        usable = not _obstacle("triton", logits, config) and agrees(
            "triton", logits, _check_values, _TRITON_SOURCES, "integers" if sums_integers(logits.device) else "float64"
        )
        return "triton" if usable else "torch"
    obstacle = _obstacle(kernel, logits, config)
    if obstacle:
        raise ValueError(f"kernel: {kernel!r} {obstacle}. Fix: use 'auto' or 'torch'.")
    return kernel


def _obstacle(kernel: Literal["numba", "triton"], logits: Logits, config: RMIConfig) -> str:
    """Return why a compiled routine cannot be used, or an empty string."""
    obstacle = kernel_obstacle(kernel, logits)
    if not obstacle and kernel == "numba" and config.quantity != "information" and not is_eager(logits):
        return "expected no tracing or functional transform around an ablation"  # its autograd needs eager mode
    return obstacle


def _check_values(kernel: str, device: torch.device) -> list[Tensor]:
    """Compute values and gradients of small cases with ignored pixels and a class that is absent from an image."""
    generator, results = torch.Generator().manual_seed(0), list[Tensor]()
    labels = torch.randint(0, 2, (2, 6, 6), generator=generator).repeat_interleave(4, 1).repeat_interleave(4, 2)
    labels[1, :5, 3:7] = 255
    pooled = RMIConfig(variant="corrected", probability="softmax", pooling="average", stride=2)
    for config in (*map(RMIConfig, (3, 3), get_args(Variant)), pooled, RMIConfig(quantity="error_determinant")):
        logits = torch.randn(2, 3, 24, 24, generator=generator).to(device).requires_grad_()
        result = compute_regions(
            logits, labels.to(device), config, 255, cast(Kernel, kernel), pixels=True, pixel_kernel="torch"
        )
        for value in (result.numerator, result.pixels):  # separately, since gradients of pixels are larger
            results += [value.detach(), *torch.autograd.grad(value, logits, retain_graph=True)]
    return results


class RegionResult(NamedTuple):
    """Region terms of the N×C (image, class) pairs, and the pixel loss of the same pass.

    Args:
        numerator: () attached: the sum of the terms over d, of all pairs, or of those that vary if pairs are counted;
            NaN if no loss can be computed.
        information: N×C, I_G in nats, at least 0.
        counted: N×C bool, see `segmi.losses.rmi.maps.counted_pairs`.
        jittered: () number of covariances that needed more than their ridge to be factored.
        invalid: () 0, or NaN if no loss can be computed; see `segmi.losses.targets.Targets`.
        pixels: () attached: the binary cross-entropy summed over classes and valid pixels; 0 if not wanted.
        valid: () number of pixels that are not ignored; 0 if not wanted.
    """

    numerator: Tensor
    information: Tensor
    counted: Tensor
    jittered: Tensor
    invalid: Tensor
    pixels: Tensor
    valid: Tensor


def compute_regions(
    logits: Logits,
    labels: Labels,
    config: RMIConfig,
    ignore_index: int | None,
    kernel: Kernel,
    *,
    pixels: bool = False,
    grad_scale: GradScale | None = None,
    pixel_kernel: PixelKernel = "auto",
) -> RegionResult:
    """Run the routine that `choose_kernel` selects.

    Args:
        logits, labels, config, ignore_index, kernel: as in `region_mutual_information`.
        pixels: whether to compute the pixel loss, which compiled routines do in the same pass.
        grad_scale: predicts the factors of the sums.
        pixel_kernel: the routine of the pixel loss if the terms are computed by PyTorch.
    """
    check_targets(logits, labels, ignore_index)
    check_windows(logits, config)
    chosen, targets = choose_kernel(logits, config, kernel), None
    if chosen == "numba" and is_eager(logits) and not is_compiled(cpu_module(config), wait=kernel == "numba"):
        chosen = pixel_kernel = "torch"  # until the kernel is compiled
    if is_transformed() and not torch.compiler.is_compiling():
        chosen = "torch"  # the operators of the kernels have no rules for `torch.func`
    if chosen == "torch" or (chosen == "triton" and (config.needs_cells or config.is_ablation)):
        targets = read_targets(logits, labels, ignore_index)
        result = _compute_with_torch(logits, targets, config, triton=chosen == "triton")
    else:
        one_pass = pixels and (config.probability == "sigmoid" or chosen == "numba")
        result = _compute_compiled(logits, labels, config, ignore_index, pixels=one_pass, grad_scale=grad_scale)
        if one_pass:
            return result
    if not pixels:
        return result
    term = binary_cross_entropy_term(
        logits, labels, ignore_index=ignore_index, kernel=pixel_kernel, grad_scale=grad_scale, targets=targets
    )
    return result._replace(pixels=term.numerator, valid=term.denominator)


def _compute_compiled(
    logits: Logits,
    labels: Labels,
    config: RMIConfig,
    ignore_index: int | None,
    *,
    pixels: bool,
    grad_scale: GradScale | None,
) -> RegionResult:
    if logits.device.type == "cpu" and is_eager(logits):  # without the operators
        return _compute_fused(logits, labels, config, ignore_index, pixels=pixels, grad_scale=grad_scale)
    compiled = region_kernel_result(logits, labels, config, ignore_value(ignore_index), pixels=pixels)
    dtype = upcast(logits).dtype
    return RegionResult(
        numerator=_numerator(compiled.terms, compiled.counted, config).to(dtype) + compiled.invalid,
        information=compiled.information.clamp(min=0).to(dtype),
        counted=compiled.counted,
        jittered=compiled.jittered,
        invalid=compiled.invalid,
        pixels=compiled.pixels.sum().to(dtype) + compiled.invalid,
        valid=compiled.valid.to(dtype),
    )


def _compute_fused(
    logits: Logits,
    labels: Labels,
    config: RMIConfig,
    ignore_index: int | None,
    *,
    pixels: bool,
    grad_scale: GradScale | None,
) -> RegionResult:
    result, summed, numerator = fused_region_sums(
        logits, labels, config, ignore_value(ignore_index), pixels=pixels, grad_scale=grad_scale
    )
    if result.unknown:
        read_targets(logits, labels, ignore_index)  # raises an error that lists the unknown ids
    return RegionResult(
        numerator=numerator,
        information=result.information.clamp(min=0).float(),
        counted=result.counted,
        jittered=torch.tensor(result.jittered),
        invalid=torch.tensor(math.nan if result.invalid else 0.0, dtype=torch.float32),
        pixels=summed,
        valid=torch.tensor(result.valid, dtype=torch.float32),
    )


def _compute_with_torch(logits: Logits, targets: Targets, config: RMIConfig, *, triton: bool) -> RegionResult:
    result = region_terms(logits, targets, config, triton=triton)
    nothing = torch.zeros((), dtype=result.terms.dtype, device=logits.device)
    return RegionResult(
        numerator=_numerator(result.terms, result.counted, config).to(upcast(logits).dtype) + targets.invalid,
        information=result.information.clamp(min=0),
        counted=result.counted,
        jittered=result.jittered,
        invalid=targets.invalid,
        pixels=nothing,
        valid=nothing,
    )


def _numerator(terms: Tensor, counted: Tensor, config: RMIConfig) -> Tensor:
    if config.class_reduction == "present":
        terms = torch.where(counted, terms, 0)
    return terms.sum() / config.dimension


def check_windows(logits: Logits, config: RMIConfig) -> None:
    """Check that the windows of ``config`` fit into the logits."""
    if config.probability == "softmax" and logits.shape[1] == 1:
        raise ValueError(
            "logits: expected two or more channels for probability 'softmax', which makes a single one 1 everywhere, "
            "got 1. Fix: use probability 'sigmoid'."
        )
    (height, width), radius = logits.shape[2:], config.radius
    cells = pooled_size((height, width), config)  # height and width of the feature grid
    if min(cells) < radius and config.pooling == "none":
        raise ValueError(
            f"logits: expected images of at least {radius}×{radius} pixels, the window, got {height}×{width}. "
            "Fix: use larger crops or a smaller radius."
        )
    if min(cells) < radius:
        raise ValueError(
            f"logits: expected images of at least {radius}×{radius} cells, the window, after pooling by "
            f"{config.stride}, got {cells[0]}×{cells[1]} cells of {height}×{width} pixels. "
            "Fix: use larger crops, a smaller stride or a smaller radius."
        )


# --- terms


def region_term(logits: Logits, result: RegionResult, config: RMIConfig) -> Term:
    """Return the loss as a ratio whose denominator counts images or pairs.

    Diagnostics: ``I_G`` by class, in nats per window, averaged over the images whose label varies; ``jittered``,
    the share of their covariances that needed more than the ridge.
    """
    pairs = result.counted.to(result.information.dtype)  # N×C, 1 where counted
    diagnostics = {
        "I_G": Diagnostic((result.information.detach() * pairs).sum(0), pairs.sum(0)),
        "jittered": Diagnostic(result.jittered.to(pairs.dtype), pairs.sum()),
    }
    return Term(result.numerator, _denominator(logits, result.counted, config), diagnostics=diagnostics)


def region_denominator(logits: Logits, labels: Labels, config: RMIConfig, ignore_index: int | None) -> Tensor:
    """Return the denominator of `region_term` without computing the loss."""
    check_windows(logits, config)
    targets = read_targets(logits, labels, ignore_index)
    present = config.class_reduction == "present"
    return _denominator(logits, counted_pairs(targets, logits.shape[1], config) if present else None, config)


def _denominator(logits: Tensor, counted: Tensor | None, config: RMIConfig) -> Tensor:
    dtype = upcast(logits).dtype
    if config.class_reduction == "present" and counted is not None:
        return counted.sum().to(dtype)
    images, channels = logits.shape[:2]
    averaged = images if config.class_reduction == "sum" else images * channels
    return torch.full((), float(averaged), dtype=dtype, device=logits.device)
