"""Which images belong together, as far as their names tell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

FEWEST: Final = 4
"""Groups below which leaving whole ones out leaves out too much."""

_PATTERNS: Final = (
    (r"^(.+)/", "the folders"),
    (r"^(.+)[_-][a-zA-Z]*\d+$", "the names before their number"),
    (r"^([^/_-]+)[_-]", "the first part of the names"),
)


def proposed_group(stems: Sequence[str], *, drawn: bool = True) -> tuple[str | None, str]:
    """A regular expression for the groups, None where names tell none, and a note for people.

    Names tell groups if they fall into four or more, of which most have several images and none has more than half of
    all; where no split is drawn by them, two are enough, of any size.

    Example:
        >>> proposed_group([f"patient{p}_{slice}" for p in range(5) for slice in range(3)])
        ('^(.+)[_-][a-zA-Z]*\\\\d+$', '5 groups by the names before their number: images of one stay in one split')
        >>> proposed_group(["a", "b", "c"])[0] is None
        True
    """
    for pattern, kind in _PATTERNS:
        compiled = re.compile(pattern)
        found = [compiled.search(stem) for stem in stems]
        if not stems or not all(found):
            continue
        sizes = Counter(match[1] for match in found if match)
        several = sum(size > 1 for size in sizes.values())
        enough = len(sizes) >= (FEWEST if drawn else 2) and 2 * several >= len(sizes)
        if enough and (not drawn or 2 * max(sizes.values()) <= len(stems)):
            promise = ": images of one stay in one split" if drawn else ""
            return pattern, f"{len(sizes)} groups by {kind}{promise}"
    numbered = Counter(re.sub(r"\d+", "#", stem) for stem in stems)
    if (
        drawn
        and len(stems) > 2
        and len(numbered) == 1
        and re.search(r"frame|fr|seq|video|clip", next(iter(numbered)).lower())
    ):
        return None, (
            "the names look like the frames of one video: neighbors are alike, so val will flatter; give frames that "
            "lie apart in time to val, with folders or lists"
        )
    return None, "names tell no groups: each image stands for itself"
