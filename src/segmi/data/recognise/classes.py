"""Classes and void, as the values of the masks and the files beside them suggest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from segmi.data import ade20k, camvid, cityscapes, voc2012
from segmi.data.base import VOID, ranges
from segmi.data.described.description import LabelClass, Value
from segmi.data.described.panoptic import Segments
from segmi.data.palette import (
    ADE20K_PALETTE,
    CAMVID_PALETTE,
    CITYSCAPES_PALETTE,
    VOC_PALETTE,
    Colour,
    Palette,
    voc_colour,
)
from segmi.data.recognise.contents import Contents
from segmi.data.recognise.names import Named
from segmi.errors import DataError


class Classes(NamedTuple):
    """What the values of masks mean.

    Args:
        classes: the classes.
        void: values that count nowhere.
        void_colour: in which they are drawn.
        notes: how that was told, and what to look at.
    """

    classes: tuple[LabelClass, ...]
    void: tuple[Value, ...]
    void_colour: Colour
    notes: tuple[str, ...]


class _Known(NamedTuple):
    """A published labelling, known by the names of its files and the values of its masks."""

    title: str
    names: Sequence[str]
    values: Sequence[int]
    void: Sequence[int]
    palette: Palette
    fits: Callable[[str, str], bool]


_KNOWN: Final = (
    _Known(
        "Cityscapes",
        cityscapes.CLASSES,
        cityscapes.LABEL_IDS,
        [value for value in (*range(34), VOID) if value not in cityscapes.LABEL_IDS],
        CITYSCAPES_PALETTE,
        lambda words, suffix: suffix.endswith("_labelIds"),
    ),
    _Known(
        "Cityscapes (train ids)",
        cityscapes.CLASSES,
        range(19),
        [VOID],
        CITYSCAPES_PALETTE,
        lambda words, suffix: suffix.endswith("_labelTrainIds"),
    ),
    _Known(
        "PASCAL VOC",
        voc2012.CLASSES,
        range(21),
        [VOID],
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


_COLOURED: Final = (
    ("PASCAL VOC", voc2012.CLASSES, VOC_PALETTE),
    ("Cityscapes", cityscapes.CLASSES, CITYSCAPES_PALETTE),
    ("CamVid", camvid.CLASSES, CAMVID_PALETTE),
)

MANY_COLOURS: Final = 3
"""Of a published labelling, from which it is no accident that they are its own."""


def proposed_classes(contents: Contents, named: Named | None, words: str, mask_suffix: str) -> Classes:
    """The classes of masks of numbers or colours.

    Args:
        contents: of the masks.
        named: what a file of names says, if there is one.
        words: the layout.
        mask_suffix: how the names of the masks end.

    Raises:
        DataError: the file of names contradicts the masks.
    """
    if contents.coloured:
        return _of_colours(contents, named)
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
        LabelClass(name, (one.id,), one.colour or voc_colour(place + 1))
        for place, (one, name) in enumerate(zip(categories, _distinct([c.name for c in categories]), strict=True))
    )
    return Classes(classes, (), (0, 0, 0), (f"{len(classes)} categories from {segments[0].path.name}",))


def _known(contents: Contents, words: str, mask_suffix: str) -> Classes | None:
    for known in _KNOWN:
        palette = contents.palette
        own_colours = palette is not None and any(
            palette[value] != known.palette[place]
            for place, value in enumerate(known.values)
            if value in contents.pixels and value < len(palette) and known.title == "PASCAL VOC"
        )
        fits = known.fits(words, mask_suffix) and {*contents.values} <= {*known.values, *known.void}
        if fits and not own_colours and not _counted_by_oneself(contents.values, known.void, len(known.names)):
            classes = tuple(
                LabelClass(name, (value,), known.palette[place])
                for place, (name, value) in enumerate(zip(known.names, known.values, strict=True))
            )
            note = f"the classes are those of {known.title}, told by the layout and the values"
            return Classes(classes, tuple(known.void), known.palette[VOID], (note,))
    return None


def _counted_by_oneself(values: Sequence[int], void: Sequence[int], classes: int) -> bool:
    """Whether numbers run from 0 to a few, as somebody's own do whose tool arranges and colours files as others do."""
    counted = sorted(value for value in values if value not in void)
    return counted == list(range(len(counted))) and 2 * len(counted) < classes


def _of_numbers(contents: Contents, named: Named | None) -> Classes:
    values = contents.values
    notes: list[str] = []
    void: list[int] = []
    if named is not None and named.void is not None:
        void = [named.void]
    elif VOID in values and len(values) > 2:
        void = [VOID]
        notes.append(f"255 ({contents.share(VOID):.1%} of the pixels) is taken for void, since there are other values")
    rest = [value for value in values if value not in void]
    if named is not None:
        places = named.places
        unknown = [value for value in rest if value not in places]
        if unknown and unknown == [VOID]:
            void, unknown = [*void, VOID], []
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
        if rest == [0, VOID]:
            notes.append("255 is taken for a class, since 0 is the only other value")
    drawn = _drawn([value for _, value in chosen], contents.palette, named.colours if named else None)
    classes = tuple(LabelClass(name, (value,), colour) for (name, value), colour in zip(chosen, drawn, strict=True))
    return Classes(classes, tuple(void), _void_colour(contents.palette, void, {*drawn}), tuple(notes))


def _of_colours(contents: Contents, named: Named | None) -> Classes:
    colours = [_colour(value) for value in contents.values]
    if named is not None and named.colours is not None:
        return _of_named_colours(contents, colours, named)
    if (known := _of_known_colours(colours)) is not None:
        return known
    names = _invented(range(len(colours)), binary=len(colours) == 2, background=colours[0] == (0, 0, 0))
    grey = all(red == green == blue for red, green, blue in colours) and len(colours) > 2
    drawn = [voc_colour(place) for place in range(len(colours))] if grey else colours
    classes = tuple(LabelClass(n, (c,), d) for n, c, d in zip(names, colours, drawn, strict=True))
    return Classes(
        classes,
        (),
        _free_colour({*drawn}),
        ("nothing names the colours: give the classes names in segmi.toml, and put what counts nowhere in void",),
    )


def _of_known_colours(colours: Sequence[Colour]) -> Classes | None:
    """The published labelling whose colours these are, if there are some that no other has."""
    fitting = [
        (title, names, palette)
        for title, names, palette in _COLOURED
        if {*colours} <= {*palette[: len(names)], palette[VOID]}
        and len(colours) >= MANY_COLOURS
        and not _counted_by_oneself([palette.index(colour) for colour in colours], [VOID], len(names))
    ]
    if len(fitting) != 1:
        return None
    ((title, names, palette),) = fitting
    classes = tuple(LabelClass(name, (colour,), colour) for name, colour in zip(names, palette, strict=False))
    return Classes(classes, (palette[VOID],), palette[VOID], (f"the colours are those of {title}",))


def _of_named_colours(contents: Contents, colours: Sequence[Colour], named: Named) -> Classes:
    said = named.colours or ()
    unknown = [colour for colour in colours if colour not in said and colour != named.void_colour]
    if unknown:
        share = sum(contents.share((r << 16) | (g << 8) | b) for r, g, b in unknown)
        listing = ", ".join(" ".join(map(str, colour)) for colour in unknown[:5]) + (", …" if unknown[5:] else "")
        raise DataError(
            f"{named.origin}: expected a name for every colour, got masks that hold also {listing} "
            f"({share:.1%} of the pixels)",
            "add these colours to the file, or take it away to have all colours proposed",
        )
    classes = tuple(LabelClass(name, (colour,), colour) for name, colour in zip(named.names, said, strict=True))
    void = () if named.void_colour is None else (named.void_colour,)
    colour = named.void_colour or _free_colour({*said})
    return Classes(classes, void, colour, (f"names and colours are those in {named.origin}",))


def _invented(values: Iterable[int], *, binary: bool, background: bool | None = None) -> list[str]:
    """Names for classes that nothing names: what 0 or black is called nearly everywhere, and numbers."""
    names = [f"class {value}" for value in values]
    first = names[0] == "class 0" if background is None else background
    if first:
        names[0] = "background"
    if binary and first:
        names[1] = "foreground"
    return names


def _drawn(values: Sequence[int], palette: Palette | None, said: Sequence[Colour] | None) -> list[Colour]:
    if said is not None:
        return list(said)
    if palette is not None and all(value < len(palette) for value in values):
        own = [palette[value] for value in values]
        if len({*own}) == len(own):
            return own
    return [voc_colour(place) for place in range(len(values))]


def _void_colour(palette: Palette | None, void: Sequence[int], taken: set[Colour]) -> Colour:
    if palette is not None and void and void[-1] < len(palette) and palette[void[-1]] not in taken:
        return palette[void[-1]]
    return _free_colour(taken)


def _free_colour(taken: set[Colour]) -> Colour:
    return next(colour for colour in (voc_colour(VOID), (255, 255, 255), (1, 1, 1)) if colour not in taken)


def _colour(value: int) -> Colour:
    return value >> 16, (value >> 8) & 255, value & 255


def _distinct(names: Sequence[str]) -> list[str]:
    return [name if names.count(name) == 1 else f"{name} {place}" for place, name in enumerate(names)]
