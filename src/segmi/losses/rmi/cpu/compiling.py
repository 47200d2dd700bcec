"""How the functions of this folder are compiled: for the machine they run on, kept on the disk.

Sums of `reordered` functions may be taken in any order, which lets them be vectorized. NaN and infinities keep their
meaning everywhere. Loops are kept short and of one width of numbers, since a loop is vectorized for its widest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from numba import njit

_njit: Final[Any] = partial(njit, nogil=True, error_model="numpy")

compiled: Final[Callable[..., Any]] = _njit(_nrt=False, fastmath={"contract", "nsz"})
"""Without Numba's counting of references, which locks the bus at every slice, and so without making arrays."""
reordered: Final[Callable[..., Any]] = _njit(_nrt=False, fastmath={"reassoc", "contract", "nsz"})
allocating: Final[Callable[..., Any]] = _njit(fastmath={"contract", "nsz"})
"""For the functions that make arrays."""
entry: Final[Callable[..., Any]] = _njit(fastmath={"contract", "nsz"}, cache=True)
"""For the functions that Python calls, and what these call; only they are kept on the disk."""


def source_digest() -> str:
    """A digest of this folder's sources, which an entry closes over to make it part of what it is found by.

    Numba looks for changes in the file of the kept function alone, not in those of the functions that it calls.
    """
    files = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
