"""Images with outlined objects, from labelme's JSON, COCO's JSON and YOLO's text files."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import yaml
from PIL import Image
from pycocotools import mask as run_lengths

from segmi.datasets.bands import image_header
from segmi.datasets.decode import SUFFIXES, printable
from segmi.datasets.detection.survey import classify_name
from segmi.datasets.outlines import is_coco, is_labelme, read_json
from segmi.datasets.reader import Problem
from segmi.errors import counted

YOLO_LINE: Final = re.compile(r"\d+(?:\s+-?[\d.]+(?:e-?\d+)?){6,}\s*")


class Shape(NamedTuple):
    """An outlined object."""

    label: str
    outline: Any  # polygons [[x, y, x, y, …], …], or run lengths as in COCO's JSON


class OutlinedImage(NamedTuple):
    """An image with its objects."""

    image: Path
    shapes: list[Shape]  # later ones are drawn over earlier ones
    size: tuple[int, int] | None  # width and height of the coordinates; None: they are shares of the image's
    split: str | None = None  # the split that the annotation file names
    by_area: bool = True  # whether small objects are drawn over large ones


Read: TypeAlias = tuple[list[str], list[OutlinedImage], list[str], list[Problem]]
"""The names of the classes, the images, notes on skipped objects, and problems."""


def _read_labelme(root: Path, files: Sequence[Path], images: Sequence[Path]) -> Read:
    found, problems, skipped = [], [], Counter[str]()
    for path in (path for path in files if path.suffix.lower() == ".json"):
        data = read_json(path)
        if not is_labelme(data):
            continue
        named = path.parent / PurePosixPath(str(data.get("imagePath") or "").replace("\\", "/")).name
        image = next((one for one in (named, *(path.with_suffix(s) for s in SUFFIXES)) if one in {*images}), None)
        if image is None:
            given = f"its image {printable(named.name)} is missing from the same folder"
            problems.append(Problem(printable(path), given, "add the image"))
            continue
        shapes = [(shape, _labelme_outline(shape, data)) for shape in data["shapes"]]
        skipped.update(str(shape.get("shape_type")) for shape, outline in shapes if outline is None)
        size = (int(data["imageWidth"]), int(data["imageHeight"])) if data.get("imageWidth") else None
        size = size or size_of(image)[0]
        kept = [Shape(str(shape["label"]), outline) for shape, outline in shapes if outline is not None]
        found.append(OutlinedImage(image, kept, size, by_area=False))
    names = sorted({shape.label for one in found for shape in one.shapes})
    for listed in (path for path in files if path.name == "labels.txt"):
        lines = [line.strip() for line in listed.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        if {*names} <= {*lines}:
            names = lines
    return (
        names,
        found,
        [f"skipped {counted(count, 'shape')} of the type {kind}, without area" for kind, count in skipped.items()],
        problems,
    )


def _labelme_outline(shape: dict[str, Any], data: dict[str, Any]) -> Any:
    """Return the outline of a labelme shape, None for points and lines."""
    points, kind = np.array(shape["points"], dtype=float), shape.get("shape_type") or "polygon"
    if kind == "rectangle":
        (left, top), (right, bottom) = points[:2]
        points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    elif kind == "circle":
        angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        radius = float(np.hypot(*(points[1] - points[0])))
        points = points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    elif kind == "mask" and shape.get("mask"):
        inside = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))) > 0
        whole = np.zeros((int(data["imageHeight"]), int(data["imageWidth"])), dtype=np.uint8, order="F")
        left, top = (int(value) for value in points[0])
        part = whole[top : top + inside.shape[0], left : left + inside.shape[1]]
        part[:] = inside[: part.shape[0], : part.shape[1]]
        return run_lengths.encode(whole)
    elif kind != "polygon":
        return None
    return [points.ravel().tolist()]


def _read_coco(root: Path, files: Sequence[Path], images: Sequence[Path]) -> Read:
    found: dict[Path, OutlinedImage] = {}
    categories: dict[int, str] = {}
    problems, boxes = [], 0
    by_name: dict[str, list[Path]] = {}
    for image in images:
        by_name.setdefault(image.name, []).append(image)
    for path in (path for path in files if path.suffix.lower() == ".json"):
        data = read_json(path)
        if not is_coco(data):
            continue
        used = {one["category_id"] for one in data["annotations"]}
        for one in data.get("categories", ()):
            if one["id"] in used or one.get("supercategory") != "none":  # Roboflow adds a category that is not used
                categories[int(one["id"])] = str(one["name"])
        split = classify_name(path.stem).split
        by_image: dict[Any, list[Shape]] = {one["id"]: [] for one in data["images"]}
        for one in data["annotations"]:
            if one.get("segmentation"):
                label = categories.get(one["category_id"], str(one["category_id"]))
                by_image.setdefault(one["image_id"], []).append(Shape(label, one["segmentation"]))
            else:
                boxes += 1
        for one in data["images"]:
            name = PurePosixPath(str(one["file_name"]).replace("\\", "/"))
            near = [path.parent / name, root / name, path.parent.parent / name]
            others = by_name.get(name.name, [])
            same_split = [image for image in others if split in (p.split for p in map(classify_name, image.parts))]
            options = [*(image for image in near if image.is_file()), *(same_split if split else others), *others]
            if not options:
                given = f"its image {printable(str(name))} is missing"
                problems.append(Problem(printable(path), given, "add the image"))
                continue
            image = options[0]
            shapes = [*(found[image].shapes if image in found else ()), *by_image[one["id"]]]
            found[image] = OutlinedImage(image, shapes, (int(one["width"]), int(one["height"])), split)
    names = [categories[key] for key in sorted(categories)]
    notes = [f"{boxes} boxes without outlines are skipped"] if boxes else []
    return list(dict.fromkeys(names)), list(found.values()), notes, problems


def _read_yolo(root: Path, files: Sequence[Path], images: Sequence[Path]) -> Read:
    by_stem = {image.with_suffix(""): image for image in images}
    names = _yolo_names(files)
    found, boxes, largest = [], 0, -1
    for path in (path for path in files if path.suffix.lower() == ".txt"):
        parts = ["images" if part == "labels" else part for part in path.relative_to(root).parts]
        image = by_stem.get(root.joinpath(*parts).with_suffix("")) or by_stem.get(path.with_suffix(""))
        if image is None:
            continue
        shapes = []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if YOLO_LINE.fullmatch(line):
                number, *coordinates = line.split()
                largest = max(largest, int(number))
                shapes.append((int(number), [[float(one) for one in coordinates]]))
            else:
                boxes += bool(line.strip())
        found.append((image, shapes))
    names += [f"class {number}" for number in range(len(names), largest + 1)]
    outlined = [
        OutlinedImage(image, [Shape(names[n], outline) for n, outline in shapes], None) for image, shapes in found
    ]
    notes = [f"{boxes} boxes without outlines are skipped"] if boxes else []
    return names, outlined if largest >= 0 else [], notes, []


def _yolo_names(files: Iterable[Path]) -> list[str]:
    """Return the names in ``data.yaml``, ``classes.txt`` or ``obj.names``."""
    for path in files:
        if path.suffix.lower() in (".yaml", ".yml"):
            with suppress(OSError, yaml.YAMLError, AttributeError, TypeError):
                names = yaml.safe_load(path.read_text(encoding="utf-8")).get("names")
                if names:
                    return (
                        [str(names[key]) for key in sorted(names)] if isinstance(names, dict) else list(map(str, names))
                    )
        elif path.name in ("classes.txt", "obj.names"):
            return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    return []


READERS: Final[dict[str, Callable[[Path, Sequence[Path], Sequence[Path]], Read]]] = {
    "labelme": _read_labelme,
    "COCO": _read_coco,
    "YOLO": _read_yolo,
}
"""How the files of each format are read."""


def size_of(image: Path) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Return the width and height of an image as shown and as stored, and its EXIF orientation."""
    header = image_header(image)
    stored = (header.width, header.height)
    return (stored[::-1] if header.orientation >= 5 else stored), stored, header.orientation
