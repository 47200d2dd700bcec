"""Rules on labels, ignored pixels, and the properties that a loss declares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from segmi.testing.loss_subject import CLASSES, LossSubject, differences, make_labels, make_logits, outputs_of, total
from segmi.types import IGNORE_INDEX, Batch, Labels, Logits, Output

_ORDER: Final = torch.tensor([2, 0, 3, 1])


def ignore_values(subject: LossSubject) -> Iterator[str]:
    """``ignore_index`` can be any value."""
    labels = make_labels(2, CLASSES, 12, 12, ignored=True)
    logits = make_logits(labels, CLASSES)
    expected = subject.value(logits, labels)
    for other in (-1, -100, CLASSES, 77) if subject.makes_any else ():
        value = subject.value(logits, labels.masked_fill(labels == IGNORE_INDEX, other), other)
        if not torch.equal(value, expected):
            fix = "Fix: compare labels with the option `ignore_index` before they are used as an index"
            yield f"ignore_index={other}: expected {expected.item():g}, as with 255, got {value.item():g}. {fix}"


def label_types(subject: LossSubject) -> Iterator[str]:
    """Labels can have any integer type."""
    labels = make_labels(2, CLASSES, 12, 12)
    logits = make_logits(labels, CLASSES)
    expected = subject.value(logits, labels)
    failed: dict[torch.dtype, str] = {}
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16):
        try:
            value = subject.value(logits, labels.to(dtype))
            failed |= {} if torch.equal(value, expected) else {dtype: f"{value.item():g}"}
        except Exception as error:
            failed[dtype] = type(error).__name__
    if failed:
        given = ", ".join(f"{outcome} for {dtype}" for dtype, outcome in failed.items())
        yield f"expected {expected.item():g} for all types of labels, got {given}. Fix: use labels.long()"


def ignored_pixels(subject: LossSubject) -> Iterator[str]:
    """Logits of ignored pixels have no effect and no gradient, unlike the others."""
    labels = make_labels(2, CLASSES, 14, 13, ignored=True)
    logits = make_logits(labels, CLASSES)
    ignored = (labels == IGNORE_INDEX).unsqueeze(1)
    before, slope = subject.gradient(logits, labels)
    after, _ = subject.gradient(torch.where(ignored, 9.0 - logits, logits), labels)
    fix = "Fix: leave pixels labeled `ignore_index` out of every sum, with torch.where"
    yield from differences(after, before, "value with other logits at ignored pixels", fix)
    if (largest := slope[ignored.expand_as(slope)].abs().max()) != 0:
        yield f"expected gradient 0 at ignored pixels, got {largest:g}. {fix}"
    if slope.abs().max() == 0:
        yield "expected a gradient at valid pixels, got 0. Fix: use differentiable operations on the logits"


def invalid_labels(subject: LossSubject) -> Iterator[str]:
    """Unknown classes, floats and wrong shapes raise ValueError or TypeError."""
    labels = make_labels(1, CLASSES, 12, 12)
    logits = make_logits(labels, CLASSES)
    unknown = labels.clone()
    unknown[0, 0, 0] = CLASSES + 5
    cases: dict[str, tuple[Labels, type[Exception]]] = {
        "an unknown class": (unknown, ValueError),
        "labels of another size": (labels[:, 1:], ValueError),
        "labels with a channel dimension": (labels.unsqueeze(1), ValueError),
        "float labels": (labels.float(), TypeError),
    }
    for case, (given, expected) in cases.items():
        try:
            outcome = f"the value {subject.value(logits, given).item():g}"
        except expected:
            continue
        except Exception as error:
            outcome = type(error).__name__
        fix = "Fix: check the input with `segmi.losses.targets.read_targets`"
        yield f"{case}: expected {expected.__name__}, got {outcome}. {fix}"


def memory_layout(subject: LossSubject) -> Iterator[str]:
    """Strides of logits and labels have no effect."""
    labels = make_labels(2, CLASSES, 12, 10, ignored=True)
    logits = make_logits(labels, CLASSES)
    expected, slope = subject.gradient(logits, labels)
    strided = torch.stack([logits, logits], -1)[..., 0]
    for other in (logits.to(memory_format=torch.channels_last), strided):
        value, other_slope = subject.gradient(other, labels.mT.contiguous().mT)
        fix = "Fix: use reshape instead of view"
        yield from differences(value, expected, "value in another memory layout", fix)
        yield from differences(other_slope, slope, "gradient in another memory layout", fix)


def image_order(subject: LossSubject) -> Iterator[str]:
    """The order of the images of a batch has no effect."""
    labels = make_labels(3, CLASSES, 12, 12, ignored=True)
    logits, order = make_logits(labels, CLASSES), torch.tensor([2, 0, 1])
    before, slope = subject.gradient(logits, labels)
    after, permuted = subject.gradient(logits[order], labels[order])
    fix = "Fix: use sums or means over the batch"
    yield from differences(after, before, "value in another order of images", fix)
    yield from differences(permuted, slope[order], "gradient in another order of images", fix)


def half_batches(subject: LossSubject) -> Iterator[str]:
    """With scope ``image``, numerators and denominators of parts of a batch add up."""
    labels = make_labels(4, CLASSES, 12, 12, ignored=True)
    labels[0, 3:] = IGNORE_INDEX  # so that a mean of means is wrong
    logits = make_logits(labels, CLASSES)
    if not subject.declares or subject.objective(logits).scope != "image":
        return
    parts = [subject.terms(logits[part], labels[part]) for part in (slice(0, 1), slice(1, 4))]
    for name, term in subject.terms(logits, labels).items():
        numerator, denominator = (torch.stack([getattr(p[name], key) for p in parts]).sum() for key in term._fields[:2])
        value = term._replace(numerator=numerator, denominator=denominator).value
        fix = 'Fix: return sums over images, or declare scope = "batch"'
        yield from differences(
            value, term.value, "value of the summed terms of two parts of a batch", fix, 1e-12, 1e-12
        )


def invariances(subject: LossSubject) -> Iterator[str]:
    """The declared invariances hold, and no others."""
    labels = make_labels(2, CLASSES, 12, 12, ignored=True)
    logits = make_logits(labels, CLASSES)
    objective = subject.objective(logits)
    before = total(objective(outputs_of(logits), Batch(logits, labels))).item()
    for name, change in _CHANGES.items() if subject.declares else ():
        moved = name == "pixel permutation"  # features are permuted with the pixels, and not changed otherwise
        outputs = {
            network: Output(
                change(output.logits, labels)[0], {"body": change(output.logits, labels)[0] if moved else output.logits}
            )
            for network, output in outputs_of(logits).items()
        }
        after = total(objective(outputs, Batch(logits, change(logits, labels)[1]))).item()
        holds = abs(after - before) <= max(1e-9 * abs(before), 1e-11)
        if holds and name not in objective.invariances:
            yield f"{name}: expected a change of the value, got none. Fix: add {name!r} to `invariances`"
        if not holds and name in objective.invariances:
            fix = f"Fix: remove {name!r} from `invariances`"
            yield f"{name}: expected {before:g} as declared in `invariances`, got {after:g}. {fix}"


def denominators(subject: LossSubject) -> Iterator[str]:
    """Denominators depend on the labels only, and have no gradient."""
    labels = make_labels(2, CLASSES, 12, 12, ignored=True)
    logits = make_logits(labels, CLASSES)
    if not subject.declares:
        return
    blank = logits.new_zeros(()).expand_as(logits)
    found = subject.objective(logits).denominators(outputs_of(blank), Batch(logits, labels))
    terms = subject.terms(logits, labels)
    if found.keys() != terms.keys():
        yield f"expected denominators of {sorted(terms)}, got {sorted(found)}. Fix: return one per term"
        return
    for name, term in terms.items():
        if not torch.equal(found[name], term.denominator):
            given, expected = found[name].item(), term.denominator.item()
            yield f"{name}: expected {expected:g} as in the term, got {given:g}. Fix: correct `denominators`"
        if term.denominator.requires_grad:
            yield f"{name}: expected a denominator without gradient, got one with. Fix: compute it from labels only"


def _shifted(logits: Logits, labels: Labels) -> tuple[Tensor, Tensor]:
    return logits + torch.linspace(-2, 2, labels.numel(), dtype=logits.dtype).view(labels.shape).unsqueeze(1), labels


def _permuted_predictions(logits: Logits, labels: Labels) -> tuple[Tensor, Tensor]:
    return logits[:, _ORDER], labels


def _permuted_classes(logits: Logits, labels: Labels) -> tuple[Tensor, Tensor]:
    names = torch.cat([torch.argsort(_ORDER), torch.full((252,), IGNORE_INDEX)])
    return logits[:, _ORDER], names[labels]


def _permuted_pixels(logits: Logits, labels: Labels) -> tuple[Tensor, Tensor]:
    n, c, *size = logits.shape
    order = torch.randperm(labels.numel(), generator=torch.Generator().manual_seed(0))
    moved = logits.movedim(1, -1).reshape(-1, c)[order].view(n, *size, c).movedim(-1, 1)
    return moved, labels.flatten()[order].view(labels.shape)


_CHANGES: Final = {
    "logit shift": _shifted,
    "prediction permutation": _permuted_predictions,
    "class permutation": _permuted_classes,
    "pixel permutation": _permuted_pixels,
}
