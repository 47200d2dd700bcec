"""What the two generated datasets have in common: what they refuse, and the version of their drawing."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from segmi import randomness
from segmi.datasets.decode import MAX_PIXELS
from segmi.errors import UsageError

SMALLEST: Final = 16

MOST: Final = 1_000_000
"""Images of all splits together: beyond that the list alone takes gigabytes."""


def check_sizes(name: str, root: str | Path | None, *, train: int, val: int, height: int, width: int) -> None:
    """Refuses a root, numbers of images below 1 and images smaller than 16 × 16.

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
    if train + val > MOST:
        raise UsageError(f"{name}: expected at most {MOST:,} images, got {train + val:,}", "lower train or val")
    if height * width > MAX_PIXELS:
        raise UsageError(
            f"{name}: expected images of at most {MAX_PIXELS / 1e6:.0f} megapixels, got {width}×{height}",
            "lower height or width",
        )


@cache
def generator_version() -> str:
    """The drawing as 16 digits: a digest of the code, so that nobody can forget to raise a number."""
    folder = Path(__file__).parent
    files = [*sorted(folder.rglob("*.py")), Path(randomness.__file__)]
    return hashlib.blake2b(b"".join(path.read_bytes() for path in files), digest_size=8).hexdigest()
