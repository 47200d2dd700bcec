"""The sizes of images, read from their headers, and the scale at which a network sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from segmi.datasets.bands import image_header
from segmi.datasets.reader import DatasetReader, Sample

if TYPE_CHECKING:
    from segmi.datasets.processing import Processing

MAX_FILES: Final = 1000  # evenly spaced files whose headers are read
_TURNED: Final = 5  # EXIF orientations from this number on exchange width and height


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width} × {self.height}"


def image_sizes(dataset: DatasetReader, samples: Sequence[Sample]) -> list[Size]:
    """Return the distinct sizes of images after EXIF rotation, sorted by area, from at most 1,000 headers.

    Of generated images, only the first is drawn.

    Raises:
        DataError: a file cannot be read.
    """
    sizes: set[Size] = set()
    for sample in samples[:: len(samples) // MAX_FILES + 1]:
        if isinstance(sample.image, Path):
            header = image_header(sample.image)
            turned = header.orientation >= _TURNED and dataset.image_format.orientation == "apply"
            sizes.add(Size(header.height, header.width) if turned else Size(header.width, header.height))
        elif not sizes:
            height, width = dataset.read_image(sample).shape[:2]
            sizes.add(Size(width, height))
    return sorted(sizes, key=lambda size: (size.width * size.height, size))


def proposed_resize(sizes: Sequence[Size], crop: int) -> int | None:
    """Return the shorter side to resize images to before crops of ``crop``; None: full resolution.

    Images are resized only to enlarge them: if most of them are smaller than the crop, padding would fill it.

    Example:
        >>> proposed_resize([Size(2500, 1500)], 224), proposed_resize([Size(96, 80)], 224)
        (None, 224)
    """
    return crop if sizes and min(sizes[len(sizes) // 2]) < crop else None


def describe_scale(sizes: Sequence[Size], processing: Processing) -> str:
    """Return the scale at which a network sees images of these sizes in training.

    Example:
        >>> from segmi.datasets.processing import Processing
        >>> describe_scale([Size(2500, 1500)], Processing(resize=None))
        'images of 2500 × 1500 at full resolution, crops of 224'
        >>> describe_scale([Size(2500, 1500)], Processing())
        'images of 2500 × 1500 resized to 234 × 234 (width × 0.094, height × 0.16), crops of 224'
        >>> describe_scale([Size(2500, 1500)], Processing(resize=750, resize_mode="shorter"))
        'images of 2500 × 1500 resized to 1250 × 750 (× 0.5), crops of 224'
    """
    given = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    side, crop = processing.resize, f"crops of {processing.crop}"
    if processing.scale != (1.0, 1.0):
        crop += f" after a random scale of {processing.scale[0]:g} to {processing.scale[1]:g}"
    if side is None:
        padded = " (smaller images are padded)" if min(map(min, sizes)) < processing.crop else ""
        return f"images of {given} at full resolution, {crop}{padded}"
    if processing.resize_mode == "exact":
        width, height = (_factors(side, sides) for sides in zip(*sizes, strict=True))
        return f"images of {given} resized to {Size(side, side)} (width × {width}, height × {height}), {crop}"
    ends = [Size(round(s.width * side / min(s)), round(s.height * side / min(s))) for s in (sizes[0], sizes[-1])]
    resized = " to ".join(dict.fromkeys(map(str, ends)))
    return f"images of {given} resized to {resized} (× {_factors(side, [min(s) for s in sizes])}), {crop}"


def _factors(target: int, sides: Sequence[int]) -> str:
    texts = [f"{target / side:.2g}" for side in (max(sides), min(sides))]
    return " to ".join(dict.fromkeys(texts))
