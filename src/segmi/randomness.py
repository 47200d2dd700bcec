"""Random choices as pure functions of what they are for.

Nothing in segmi draws from a generator that stateful: a choice is keyed by (seed, purpose, epoch, index, …), so it
does not depend on the number of workers, on what ran before, or on whether the run was interrupted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final


def key(*parts: int | str) -> int:
    """A stable 63-bit seed for ``parts``; the same on every machine and in every process.

    Args:
        parts: whatever the choice depends on, for example ``key(seed, "crop", epoch, index)``.

    Example:
        >>> key(0, "crop", 3, 7) == key(0, "crop", 3, 7) != key(0, "crop", 7, 3)
        True
    """
    return _number(hashlib.blake2b(_text(parts), digest_size=8))


class Keys:
    """The keys that begin with the same parts: ``Keys(*parts)(last)`` is ``key(*parts, last)`` in a third of the time.

    Args:
        parts: those that they begin with, at least one.

    Example:
        >>> Keys(0, "crop", 3)(7) == key(0, "crop", 3, 7)
        True
    """

    def __init__(self, *parts: int | str) -> None:
        self._begun = hashlib.blake2b(_text(parts) + _BETWEEN.encode(), digest_size=8)

    def __call__(self, last: int | str) -> int:
        """The key that ends with ``last``."""
        hashed = self._begun.copy()
        hashed.update(_text((last,)))
        return _number(hashed)


_BETWEEN: Final = "\x1f"


def _text(parts: Sequence[int | str]) -> bytes:
    return _BETWEEN.join([f"{type(part).__name__}:{part}" for part in parts]).encode()


def _number(hashed: hashlib.blake2b) -> int:
    return int.from_bytes(hashed.digest(), "big") >> 1
