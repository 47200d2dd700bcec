"""The values in the masks of classes that a file names: by their colors, numbers or order."""

from __future__ import annotations

from collections.abc import Sequence

from segmi.datasets.detection.class_names import NamedClasses
from segmi.datasets.detection.mask_values import MaskValues
from segmi.datasets.palette import Color
from segmi.types import IGNORE_INDEX


def values_of_names(masks: MaskValues, named: NamedClasses) -> tuple[NamedClasses, list[str]]:
    """Return the classes of a file with their values in the masks, and the reason if these are not in its own order."""
    values, count = masks.values, len(named.names)
    others = [value for value in values if value != IGNORE_INDEX]
    plain = named.values == list(range(count)) and named.colors is None and "background" not in named.names
    if named.origin.endswith((".yaml", ".yml")) and plain and others[-1:] == [count]:
        note = f"{named.origin} names objects without background, so the values are one more than in it"
        return named._replace(explicit_values=tuple(range(1, count + 1))), [note]
    if named.explicit_values is not None:
        shifted = named.ignored == 0 and {0, IGNORE_INDEX} <= {*values} and max(named.values) not in values
        if shifted and "person" in named.names[:1]:  # COCO-Stuff: labels.txt counts from 0, unlabeled
            ids = tuple(value - 1 for value in named.values)
            note = "the values are one less than in the list, as in COCO-Stuff, since 255 is used"
            return named._replace(explicit_values=ids, ignored=IGNORE_INDEX), [note]
        return named, []
    if named.colors is not None:
        if (by_color := _values_by_color(masks, named, named.colors)) is not None:
            return by_color, ["the values follow the colors in the list"]
        if masks.palette is not None:
            return named, [f"the palette of the masks lacks colors of {named.origin}: the values follow its lines"]
    if named.ignored == 0 and IGNORE_INDEX in values and len(others) <= count and others == list(range(len(others))):
        note = f"{named.origin} begins with ignored pixels, which are 255 in the masks"
        return named._replace(ignored=IGNORE_INDEX), [note] if count not in values else []
    numbered = values == [*range(len(values) - 1), IGNORE_INDEX] and len(values) > 2
    ordered = len(values) == count and named.ignored not in values and not numbered
    if ordered and not {*values} <= {*named.values}:
        return named._replace(explicit_values=tuple(values)), ["the names are assigned to the values in their order"]
    return named, []


def _values_by_color(masks: MaskValues, named: NamedClasses, colors: Sequence[Color]) -> NamedClasses | None:
    """Return the classes with the palette index, or gray level, of each color; None if the masks have other colors."""
    palette = masks.palette or tuple((level, level, level) for level in range(IGNORE_INDEX + 1))
    value_of: dict[Color, int] = {}
    for value in masks.values:
        color = palette[value] if value < len(palette) else None
        if color is None or color not in (*colors, named.ignored_color) or color in value_of:
            if value in (0, IGNORE_INDEX):
                continue  # background and ignored pixels need no color in the list
            return None
        value_of[color] = value
    spare = iter(value for value in range(IGNORE_INDEX - 1, 0, -1) if value not in masks.pixels)
    values = tuple(value_of[color] if color in value_of else next(spare) for color in colors)
    ignored = named.ignored_color and value_of.get(named.ignored_color)
    return named._replace(explicit_values=values, ignored=ignored)
