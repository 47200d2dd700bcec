"""Upper limit on the memory that building a network may allocate, so that an absurd width raises an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch.overrides import TorchFunctionMode

_FACTORIES: Final[frozenset[Callable[..., Any]]] = frozenset(
    {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.eye}
)


class MemoryLimitError(Exception):
    """More memory was requested than the limit allows."""


class MemoryLimit(TorchFunctionMode):
    """Context manager that limits the total size of new tensors to ``limit`` bytes.

    Raises:
        MemoryLimitError: inside the context, before the tensor that exceeds the limit is allocated.

    Example:
        >>> with MemoryLimit(1000):
        ...     torch.zeros(10_000)
        Traceback (most recent call last):
        ...
        segmi.models.memory_limit.MemoryLimitError: more than 1,000 bytes
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit, self.used = limit, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Add up the sizes of new tensors; other calls are unchanged."""
        kwargs = kwargs or {}
        if func in _FACTORIES:
            options = {name: value for name, value in kwargs.items() if name not in ("generator", "out")}
            try:
                result = func(*args, **{**options, "device": "meta"})  # the meta device allocates nothing
                self.used += result.numel() * result.element_size()
            except (RuntimeError, TypeError):  # the size overflows
                self.used = self.limit + 1
            if self.used > self.limit:
                raise MemoryLimitError(f"more than {self.limit:,} bytes")
        return func(*args, **kwargs)
