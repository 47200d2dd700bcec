"""The PyTorch routine in `torch.func` and `torch.compile`.

It reads values, so that it is opaque to both: two operators, and an autograd function whose batching rule adds the
batch to the images. The gradient is computed in the backward pass, in a second call of the routine.
"""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, Final

import torch
from torch import Tensor

from segmi.losses.rmi import torch as torch_routine
from segmi.losses.rmi.rmi_config import RMIConfig
from segmi.losses.rmi.torch import SECOND_DERIVATIVE, RegionTerms
from segmi.losses.targets import Targets, is_transformed

_LIBRARY: Final = torch.library.Library("segmi", "FRAGMENT")
_TAGS: Final = (torch.Tag.pt2_compliant_tag,)
_LIBRARY.define(
    "region_terms(Tensor logits, Tensor classes, Tensor valid, str config) -> (Tensor, Tensor, Tensor, Tensor)",
    tags=_TAGS,
)
_LIBRARY.define(
    "region_terms_gradient(Tensor upstream, Tensor logits, Tensor classes, Tensor valid, str config) -> Tensor",
    tags=_TAGS,
)


def in_transform() -> bool:
    """Return whether a transform of `torch.func` is active, without rules for the operators of kernels."""
    return is_transformed() and not torch.compiler.is_compiling()


def region_terms(logits: Tensor, targets: Targets, config: RMIConfig) -> RegionTerms:
    """Return the terms of all pairs, also in `torch.func` and `torch.compile`; differentiable once."""
    if not is_transformed():
        return torch_routine.region_terms(logits, targets, config)
    # operators take no objects; `torch.compile` traces no json
    text = ", ".join(f"{name!r}: {value!r}" for name, value in asdict(config).items())
    return RegionTerms(*_Terms.apply(logits, targets.classes, targets.valid, text))


def _apart(run: Callable[[], Any], device: torch.device) -> Any:
    """Call ``run`` in a thread of its own: the dispatcher excludes autograd in the thread of an operator."""
    stream = torch.cuda.current_stream(device) if device.type == "cuda" else None

    def work() -> Any:
        with torch.cuda.stream(stream):  # no effect for None
            return run()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def _compute(logits: Tensor, classes: Tensor, valid: Tensor, config: str) -> RegionTerms:
    nothing = torch.zeros((), device=logits.device)
    return torch_routine.region_terms(
        logits, Targets(classes, valid, nothing), RMIConfig(**literal_eval(f"{{{config}}}"))
    )


@torch.library.impl(_LIBRARY, "region_terms", "CompositeExplicitAutograd")
def _terms(logits: Tensor, classes: Tensor, valid: Tensor, config: str) -> tuple[Tensor, ...]:
    result = _apart(lambda: _compute(logits.detach(), classes, valid, config), logits.device)
    return *result[:3], torch.tensor(result.jittered, device=logits.device)


@torch.library.impl(_LIBRARY, "region_terms_gradient", "CompositeExplicitAutograd")
def _gradient(upstream: Tensor, logits: Tensor, classes: Tensor, valid: Tensor, config: str) -> Tensor:
    def run() -> Tensor:
        leaf = logits.detach().requires_grad_()
        return torch.autograd.grad(_compute(leaf, classes, valid, config).terms, leaf, upstream)[0]

    gradient: Tensor = _apart(run, logits.device)
    return gradient


@torch.library.register_fake("segmi::region_terms", lib=_LIBRARY)
def _(logits: Tensor, *_: Any) -> tuple[Tensor, ...]:
    pairs = logits.shape[:2]
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return (
        *(logits.new_empty(pairs, dtype=kind) for kind in (dtype, dtype, torch.bool)),
        logits.new_empty((), dtype=torch.int64),
    )


@torch.library.register_fake("segmi::region_terms_gradient", lib=_LIBRARY)
def _(upstream: Tensor, logits: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


class _Terms(torch.autograd.Function):
    @staticmethod
    def forward(logits: Tensor, classes: Tensor, valid: Tensor, config: str) -> tuple[Tensor, ...]:
        result: tuple[Tensor, ...] = torch.ops.segmi.region_terms(logits, classes, valid, config)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *tensors, ctx.config = inputs
        ctx.save_for_backward(*tensors)
        ctx.mark_non_differentiable(*output[1:])

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        return _Gradient.apply(upstream, *ctx.saved_tensors, ctx.config), None, None, None

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], *inputs: Any) -> tuple[tuple[Tensor, ...], Any]:
        *pairs, jittered = _Terms.apply(*_folded(info.batch_size, dims, inputs))
        split = [one.unflatten(0, (info.batch_size, -1)) for one in pairs]
        return (*split, jittered), (0, 0, 0, None)


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(upstream: Tensor, logits: Tensor, classes: Tensor, valid: Tensor, config: str) -> Tensor:
        gradient: Tensor = torch.ops.segmi.region_terms_gradient(upstream, logits, classes, valid, config)
        return gradient

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None: ...

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        raise RuntimeError(SECOND_DERIVATIVE)

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        gradient: Tensor = _Gradient.apply(*_folded(info.batch_size, dims, inputs))
        return gradient.unflatten(0, (info.batch_size, -1)), 0


def _folded(size: int, dims: tuple[int | None, ...], inputs: tuple[Any, ...]) -> list[Any]:
    # tensors with the batch of a transform and the images as their first dimension; the last input is the configuration
    *tensors, config = inputs
    return [
        *(
            (one.expand(size, *one.shape) if dim is None else one.movedim(dim, 0)).flatten(0, 1)
            for one, dim in zip(tensors, dims[:-1], strict=True)
        ),
        config,
    ]
