"""Classes and ignored values, proposed from the values of the masks and the files beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from segmi.datasets.custom.dataset_config import LabelClass, Value
from segmi.datasets.custom.panoptic import Segments
from segmi.datasets.detection.class_names import NamedClasses
from segmi.datasets.detection.ignored_values import check_ignored, guess_ignored
from segmi.datasets.detection.mask_values import MaskValues
from segmi.datasets.detection.named_values import values_of_names
from segmi.datasets.palette import VOC_PALETTE, Color, Palette, color_of, voc_color
from segmi.datasets.published_labels import BY_COLOR, BY_VALUE
from segmi.datasets.reader import ranges
from segmi.errors import DataError
from segmi.types import IGNORE_INDEX


class ClassProposal(NamedTuple):
    """The proposed meaning of mask values."""

    classes: tuple[LabelClass, ...]  # the classes
    ignored: tuple[Value, ...]  # the values of ignored pixels
    ignored_color: Color  # their color in figures
    notes: tuple[str, ...]  # the reasons, and what to check


FEWEST_COUNTS: Final = 4  # so many different numbers of values in masks that count from 1 are numbers of objects
MANY_COLORS: Final = 3  # masks with fewer colors match a published labeling by coincidence


def propose_classes(
    masks: MaskValues,
    named: NamedClasses | None,
    layout: str,
    mask_suffix: str,
    ignored: Sequence[Value] | None = None,
) -> ClassProposal:
    """Propose the classes of index masks or color masks, from a file with class names if there is one.

    ``ignored`` has the ignored values; None: from the file or guessed.

    Raises:
        DataError: the file with names contradicts the masks.
        UsageError: 255 can be a class or ignored, or ``ignored`` has numbers for color masks or the reverse.
    """
    check_ignored(masks, ignored or ())
    found = None
    if masks.colored:
        found = _of_colors(masks, named, ignored)
    elif named is None and ignored is None:
        found = _published_by_value(masks, layout, mask_suffix)
        if found is None:
            _check_objects(masks)
    found = found or _of_values(masks, named, ignored, layout)
    if len(found.classes) < 2:
        source = "--ignored" if ignored is not None else named.origin if named is not None else "the masks"
        raise DataError(
            f"{source}: expected at least two classes that are not ignored, got {len(found.classes)}: all other values "
            f"are ignored ({', '.join(map(str, found.ignored))})",
            "give fewer ignored values, or none: --ignored none"
            if named is None or ignored is not None
            else f"name an ignored value in {named.origin} as a class, if it is one, such as `foreground`",
        )
    return found


def _check_objects(masks: MaskValues) -> None:
    """Check that the values are not numbers of objects: 1 to another number in every file.

    Raises:
        DataError: they are.
    """
    objects = [sorted(values - {0}) for values in masks.of_files]
    counts = {len(values) for values in objects}
    counted = all(values == list(range(1, len(values) + 1)) for values in objects)
    if counted and len(counts) >= FEWEST_COUNTS and max(counts) > FEWEST_COUNTS:
        raise DataError(
            f"expected a value per class, got masks that number their objects: from 1 to {min(counts)} in one file, to "
            f"{max(counts)} in another",
            "for two classes, objects and background: --threshold 1; if the values are classes, write a line `value "
            "name` for each into classes.txt",
        )


def classes_of_segments(segments: Sequence[Segments]) -> ClassProposal:
    """Propose the classes of panoptic masks: the categories of their JSON files.

    Raises:
        DataError: the files have different categories.
    """
    categories = segments[0].categories
    for other in segments[1:]:
        if other.categories != categories:
            raise DataError(
                f"{segments[0].path.name} and {other.path.name}: expected the same categories, got different ones",
                "use both files of one release",
            )
    names = [one.name for one in categories]
    classes = tuple(
        LabelClass(
            one.name if names.count(one.name) == 1 else f"{one.name} {index}",
            (one.id,),
            one.color or voc_color(index + 1),
        )
        for index, one in enumerate(categories)
    )
    return ClassProposal(classes, (), (0, 0, 0), (f"{len(classes)} categories from {segments[0].path.name}",))


def _published_by_value(masks: MaskValues, layout: str, mask_suffix: str) -> ClassProposal | None:
    """Return the published labeling whose layout and values fit, unless the masks have other colors or numbers."""
    for known in BY_VALUE:
        fits = layout.startswith(known.layout) and mask_suffix.endswith(known.suffix)
        if not fits or not {*masks.values} <= {*known.values, *known.ignored}:
            continue
        other_colors = masks.palette is not None and any(
            masks.palette[value] != known.palette[index]
            for index, value in enumerate(known.values)
            if value in masks.pixels and value < len(masks.palette) and known.title == "PASCAL VOC"
        )
        if not other_colors and not _numbered_from_zero(masks.values, known.ignored, len(known.names)):
            classes = tuple(
                LabelClass(name, (value,), known.palette[index])
                for index, (name, value) in enumerate(zip(known.names, known.values, strict=True))
            )
            note = f"the layout and the values match {known.title}"
            return ClassProposal(classes, tuple(known.ignored), known.palette[IGNORE_INDEX], (note,))
    return None


def _numbered_from_zero(values: Sequence[int], ignored: Sequence[int], classes: int) -> bool:
    """Return whether values count from 0 to a few: own classes in the layout or colors of a known dataset."""
    counted = sorted(value for value in values if value not in ignored)
    return counted == list(range(len(counted))) and 2 * len(counted) < classes


def _of_values(
    masks: MaskValues, named: NamedClasses | None, given: Sequence[Value] | None, layout: str
) -> ClassProposal:
    notes: list[str] = []
    if named is not None:
        named, notes = values_of_names(masks, named)
    if given is not None:
        ignored = [value for value in given if isinstance(value, int)]
    elif named is not None and named.ignored is not None:
        ignored = [named.ignored]
        notes.append(f"{named.ignored} ({masks.share(named.ignored):.2%} of the pixels) is ignored by {named.origin}")
    elif named is not None and IGNORE_INDEX in named.values:
        ignored = []
    else:
        ignored, guessed = guess_ignored(masks)
        notes += guessed
    rest = [value for value in masks.values if value not in ignored]
    if named is not None:
        unnamed = [value for value in rest if value not in named.values]
        if unnamed == [IGNORE_INDEX] and given is None:
            ignored, unnamed = [*ignored, IGNORE_INDEX], []
            notes.append(f"255 ({masks.share(IGNORE_INDEX):.2%} of the pixels) is ignored, since it has no name")
        names, values = list(named.names), list(named.values)
        if unnamed == [0] and named.explicit_values is not None and "background" not in names:
            names, values, unnamed = ["background", *names], [0, *values], []
            named = named._replace(colors=None if named.colors is None else ((0, 0, 0), *named.colors))
            notes.append(f"0 ({masks.share(0):.2%} of the pixels) is background, since {named.origin} starts above it")
        if unnamed:
            raise DataError(
                f"{named.origin}: expected a name for every value, got {len(names)} names (values "
                f"{ranges(sorted(values))}) and masks that hold also {ranges(unnamed)}",
                "if 0 is not the first name, write `background` as the first line; otherwise add the missing names to "
                "the file, or remove it to have all values proposed"
                if named.explicit_values is None and unnamed == [len(values)] and 0 in rest
                else "add the missing names to the file, or remove it to have all values proposed",
            )
        notes.append(f"the names are those in {named.origin}")
        chosen = [(name, value) for name, value in zip(names, values, strict=True) if value not in ignored]
        shown = [one for one, value in zip(named.colors or (), values, strict=False) if value not in ignored] or None
    else:
        palette = masks.palette or ()  # VOC's is used for all kinds of classes
        own = layout.startswith("PASCAL VOC") or palette[:3] != VOC_PALETTE[: len(palette[:3])]
        black = palette[:1] == ((0, 0, 0),) and own
        known = rest in ([0, 1], [0, IGNORE_INDEX]) or (black and rest[0] == 0)
        chosen = list(zip(_default_names(rest, binary=len(rest) == 2, background=known), rest, strict=True))
        shown = None
        notes.append("no file names the classes: name them in segmi.toml")
    colors = _class_colors([value for _, value in chosen], masks.palette, shown)
    classes = tuple(LabelClass(name, (value,), color) for (name, value), color in zip(chosen, colors, strict=True))
    return ClassProposal(classes, tuple(ignored), _ignored_color(masks.palette, ignored, {*colors}), tuple(notes))


def _of_colors(masks: MaskValues, named: NamedClasses | None, given: Sequence[Value] | None) -> ClassProposal:
    colors = [color_of(value) for value in masks.values]
    if named is not None and named.colors is not None:
        return _of_named_colors(masks, named, named.colors, given)
    if masks.notes:
        _check_recurring(masks, named)
    if given is None and (published := _published_by_color(colors)) is not None:
        return published
    ignored = tuple(value for value in given or () if isinstance(value, tuple))
    colors = [color for color in colors if color not in ignored]
    names = _default_names(range(len(colors)), binary=len(colors) == 2, background=colors[0] == (0, 0, 0))
    gray = all(red == green == blue for red, green, blue in colors) and len(colors) > 2
    shown = [voc_color(index) for index in range(len(colors))] if gray else colors  # grays are hard to distinguish
    classes = tuple(LabelClass(n, (c,), s) for n, c, s in zip(names, colors, shown, strict=True))
    missing = "no file names the colors" if named is None else f"{named.origin} has names without their colors"
    note = f"{missing}: name the classes in segmi.toml, and move ignored colors to ignored"
    return ClassProposal(classes, ignored, _free_color({*shown}), (note,))


def _check_recurring(masks: MaskValues, named: NamedClasses | None) -> None:
    """Check that palettes which differ from file to file have the colors of classes.

    Raises:
        DataError: most colors occur in one file only, or a file has names without colors.
    """
    once = [v for v in masks.pixels if sum(count for of_file, count in masks.together.items() if v in of_file) == 1]
    if named is not None or (2 * len(once) > len(masks.pixels) and masks.files > 2):
        given = f"names without colors in {named.origin}" if named else f"{len(once)} colors that one file has"
        raise DataError(
            f"expected palettes that are equal, or the colors of the classes, got palettes that differ and {given}",
            "write `name r g b` into the list of classes; or, if the palette indices are the classes, save the masks "
            "as gray values: Image.fromarray(numpy.array(mask))",
        )


def _published_by_color(colors: Sequence[Color]) -> ClassProposal | None:
    """Return the published labeling with these colors, if exactly one has them."""
    fitting = [
        (title, names, palette)
        for title, names, palette in BY_COLOR
        if {*colors} <= {*palette[: len(names)], palette[IGNORE_INDEX]}
        and len(colors) >= MANY_COLORS
        and not _numbered_from_zero([palette.index(color) for color in colors], [IGNORE_INDEX], len(names))
    ]
    if len(fitting) != 1:
        return None
    ((title, names, palette),) = fitting
    classes = tuple(LabelClass(name, (color,), color) for name, color in zip(names, palette, strict=False))
    ignored = palette[IGNORE_INDEX]
    return ClassProposal(classes, (ignored,), ignored, (f"the colors match {title}",))


def _of_named_colors(
    masks: MaskValues, named: NamedClasses, colors: Sequence[Color], given: Sequence[Value] | None
) -> ClassProposal:
    listed = () if named.ignored_color is None else (named.ignored_color,)
    ignored = listed if given is None else tuple(value for value in given if isinstance(value, tuple))
    unnamed = [value for value in masks.values if color_of(value) not in (*colors, *ignored)]
    if unnamed:
        listing = ", ".join(" ".join(map(str, color_of(value))) for value in unnamed[:5])
        raise DataError(
            f"{named.origin}: expected a name for every color, got masks that hold also {listing}"
            f"{', …' if unnamed[5:] else ''} ({sum(map(masks.share, unnamed)):.1%} of the pixels)",
            f"give this color the name of a class in {named.origin}, such as `background`, instead of that of ignored "
            "pixels"
            if listed and [color_of(value) for value in unnamed] == [*listed]
            else "add these colors to the file, or remove it to have all colors proposed",
        )
    chosen = [(name, color) for name, color in zip(named.names, colors, strict=True) if color not in ignored]
    classes = tuple(LabelClass(name, (color,), color) for name, color in chosen)
    notes = [f"names and colors are those in {named.origin}"]
    if given is None and named.ignored_color is not None:
        share = sum(masks.share(value) for value in masks.values if color_of(value) in ignored)
        color = " ".join(map(str, named.ignored_color))
        notes.insert(0, f"{color} ({share:.2%} of the pixels) is ignored by {named.origin}")
    return ClassProposal(classes, ignored, ignored[0] if ignored else _free_color({*colors}), tuple(notes))


def _default_names(values: Iterable[int], *, binary: bool, background: bool) -> list[str]:
    """Return names for unnamed classes: "background" if known, "foreground" for the other of two, or numbers."""
    names = [f"class {value}" for value in values]
    if background:
        names[0] = "background"
        if binary:
            names[1] = "foreground"
    return names


def _class_colors(values: Sequence[int], palette: Palette | None, named: Sequence[Color] | None) -> list[Color]:
    if named is not None:
        return list(named)
    if palette is not None and all(value < len(palette) for value in values):
        colors = [palette[value] for value in values]
        if len({*colors}) == len(colors):
            return colors
    return [voc_color(index) for index in range(len(values))]


def _ignored_color(palette: Palette | None, ignored: Sequence[int], used: set[Color]) -> Color:
    if palette is not None and ignored and ignored[-1] < len(palette) and palette[ignored[-1]] not in used:
        return palette[ignored[-1]]
    return _free_color(used)


def _free_color(used: set[Color]) -> Color:
    return next(color for color in (voc_color(IGNORE_INDEX), (255, 255, 255), (1, 1, 1)) if color not in used)
