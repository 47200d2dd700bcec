"""A bound on the memory that building a network may take, so that an absurd width is an error and not a crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch.overrides import TorchFunctionMode

_MAKERS: Final[frozenset[Callable[..., Any]]] = frozenset(
    {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.eye}
)


class AllocationError(Exception):
    """More memory was asked for than was allowed."""


class BoundedAllocation(TorchFunctionMode):
    """Context in which new arrays may have so many bytes together, and no more.

    Args:
        most: that number of bytes.

    Raises:
        AllocationError: inside, before the array that is too much is made.

    Example:
        >>> with BoundedAllocation(1000):
        ...     torch.zeros(10_000)
        Traceback (most recent call last):
        ...
        segmi.models.allocation.AllocationError: more than 1,000 bytes
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.used = most, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Look at the size of what is about to be made; everything else passes."""
        kwargs = kwargs or {}
        if func in _MAKERS:
            self.used += self._bytes(func, args, kwargs)
            if self.used > self.most:
                raise AllocationError(f"more than {self.most:,} bytes")
        return func(*args, **kwargs)

    def _bytes(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        like = {name: value for name, value in kwargs.items() if name not in ("generator", "out")}
        try:
            made = func(*args, **{**like, "device": "meta"})
        except (RuntimeError, TypeError):  # a size beyond what can be counted
            return self.most + 1
        return made.numel() * made.element_size()
