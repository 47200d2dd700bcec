"""Which of three routines computes region mutual information, and the operators by which PyTorch knows two of them.

``numba`` is compiled for the CPU, ``triton`` for CUDA; ``torch`` runs everywhere, has every option, and is slower.
The operators ``segmi::region_forward`` and ``segmi::region_backward`` are opaque to `torch.compile`, autocast and
data-parallel wrappers, which see shapes and gradients alone.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import Parameter

from segmi.losses.options import check_choice
from segmi.losses.rmi.config import RMIConfig, absent_value
from segmi.losses.targets import read_targets
from segmi.types import Labels, Logits

if TYPE_CHECKING:  # these import Numba
    from segmi.losses.rmi.cpu import RegionResult

Kernel = Literal["auto", "numba", "triton", "torch"]

_HOMES: Final[dict[Kernel, str]] = {"numba": "cpu", "triton": "cuda"}

_AUTOMATIC: Final[Kernel] = "numba"
"""Triton's kernels agree under its interpreter, but have yet to be run on a GPU: they must be asked for."""


def choose_kernel(logits: Logits, config: RMIConfig, kernel: Kernel = "auto") -> Kernel:
    """The routine that ``kernel`` stands for on such logits: ``numba``, ``triton`` or ``torch``.

    Raises:
        ValueError: an unknown name, or a routine that cannot do what is asked, with the reason.
    """
    check_choice("kernel", kernel, get_args(Kernel))
    if kernel == "torch":
        return kernel
    if kernel == "auto":
        return _AUTOMATIC if not _obstacle(_AUTOMATIC, logits, config) else "torch"
    obstacle = _obstacle(kernel, logits, config)
    if obstacle:
        raise ValueError(f"kernel: {kernel!r} {obstacle}; use 'auto' or 'torch'")
    return kernel


def _obstacle(kernel: Kernel, logits: Logits, config: RMIConfig) -> str:
    """Why a compiled routine cannot be used; empty where it can."""
    obstacle = machine_obstacle(kernel, logits)
    if obstacle:
        return obstacle
    if config.probability != "sigmoid" or config.pooling != "none":
        return f"expected probability 'sigmoid' and pooling 'none', got {config.probability!r} and {config.pooling!r}"
    if config.surrogate:
        return f"expected region mutual information itself, got {config.quantity!r} with shuffle {config.shuffle!r}"
    return ""


def machine_obstacle(kernel: Kernel, logits: Logits) -> str:
    """Why a compiled routine cannot be used here whatever is asked of it; empty where it can."""
    if find_spec(kernel) is None:
        return f"expected the package {kernel} to be installed, got none"
    if logits.device.type != _HOMES[kernel]:
        return f"expected logits on a device of type {_HOMES[kernel]!r}, got {logits.device.type!r}"
    if logits.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        return f"expected logits of at most 32 bits, got {logits.dtype}"
    return ""


class KernelResult(NamedTuple):
    """What an operator returns.

    Args:
        pixels: N×C float64, attached: the binary cross-entropy summed over valid pixels; 0 where not wanted.
        terms: N×C float64, attached: what is minimized, before the division by d.
        information: N×C float64: I_G in nats.
        counted: N×C bool: the pairs whose label varies over the windows.
        valid: () int64: how many pixels are not ignored.
        coefficients: N×C×d×2d float64: K.
        offsets: N×C×d float64: k₀.
        jittered: () int64: how many covariances needed more than their ridge.
        invalid: () float32: 0, or NaN where no loss can be computed.
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
    """Terms and pixel losses by the compiled routine of the device; differentiable once."""
    options = kernel_options(config, pixels)
    return KernelResult(*torch.ops.segmi.region_forward(logits, labels, *options.values(), ignore_index))


def kernel_options(config: RMIConfig, pixels: bool) -> dict[str, Any]:
    """What a compiled routine is told besides logits, labels and the ignore value, in its order."""
    reference = config.variant == "published"
    return {
        "radius": config.radius,
        "published": reference,
        "drop": config.ignored == "drop",
        "ridge": config.alpha if reference else config.relative_ridge,
        "absent": absent_value(config),
        "pixels": pixels,
    }


def is_plain(logits: Tensor) -> bool:
    """Whether nobody is tracing or transforming, so that a function may look at what its arguments hold."""
    return (
        type(logits) in (Tensor, Parameter)
        and not torch.compiler.is_compiling()
        and not torch._C._len_torch_dispatch_stack()
        and torch._C._functorch.peek_interpreter_stack() is None
    )


def _told(logits: Tensor, labels: Tensor, ignore_index: int, found: RegionResult) -> KernelResult:
    """The result of the CPU's kernel as tensors; ids that are neither class nor ignored are refused by name."""
    if found.unknown:
        read_targets(logits, labels, ignore_index)
    return KernelResult(
        found.pixels,
        found.terms,
        found.information,
        found.counted,
        torch.tensor(found.valid),
        found.coefficients,
        found.offsets,
        torch.tensor(found.jittered),
        torch.tensor(math.nan if found.poisoned else 0.0, dtype=torch.float32),
    )


_FORWARD: Final = (
    "(Tensor logits, Tensor labels, int radius, bool reference, bool drop, float ridge, float absent, bool pixels, "
    "int ignore_index) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)
_BACKWARD: Final = (
    "(Tensor logits, Tensor labels, Tensor counted, Tensor coefficients, Tensor offsets, Tensor term_scale, "
    "Tensor pixel_scale, int radius, bool drop, int ignore_index) -> Tensor"
)


# Not `torch.library.custom_op`, whose first call imports the whole of TorchDynamo: seconds that most never need.
_LIBRARY: Final = torch.library.Library("segmi", "DEF")
_LIBRARY.define("region_forward" + _FORWARD, tags=(torch.Tag.pt2_compliant_tag,))
_LIBRARY.define("region_backward" + _BACKWARD, tags=(torch.Tag.pt2_compliant_tag,))


@torch.library.impl(_LIBRARY, "region_forward", "CPU")
def _forward(
    logits: Tensor,
    labels: Tensor,
    radius: int,
    reference: bool,
    drop: bool,
    ridge: float,
    absent: float,
    pixels: bool,
    ignore_index: int,
) -> tuple[Tensor, ...]:
    from segmi.losses.rmi import cpu

    found = cpu.forward(
        logits.float(),
        labels,
        radius=radius,
        reference=reference,
        drop=drop,
        ridge=ridge,
        absent=absent,
        pixels=pixels,
        ignore_index=ignore_index,
    )
    return _told(logits, labels, ignore_index, found)


@torch.library.impl(_LIBRARY, "region_backward", "CPU")
def _backward(
    logits: Tensor,
    labels: Tensor,
    counted: Tensor,
    coefficients: Tensor,
    offsets: Tensor,
    term_scale: Tensor,
    pixel_scale: Tensor,
    radius: int,
    drop: bool,
    ignore_index: int,
) -> Tensor:
    from segmi.losses.rmi import cpu

    gradient = cpu.backward(
        logits.float(),
        labels,
        counted,
        coefficients,
        offsets,
        term_scale,
        pixel_scale,
        radius=radius,
        drop=drop,
        ignore_index=ignore_index,
    )
    return gradient.to(logits.dtype)


@torch.library.impl(_LIBRARY, "region_forward", "CUDA")
def _forward_cuda(*given: Any) -> tuple[Tensor, ...]:
    from segmi.losses.rmi.cuda import ops

    return ops.forward(*given)


@torch.library.impl(_LIBRARY, "region_backward", "CUDA")
def _backward_cuda(*given: Any) -> Tensor:
    from segmi.losses.rmi.cuda import ops

    return ops.backward(*given)


@torch.library.register_fake("segmi::region_forward", lib=_LIBRARY)
def _(logits: Tensor, labels: Tensor, radius: int, *_: Any) -> tuple[Tensor, ...]:
    n, c = logits.shape[:2]
    d = radius * radius

    def new(*shape: Any, dtype: torch.dtype = torch.float64) -> Tensor:
        return logits.new_empty(shape, dtype=dtype)

    return (
        new(n, c),
        new(n, c),
        new(n, c),
        new(n, c, dtype=torch.bool),
        new(dtype=torch.int64),
        new(n, c, d, 2 * d),
        new(n, c, d),
        new(dtype=torch.int64),
        new(dtype=torch.float32),
    )


@torch.library.register_fake("segmi::region_backward", lib=_LIBRARY)
def _(logits: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    logits, labels, ctx.radius, _, ctx.drop, *_, ctx.ignore_index = inputs
    found = KernelResult(*output)
    ctx.mark_non_differentiable(*found[2:])
    ctx.save_for_backward(logits, labels, found.counted, found.coefficients, found.offsets)


def _pull_back(ctx: Any, pixels: Tensor, terms: Tensor, *_: Tensor) -> tuple[Any, ...]:
    gradient = torch.ops.segmi.region_backward(
        *ctx.saved_tensors, terms, pixels, ctx.radius, ctx.drop, ctx.ignore_index
    )
    return gradient, None, None, None, None, None, None, None, None


def _refuse(ctx: Any, *_: Tensor) -> Any:
    raise RuntimeError(
        "region_mutual_information: expected to be differentiated once, got a second derivative, which its "
        "closed-form gradient does not have; use segmi.losses.region_mutual_information_plain for that"
    )


torch.library.register_autograd("segmi::region_forward", _pull_back, setup_context=_keep, lib=_LIBRARY)
torch.library.register_autograd("segmi::region_backward", _refuse, lib=_LIBRARY)
