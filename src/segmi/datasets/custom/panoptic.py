"""COCO's panoptic format: PNG files whose colors number segments, and a JSON file with the category of each segment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmi.datasets.decode import printable
from segmi.errors import DataError
from segmi.types import IGNORE_INDEX


class Category(NamedTuple):
    """A category of things or stuff; ``color`` is None if the file has none."""

    id: int
    name: str
    color: tuple[int, int, int] | None


class Segments:
    """The content of a panoptic JSON file.

    Raises:
        DataError: the file has another format.
    """

    def __init__(self, path: Path) -> None:
        try:
            content = path.read_bytes()
            data = json.loads(content)
            self.categories: Final = [_category(one) for one in data["categories"]]
            names = {one["id"]: str(one["file_name"]) for one in data["images"]}
            self.pairs: Final = [(names[one["image_id"]], str(one["file_name"])) for one in data["annotations"]]
            self._segments: Final = {
                str(one["file_name"]): {int(s["id"]): int(s["category_id"]) for s in one["segments_info"]}
                for one in data["annotations"]
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{printable(path)}: expected COCO's panoptic JSON, with images, annotations and categories, got "
                f"{type(error).__name__}: {error}",
                "download the file again, or set `panoptic` to the right one",
            ) from error
        self.path: Final = path
        self.digest: Final = hashlib.sha256(content).hexdigest()

    def labels(self, mask: Image.Image, file: Path, train_ids: Mapping[int, int]) -> NDArray[np.uint8]:
        """Return the train ids of a mask, ``IGNORE_INDEX`` outside of segments and for categories without a class.

        Shapes: to H×W uint8.

        Args:
            mask: the PNG file, decoded.
            file: its path, whose name identifies the annotation.
            train_ids: the train id of each category id.

        Raises:
            DataError: the JSON file does not list the mask, or one of its segments.
        """
        remedy = "use the JSON file that came with these masks"
        segments = self._segments.get(file.name)
        if segments is None:
            raise DataError(
                f"{printable(file)}: expected an annotation of this name in {printable(self.path)}, got none", remedy
            )
        pixels = np.asarray(mask.convert("RGB")).astype(np.int32)
        ids = pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]
        known = np.array(sorted({0, *segments}), dtype=np.int64)
        position = np.searchsorted(known, ids).clip(max=len(known) - 1)
        if (known[position] != ids).any():
            unknown = np.unique(ids[known[position] != ids])[:5].tolist()
            raise DataError(
                f"{printable(file)}: expected the segments that {printable(self.path)} lists, got also "
                f"{', '.join(map(str, unknown))}",
                remedy,
            )
        table = [train_ids.get(segments.get(int(one), -1), IGNORE_INDEX) for one in known]
        return np.array(table, dtype=np.uint8)[position]


def _category(one: Any) -> Category:
    color = one.get("color")
    valid = isinstance(color, list) and len(color) == 3 and all(isinstance(c, int) for c in color)
    return Category(int(one["id"]), str(one["name"]), (color[0], color[1], color[2]) if valid else None)
