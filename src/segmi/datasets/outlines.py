"""Annotation files that outline objects, files of formats that are not read, and how to get masks from them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

CONVERT: Final = "draw masks from them: segmi data convert {folder} --output DIR, then segmi data init DIR"
_QUPATH: Final = "export labeled tiles from QuPath: LabeledImageServer with TileExporter"
_COCO: Final = "export them in COCO format, then " + CONVERT


class Outlines(NamedTuple):
    """Annotation files of one format."""

    words: str  # the format in words
    remedy: str  # how to get masks; ``{folder}`` is the dataset's folder
    path: str  # the first file, relative to the folder


def _annotations(data: Any) -> list[Any]:
    found = data.get("annotations") if isinstance(data, dict) else None
    return found if isinstance(found, list) else []


def _entries(data: Any) -> list[Any]:
    """Return the values of an object and of the list of tasks."""
    values = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return [one for one in values if isinstance(one, dict)]


def _features(data: Any) -> list[Any]:
    """Return the features of GeoJSON, which is a collection or a list of features."""
    found = data.get("features") if isinstance(data, dict) else data
    return [one for one in found if isinstance(one, dict) and "geometry" in one] if isinstance(found, list) else []


def _is_geojson(data: Any) -> bool:
    return bool(_features(data)) or (isinstance(data, dict) and data.get("type") == "FeatureCollection")


def _is_qupath(feature: Any) -> bool:
    properties = feature.get("properties") or {}  # in maps they have other keys
    return not properties or bool({"classification", "objectType", "object_type"} & properties.keys())


def _regions(data: Any) -> list[Any]:
    """Return the objects in lists up to two levels deep, which hold the regions of most formats."""
    inner = [value for one in (data, *_entries(data)) if isinstance(one, dict) for value in one.values()]
    deeper = [
        value for many in inner if isinstance(many, list) for one in _entries(many)[:50] for value in one.values()
    ]
    return [one for many in (*inner, *deeper) if isinstance(many, list) for one in many[:50] if isinstance(one, dict)]


def is_labelme(data: Any) -> bool:
    """Return whether a JSON file is labelme's."""
    return isinstance(data, dict) and isinstance(data.get("shapes"), list)


def is_coco(data: Any) -> bool:
    """Return whether a JSON file is in COCO's format of instances."""
    outlined = [one for one in _annotations(data)[:50] if isinstance(one, dict) and one.get("segmentation")]
    return bool(outlined)


_JSON: Final[tuple[tuple[str, str, Callable[[Any], bool]], ...]] = (
    ("labelme's polygons", CONVERT, is_labelme),
    ("COCO's polygons", CONVERT, is_coco),
    (
        "COCO's bounding boxes",
        "boxes do not outline objects: annotate polygons or masks",
        lambda data: any("bbox" in one for one in _annotations(data)[:50] if isinstance(one, dict)),
    ),
    (
        "VIA's regions",
        _COCO,
        lambda data: (
            "_via_img_metadata" in data or any("regions" in one for one in _entries(data) if isinstance(one, dict))
        ),
    ),
    (
        "Supervisely's objects",
        "export masks from Supervisely with its app Export as masks",
        lambda data: any("classTitle" in one for one in data.get("objects", ()) if isinstance(one, dict)),
    ),
    (
        "Label Studio's tasks",
        _COCO,
        lambda data: any(
            {"annotations", "completions"} & one.keys() for one in _entries(data) if isinstance(one, dict)
        ),
    ),
    (
        "QuPath's GeoJSON",
        _QUPATH,
        lambda data: _is_geojson(data) and "crs" not in data and all(map(_is_qupath, _features(data)[:50])),
    ),
    (
        "GeoJSON's polygons",
        "draw them on the grid of each image: rasterio.features.rasterize, with a value per class",
        _is_geojson,
    ),
    (
        "Label Studio's tasks",
        _COCO,
        lambda data: any({"brushlabels", "polygonlabels", "rle"} & region.keys() for region in _regions(data)),
    ),
    (
        "Cityscapes' polygons",
        "download or create its label images, whose names end in _gtFine_labelIds.png",
        lambda data: any("polygon" in one for one in data.get("objects", ()) if isinstance(one, dict)),
    ),
    (
        "polygons of V7, SuperAnnotate, Datumaro or Labelbox",
        _COCO,
        lambda data: any({"polygon", "points", "segmentation", "geometry"} & one.keys() for one in _regions(data)),
    ),
)

_TEXT: Final = (
    ("CVAT's polygons", "export from CVAT as Segmentation mask 1.1", re.compile(r"<(polygon|mask)\b.*\blabel=")),
    ("bounding boxes", "boxes do not outline objects: annotate polygons or masks", re.compile(r"<bndbox>")),
    (
        "XML outlines of QuPath, ASAP or ImageScope",
        "export label images from the program",
        re.compile(r"<(Coordinate|Vertex)\b"),
    ),
    (
        "run lengths",
        "decode them to one PNG mask per image, one value per class",
        re.compile(r"^.*(EncodedPixels|\brle\b|segmentation_mask)", re.IGNORECASE),
    ),
    ("VIA's regions", _COCO, re.compile(r"^.*region_shape_attributes")),
    ("YOLO's polygons", CONVERT, re.compile(r"^\d+( [01]?\.\d+| [01]){6,}\s*$", re.MULTILINE)),
    (
        "YOLO's bounding boxes",
        "boxes do not outline objects: annotate polygons or masks",
        re.compile(r"^\d+( [01]?\.\d+| [01]){4}\s*$", re.MULTILINE),
    ),
)

HEAD: Final = 2_000_000  # bytes of a text file that are searched


UNREAD: Final = {
    **dict.fromkeys(
        (".nii", ".mha", ".nrrd"),
        "save each slice of NIfTI and other volumes as TIFF, such as tifffile.imwrite(IMAGE, "
        'nibabel.load(PATH).get_fdata(dtype="float32")[:, :, k]); labels as uint8 with the same names',
    ),
    ".dcm": "save each slice of DICOM as TIFF: tifffile.imwrite(IMAGE, pydicom.dcmread(PATH).pixel_array)",
    **dict.fromkeys((".npy", ".npz"), "save images and masks as PNG: Image.fromarray(numpy.load(PATH)).save(...)"),
    ".mat": "save images and masks as PNG: Image.fromarray(scipy.io.loadmat(PATH)[NAME]).save(...)",
    **dict.fromkeys(
        (".jp2", ".exr", ".h5", ".hdr", ".heic", ".avif", ".svg"), "save images and masks as PNG, masks as 8-bit gray"
    ),
}
"""The remedy for files that can hold images or masks and are not read, by suffix."""


def unread_formats(counts: Counter[str]) -> tuple[str, str] | None:
    """Return the files of unread formats in words, with a remedy, from the number of files of each suffix."""
    found = [(count, suffix) for suffix, count in counts.most_common() if suffix in UNREAD]
    words = ", ".join(f"{count} {suffix}" for count, suffix in found)
    return (f"unsupported files: {words}", UNREAD[found[0][1]]) if found else None


def find_outlines(root: Path, paths: Iterable[str]) -> Outlines | None:
    """Return the first format that some of the files have; None if none of them outlines objects."""
    for path in list(paths)[:400]:
        for words, remedy in _formats(root / path):
            return Outlines(words, remedy, path)
    return None


def _formats(path: Path) -> Iterable[tuple[str, str]]:
    if path.suffix.lower() in (".json", ".geojson"):
        data = read_json(path)
        if not isinstance(data, dict | list):
            return
        for words, remedy, fits in _JSON:
            try:
                if fits(data):
                    yield words, remedy
            except (AttributeError, TypeError):  # another structure
                continue
        return
    try:
        with path.open("rb") as file:
            head = file.read(HEAD).decode("utf-8", "replace")
    except OSError:
        return
    for words, remedy, pattern in _TEXT:
        if pattern.search(head) and (path.suffix.lower() == ".xml") == (pattern.pattern[0] == "<"):
            yield words, remedy


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, None if it is none."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
