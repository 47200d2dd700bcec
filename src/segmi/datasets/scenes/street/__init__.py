"""Generated street scenes, the stand-in for Cityscapes where nothing can be downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from segmi.datasets.reader import DatasetReader, Listing, Pixels, Sample
from segmi.datasets.scenes.developing import develop
from segmi.datasets.scenes.generated import check_sizes, generator_version
from segmi.datasets.scenes.street.classes import INFO
from segmi.datasets.scenes.street.composition import film_of, painted_street
from segmi.randomness import key

IMAGES_PER_STREET: Final = 10


@dataclass(frozen=True)
class StreetImage:
    """One street scene, or its mask, drawn when asked for."""

    kind: Literal["image", "mask"]
    seed: int
    split: str
    index: int
    height: int
    width: int

    def draw(self) -> Pixels:
        """H×W×3 RGB for the image, H×W class ids for the mask."""
        street = self.index // IMAGES_PER_STREET
        painted, weather, horizon = painted_street(self.seed, self.split, self.index, street, self.height, self.width)
        if self.kind == "mask":
            return painted.mask()
        rng = np.random.default_rng(key(self.seed, "street light", self.split, self.index))
        film, sky = film_of(weather, horizon, rng)
        return develop(painted, rng, film, sky)

    def cache_key(self) -> str:
        """The image and the version of its drawing."""
        return f"{self!r} {generator_version()}"


class StreetScenes(DatasetReader):
    """Street-like images of 11 classes, generated, the same on every machine for the same (seed, split, index).

    Ten consecutive images show one street and form a group: town, season and layout are the same, weather, traffic
    and the camera's place differ. The bonnet of the camera's own car, where it shows, is ignored.

    Args:
        root: not used; generated images need no files.
        seed: another seed is another dataset.
        train: number of training images.
        val: number of validation images, of other streets.
        height: of the images.
        width: of the images.

    Raises:
        UsageError: a root is given, or a number or size is too small.

    Example:
        >>> scenes = StreetScenes(train=20, val=10, height=32, width=64)
        >>> image, mask = scenes.read(scenes.split("train")[3])
        >>> image.shape, mask.shape
        ((32, 64, 3), (32, 64))
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        seed: int = 0,
        train: int = 400,
        val: int = 100,
        height: int = 256,
        width: int = 512,
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
        return Sample(
            image=StreetImage("image", *place),
            mask=StreetImage("mask", *place),
            name=f"street_{split}_{index:05d}",
            group=f"street_{split}_{index // IMAGES_PER_STREET:04d}",
        )
