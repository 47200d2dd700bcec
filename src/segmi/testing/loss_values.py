"""Rules on the value and the gradient of a loss."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from segmi.losses import Objective
from segmi.testing.loss_subject import (
    CLASSES,
    LossSubject,
    differences,
    make_labels,
    make_logits,
    output_of,
    outputs_of,
    total,
)
from segmi.types import IGNORE_INDEX, Batch


def scalar(subject: LossSubject) -> Iterator[str]:
    """The value is a scalar that depends on the logits."""
    labels = make_labels(2, CLASSES, 12, 12, ignored=True)
    logits = make_logits(labels, CLASSES).requires_grad_()
    built = subject.built()
    if isinstance(built, Objective):
        value = subject.value(logits, labels)
    else:
        value = subject.objective(logits).loss(logits, labels)  # type: ignore[operator]
    if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point():
        shape = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        yield f"expected a floating-point tensor without dimensions, got {shape}. Fix: return the mean or the sum"
    elif not value.requires_grad:
        yield "expected a value with a gradient, got one without. Fix: use differentiable operations on the logits"


def derivative(subject: LossSubject) -> Iterator[str]:
    """The gradient is the derivative, in float64."""
    for channels in subject.channels:
        labels = make_labels(1, max(channels, 2), 6, 6, ignored=True)
        fixed = outputs_of(make_logits(labels, channels))["peer"]
        objective = subject.objective(fixed.logits)

        def value(logits: Tensor) -> Tensor:
            return total(objective({"net": output_of(logits), "peer": fixed}, Batch(logits, labels)))  # noqa: B023

        try:
            torch.autograd.gradcheck(value, make_logits(labels, channels).requires_grad_())
        except GradcheckError as error:
            reason = " ".join(str(error).split())[:300]
            yield f"expected the numerical derivative for {channels} channels, got: {reason}. Fix: correct `backward`"


def precision(subject: LossSubject) -> Iterator[str]:
    """Values are computed in at least float32, under autocast too."""
    labels = make_labels(2, CLASSES, 20, 18, ignored=True)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        logits = make_logits(labels, CLASSES).to(dtype)
        exact, exact_slope = subject.gradient(logits.double(), labels)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value, slope = subject.gradient(logits, labels)
        fix = "Fix: start with `segmi.losses.targets.upcast(logits)`, and avoid matrix products under autocast"
        if value.dtype != torch.float32:
            yield f"expected float32 for {dtype} logits under autocast, got {value.dtype}. {fix}"
        yield from differences(value.double(), exact, f"value for {dtype} logits", fix, 2e-5, 1e-6)
        error, limit = (slope.double() - exact_slope).norm(), 1e-5 if dtype == torch.float32 else 1e-2
        if not error <= limit * exact_slope.norm():
            relative = (error / exact_slope.norm()).item()
            yield f"expected a gradient within {limit:g} of float64 for {dtype} logits, got {relative:.2g}. {fix}"


def extremes(subject: LossSubject) -> Iterator[str]:
    """Value and gradient are finite for extreme labels and logits."""
    labels = make_labels(2, CLASSES, 12, 12)
    logits = make_logits(labels, CLASSES)
    cases = {
        "one class": (logits, torch.full_like(labels, 2)),
        "an absent class": (logits, labels.masked_fill(labels == 1, 0)),
        "constant logits": (torch.zeros_like(logits), labels),
        "saturated logits": (make_logits(labels, CLASSES, contrast=30.0, noise=0.0), labels),
        "logits of 10,000": (make_logits(labels, CLASSES, contrast=1e4), labels),
        "logits of 10,000 for wrong classes": (make_logits(labels, CLASSES, contrast=-1e4), labels),
    }
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        for case, (extreme, classes) in cases.items():
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                value, slope = subject.gradient(extreme.to(dtype), classes)
            if not (value.isfinite() and slope.isfinite().all()):
                given = f"the value {value.item():g}" + (
                    "" if slope.isfinite().all() else " and a gradient that is not"
                )
                fix = "Fix: use log_softmax and logsigmoid instead of logarithms of probabilities"
                yield f"{case} as {dtype}: expected a finite value and gradient, got {given}. {fix}"


def all_ignored(subject: LossSubject) -> Iterator[str]:
    """Without a valid pixel, the value is finite, attached to the graph, and has gradient 0."""
    fix = "Fix: divide by a count that is at least a small positive number, as `Term` does"
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        logits = torch.randn(2, CLASSES, 8, 8, dtype=dtype, generator=torch.Generator().manual_seed(0))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            value, slope = subject.gradient(logits, torch.full((2, 8, 8), IGNORE_INDEX))
        if not value.isfinite():
            yield f"expected a finite value for {dtype} logits if all pixels are ignored, got {value.item()}. {fix}"
        if slope.abs().max() != 0:
            yield f"expected gradient 0 for {dtype} logits if all pixels are ignored, got {slope.abs().max():g}. {fix}"


def empty_batch(subject: LossSubject) -> Iterator[str]:
    """An empty batch has the value 0, attached to the graph."""
    labels = torch.zeros(0, 8, 8, dtype=torch.uint8)
    for dtype in (torch.bfloat16, torch.float32):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            value, _ = subject.gradient(torch.zeros(0, CLASSES, 8, 8, dtype=dtype), labels)
        if value.item() != 0:
            yield f"expected 0 for a batch without images, got {value.item()}. Fix: return a `Term` with sum and count"


def repeatable(subject: LossSubject) -> Iterator[str]:
    """The same input gives the same value and gradient, bit by bit."""
    labels = make_labels(2, CLASSES, 12, 12, ignored=True)
    logits = make_logits(labels, CLASSES).float()
    first, again = (subject.gradient(logits, labels) for _ in range(2))
    if not all(map(torch.equal, first, again)):
        given = f"{first[0].item():.9g} and {again[0].item():.9g}"
        yield f"expected equal results of two calls, got {given}. Fix: draw random numbers from a generator with a seed"


def nan_logits(subject: LossSubject) -> Iterator[str]:
    """NaN anywhere in the logits gives NaN, so that diverged training is noticed."""
    labels = make_labels(1, 3, 12, 12)  # without class 3
    labels[0, 0, 0] = IGNORE_INDEX
    places = {"a valid pixel": (0, 0, 5, 5), "an ignored pixel": (0, 0, 0, 0), "an absent class": (0, 3, 5, 5)}
    for place, index in places.items():
        logits = make_logits(labels, CLASSES)
        logits[index] = float("nan")
        if not (value := subject.value(logits, labels)).isnan():
            fix = "Fix: add `segmi.losses.targets.read_targets(…).invalid` to the numerator"
            yield f"expected NaN for NaN at {place}, got {value.item():g}. {fix}"
