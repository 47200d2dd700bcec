"""The content of ``segmi.toml``: the folders of images and masks, their name pattern, and the mask values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from segmi.datasets.image_format import RGB, ImageFormat
from segmi.datasets.palette import Color, full_palette
from segmi.datasets.reader import DatasetInfo, lookup_of
from segmi.errors import DataError
from segmi.types import IGNORE_INDEX

FILE_NAME: Final = "segmi.toml"
Value: TypeAlias = int | Color  # a value in a mask: a number, or a color
MaskKind: TypeAlias = Literal["index", "color", "panoptic"]
KINDS: Final[tuple[MaskKind, ...]] = ("index", "color", "panoptic")
SPLITS: Final = ("train", "val", "test")


class LabelClass(NamedTuple):
    """A class."""

    name: str  # name in tables
    values: tuple[Value, ...]  # its values in the masks; for panoptic masks the ids of its categories
    color: Color  # color in figures


class Affixes(NamedTuple):
    """The affixes around the part of the file names that an image and its mask share."""

    image_prefix: str = ""  # before it in the names of images
    image_suffix: str = ""  # after it in the names of images
    mask_prefix: str = ""  # before it in the names of masks
    mask_suffix: str = ""  # after it in the names of masks
    image_infix: str = ""  # inside it in the names of images (``camera`` in ``1_camera_7`` beside ``1_label_7``)
    mask_infix: str = ""  # the same in the names of masks
    # a folder name on the way to the images that is not shared (``images`` if ``scene 7`` holds ``images`` and
    # ``masks``)
    image_folder: str = ""
    mask_folder: str = ""  # the same for the masks
    # the whole stem of every image, if each folder holds one image and its mask, which share the folder's path
    image_name: str = ""
    mask_name: str = ""  # the same for the masks


NO_AFFIXES: Final = Affixes()


class SplitFolders(NamedTuple):
    """The files of a split, with ``/`` and relative to the dataset's folder."""

    images: str  # the folder of its images; folders below it are read too
    masks: str  # the folder of its masks; equal to ``images`` if they are side by side
    names: str | None = None  # the list of its images, one per line; None: all of them
    panoptic: str | None = None  # the JSON file that describes the segments of panoptic masks
    # a table with the columns image and mask, whose files need no common names, and optionally split
    pairs: str | None = None
    affixes: Affixes | None = None  # the affixes of its file names; None: as for all splits


@dataclass(frozen=True)
class CustomConfig:
    """The content of ``segmi.toml``.

    Raises:
        DataError: the fields contradict each other.
    """

    title: str  # title in tables
    # ``index``: grayscale or palette files with values; ``color``: colors; ``panoptic``: COCO's PNG files, whose colors
    # number segments that a JSON file describes
    masks: MaskKind
    classes: tuple[LabelClass, ...]  # in the order of their train ids
    parts: dict[str, SplitFolders] = field(hash=False)  # the files of the splits on disk
    ignored: tuple[Value, ...] = ()  # values of ignored pixels; outside of panoptic segments, pixels are always ignored
    ignored_color: Color = (0, 0, 0)  # their color in figures
    affixes: Affixes = NO_AFFIXES  # the affixes of the file names
    # a regular expression for the part of the shared name that dependent images have in common: its first group, or the
    # whole match; None: each image is a group
    group: str | None = None
    val: float = 0.0  # share of train drawn for ``val`` if ``parts`` has none
    test: float = 0.0  # share of train drawn for ``test`` if ``parts`` has none
    seed: int = 0  # seed of these draws
    pairs_only: bool = False  # whether unmatched images and masks are left out; they are problems otherwise
    images: ImageFormat = RGB  # the bands of the images, and their value range
    # masks of gray levels (JPEG, smoothed): 255 at this level and above, 0 below; None: the stored values
    threshold: int | None = None
    groups: str | None = None  # the file with the group of each image, instead of ``group``
    # whether val and test are the last images of each group, in the order of their numbers, instead of whole groups
    contiguous: bool = False
    root: str | None = None  # the folder of the files, if it is not the folder of ``segmi.toml``
    # augmentation of `segmi train`, see `segmi.datasets.transforms`
    transforms: tuple[dict[str, Any], ...] = field(default=(), hash=False)

    def __post_init__(self) -> None:
        names = [one.name for one in self.classes]
        values = [value for one in self.classes for value in one.values] + list(self.ignored)
        if not 2 <= len(names) <= IGNORE_INDEX:
            raise DataError(f"expected 2 to {IGNORE_INDEX} classes, got {len(names)}", "list the classes in segmi.toml")
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(
                f"expected distinct class names, got twice: {', '.join(repeated)}",
                "give one class both values, `value = [3, 7]`, or use two names",
            )
        if repeated := sorted({str(value) for value in values if values.count(value) > 1}):
            raise DataError(
                f"expected every value in one class or in ignored, got in several: {', '.join(repeated)}",
                "keep it in one of them",
            )
        if "train" not in self.parts:
            raise DataError(
                f"expected a split train, got {', '.join(self.parts) or 'none'}", "add [splits.train] with its folders"
            )
        if not (self.val >= 0 and self.test >= 0 and self.val + self.test < 1):
            given = f"val = {self.val} and test = {self.test}"
            raise DataError(
                f"expected shares of train to draw, val + test < 1, got {given}", "set val = 0.2 for a fifth"
            )
        if self.threshold is not None and (self.masks != "index" or {*values} - {0, IGNORE_INDEX}):
            message = f"threshold = {self.threshold}: expected masks of the values 0 and 255, got others"
            raise DataError(message, 'set masks = "index" and the values of the two classes to 0 and 255')
        if self.group is not None:
            try:
                re.compile(self.group)
            except re.error as error:
                message = f"group: expected a regular expression, got {self.group!r} ({error})"
                raise DataError(message, "write one such as '^([^_]+)_'") from error

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits on disk and those that are drawn."""
        return tuple(name for name in SPLITS if name in self.parts or name in self.drawn)

    def affixes_of(self, part: SplitFolders) -> Affixes:
        """Return the affixes of the file names of a split."""
        return self.affixes if part.affixes is None else part.affixes

    @property
    def drawn(self) -> dict[str, float]:
        """The share of each split that is drawn from train."""
        shares = {"val": self.val, "test": self.test}
        return {name: share for name, share in shares.items() if share > 0 and name not in self.parts}

    def color_values(self) -> tuple[list[Color], list[int]]:
        """Return the colors of color masks, and the train id of each; ``IGNORE_INDEX`` for ignored colors."""
        pairs = [(value, index) for index, one in enumerate(self.classes) for value in one.values]
        pairs += [(value, IGNORE_INDEX) for value in self.ignored]
        return [value for value, _ in pairs if isinstance(value, tuple)], [index for _, index in pairs]

    def info(self) -> DatasetInfo:
        """Return the facts of the dataset."""
        if self.masks == "index":
            train_ids = {value: IGNORE_INDEX for value in self.ignored if isinstance(value, int)}
            for index, one in enumerate(self.classes):
                train_ids |= {value: index for value in one.values if isinstance(value, int)}
        else:  # colors and segments are read as train ids
            train_ids = {index: index for index in range(len(self.classes))} | {IGNORE_INDEX: IGNORE_INDEX}
        ignored = max((value for value, train_id in train_ids.items() if train_id == IGNORE_INDEX), default=None)
        palette = full_palette([one.color for one in self.classes], ignored=self.ignored_color)
        names = tuple(one.name for one in self.classes)
        return DatasetInfo("custom", self.title, names, palette, ignored, lookup_of(train_ids))
