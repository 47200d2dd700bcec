"""The common part of the two generated datasets: options, listing, drawing on request, version of the drawing code."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import ClassVar, Final, Literal, TypeAlias

import numpy as np

from segmi import randomness
from segmi.datasets.decode import MAX_PIXELS
from segmi.datasets.reader import IGNORE_INDEX, DatasetInfo, DatasetReader, Listing, Pixels, Sample, lookup_of
from segmi.datasets.scenes.canvas import Canvas, Drawing
from segmi.datasets.scenes.rendering import CameraEffects, render
from segmi.errors import UsageError
from segmi.randomness import key

RGB: TypeAlias = tuple[int, int, int]

SMALLEST_SIDE: Final = 16
# Images of all splits together: the list of more would take gigabytes.
MAX_IMAGES: Final = 1_000_000


@dataclass(frozen=True)
class GeneratedSource(ABC):
    """One image or mask of a generated dataset, drawn on request and a function of its fields alone."""

    kind: Literal["image", "mask"]
    seed: int
    split: str
    index: int
    height: int
    width: int

    @abstractmethod
    def paint(self, canvas: Canvas, rng: np.random.Generator) -> CameraEffects:
        """Draw the scene on an empty canvas."""

    def adjust_mask(self, mask: Pixels) -> Pixels:
        """Return the mask to use for a drawing's mask: the same by default."""
        return mask

    def draw(self) -> Pixels:
        """Return the image, H×W×3 RGB, or the mask, H×W class ids."""
        drawing, effects = _painted(type(self), self.seed, self.split, self.index, self.height, self.width)
        if self.kind == "mask":
            return self.adjust_mask(drawing.mask())
        rng = np.random.default_rng(key(self.seed, "rendering", self.split, self.index))
        return render(drawing, rng, effects)

    def cache_key(self) -> str:
        """Return the fields and the version of the drawing code."""
        return f"{self!r} {generator_version()}"


@lru_cache(maxsize=2)  # an image and its mask are usually read one after the other
def _painted(
    source: type[GeneratedSource], seed: int, split: str, index: int, height: int, width: int
) -> tuple[Drawing, CameraEffects]:
    canvas = Canvas(height, width)
    rng = np.random.default_rng(key(seed, source.__name__, split, index))
    effects = source("image", seed, split, index, height, width).paint(canvas, rng)
    return canvas.finish(), effects


class GeneratedScenes(DatasetReader):
    """Generated images with exact masks, equal for equal (seed, split, index).

    Subclasses set the class variables.

    Args:
        root: must be None: generated images need no files.
        seed: another seed gives another dataset.
        train: number of training images.
        val: number of validation images.
        height: of the images, in pixels.
        width: of the images, in pixels.

    Raises:
        UsageError: a root is given, or a number or size is too small or too large.
    """

    info: DatasetInfo
    source: ClassVar[type[GeneratedSource]]
    prefix: ClassVar[str]
    images_per_group: ClassVar[int] = 1

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        seed: int = 0,
        train: int = 400,
        val: int = 100,
        height: int = 240,
        width: int = 320,
    ) -> None:
        _check_options(self.info.name, root, {"train": train, "val": val, "height": height, "width": width})
        self.splits = ("train", "val")
        self.seed, self.height, self.width = seed, height, width
        self._lengths = {"train": train, "val": val}

    def listing(self, split: str) -> Listing:
        """Return the images of a split, in order."""
        return Listing([self._sample(split, index) for index in range(self._lengths[split])])

    def _sample(self, split: str, index: int) -> Sample:
        fields = (self.seed, split, index, self.height, self.width)
        name = f"{self.prefix}_{split}_{index:05d}"
        grouped = self.images_per_group > 1
        group = f"{self.prefix}_{split}_{index // self.images_per_group:04d}" if grouped else name
        return Sample(self.source("image", *fields), self.source("mask", *fields), name, group)


def generated_info(name: str, title: str, colors: dict[str, RGB], ignored: RGB) -> DatasetInfo:
    """Return the info of a generated dataset, from the palette colors of its classes and of ignored pixels.

    Native ids equal train ids.
    """
    palette = (*colors.values(), *[(0, 0, 0)] * (255 - len(colors)), ignored)
    lookup = lookup_of({label: label for label in (*range(len(colors)), IGNORE_INDEX)})
    return DatasetInfo(name, title, tuple(colors), palette, IGNORE_INDEX, lookup)


def _check_options(name: str, root: str | Path | None, options: dict[str, int]) -> None:
    if root is not None:
        raise UsageError(
            f"{name} is generated and reads no files: expected no root, got {str(root)!r}", "leave the root out"
        )
    for option, value in options.items():
        least = SMALLEST_SIDE if option in ("height", "width") else 1
        if value < least:
            raise UsageError(f"{name}: expected {option} of at least {least}, got {value}", f"raise {option}")
    train, val, height, width = options.values()
    if train + val > MAX_IMAGES:
        raise UsageError(f"{name}: expected at most {MAX_IMAGES:,} images, got {train + val:,}", "lower train or val")
    if height * width > MAX_PIXELS:
        most = f"at most {MAX_PIXELS / 1e6:.0f} megapixels"
        raise UsageError(f"{name}: expected images of {most}, got {width}×{height}", "lower height or width")


@cache
def generator_version() -> str:
    """Return 16 digits that identify the drawing code: a digest of its files, so no number has to be raised by hand."""
    files = [*sorted(Path(__file__).parent.rglob("*.py")), Path(randomness.__file__)]
    return hashlib.blake2b(b"".join(path.read_bytes() for path in files), digest_size=8).hexdigest()
