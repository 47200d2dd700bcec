"""How a folder of images and masks is read: where they lie, how they pair, what the values of the masks mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from segmi.datasets.palette import Color, full_palette
from segmi.datasets.reader import DatasetInfo, lookup_of
from segmi.errors import DataError
from segmi.types import IGNORE_INDEX

FILE_NAME: Final = "segmi.toml"

Value: TypeAlias = int | Color
"""What stands in a mask: a number, or a color."""

Masks: TypeAlias = Literal["index", "color", "panoptic"]
KINDS: Final[tuple[Masks, ...]] = ("index", "color", "panoptic")
SPLITS: Final = ("train", "val", "test")


class LabelClass(NamedTuple):
    """A class.

    Args:
        name: as in tables.
        values: what its pixels hold in the masks; for panoptic masks the ids of its categories.
        color: in which it is drawn.
    """

    name: str
    values: tuple[Value, ...]
    color: Color


class Part(NamedTuple):
    """Where the files of a split lie, relative to the folder, with ``/``.

    Args:
        images: the folder of its images, and of those below.
        masks: that of its masks; the same one where they lie side by side.
        names: the list of its images, one per line; None: all of them.
        panoptic: the JSON that says what the segments of panoptic masks are.
    """

    images: str
    masks: str
    names: str | None = None
    panoptic: str | None = None


class Affixes(NamedTuple):
    """What stands around the part of the file names that an image and its mask have in common.

    Args:
        image_prefix: before it in the names of images.
        image_suffix: behind it.
        mask_prefix: before it in the names of masks.
        mask_suffix: behind it.
        image_folder: the folder in which images lie inside one that they share with their masks (``images`` where
            ``scene 7`` holds ``images`` and ``masks``); it is no part of what they have in common.
        mask_folder: that of the masks.
        image_name: the whole name of every image without its ending, where each lies in a folder of its own with its
            mask; they then have the folder in common.
        mask_name: that of every mask.
    """

    image_prefix: str = ""
    image_suffix: str = ""
    mask_prefix: str = ""
    mask_suffix: str = ""
    image_folder: str = ""
    mask_folder: str = ""
    image_name: str = ""
    mask_name: str = ""


NO_AFFIXES: Final = Affixes()


@dataclass(frozen=True)
class Description:
    """What ``segmi.toml`` says.

    Args:
        title: as in tables.
        masks: ``index``: grayscale or palette files of numbers; ``color``: colors; ``panoptic``: COCO's PNG files,
            whose colors number segments that a JSON file explains.
        classes: in the order of their train ids.
        parts: the splits that lie on the disk.
        ignored: the values that count nowhere. In panoptic masks what is in no segment is ignored anyway.
        ignored_color: in which they are drawn.
        affixes: of the file names.
        group: a regular expression for what images have in common, its first group or whole match in the common part
            of their names; None: each image for itself.
        val: the share of train that is drawn for ``val`` where no part gives it.
        test: likewise for ``test``.
        seed: of these draws.
        pairs_only: whether images without mask and masks without image are left out; they are refused otherwise.

    Raises:
        DataError: these contradict themselves.
    """

    title: str
    masks: Masks
    classes: tuple[LabelClass, ...]
    parts: dict[str, Part] = field(hash=False)
    ignored: tuple[Value, ...] = ()
    ignored_color: Color = (0, 0, 0)
    affixes: Affixes = NO_AFFIXES
    group: str | None = None
    val: float = 0.0
    test: float = 0.0
    seed: int = 0
    pairs_only: bool = False

    def __post_init__(self) -> None:
        names = [one.name for one in self.classes]
        values = [value for one in self.classes for value in one.values] + list(self.ignored)
        twice = sorted({str(value) for value in values if values.count(value) > 1})
        if not 2 <= len(names) <= IGNORE_INDEX:
            raise DataError(f"expected 2 to {IGNORE_INDEX} classes, got {len(names)}", "list the classes in segmi.toml")
        if len(set(names)) < len(names):
            same = sorted({name for name in names if names.count(name) > 1})
            raise DataError(
                f"expected class names that differ, got twice: {', '.join(same)}",
                "give one class both values, `value = [3, 7]`, or two names",
            )
        if twice:
            raise DataError(
                f"expected every value in one class or in ignored, got in several: {', '.join(twice)}",
                "keep it in one of them",
            )
        if "train" not in self.parts:
            raise DataError(
                f"expected a split train, got {', '.join(self.parts) or 'none'}", "add [splits.train] with its folders"
            )
        if not (self.val >= 0 and self.test >= 0 and self.val + self.test < 1):
            raise DataError(
                f"expected shares of train to draw, val + test < 1, got val = {self.val} and test = {self.test}",
                "say val = 0.2 for a fifth",
            )
        if self.group is not None:
            try:
                re.compile(self.group)
            except re.error as error:
                raise DataError(
                    f"group: expected a regular expression, got {self.group!r} ({error})", "write '^([^_]+)_'"
                ) from error

    @property
    def splits(self) -> tuple[str, ...]:
        """Those on the disk and those that are drawn."""
        return tuple(name for name in SPLITS if name in self.parts or name in self.drawn)

    @property
    def drawn(self) -> dict[str, float]:
        """The splits that are drawn from train, with their shares."""
        shares = {"val": self.val, "test": self.test}
        return {name: share for name, share in shares.items() if share > 0 and name not in self.parts}

    def color_ids(self) -> tuple[list[Color], list[int]]:
        """The colors in color masks, and the native id of each: the place of its class, 255 for ignored."""
        pairs = [(value, place) for place, one in enumerate(self.classes) for value in one.values]
        pairs += [(value, IGNORE_INDEX) for value in self.ignored]
        return [value for value, _ in pairs if isinstance(value, tuple)], [place for _, place in pairs]

    def info(self) -> DatasetInfo:
        """The facts of a dataset that is read so."""
        if self.masks == "index":
            train_ids = {value: IGNORE_INDEX for value in self.ignored if isinstance(value, int)}
            for place, one in enumerate(self.classes):
                train_ids |= {value: place for value in one.values if isinstance(value, int)}
        else:
            train_ids = {place: place for place in range(len(self.classes))} | {IGNORE_INDEX: IGNORE_INDEX}
        ignored = next(
            (value for value, train in sorted(train_ids.items(), reverse=True) if train == IGNORE_INDEX), None
        )
        palette = full_palette([one.color for one in self.classes], ignored=self.ignored_color)
        names = tuple(one.name for one in self.classes)
        return DatasetInfo("custom", self.title, names, palette, ignored, lookup_of(train_ids))
