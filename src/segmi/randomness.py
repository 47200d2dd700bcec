"""Random choices as pure functions of what they are for.

Nothing in segmi draws from a generator that remembers: a choice is keyed by (seed, purpose, epoch, index, …), so it
does not depend on the number of workers, on what ran before, or on whether the run was interrupted.
"""

from __future__ import annotations

import hashlib


def key(*parts: int | str) -> int:
    """A stable 63-bit seed for ``parts``; the same on every machine and in every process.

    Args:
        parts: whatever the choice depends on, for example ``key(seed, "crop", epoch, index)``.

    Example:
        >>> key(0, "crop", 3, 7) == key(0, "crop", 3, 7) != key(0, "crop", 7, 3)
        True
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
