"""The compiled routines as PyTorch sees them: two operators, and the pass that computes value and gradient at once.

``segmi::region_forward`` and ``segmi::region_backward`` are opaque to `torch.compile`, autocast and data-parallel
wrappers, which see only shapes and gradients. `fused_region_sums` avoids the operators in eager mode on a CPU: it
computes the gradient in the forward pass, with predicted scales.
"""

from __future__ import annotations

import math
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import Tensor

from segmi.losses.compiled.grad_scale import GradScale, Scales
from segmi.losses.option_checks import check_choice
from segmi.losses.rmi.rmi_config import RMIConfig
from segmi.losses.rmi.windows import SECOND_DERIVATIVE
from segmi.losses.targets import read_targets
from segmi.types import Labels, Logits

if TYPE_CHECKING:  # imports Numba
    from segmi.losses.rmi.cpu import CPUResult


class KernelResult(NamedTuple):
    """Result of ``segmi::region_forward``.

    Args:
        pixels: N×C float64, attached: the binary cross-entropy summed over valid pixels; 0 if not wanted.
        terms: N×C float64, attached: the loss times d.
        information: N×C float64: I_G in nats.
        counted: N×C bool: the pairs whose label varies over the windows.
        valid: () int64: number of pixels that are not ignored.
        coefficients: N×C×d×2d float64: K.
        offsets: N×C×d float64: k₀; the derivative of the term with respect to the window P_i is ``K (P_i, Y_i) - k₀``.
        jittered: () int64: number of covariances that needed more than their ridge to be factored.
        invalid: () float32: 0, or NaN if no loss can be computed.
    """

    pixels: Tensor
    terms: Tensor
    information: Tensor
    counted: Tensor
    valid: Tensor
    coefficients: Tensor
    offsets: Tensor
    jittered: Tensor
    invalid: Tensor


def region_kernel_result(
    logits: Logits, labels: Labels, config: RMIConfig, ignore_index: int, *, pixels: bool
) -> KernelResult:
    """Return terms and pixel losses of the compiled routine of the device; differentiable once."""
    return KernelResult(*torch.ops.segmi.region_forward(logits, labels, config.text, pixels, ignore_index))


# --- float64 on CUDA

SUMS_VARIABLE: Final = "SEGMI_SUMS"
_FAST_FLOAT64: Final = {(6, 0), (7, 0), (8, 0), (9, 0), (10, 0)}  # compute capability, 1/2 of the rate of float32
_slow_float64: Final[dict[str, bool]] = {}  # by device


def sums_integers(device: torch.device) -> bool:
    """Return whether the kernels of CUDA sum integers, because float64 is slow on the device.

    ``SEGMI_SUMS``, ``integer`` or ``float64``, overrides the choice.
    """
    forced = os.environ.get(SUMS_VARIABLE)
    if forced:
        check_choice(SUMS_VARIABLE, forced, ("integer", "float64"))
        return forced == "integer"
    key = str(device)
    if key not in _slow_float64 and not torch.compiler.is_compiling():  # TorchDynamo cannot read the capability
        fast = device.type != "cuda" or torch.cuda.get_device_capability(device) in _FAST_FLOAT64
        _slow_float64[key] = not fast
    return _slow_float64.get(key, False)


def sums_description(device: torch.device) -> str:
    """Return the choice of `sums_integers` and its reason, for `segmi doctor`."""
    kind = "64-bit integers" if sums_integers(device) else "float64"
    if os.environ.get(SUMS_VARIABLE):
        return f"{kind}, set by {SUMS_VARIABLE}"
    capability = torch.cuda.get_device_capability(device)
    speed = "fast" if capability in _FAST_FLOAT64 else "slow"
    return f"{kind}: float64 is {speed} at compute capability {capability[0]}.{capability[1]}"


# --- operators

_FORWARD: Final = (
    "(Tensor logits, Tensor labels, str config, bool pixels, int ignore_index) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)
_BACKWARD: Final = (
    "(Tensor logits, Tensor labels, Tensor counted, Tensor coefficients, Tensor offsets, Tensor term_scale, "
    "Tensor pixel_scale, str config, int ignore_index) -> Tensor"
)

# Not `torch.library.custom_op`: its first call imports TorchDynamo, which takes seconds.
_LIBRARY: Final = torch.library.Library("segmi", "DEF")
_LIBRARY.define("region_forward" + _FORWARD, tags=(torch.Tag.pt2_compliant_tag,))
_LIBRARY.define("region_backward" + _BACKWARD, tags=(torch.Tag.pt2_compliant_tag,))


@torch.library.impl(_LIBRARY, "region_forward", "CPU")
def _forward_cpu(logits: Tensor, labels: Tensor, config: str, pixels: bool, ignore_index: int) -> tuple[Tensor, ...]:
    from segmi.losses.rmi import cpu

    result = cpu.forward(logits.float(), labels, RMIConfig.of_text(config), pixels, ignore_index)
    if result.unknown:
        read_targets(logits, labels, ignore_index)  # raises an error that lists the unknown ids
    invalid = torch.tensor(math.nan if result.invalid else 0.0, dtype=torch.float32)
    return KernelResult(
        result.pixels, result.terms, result.information, result.counted, torch.tensor(result.valid),
        result.coefficients, result.offsets, torch.tensor(result.jittered), invalid,
    )  # fmt: skip


@torch.library.impl(_LIBRARY, "region_backward", "CPU")
def _backward_cpu(logits: Tensor, *rest: Any) -> Tensor:
    from segmi.losses.rmi import cpu

    arguments = [*rest[:-2], RMIConfig.of_text(rest[-2]), rest[-1]]
    return cpu.backward(logits.float(), *arguments).to(logits.dtype)


@torch.library.impl(_LIBRARY, "region_forward", "CUDA")
def _forward_cuda(logits: Tensor, labels: Tensor, config: str, pixels: bool, ignore_index: int) -> tuple[Tensor, ...]:
    from segmi.losses.rmi import cuda

    options = RMIConfig.of_text(config)
    published, drop = options.variant == "published", options.ignored == "drop"
    return cuda.forward(
        logits, labels, options.radius, published, drop, options.ridge, options.absent_value, pixels, ignore_index
    )


@torch.library.impl(_LIBRARY, "region_backward", "CUDA")
def _backward_cuda(*rest: Any) -> Tensor:
    from segmi.losses.rmi import cuda

    options = RMIConfig.of_text(rest[-2])
    arguments = [*rest[:-2], options.radius, options.ignored == "drop", rest[-1]]
    return cuda.backward(*arguments)


@torch.library.register_fake("segmi::region_forward", lib=_LIBRARY)
def _(logits: Tensor, labels: Tensor, config: str, *_: Any) -> tuple[Tensor, ...]:
    n, c = logits.shape[:2]
    d = RMIConfig.of_text(config).dimension

    def new(*shape: Any, dtype: torch.dtype = torch.float64) -> Tensor:
        return logits.new_empty(shape, dtype=dtype)

    return KernelResult(
        pixels=new(n, c), terms=new(n, c), information=new(n, c), counted=new(n, c, dtype=torch.bool),
        valid=new(dtype=torch.int64), coefficients=new(n, c, d, 2 * d), offsets=new(n, c, d),
        jittered=new(dtype=torch.int64), invalid=new(dtype=torch.float32),
    )  # fmt: skip


@torch.library.register_fake("segmi::region_backward", lib=_LIBRARY)
def _(logits: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    logits, labels, ctx.config, _, ctx.ignore_index = inputs
    result = KernelResult(*output)
    ctx.mark_non_differentiable(*result[2:])
    ctx.save_for_backward(logits, labels, result.counted, result.coefficients, result.offsets)


def _differentiate(ctx: Any, pixels: Tensor, terms: Tensor, *_: Tensor) -> tuple[Any, ...]:
    gradient = torch.ops.segmi.region_backward(*ctx.saved_tensors, terms, pixels, ctx.config, ctx.ignore_index)
    return gradient, *[None] * 4


def _refuse(ctx: Any, *_: Tensor) -> Any:
    raise RuntimeError(SECOND_DERIVATIVE)


torch.library.register_autograd("segmi::region_forward", _differentiate, setup_context=_save, lib=_LIBRARY)
torch.library.register_autograd("segmi::region_backward", _refuse, lib=_LIBRARY)


# --- fused pass


def fused_region_sums(
    logits: Logits, labels: Labels, config: RMIConfig, ignore_index: int, *, pixels: bool, grad_scale: GradScale | None
) -> tuple[CPUResult, Tensor, Tensor]:
    """Return the result of the CPU routine, the sum of the pixel losses, and the sum of the terms over d.

    With ``class_reduction="present"`` only terms of pairs whose label varies are summed. Both sums are float32,
    attached to the graph, and NaN if no loss can be computed. If ``grad_scale`` predicts the right factors, the
    backward pass is free.
    """
    results: list[CPUResult] = []
    summed, terms = _FusedRegionSums.apply(logits, labels, grad_scale, config, pixels, ignore_index, results)
    return results[0], summed, terms


class _FusedRegionSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, grad_scale: GradScale | None, config: RMIConfig, pixels: bool,
        ignore_index: int, results: list[CPUResult],
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        from segmi.losses.rmi import cpu

        predict = None
        if grad_scale and grad_scale.was_predicted_right and ctx.needs_input_grad[0]:
            predict = partial(grad_scale.scales, *logits.shape[:2])
        result = cpu.forward(logits.float(), labels, config, pixels, ignore_index, predict)
        ctx.fused = None if result.gradient is None else result.gradient.to(logits.dtype)
        ctx.grad_scale, ctx.scales = grad_scale, result.scales
        ctx.config, ctx.ignore_index = config, ignore_index
        ctx.save_for_backward(logits, labels, result.counted, result.coefficients, result.offsets)
        results.append(result._replace(gradient=None))
        terms = result.terms.numpy()  # NumPy sums float64 pairwise; the order is part of the result
        varying = config.class_reduction == "present"
        summed = (terms[result.counted.numpy()] if varying else terms).sum() / config.dimension
        invalid = math.nan if result.invalid else 0.0
        return (
            torch.tensor(result.pixels.numpy().sum() + invalid, dtype=torch.float32),
            torch.tensor(summed + invalid, dtype=torch.float32),
        )

    @staticmethod
    def backward(ctx: Any, pixels: Tensor, terms: Tensor) -> tuple[Tensor | None, ...]:
        gradient, ctx.fused = ctx.fused, None  # returned once: the caller may write to it
        logits, labels, counted, coefficients, offsets = ctx.saved_tensors
        dimension, last = ctx.config.dimension, not torch.is_grad_enabled()  # last: no second derivative
        if gradient is not None and last:
            ctx.grad_scale.was_predicted_right = ctx.scales == Scales(pixels.item(), terms.item() / dimension)
        if gradient is None or not (last and ctx.grad_scale.was_predicted_right):
            gradient = torch.ops.segmi.region_backward(
                logits, labels, counted, coefficients, offsets, (terms.double() / dimension).expand(counted.shape),
                pixels.double().expand(counted.shape), ctx.config.text, ctx.ignore_index,
            )  # fmt: skip
        return gradient, *[None] * 6
