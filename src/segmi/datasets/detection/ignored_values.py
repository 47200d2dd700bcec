"""The ignored value of masks without a list of classes: 255, unless it can be a class."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from segmi.datasets.custom.dataset_config import Value
from segmi.datasets.detection.mask_values import ISOLATED_SHARE, MaskValues
from segmi.errors import UsageError, counted
from segmi.types import IGNORE_INDEX

STRAY_SHARE: Final = 0.2
"""Values beside 0 and 255 are strays of a binary mask if they cover less than this share of the pixels of 255."""

LARGEST_SINGLE_ID: Final = 10  # the value between 0 and 255 is a gray level, not the number of a class, above this one


def check_ignored(masks: MaskValues, ignored: Sequence[Value]) -> None:
    """Refuse ignored colors for masks of values, and ignored values for masks of colors."""
    wrong = [str(one) if isinstance(one, int) else " ".join(map(str, one)) for one in ignored]
    wrong = [text for text, one in zip(wrong, ignored, strict=True) if isinstance(one, int) == masks.colored]
    if wrong:
        kind, form = ("colors", "colors such as '0 0 0'") if masks.colored else ("values", "values such as 255")
        raise UsageError(
            f"--ignored: expected {kind}, as the masks have, got {', '.join(wrong)}", f"give {form}, or none"
        )


def guess_ignored(masks: MaskValues) -> tuple[list[int], list[str]]:
    """Return the ignored values of index masks, and notes with their shares.

    255 is a class if 0 is the only other value, or if the values are evenly spaced gray levels. It is ignored if it
    occurs together with other classes.

    Raises:
        UsageError: 255 is the only foreground of some files, or other values are rare; the message lists the choices.
    """
    rest = [value for value in masks.values if value != IGNORE_INDEX]
    if IGNORE_INDEX not in masks.pixels or masks.threshold is not None:
        return [], []
    if len(rest) < 2:
        return [], ["255 is a class, since 0 is the only other value"] if rest == [0] else []
    numbered = rest == list(range(rest[0], rest[0] + len(rest)))
    steps = {b - a for a, b in zip(masks.values, masks.values[1:], strict=False)}
    others = [value for value in rest if value]
    grainy = [value for value in others if masks.isolated[value] > ISOLATED_SHARE * masks.pixels[value]]
    if not numbered and len(rest) > 2 and max(steps) - min(steps) <= 1 and not grainy:
        return [], ["255 is a class, since the values are evenly spaced"]
    with_it = sum(count for values, count in masks.together.items() if IGNORE_INDEX in values and len(values) > 1)
    plain = masks.together[frozenset((0, IGNORE_INDEX))]
    few = len(rest) == 2
    stray = sum(masks.pixels[value] for value in others) < STRAY_SHARE * masks.pixels[IGNORE_INDEX] or (
        2 * len(grainy) > len(others) or (few and others[-1] > LARGEST_SINGLE_ID)
    )
    if (plain > 0 if few else 2 * plain >= with_it) or (stray and (few or not numbered)):
        raise _ambiguous(masks, rest, plain)
    share = masks.share(IGNORE_INDEX)
    note = f"255 ({share:.2%} of the pixels) is ignored, since there are other values"
    if plain:
        note += f"; {counted(plain, 'mask')} with 0 and 255 only: check that 255 is not the foreground there"
    return [IGNORE_INDEX], [note]


def _ambiguous(masks: MaskValues, rest: list[int], plain: int) -> UsageError:
    others = [value for value in rest if value]
    listed = ", ".join(map(str, others[:6])) + (", …" if len(others) > 6 else "")
    threshold = min(others) if others[-1] < IGNORE_INDEX // 4 else IGNORE_INDEX // 2 + 1
    shares = ", ".join(f"{value} {masks.share(value):.2%}" for value in [0, *others[:4], IGNORE_INDEX])
    given = f"in {plain} of {masks.files} files 255 is the only value beside 0, and " if plain else ""
    return UsageError(
        f"expected masks whose 255 is clearly a class or clearly ignored, got both possible: {given}"
        f"{masks.files - plain} files hold also {listed} (shares of the pixels: {shares})",
        f"choose: --threshold {threshold} (two classes: all from {threshold} on is foreground), --ignored 255 "
        f"(255 is ignored), --ignored {','.join(map(str, others[:4]))} (255 is a class), or --ignored none",
    )


def undeclared_notes(masks: MaskValues, ignored: Collection[object]) -> list[str]:
    """Return notes on transparent pixels, white stored as 0, and values of classes that are declared as missing."""
    notes = []
    if 0 < masks.transparent < 1:
        notes.append(
            f"{masks.transparent:.2%} of the pixels of the masks are transparent: transparency is left out, so they "
            "count as the class of their value or color; to ignore them, give them a value of their own, such as 255"
        )
    if masks.white_is_zero:
        count = f"{masks.white_is_zero} of {masks.files} masks are black and white TIFF files that store white as 0"
        notes.append(f"{count}: they are read as shown, white is 1; swap the values in segmi.toml if black is meant")
    for value in [] if masks.colored else sorted(masks.missing - {*ignored}):
        share = f"{masks.share(value):.2%} of the pixels"
        if masks.pixels[value]:
            notes.append(f"the masks declare {value} as missing (GDAL_NODATA, {share}): --ignored {value} ignores it")
    return notes
