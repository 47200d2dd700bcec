"""Logits and labels as every loss takes them: checked once, ignored pixels told apart."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from segmi.types import Labels, Logits


class Targets(NamedTuple):
    """Labels after `read_targets`.

    Args:
        classes: N×H×W int64 class indices, 0 where ignored.
        valid: N×H×W bool, False where ignored.
        invalid: scalar, float32: 0, or NaN if something came that no loss can be computed from. It is added to every
            numerator, so that such a batch can neither pass for a good one nor make a GPU wait for the check.
    """

    classes: Tensor
    valid: Tensor
    invalid: Tensor


def read_targets(logits: Logits, labels: Labels, ignore_index: int) -> Targets:
    """Check logits against labels and separate ignored pixels.

    NaN among the logits, ignored pixels included, makes `Targets.invalid` NaN. So does an id that is neither class nor ignored
    on devices other than the CPU, where looking at it would stop the queue; on the CPU it is refused by name.

    Shapes:
        logits: N×C×H×W, any float type; C = 1 is a binary problem with labels {0, 1}.
        labels: N×H×W, any integer type.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: shapes or devices that do not match, or unknown ids.
    """
    check_targets(logits, labels)
    classes = class_count(logits)
    index = labels.long()
    valid = index != ignore_index
    unknown = valid & ((index < 0) | (index >= classes))
    invalid = poison_of(logits)
    if logits.device.type == "cpu":
        if unknown.any():
            raise ValueError(_unknown_ids(index[unknown], classes, ignore_index))
    else:
        invalid = invalid + _nan_if(unknown.any())
    return Targets(index.masked_fill(~valid | unknown, 0), valid, invalid)


def poison_of(logits: Logits) -> Tensor:
    """0, or NaN where NaN is among the logits: a scalar in float32, see `Targets.invalid`."""
    return _nan_if(logits.detach().amax().isnan()) if logits.numel() else logits.new_zeros((), dtype=torch.float32)


def check_targets(logits: Logits, labels: Labels) -> None:
    """Refuse types, shapes and devices that do not match; looks at no value."""
    _check_types(logits, labels)
    _check_shapes(logits, labels)


def class_count(logits: Logits) -> int:
    """How many ids a label may take: the channels, or 2 for the single channel of a binary problem."""
    return max(logits.shape[1], 2)


def upcast(logits: Logits) -> Tensor:
    """Logits in at least float32, in which every loss computes."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _nan_if(condition: Tensor) -> Tensor:
    return torch.where(condition, math.nan, 0.0)


def _check_types(logits: Tensor, labels: Tensor) -> None:
    if not logits.is_floating_point():
        raise TypeError(f"logits: expected a floating-point tensor, got {logits.dtype}; pass what the network returns")
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(
            f"labels: expected class indices of an integer type, got {labels.dtype}; "
            "use one_hot.argmax(1) for one-hot labels, .long() for indices"
        )


def _check_shapes(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 4 or logits.shape[1] == 0:
        raise ValueError(f"logits: expected shape N×C×H×W with C ≥ 1, got {tuple(logits.shape)}; add what is missing")
    expected = (logits.shape[0], *logits.shape[2:])
    if tuple(labels.shape) != expected:
        raise ValueError(
            f"labels: expected shape N×H×W = {expected} to match logits of shape {tuple(logits.shape)}, "
            f"got {tuple(labels.shape)}; squeeze a channel dimension of labels, resize the logits to the labels"
        )
    if labels.device != logits.device:
        raise ValueError(f"labels: expected device {logits.device} as the logits, got {labels.device}; use labels.to()")


def _unknown_ids(ids: Tensor, classes: int, ignore_index: int) -> str:
    found = ids.unique().tolist()
    listing = ", ".join(map(str, found[:10])) + (f", … ({len(found)} in all)" if len(found) > 10 else "")
    return (
        f"labels: expected class ids 0 to {classes - 1} or the ignore value {ignore_index}, got also {listing}; "
        "map them to classes or to the ignore value, or give the network as many channels as there are classes"
    )
