"""Masks drawn from polygons: labelme's JSON, COCO's JSON and YOLO's text files, as images and masks in folders.

pycocotools draws the polygons, as COCO's own evaluation does, and reads run lengths.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pycocotools import mask as run_lengths

from segmi.datasets.decode import SUFFIXES, printable
from segmi.datasets.detection.survey import classify_name
from segmi.datasets.layout import walk
from segmi.datasets.polygon_files import READERS, OutlinedImage, size_of
from segmi.datasets.reader import Problem, combined_error
from segmi.errors import DataError, UsageError, counted
from segmi.types import IGNORE_INDEX

BACKGROUND: Final = ("background", "_background_", "__background__")
IGNORED_LABEL: Final = "__ignore__"  # labelme's name of ignored pixels
EXIF_ORIENTATION: Final = 274


class Conversion(NamedTuple):
    """The result of `convert_polygons`."""

    format: str  # the format of the annotations
    images: int  # number of images with a mask
    classes: tuple[str, ...]  # the classes in the order of their values, background first
    notes: tuple[str, ...]  # skipped objects


def convert_polygons(root: Path, output: Path, progress: Callable[[int, int], None] | None = None) -> Conversion:
    """Draw the polygons of a folder as masks, one value per class and 0 for background.

    The images are linked or copied to ``images/`` of ``output``, in folders of their splits, the masks are written to
    ``masks/`` and the names of the classes to ``id2label.json``.

    Raises:
        DataError: no file has polygons of a known format, images are missing, or sizes differ; all are named.
        UsageError: the output folder is not empty.
    """
    if output.exists() and any(output.iterdir()):
        raise UsageError(f"{printable(output)}: expected a new or empty folder, got one with files", "name another one")
    files = [parent / name for parent, names in walk(root) for name in names]
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    for title, read in READERS.items():
        labels, outlined, skipped, problems = read(root, files, images)
        if outlined or problems:
            format = title
            break
    else:
        raise DataError(
            f"{printable(root)}: expected polygons of labelme (JSON), COCO (JSON) or YOLO (text), got none",
            "export them in one of these formats; folders that have masks need no conversion",
        )
    classes = ("background", *(label for label in labels if label not in (*BACKGROUND, IGNORED_LABEL)))
    if len(classes) > IGNORE_INDEX:
        problems.append(
            Problem(printable(root), f"expected at most 254 classes, got {len(classes) - 1}", "merge classes")
        )
    targets = {one.image: _target(root, one) for one in outlined}
    repeated = [path for path, count in Counter(t.with_suffix("") for t in targets.values()).items() if count > 1]
    given = "expected one image of this name per split, got several"
    problems += [Problem(str(path), given, "rename the images") for path in repeated]
    if problems:
        raise combined_error(f"{len(problems)} problems in {printable(root)}", problems)
    values = {label: value for value, label in enumerate(classes)} | dict.fromkeys(BACKGROUND, 0) | {IGNORED_LABEL: 255}
    for done, one in enumerate(outlined, start=1):
        image, mask = output / "images" / targets[one.image], output / "masks" / targets[one.image].with_suffix(".png")
        for path in (image, mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        _draw(one, values).save(mask)
        _link(one.image, image)
        if progress is not None:
            progress(done, len(outlined))
    names = {str(value): label for value, label in enumerate(classes)}
    text = json.dumps(names, indent=1, ensure_ascii=False) + "\n"
    (output / "id2label.json").write_text(text, encoding="utf-8", newline="\n")
    without = len({*images} - {*targets})
    notes = [f"skipped {counted(without, 'image')} without annotations"] if without else []
    return Conversion(format, len(outlined), classes, (*notes, *skipped))


def _target(root: Path, one: OutlinedImage) -> PurePosixPath:
    """Return the path of an image in the output: its split, and its path without folders of roles and splits."""
    parts = one.image.relative_to(root).parts
    kinds = [classify_name(part) for part in parts[:-1]]
    split = next((kind.split for kind in kinds if kind.split), one.split)
    rest = [part for part, kind in zip(parts, kinds, strict=False) if not (kind.role or kind.split)]
    return PurePosixPath(*([split] if split else []), *rest, parts[-1])


def _draw(one: OutlinedImage, values: dict[str, int]) -> Image.Image:
    upright, stored, orientation = size_of(one.image)
    size = one.size or upright
    if size not in (upright, stored):
        raise DataError(
            f"{printable(one.image)}: expected an image of {size[0]}×{size[1]}, the size of its annotations, got "
            f"{upright[0]}×{upright[1]}",
            "use the images that were annotated",
        )
    mask = np.zeros(size[::-1], dtype=np.uint8)
    drawn = [(values[shape.label], _encoded(shape.outline, size, one.size is None)) for shape in one.shapes]
    if one.by_area:
        drawn.sort(key=lambda item: -sum(map(int, run_lengths.area(item[1]))))
    for value, parts in drawn:
        for part in parts:
            mask[run_lengths.decode(part).astype(bool)] = value
    image = Image.fromarray(mask)
    if size != upright:
        image.getexif()[EXIF_ORIENTATION] = orientation
    return ImageOps.exif_transpose(image)


def _encoded(outline: Any, size: tuple[int, int], relative: bool) -> list[Any]:
    """Return the run lengths of polygons, or of run lengths."""
    width, height = size
    if isinstance(outline, dict):
        return [run_lengths.frPyObjects(outline, height, width) if isinstance(outline["counts"], list) else outline]
    scale: NDArray[Any] = np.array([width, height] if relative else [1, 1], dtype=float)
    polygons = [
        (np.array(part, dtype=float).reshape(-1, 2) * scale).ravel().tolist() for part in outline if len(part) >= 6
    ]
    return list(run_lengths.frPyObjects(polygons, height, width)) if polygons else []


def _link(source: Path, target: Path) -> None:
    """Link a file, or copy it between file systems."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
