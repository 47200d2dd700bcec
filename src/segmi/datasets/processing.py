"""From a decoded image to what a network trains on: resize, then random crop and augmentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, get_args

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from segmi.datasets.crops import Window, as_tensor, draw_window, take
from segmi.datasets.decode import MAX_PIXELS
from segmi.datasets.reader import ResizeMode
from segmi.errors import UsageError


class Pair(NamedTuple):
    """An image and its labels at the same size: 3×H×W uint8 and H×W uint8."""

    image: tv_tensors.Image
    mask: tv_tensors.Mask


@dataclass(frozen=True, kw_only=True)
class Processing:
    """How images are prepared. The defaults are the study's: 234 × 234, random crops of 224 × 224, nothing else.

    Args:
        resize: side in pixels to which images are resized first; None leaves them as they are.
        resize_mode: ``exact`` makes a square of ``resize`` × ``resize``, as the paper says; ``shorter`` scales the
            shorter side to it and keeps the aspect ratio, as the authors' code did.
        crop: side of the random crop. Images smaller than it are padded, the labels with ignored.
        flip: probability of a horizontal flip.
        scale: range of the random scale factor applied before cropping.
        color: strength of the random change of brightness, contrast, saturation and (a tenth of it) hue.
        view_color: the same, of the second view of an image without labels.

    Masks are resized with the nearest neighbor and filled with ignored, always. Normalization is the network's affair.
    """

    resize: int | None = 234
    resize_mode: ResizeMode = "exact"
    crop: int = 224
    flip: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    color: float = 0.0
    view_color: float = 0.4

    def __post_init__(self) -> None:
        if self.resize is not None and self.resize < 1:
            raise UsageError(f"processing.resize must be a positive number of pixels, got {self.resize}")
        for name, side in (("resize", self.resize or 1), ("crop", self.crop)):
            if side**2 > MAX_PIXELS:
                raise UsageError(
                    f"processing.{name} gives images of at most {MAX_PIXELS / 1e6:.0f} megapixels, got a side of "
                    f"{side}",
                    "lower it",
                )
        if self.resize_mode not in get_args(ResizeMode):
            raise UsageError(f"processing.resize_mode must be exact or shorter, got {self.resize_mode!r}")
        if self.crop < 1:
            raise UsageError(f"processing.crop must be a positive number of pixels, got {self.crop}")
        if self.resize is not None and self.crop > self.resize:
            raise UsageError(
                f"processing.crop ({self.crop}) is larger than processing.resize ({self.resize})",
                "make the crop at most as large as the resized image",
            )
        if not 0 <= self.flip <= 1:
            raise UsageError(f"processing.flip is a probability between 0 and 1, got {self.flip}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise UsageError(f"processing.scale is a range (low, high) of positive factors, got {self.scale}")
        for name in ("color", "view_color"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"processing.{name} is a strength between 0 and 1, got {getattr(self, name)}")

    def resized(self, image: np.ndarray, mask: np.ndarray) -> Pair:
        """The deterministic part: an H×W×3 uint8 image and its H×W uint8 mask at the working scale."""
        pair = Pair(
            tv_tensors.Image(as_tensor(image).permute(2, 0, 1).contiguous()),
            tv_tensors.Mask(as_tensor(mask)),
        )
        if self.resize is None:
            return pair
        size = [self.resize, self.resize] if self.resize_mode == "exact" else [self.resize]
        # A mask is resized with the nearest neighbor whatever the interpolation says: torchvision knows the type.
        return Pair(*v2.Resize(size, antialias=True)(*pair))

    def window(self, size: Sequence[int], seed: int) -> Window:
        """What scale, crop and flip do to an image of this height and width: `segmi.datasets.crops.draw_window`."""
        return draw_window(size, seed, crop=self.crop, flip=self.flip, scale=self.scale)

    def augmented(self, pair: Pair, seed: int) -> Pair:
        """The random part: scale, crop, flip and color, as a pure function of ``seed``."""
        mask = pair.mask.numpy()
        images, masks = take([(pair.image.numpy(), mask)], [self.window(mask.shape, seed)], self.crop)
        return Pair(tv_tensors.Image(self.recolored(images[0], seed)), tv_tensors.Mask(masks[0]))

    def recolored(self, image: torch.Tensor, seed: int) -> torch.Tensor:
        """A 3×H×W image in random colors, as a pure function of ``seed``."""
        if not self.color:
            return image
        with _seeded(seed):
            return _jittered(image, self.color)

    def second_view(self, image: torch.Tensor, seed: int) -> tuple[torch.Tensor, bool]:
        """A crop in other colors and mirrored half of the time, and whether it is; a pure function of ``seed``."""
        strength = self.view_color
        with _seeded(seed):
            mirrored = bool(torch.rand(()) < 0.5)
            if strength:
                image = _jittered(image, strength)
        return (image.flip(-1) if mirrored else image), mirrored


def _jittered(image: torch.Tensor, strength: float) -> torch.Tensor:
    made: torch.Tensor = v2.ColorJitter(strength, strength, strength, strength / 10)(image)
    return made


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The CPU's generator, the only one that torchvision draws from, seeded inside and afterwards as it was.

    `torch.manual_seed` would seed every device as well, which costs a thousand times as much and queues a call per
    image where a device is not initialized.
    """
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(before)
