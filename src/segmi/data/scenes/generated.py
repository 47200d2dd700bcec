"""What the two generated data sets refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from segmi.errors import UsageError

SMALLEST: Final = 16


def check_sizes(name: str, root: str | Path | None, *, train: int, val: int, height: int, width: int) -> None:
    """Refuses a root, numbers of pictures below 1 and pictures smaller than 16 × 16.

    Raises:
        UsageError: naming the argument.
    """
    if root is not None:
        raise UsageError(
            f"{name} is generated and reads no files: expected no root, got {str(root)!r}", "leave the root out"
        )
    for argument, value, least in (
        ("train", train, 1),
        ("val", val, 1),
        ("height", height, SMALLEST),
        ("width", width, SMALLEST),
    ):
        if value < least:
            raise UsageError(f"{name}: expected {argument} of at least {least}, got {value}", f"raise {argument}")
