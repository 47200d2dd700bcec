"""Image processing for training: resize, then random crop and augmentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, get_args

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from segmi.datasets.crops import Window, as_tensor, crop_batch, draw_window
from segmi.datasets.decode import MAX_PIXELS
from segmi.datasets.reader import ResizeMode
from segmi.datasets.transforms import apply_transforms, check_transforms
from segmi.errors import UsageError
from segmi.randomness import key


class Pair(NamedTuple):
    """An image and its labels at the same size: C×H×W uint8 or float32, and H×W uint8."""

    image: tv_tensors.Image
    mask: tv_tensors.Mask


@dataclass(frozen=True, kw_only=True)
class Processing:
    """How images are prepared. The defaults are the study's: 234 × 234, random crops of 224 × 224, nothing else.

    Masks are always resized by nearest neighbor and padded with ``IGNORE_INDEX``. Networks normalize for themselves.

    Raises:
        UsageError: a value is out of range.
    """

    resize: int | None = 234  # side of the resized images in pixels; None keeps the original size
    # ``exact`` resizes to ``resize`` × ``resize``, as the paper says; ``shorter`` scales the shorter side to it and
    # keeps the aspect ratio, as the authors' code did
    resize_mode: ResizeMode = "exact"
    crop: int = 224  # side of the random crop in pixels; smaller images are padded
    flip: float = 0.0  # probability of a horizontal flip
    vertical_flip: float = 0.0  # probability of a vertical flip
    scale: tuple[float, float] = (1.0, 1.0)  # range of the random scale factor applied before cropping
    # strength of the random change of brightness, contrast, saturation and, above 0.25, hue (a tenth of it)
    color: float = 0.0
    view_color: float = 0.4  # the same for the second view of an unlabeled image
    # transforms of torchvision's v2 or albumentations, applied to the crops: ``{name: RandomRotation, degrees: 10}``
    transforms: tuple[dict[str, Any], ...] = field(default=(), hash=False)

    def __post_init__(self) -> None:
        for name, side in (("resize", self.resize), ("crop", self.crop)):
            if side is not None and side < 1:
                raise UsageError(f"processing.{name} must be a positive number of pixels, got {side}")
            if side is not None and side**2 > MAX_PIXELS:
                limit = f"{MAX_PIXELS / 1e6:.0f} megapixels"
                raise UsageError(
                    f"processing.{name} must give images of at most {limit}, got a side of {side}", "lower it"
                )
        if self.resize_mode not in get_args(ResizeMode):
            raise UsageError(f"processing.resize_mode must be exact or shorter, got {self.resize_mode!r}")
        if self.resize is not None and self.crop > self.resize:
            raise UsageError(
                f"processing.crop ({self.crop}) is larger than processing.resize ({self.resize})",
                "make the crop at most as large as the resized image",
            )
        for name, chance in (("flip", self.flip), ("vertical_flip", self.vertical_flip)):
            if not 0 <= chance <= 1:
                raise UsageError(f"processing.{name} must be a probability between 0 and 1, got {chance}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise UsageError(f"processing.scale must be a range (low, high) of positive factors, got {self.scale}")
        for name in ("color", "view_color"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"processing.{name} must be a strength between 0 and 1, got {getattr(self, name)}")
        check_transforms(self.transforms)

    def resized(self, image: np.ndarray, mask: np.ndarray) -> Pair:
        """Return an H×W×C image and its H×W uint8 mask, resized; the deterministic part of the processing."""
        pair = Pair(tv_tensors.Image(as_tensor(image).permute(2, 0, 1).contiguous()), tv_tensors.Mask(as_tensor(mask)))
        if self.resize is None:
            return pair
        size = [self.resize, self.resize] if self.resize_mode == "exact" else [self.resize]
        # torchvision resizes a `Mask` by nearest neighbor in every interpolation mode.
        return Pair(*v2.Resize(size, antialias=True)(*pair))

    def window(self, size: Sequence[int], seed: int) -> Window:
        """Draw scale, crop and flip for an image of this height and width; see `draw_window`."""
        return draw_window(
            size, seed, crop=self.crop, flip=self.flip, vertical_flip=self.vertical_flip, scale=self.scale
        )

    def augmented(self, pair: Pair, seed: int) -> Pair:
        """Return a pair scaled, cropped, flipped and recolored at random, a function of ``seed``."""
        mask = pair.mask.numpy()
        images, masks = crop_batch([(pair.image.numpy(), mask)], [self.window(mask.shape, seed)], self.crop)
        image, mask = self.transformed(self.recolored(images[0], seed), masks[0], seed)
        return Pair(tv_tensors.Image(image), tv_tensors.Mask(mask))

    def recolored(self, image: torch.Tensor, seed: int) -> torch.Tensor:
        """Return a 3×H×W image with random colors, a function of ``seed``."""
        if not self.color:
            return image
        with _seeded(seed):
            return _jitter(image, self.color)

    def transformed(self, image: torch.Tensor, mask: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a C×H×W image and its H×W labels after ``transforms``, a function of ``seed``."""
        if not self.transforms:
            return image, mask
        own = key(seed, "transforms")
        with _seeded(own):
            return apply_transforms(self.transforms, image, mask, own)

    def second_view(self, image: torch.Tensor, seed: int) -> tuple[torch.Tensor, bool]:
        """Return a 3×H×W crop with other colors, mirrored with probability ½, and whether it is mirrored."""
        with _seeded(seed):
            mirrored = bool(torch.rand(()) < 0.5)
            if self.view_color:
                image = _jitter(image, self.view_color)
        return (image.flip(-1) if mirrored else image), mirrored


_WITHOUT_HUE: Final = 0.25  # largest strength that leaves the hue unchanged


def _jitter(image: torch.Tensor, strength: float) -> torch.Tensor:
    # Hue takes ten times as long as the others, too long for changes below 9 degrees.
    jitter = v2.ColorJitter(strength, strength, strength, strength / 10 if strength > _WITHOUT_HUE else 0)
    if len(image) == 3:
        return jitter(image)
    # Bands as a batch of gray images, which change alike: brightness and contrast, since gray has no hue.
    return jitter(image[:, None])[:, 0]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the CPU generator, the only one that torchvision draws from, and restore its state on exit.

    `torch.manual_seed` would seed every device as well: it takes a thousand times as long, and queues a call per image
    if a device is not initialized yet.
    """
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(state)
