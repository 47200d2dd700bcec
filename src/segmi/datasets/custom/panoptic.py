"""COCO's panoptic format: PNG files whose colors number segments, and a JSON file that says what each segment is."""

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
    """A kind of thing or stuff; the color is None where the file gives none."""

    id: int
    name: str
    color: tuple[int, int, int] | None


class Segments:
    """What a panoptic JSON file says.

    Args:
        path: the file.

    Raises:
        DataError: it is no such file.
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
                "download the file again, or point `panoptic` to the right one",
            ) from error
        self.path: Final = path
        self.digest: Final = hashlib.sha256(content).hexdigest()

    def labels(self, mask: Image.Image, file: Path, place_of: Mapping[int, int]) -> NDArray[np.uint8]:
        """The places of the classes in a mask, 255 where no segment is or its category is in no class.

        Shapes: to H×W uint8.

        Args:
            mask: the PNG file, decoded.
            file: its path, of which the name counts.
            place_of: by the id of a category the place of its class.

        Raises:
            DataError: the JSON does not list the file, or one of its segments.
        """
        segments = self._segments.get(file.name)
        if segments is None:
            raise DataError(
                f"{printable(file)}: expected an annotation of this name in {printable(self.path)}, got none",
                "use the JSON file that came with these masks",
            )
        pixels = np.asarray(mask.convert("RGB")).astype(np.int32)
        ids = pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]
        known = np.array(sorted({0, *segments}), dtype=np.int64)
        place = np.searchsorted(known, ids).clip(max=len(known) - 1)
        if (known[place] != ids).any():
            lost = np.unique(ids[known[place] != ids])[:5].tolist()
            raise DataError(
                f"{printable(file)}: expected the segments that {printable(self.path)} lists, got also "
                f"{', '.join(map(str, lost))}",
                "use the JSON file that came with these masks",
            )
        table = np.array([place_of.get(segments.get(int(one), -1), IGNORE_INDEX) for one in known], dtype=np.uint8)
        return table[place]


def _category(one: Any) -> Category:
    color = one.get("color")
    whole = isinstance(color, list) and len(color) == 3 and all(isinstance(c, int) for c in color)
    return Category(int(one["id"]), str(one["name"]), (color[0], color[1], color[2]) if whole else None)
