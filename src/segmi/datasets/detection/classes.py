"""Classes and ignored, as the values of the masks and the files beside them suggest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from segmi.datasets import ade20k, camvid, cityscapes, voc2012
from segmi.datasets.custom.description import LabelClass, Value
from segmi.datasets.custom.panoptic import Segments
from segmi.datasets.detection.contents import Contents
from segmi.datasets.detection.names import Named
from segmi.datasets.palette import (
    ADE20K_PALETTE,
    CAMVID_PALETTE,
    CITYSCAPES_PALETTE,
    VOC_PALETTE,
    Color,
    Palette,
    voc_color,
)
from segmi.datasets.reader import ranges
from segmi.errors import DataError
from segmi.types import IGNORE_INDEX


class Classes(NamedTuple):
    """What the values of masks mean.

    Args:
        classes: the classes.
        ignored: values that count nowhere.
        ignored_color: in which they are drawn.
        notes: how that was told, and what to look at.
    """

    classes: tuple[LabelClass, ...]
    ignored: tuple[Value, ...]
    ignored_color: Color
    notes: tuple[str, ...]


class _Known(NamedTuple):
    """A published labeling, known by the names of its files and the values of its masks."""

    title: str
    names: Sequence[str]
    values: Sequence[int]
    ignored: Sequence[int]
    palette: Palette
    fits: Callable[[str, str], bool]


_KNOWN: Final = (
    _Known(
        "Cityscapes",
        cityscapes.CLASSES,
        cityscapes.LABEL_IDS,
        [value for value in (*range(34), IGNORE_INDEX) if value not in cityscapes.LABEL_IDS],
        CITYSCAPES_PALETTE,
        lambda words, suffix: suffix.endswith("_labelIds"),
    ),
    _Known(
        "Cityscapes (train ids)",
        cityscapes.CLASSES,
        range(19),
        [IGNORE_INDEX],
        CITYSCAPES_PALETTE,
        lambda words, suffix: suffix.endswith("_labelTrainIds"),
    ),
    _Known(
        "PASCAL VOC",
        voc2012.CLASSES,
        range(21),
        [IGNORE_INDEX],
        VOC_PALETTE,
        lambda words, suffix: words.startswith("PASCAL VOC"),
    ),
    _Known("CamVid", camvid.CLASSES, range(11), [11], CAMVID_PALETTE, lambda words, suffix: words.startswith("SegNet")),
    _Known(
        "ADE20K",
        ade20k.CLASSES,
        range(1, 151),
        [0],
        ADE20K_PALETTE,
        lambda words, suffix: words.startswith("ADE20K"),
    ),
)


_COLORED: Final = (
    ("PASCAL VOC", voc2012.CLASSES, VOC_PALETTE),
    ("Cityscapes", cityscapes.CLASSES, CITYSCAPES_PALETTE),
    ("CamVid", camvid.CLASSES, CAMVID_PALETTE),
)

MANY_COLORS: Final = 3
"""Of a published labeling, from which it is no accident that they are its own."""


def proposed_classes(contents: Contents, named: Named | None, words: str, mask_suffix: str) -> Classes:
    """The classes of masks of numbers or colors.

    Args:
        contents: of the masks.
        named: what a file of names says, if there is one.
        words: the layout.
        mask_suffix: how the names of the masks end.

    Raises:
        DataError: the file of names contradicts the masks.
    """
    if contents.colored:
        return _of_colors(contents, named)
    if named is None and (known := _known(contents, words, mask_suffix)) is not None:
        return known
    return _of_numbers(contents, named)


def of_categories(segments: Sequence[Segments]) -> Classes:
    """The classes of panoptic masks: the categories of their JSON files.

    Raises:
        DataError: the files name different categories, or too many.
    """
    categories = segments[0].categories
    for other in segments[1:]:
        if other.categories != categories:
            raise DataError(
                f"{segments[0].path.name} and {other.path.name}: expected the same categories, got different ones",
                "take both from the same release",
            )
    classes = tuple(
        LabelClass(name, (one.id,), one.color or voc_color(place + 1))
        for place, (one, name) in enumerate(zip(categories, _distinct([c.name for c in categories]), strict=True))
    )
    return Classes(classes, (), (0, 0, 0), (f"{len(classes)} categories from {segments[0].path.name}",))


def _known(contents: Contents, words: str, mask_suffix: str) -> Classes | None:
    for known in _KNOWN:
        palette = contents.palette
        own_colors = palette is not None and any(
            palette[value] != known.palette[place]
            for place, value in enumerate(known.values)
            if value in contents.pixels and value < len(palette) and known.title == "PASCAL VOC"
        )
        fits = known.fits(words, mask_suffix) and {*contents.values} <= {*known.values, *known.ignored}
        if fits and not own_colors and not _counted_by_oneself(contents.values, known.ignored, len(known.names)):
            classes = tuple(
                LabelClass(name, (value,), known.palette[place])
                for place, (name, value) in enumerate(zip(known.names, known.values, strict=True))
            )
            note = f"the classes are those of {known.title}, told by the layout and the values"
            return Classes(classes, tuple(known.ignored), known.palette[IGNORE_INDEX], (note,))
    return None


def _counted_by_oneself(values: Sequence[int], ignored: Sequence[int], classes: int) -> bool:
    """Whether numbers run from 0 to a few, as somebody's own do whose tool arranges and colors files as others do."""
    counted = sorted(value for value in values if value not in ignored)
    return counted == list(range(len(counted))) and 2 * len(counted) < classes


def _of_numbers(contents: Contents, named: Named | None) -> Classes:
    values = contents.values
    notes: list[str] = []
    ignored: list[int] = []
    if named is not None and named.ignored is not None:
        ignored = [named.ignored]
    elif IGNORE_INDEX in values and len(values) > 2:
        ignored = [IGNORE_INDEX]
        notes.append(
            f"255 ({contents.share(IGNORE_INDEX):.1%} of the pixels) is taken for ignored, since there are other values"
        )
    rest = [value for value in values if value not in ignored]
    if named is not None:
        places = named.places
        unknown = [value for value in rest if value not in places]
        if unknown and unknown == [IGNORE_INDEX]:
            ignored, unknown = [*ignored, IGNORE_INDEX], []
        if unknown:
            raise DataError(
                f"{named.origin}: expected a name for every value, got {len(named.names)} names (values "
                f"{ranges(places)}) and masks that hold also {ranges(unknown)}",
                "add the missing names to the file, or take it away to have all values proposed",
            )
        notes.append(f"the names are those in {named.origin}")
        chosen = list(zip(named.names, places, strict=True))
    else:
        chosen = list(zip(_invented(rest, binary=len(rest) == 2), rest, strict=True))
        notes.append("nothing names the classes: give them names in segmi.toml")
        if rest == [0, IGNORE_INDEX]:
            notes.append("255 is taken for a class, since 0 is the only other value")
    drawn = _drawn([value for _, value in chosen], contents.palette, named.colors if named else None)
    classes = tuple(LabelClass(name, (value,), color) for (name, value), color in zip(chosen, drawn, strict=True))
    return Classes(classes, tuple(ignored), _ignored_color(contents.palette, ignored, {*drawn}), tuple(notes))


def _of_colors(contents: Contents, named: Named | None) -> Classes:
    colors = [_color(value) for value in contents.values]
    if named is not None and named.colors is not None:
        return _of_named_colors(contents, colors, named)
    if (known := _of_known_colors(colors)) is not None:
        return known
    names = _invented(range(len(colors)), binary=len(colors) == 2, background=colors[0] == (0, 0, 0))
    gray = all(red == green == blue for red, green, blue in colors) and len(colors) > 2
    drawn = [voc_color(place) for place in range(len(colors))] if gray else colors
    classes = tuple(LabelClass(n, (c,), d) for n, c, d in zip(names, colors, drawn, strict=True))
    return Classes(
        classes,
        (),
        _free_color({*drawn}),
        ("nothing names the colors: give the classes names in segmi.toml, and put what counts nowhere in ignored",),
    )


def _of_known_colors(colors: Sequence[Color]) -> Classes | None:
    """The published labeling whose colors these are, if there are some that no other has."""
    fitting = [
        (title, names, palette)
        for title, names, palette in _COLORED
        if {*colors} <= {*palette[: len(names)], palette[IGNORE_INDEX]}
        and len(colors) >= MANY_COLORS
        and not _counted_by_oneself([palette.index(color) for color in colors], [IGNORE_INDEX], len(names))
    ]
    if len(fitting) != 1:
        return None
    ((title, names, palette),) = fitting
    classes = tuple(LabelClass(name, (color,), color) for name, color in zip(names, palette, strict=False))
    return Classes(classes, (palette[IGNORE_INDEX],), palette[IGNORE_INDEX], (f"the colors are those of {title}",))


def _of_named_colors(contents: Contents, colors: Sequence[Color], named: Named) -> Classes:
    said = named.colors or ()
    unknown = [color for color in colors if color not in said and color != named.ignored_color]
    if unknown:
        share = sum(contents.share((r << 16) | (g << 8) | b) for r, g, b in unknown)
        listing = ", ".join(" ".join(map(str, color)) for color in unknown[:5]) + (", …" if unknown[5:] else "")
        raise DataError(
            f"{named.origin}: expected a name for every color, got masks that hold also {listing} "
            f"({share:.1%} of the pixels)",
            "add these colors to the file, or take it away to have all colors proposed",
        )
    classes = tuple(LabelClass(name, (color,), color) for name, color in zip(named.names, said, strict=True))
    ignored = () if named.ignored_color is None else (named.ignored_color,)
    color = named.ignored_color or _free_color({*said})
    return Classes(classes, ignored, color, (f"names and colors are those in {named.origin}",))


def _invented(values: Iterable[int], *, binary: bool, background: bool | None = None) -> list[str]:
    """Names for classes that nothing names: what 0 or black is called nearly everywhere, and numbers."""
    names = [f"class {value}" for value in values]
    first = names[0] == "class 0" if background is None else background
    if first:
        names[0] = "background"
    if binary and first:
        names[1] = "foreground"
    return names


def _drawn(values: Sequence[int], palette: Palette | None, said: Sequence[Color] | None) -> list[Color]:
    if said is not None:
        return list(said)
    if palette is not None and all(value < len(palette) for value in values):
        own = [palette[value] for value in values]
        if len({*own}) == len(own):
            return own
    return [voc_color(place) for place in range(len(values))]


def _ignored_color(palette: Palette | None, ignored: Sequence[int], taken: set[Color]) -> Color:
    if palette is not None and ignored and ignored[-1] < len(palette) and palette[ignored[-1]] not in taken:
        return palette[ignored[-1]]
    return _free_color(taken)


def _free_color(taken: set[Color]) -> Color:
    return next(color for color in (voc_color(IGNORE_INDEX), (255, 255, 255), (1, 1, 1)) if color not in taken)


def _color(value: int) -> Color:
    return value >> 16, (value >> 8) & 255, value & 255


def _distinct(names: Sequence[str]) -> list[str]:
    return [name if names.count(name) == 1 else f"{name} {place}" for place, name in enumerate(names)]
