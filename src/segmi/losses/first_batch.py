"""Warnings on the first batch of a loss: input that is valid, but gives another loss than the one that is meant."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from segmi.losses.targets import upcast
from segmi.types import Labels, Logits

ROUNDING: Final = 0.01  # the largest error of a sum of probabilities in half precision


def warn_of_first_batch(logits: Logits, labels: Labels, ignore_index: int | None) -> None:
    """Warn if logits are probabilities, or if the labels of a binary problem are 0 and ``ignore_index`` only.

    On CUDA a thread waits for the result, so that the caller does not; on other devices than these nothing is checked.
    """
    if logits.ndim != 4 or not logits.numel() or not logits.is_floating_point():
        return
    if logits.shape[1] > 1:
        _warn_if(
            lambda: _are_probabilities(logits[:1].detach()),
            logits.device,
            "logits: expected the output of the network before the softmax, got probabilities, whose sum over the "
            "classes is 1. Fix: remove the softmax; the loss applies it",
        )
    if logits.shape[1] <= 2 and ignore_index is not None:
        _warn_if(
            lambda: _lacks_foreground(labels, ignore_index),
            labels.device,
            f"labels: expected 0 and 1 for a binary problem, got only 0 and {ignore_index} in the first batch, and "
            f"{ignore_index} is ignored. Fix: if {ignore_index} is the foreground, pass (labels > 0).long()",
        )


def _are_probabilities(logits: Logits) -> Tensor:
    values = upcast(logits)
    return (values >= 0).all() & ((values.sum(1) - 1).abs() < ROUNDING).all()


def _lacks_foreground(labels: Labels, ignore_index: int) -> Tensor:
    index = labels.long()
    ignored = index == ignore_index
    return ignored.any() & (ignored | (index == 0)).all()


def _warn_if(is_found: Callable[[], Tensor], device: torch.device, message: str) -> None:
    if device.type == "cpu":
        _warn(bool(is_found()), message)
    elif device.type == "cuda" and not torch.cuda.is_current_stream_capturing():
        found = torch.empty((), dtype=torch.bool, pin_memory=True)
        found.copy_(is_found(), non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
        threading.Thread(target=_warn_after, args=(copied, found, message), daemon=True).start()


def _warn_after(copied: torch.cuda.Event, found: Tensor, message: str) -> None:
    copied.synchronize()
    _warn(bool(found), message)


def _warn(found: bool, message: str) -> None:
    if found:
        warnings.warn(message, stacklevel=7)  # at the call of the loss
