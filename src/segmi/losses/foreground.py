"""A warning for binary labels of 0 and 255 where 255 is the ignored value, so that no pixel is of class 1."""

from __future__ import annotations

import threading
import warnings

import torch

from segmi.types import Labels


def warn_without_foreground(labels: Labels, ignore_index: int) -> None:
    """Warn if the labels of a binary problem are 0 and ``ignore_index`` only.

    On CUDA a thread waits for the result, so that the caller does not; on other devices than these nothing is checked.
    """
    if labels.device.type == "cpu":
        _warn(bool(_lacks_foreground(labels, ignore_index)), ignore_index)
    elif labels.device.type == "cuda" and not torch.cuda.is_current_stream_capturing():
        found = torch.empty((), dtype=torch.bool, pin_memory=True)
        found.copy_(_lacks_foreground(labels, ignore_index), non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()

        threading.Thread(target=_warn_after, args=(copied, found, ignore_index), daemon=True).start()


def _warn_after(copied: torch.cuda.Event, found: torch.Tensor, ignore_index: int) -> None:
    copied.synchronize()
    _warn(bool(found), ignore_index)


def _lacks_foreground(labels: Labels, ignore_index: int) -> torch.Tensor:
    index = labels.long()
    ignored = index == ignore_index
    return ignored.any() & (ignored | (index == 0)).all()


def _warn(found: bool, ignore_index: int) -> None:
    if found:
        warnings.warn(
            f"labels: expected 0 and 1 for a binary problem, got only 0 and {ignore_index} in the first batch, and "
            f"{ignore_index} is ignored. Fix: if {ignore_index} is the foreground, pass (labels > 0).long()",
            stacklevel=7,
        )
