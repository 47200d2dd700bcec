"""Generated images of objects, the stand-in for PASCAL VOC where nothing can be downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segmi.datasets.reader import DatasetReader, Listing, Pixels, Sample
from segmi.datasets.scenes.developing import develop
from segmi.datasets.scenes.generated import check_sizes, generator_version
from segmi.datasets.scenes.objects.classes import INFO
from segmi.datasets.scenes.objects.composition import film_of, painted_objects, with_rim
from segmi.randomness import key


@dataclass(frozen=True)
class ObjectImage:
    """One image of objects, or its mask, drawn when asked for."""

    kind: Literal["image", "mask"]
    seed: int
    split: str
    index: int
    height: int
    width: int

    def draw(self) -> Pixels:
        """H×W×3 RGB for the image, H×W class ids with a rim of 255 for the mask."""
        painted = painted_objects(self.seed, self.split, self.index, self.height, self.width)
        if self.kind == "mask":
            return with_rim(painted.mask())
        rng = np.random.default_rng(key(self.seed, "object light", self.split, self.index))
        return develop(painted, rng, film_of(rng))

    def cache_key(self) -> str:
        """The image and the version of its drawing."""
        return f"{self!r} {generator_version()}"


class ObjectScenes(DatasetReader):
    """Images of one to four objects of 20 classes on a busy background, generated, the same on every machine.

    The background fills about 70 % of the pixels, and a rim of ignored surrounds every object. Each image is a group of
    its own.

    Args:
        root: not used; generated images need no files.
        seed: another seed is another dataset.
        train: number of training images.
        val: number of validation images.
        height: of the images.
        width: of the images.

    Raises:
        UsageError: a root is given, or a number or size is too small.

    Example:
        >>> scenes = ObjectScenes(train=20, val=10, height=48, width=64)
        >>> image, mask = scenes.read(scenes.split("val")[3])
        >>> image.shape, mask.shape
        ((48, 64, 3), (48, 64))
    """

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
        check_sizes(INFO.name, root, train=train, val=val, height=height, width=width)
        self.info = INFO
        self.splits = ("train", "val")
        self.seed, self.height, self.width = seed, height, width
        self._lengths = {"train": train, "val": val}

    def listing(self, split: str) -> Listing:
        """The images of a split, in order."""
        return Listing([self._sample(split, index) for index in range(self._lengths[split])])

    def _sample(self, split: str, index: int) -> Sample:
        place = (self.seed, split, index, self.height, self.width)
        name = f"objects_{split}_{index:05d}"
        return Sample(ObjectImage("image", *place), ObjectImage("mask", *place), name, group=name)
