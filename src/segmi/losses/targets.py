"""Validation of logits and labels, once for all losses."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from segmi.types import Labels, Logits


class Targets(NamedTuple):
    """Labels after `read_targets`."""

    classes: Tensor  # N×H×W int64 class indices, 0 at ignored pixels
    valid: Tensor  # N×H×W bool, False at ignored pixels
    # float32 scalar, 0 for valid input and NaN otherwise. Losses add it to their numerator, so that invalid input gives
    # NaN without a synchronization of the GPU
    invalid: Tensor


def read_targets(logits: Logits, labels: Labels, ignore_index: int) -> Targets:
    """Check logits against labels and separate ignored pixels.

    NaN in the logits, at ignored pixels too, makes `Targets.invalid` NaN. So does an unknown id on other devices than
    the CPU, where an error would need a synchronization.

    Shapes:
        logits: N×C×H×W, floating point; C = 1 is a binary problem with labels {0, 1}.
        labels: N×H×W, integer.
    Raises:
        TypeError: logits that are not floating point, labels that are not integer.
        ValueError: shapes or devices that do not match; on the CPU, an id that is neither a class nor ``ignore_index``.
    """
    check_targets(logits, labels)
    classes = class_count(logits)
    index = labels.long()
    valid = index != ignore_index
    unknown = valid & ((index < 0) | (index >= classes))
    # checked on the device, without a synchronization
    invalid = nan_marker(logits)
    if logits.device.type == "cpu":
        # on the CPU the check is free
        if unknown.any():
            raise ValueError(_unknown_ids(index[unknown], classes, ignore_index))
    else:
        invalid = invalid + _nan_if(unknown.any())
    return Targets(index.masked_fill(~valid | unknown, 0), valid, invalid)


def nan_marker(logits: Logits) -> Tensor:
    """Return a float32 scalar, NaN if a logit is NaN and 0 otherwise; see `Targets.invalid`."""
    return _nan_if(logits.detach().amax().isnan()) if logits.numel() else logits.new_zeros((), dtype=torch.float32)


def check_targets(logits: Logits, labels: Labels) -> None:
    """Check that dtypes, shapes and devices match, without reading any value."""
    if not logits.is_floating_point():
        raise TypeError(
            f"logits: expected a floating-point tensor, got {logits.dtype}. Fix: pass the output of the network"
        )
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(
            f"labels: expected class indices of an integer type, got {labels.dtype}. "
            "Fix: use one_hot.argmax(1) for one-hot labels, .long() for indices"
        )
    if logits.ndim != 4 or logits.shape[1] == 0:
        raise ValueError(
            f"logits: expected shape N×C×H×W with C ≥ 1, got {tuple(logits.shape)}. Fix: add the missing dimensions"
        )
    expected = (logits.shape[0], *logits.shape[2:])
    if tuple(labels.shape) != expected:
        raise ValueError(
            f"labels: expected shape N×H×W = {expected} to match logits of shape {tuple(logits.shape)}, got "
            f"{tuple(labels.shape)}. Fix: squeeze a channel dimension of labels, resize the logits to the labels"
        )
    if labels.device != logits.device:
        raise ValueError(
            f"labels: expected device {logits.device} as the logits, got {labels.device}. Fix: use labels.to()"
        )


def class_count(logits: Logits) -> int:
    """Return the number of classes: the number of channels, or 2 for the single channel of a binary problem."""
    return max(logits.shape[1], 2)


def upcast(logits: Logits) -> Tensor:
    """Return logits in at least float32."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _nan_if(condition: Tensor) -> Tensor:
    return torch.where(condition, math.nan, 0.0)


def _unknown_ids(ids: Tensor, classes: int, ignore_index: int) -> str:
    unknown = ids.unique().tolist()
    listing = ", ".join(map(str, unknown[:10])) + (f", … ({len(unknown)} in all)" if len(unknown) > 10 else "")
    return (
        f"labels: expected class ids 0 to {classes - 1} or the ignore value {ignore_index}, got also {listing}. "
        "Fix: map them to classes or to the ignore value, or give the network one channel per class"
    )
