"""Seeds of random choices, as pure functions of their purpose.

All randomness is stateless: a choice is a function of (seed, purpose, epoch, index, …), so it does not depend on the
number of workers, on earlier choices or on interruptions of the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final


def key(*parts: int | str) -> int:
    """Return a stable 63-bit seed for ``parts``, the same on every machine and in every process.

    Args:
        parts: everything that the choice depends on, for example ``key(seed, "crop", epoch, index)``.

    Example:
        >>> key(0, "crop", 3, 7) == key(0, "crop", 3, 7) != key(0, "crop", 7, 3)
        True
    """
    return _number(hashlib.blake2b(_text(parts), digest_size=8))


class Keys:
    """Keys with the same first parts: ``Keys(*parts)(last)`` equals ``key(*parts, last)`` in a third of the time.

    Args:
        parts: the first parts, at least one.

    Example:
        >>> Keys(0, "crop", 3)(7) == key(0, "crop", 3, 7)
        True
    """

    def __init__(self, *parts: int | str) -> None:
        self._prefix = hashlib.blake2b(_text(parts) + _BETWEEN.encode(), digest_size=8)

    def __call__(self, last: int | str) -> int:
        """Return the key with the last part ``last``."""
        hashed = self._prefix.copy()
        hashed.update(_text((last,)))
        return _number(hashed)


_BETWEEN: Final = "\x1f"


def _text(parts: Sequence[int | str]) -> bytes:
    return _BETWEEN.join([f"{type(part).__name__}:{part}" for part in parts]).encode()


def _number(hashed: hashlib.blake2b) -> int:
    return int.from_bytes(hashed.digest(), "big") >> 1
