"""Check of a GPU kernel against the PyTorch routine, on the first use on a device.

Both compute the same small cases. The kernel is used only if values and gradients agree to `TOLERANCE` of their largest
element; otherwise, and if the kernel cannot be compiled or run, a warning is logged once and PyTorch is used. The
result is kept in `cache_folder`, per device, version of PyTorch and of the compiler, and sources.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from segmi.losses.compiled import is_eager
from segmi.losses.compiled.kernel_cache import cache_folder, source_digest

TOLERANCE: Final = 1e-5

Values = Callable[[str, torch.device], Sequence[Tensor]]
"""Computes the cases with a kernel on a device: values and gradients."""

log = logging.getLogger(__name__)
_reasons: Final[dict[tuple[str, str], str]] = {}  # by kernel and device; empty if the kernel agrees


def agrees(kernel: str, logits: Tensor, values: Values, sources: Path, mode: str = "") -> bool:
    """Return whether a kernel agrees with PyTorch on the device of these logits; checked once per device.

    While a graph is traced or captured nothing can be checked, so an unchecked kernel is not used.

    Args:
        kernel: the name of the kernel and of the package that compiles it.
        logits: only the device matters.
        values: computes the cases; also called with the kernel ``torch``.
        sources: folder of the kernel's sources.
        mode: how the kernel computes, if it can do so in several ways; each is checked.
    """
    key = kernel + (mode and f" ({mode})"), str(logits.device)
    if key not in _reasons:
        if not is_eager(logits) or (logits.is_cuda and torch.cuda.is_current_stream_capturing()):
            return False
        _reasons[key] = _remembered_reason(kernel, logits.device, values, sources, key[0])
        if _reasons[key]:
            log.warning("segmi: the kernel %r is not used on %s: %s; PyTorch is used", *key, _reasons[key])
    return not _reasons[key]


def checked_kernels() -> list[dict[str, str]]:
    """Return the kept results, for `segmi doctor`: kernel, device and the reason not to use the kernel, if any."""
    folder = cache_folder()
    paths = sorted(folder.glob("check-*.json")) if folder else []
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def _remembered_reason(kernel: str, device: torch.device, values: Values, sources: Path, shown: str) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    key = "\n".join([shown, name, torch.__version__, version(kernel), source_digest(sources)])
    folder = cache_folder()
    path = folder and folder / f"check-{kernel}-{sha256(key.encode()).hexdigest()[:16]}.json"
    if path and path.exists():
        with suppress(ValueError, KeyError, OSError):
            return str(json.loads(path.read_text(encoding="utf-8"))["reason"])
    reason = difference(values, kernel, device)
    if path:
        with suppress(OSError):
            path.write_text(json.dumps({"kernel": shown, "device": name, "reason": reason}) + "\n", encoding="utf-8")
    return reason


def difference(values: Values, kernel: str, device: torch.device) -> str:
    """Return how a kernel differs from PyTorch, or an empty string if it agrees."""
    try:
        for got, expected in zip(values(kernel, device), values("torch", device), strict=True):
            error = ((got - expected).abs().max() / expected.abs().max()).item()
            if not error <= TOLERANCE:  # NaN is an error too
                return f"expected a relative difference of at most {TOLERANCE} to PyTorch, got {error:.1e}"
    except Exception as problem:  # compilers and drivers raise errors of any type
        return f"{type(problem).__name__}: {str(problem).strip().partition(chr(10))[0]}"
    return ""
