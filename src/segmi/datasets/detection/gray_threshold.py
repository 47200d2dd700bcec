"""The threshold between the two gray levels of binary masks with smoothed edges."""

from __future__ import annotations

from collections import Counter
from typing import Final

NEAR_SHARE: Final = 0.9  # a binary mask was smoothed if at least this share of its pixels is near one of two levels,
FLAT_SHARE: Final = 0.8  # and at least this share is almost equal to one of them


THIRD_SHARE: Final = 0.002  # a third level has at least this share of the pixels inside of regions


def levels_of(inside: Counter[int]) -> list[int]:
    """Return the gray levels of regions in smoothed masks, from the number of pixels of each value inside of regions.

    Example:
        >>> levels_of(Counter({0: 900, 1: 40, 127: 4, 128: 50, 255: 60, 70: 1}))
        [0, 128, 255]
    """
    span, total = max(inside, default=0) - min(inside, default=0), sum(inside.values())
    levels: list[int] = []
    for value, _ in inside.most_common():
        share = sum(count for other, count in inside.items() if abs(other - value) <= span / 16) / total
        if share >= THIRD_SHARE and all(abs(value - level) > span / 8 for level in levels):
            levels.append(value)
    return sorted(levels)


def threshold_of(pixels: Counter[int], inside: Counter[int]) -> tuple[int, float] | None:
    """Return the threshold between the two levels of smoothed binary masks, None if they have more levels.

    ``inside`` counts the pixels whose neighbors have nearly the same value, as in regions but not along edges.

    The second value is the share of the pixels that would change side if the threshold were a quarter of the range
    lower or higher.
    """
    low, high = min(pixels), max(pixels)
    middle = (low + high + 1) // 2
    below, above = ({v: n for v, n in pixels.items() if (v >= middle) == side} for side in (False, True))
    if not below or not above:
        return None
    ends = max(below, key=below.__getitem__), max(above, key=above.__getitem__)
    span, total = ends[1] - ends[0], sum(pixels.values())
    flat = sum(n for v, n in pixels.items() if min(abs(v - end) for end in ends) <= span / 64)
    near = sum(n for v, n in pixels.items() if min(abs(v - end) for end in ends) <= span / 8)
    between = sum(n for v, n in pixels.items() if abs(v - sum(ends) / 2) < span / 4)
    if near < NEAR_SHARE * total or flat < FLAT_SHARE * total or len(levels_of(inside)) > 2:
        return None
    return round(sum(ends) / 2 + 0.01), between / total


def threshold_remedy(threshold: int, changing: float) -> str:
    """Return the remedy that proposes a threshold."""
    return (
        f"for two classes, read the gray levels from {threshold} on as foreground: --threshold {threshold} "
        f"({changing:.2%} of the pixels would change side if it were a quarter of the range lower or higher)"
    )
