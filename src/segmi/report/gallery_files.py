"""Example images of a dataset, their comparison with the ground truth, and the files of the gallery.

Photographs are stored as JPEG; masks, errors and confidences as palette PNG; large images also as thumbnails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image

from segmi.errors import DataError
from segmi.records import SamplePaths, read_image, read_labels
from segmi.report.charts import data_script
from segmi.statistics import StudyRuns
from segmi.types import IGNORE_INDEX

Mask = npt.NDArray[np.uint8]

_IDS: Final = 256


@dataclass(frozen=True)
class ImageSet:
    """Example images of one dataset, from the runs of one seed."""

    dataset: str  # name of the dataset
    seed: int  # seed of the predictions
    classes: Sequence[str]  # names of the classes
    palette: Mask  # 256×3, RGB by train id; ids without a color are black, ignored pixels white
    names: Sequence[str]  # names of the images, in the order of the split
    samples: Mapping[str, Mapping[str, SamplePaths]]  # paths by method and image
    networks: Mapping[str, str]  # reported network by method
    states: Mapping[str, str]  # state of the run, for methods without images

    def source(self, name: str) -> SamplePaths:
        """Return the paths of an image and its ground truth, which are the same in every run."""
        return next(images[name] for images in self.samples.values() if name in images)


def image_set(study: StudyRuns, dataset: str) -> ImageSet | None:
    """Return the images of a dataset for the lowest seed with images; None if no run kept any."""
    for seed in sorted(study.plan.seeds):
        keys = {method: study.key(dataset, method, seed) for method in study.plan.methods}
        samples = {
            method: {sample.name: sample for sample in study.runs[key].samples(list(result["networks"]))}
            for method, key in keys.items()
            if (result := study.results.get(key)) is not None
        }
        samples = {method: images for method, images in samples.items() if images}
        if samples:
            first = study.results[keys[next(iter(samples))]].get("dataset") or {}
            palette = np.zeros((_IDS, 3), np.uint8)
            for index, color in enumerate((first.get("palette") or [])[:_IDS]):
                palette[index] = color
            palette[IGNORE_INDEX] = (255, 255, 255)
            return ImageSet(
                dataset=dataset, seed=seed, palette=palette, samples=samples,
                classes=[str(name) for name in first.get("classes") or []],
                names=list(dict.fromkeys(name for images in samples.values() for name in images)),
                networks={m: str(study.results[keys[m]].get("reported_network")) for m in samples},
                states={m: study.states.get(key, "missing") for m, key in keys.items() if m not in samples},
            )  # fmt: skip
    return None


def image_iou(truth: Mask, prediction: Mask) -> dict[int, float]:
    """Return the IoU of the classes in truth or prediction of one image, without ignored pixels.

    >>> image_iou(np.array([[0, 0, 1, 255]], np.uint8), np.array([[0, 1, 1, 0]], np.uint8))
    {0: 0.5, 1: 0.5}
    """
    valid = truth != IGNORE_INDEX
    pairs = truth[valid].astype(np.int32) * _IDS + prediction[valid]
    counts = np.bincount(pairs, minlength=_IDS**2).reshape(_IDS, _IDS)
    hits = np.diagonal(counts)
    unions = counts.sum(0) + counts.sum(1) - hits
    return {int(c): float(hits[c] / unions[c]) for c in np.flatnonzero(unions)}


def class_shares(truth: Mask) -> dict[int, float]:
    """Return the fraction of the valid pixels of every class in the ground truth.

    >>> class_shares(np.array([[0, 0, 0, 2, 255]], np.uint8))
    {0: 0.75, 2: 0.25}
    """
    ids, counts = np.unique(truth[truth != IGNORE_INDEX], return_counts=True)
    return {int(c): float(n / counts.sum()) for c, n in zip(ids, counts, strict=True)}


def disagreement(truth: Mask, predictions: Sequence[Mask]) -> float:
    """Return the fraction of valid pixels on which predictions differ; 0 for fewer than two predictions.

    >>> a, b = np.array([[0, 1]], np.uint8), np.array([[0, 0]], np.uint8)
    >>> disagreement(a, [a, b])
    0.5
    """
    valid = truth != IGNORE_INDEX
    if len(predictions) < 2 or not valid.any():
        return 0.0
    stacked = np.stack([one[valid] for one in predictions])
    return float((stacked != stacked[0]).any(axis=0).mean())


THUMBNAIL: Final = 320
"""Longest side of a thumbnail; the enlarged image has its full size."""

Row = dict[str, Any]
"""Data of an image for the script of the page: layers, and values to sort by."""


def write_gallery(images: ImageSet, folder: Path) -> list[Row]:
    """Write the layers of all images of a dataset; returns their rows."""
    (folder / "small").mkdir(parents=True)
    return [_write_row(images, name, folder) for name in images.names]


def gallery_data(study: StudyRuns, sets: Mapping[str, tuple[ImageSet, Sequence[Row]]]) -> str:
    """Return the rows of all datasets as a script, which a page from the disk can load (it cannot load JSON)."""
    galleries = []
    for images, rows in sets.values():
        seen = {c for row in rows for c in row["shares"]}
        seen |= {c for row in rows for score in row["scores"].values() for c in score["iou"]}
        galleries.append({
            "name": images.dataset, "title": study.title(images.dataset), "seed": images.seed,
            "methods": [{"name": method, "label": label, "state": images.states.get(method, "")}
                        for method, label in study.plan.methods.items()],
            "classes": [{"id": c, "name": name, "color": "#{:02x}{:02x}{:02x}".format(*images.palette[c]),
                         "seen": c in seen} for c, name in enumerate(images.classes)],
            "confidence": any("confidence" in layers for row in rows for layers in row["layers"].values()),
            "rows": rows,
        })  # fmt: skip
    return data_script("galleries", galleries)


def unreadable_layers(rows: Sequence[Row]) -> list[str]:
    """Return the names of layers that cannot be read, for the page."""
    return [f"{row['name']}, {layer.replace('.', ' ')}" for row in rows for layer in row["unreadable"]]


def thumbnail_size(width: int, height: int) -> tuple[int, int] | None:
    """Return the size of the thumbnail of an image; None if the image is small enough.

    >>> thumbnail_size(640, 480), thumbnail_size(360, 240)
    ((320, 240), None)
    """
    scale = THUMBNAIL / max(width, height)
    return None if scale > 0.85 else (max(1, round(width * scale)), max(1, round(height * scale)))


def _write_row(images: ImageSet, name: str, folder: Path) -> Row:
    read = _read(images, name)
    pixels = {layer: one for layer, one in read.items() if one is not None}
    height, width = next((one.shape[:2] for one in pixels.values()), (3, 4))
    pixels = {layer: one for layer, one in pixels.items() if one.shape[:2] == (height, width)}
    truth = pixels.get("truth")
    files = {"image": Image.fromarray(pixels["image"])} if "image" in pixels else {}
    files |= {"truth": _indexed(truth, images.palette)} if truth is not None else {}
    layers = {layer: [layer] for layer in files}
    predictions = {m: pixels[f"{m}.prediction"] for m in images.samples if f"{m}.prediction" in pixels}
    for method, labels in predictions.items():
        files[f"{method}.prediction"] = _indexed(labels, images.palette)
        if truth is not None:
            files[f"{method}.errors"] = _errors(truth, labels)
        if f"{method}.confidence" in pixels:  # cividis is readable for color-blind readers
            colors = (mpl.colormaps["cividis"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
            files[f"{method}.confidence"] = _indexed(pixels[f"{method}.confidence"], colors)
        kinds = ("prediction", "errors", "confidence")
        layers[method] = [kind for kind in kinds if f"{method}.{kind}" in files]
    small = thumbnail_size(width, height)
    for layer, image in files.items():
        _save_with_thumbnail(folder, f"{name}.{layer}", image, small)
    scores = {m: image_iou(truth, labels) for m, labels in predictions.items()} if truth is not None else {}
    means = {method: round(float(np.mean(list(iou.values()))), 4) if iou else None for method, iou in scores.items()}
    return {
        "name": name, "size": (width, height), "small": small is not None,
        "disagreement": round(disagreement(truth, list(predictions.values())), 4) if truth is not None else 0.0,
        "shares": {c: round(share, 4) for c, share in class_shares(truth).items()} if truth is not None else {},
        "layers": layers, "unreadable": [layer for layer, one in read.items() if one is None],
        "scores": {method: {"mean": means[method], "iou": {c: round(value, 4) for c, value in iou.items()}}
                   for method, iou in scores.items()},
    }  # fmt: skip


def _read(images: ImageSet, name: str) -> dict[str, Mask | None]:
    """Read the layers of an image; None for a layer that cannot be read."""
    source = images.source(name)
    paths = {"image": source.image, "truth": source.truth}
    for method, samples in images.samples.items():
        if name in samples:
            network, image = images.networks[method], samples[name].image
            paths[f"{method}.prediction"] = image.with_name(f"{name}.{network}.png")
            paths[f"{method}.confidence"] = image.with_name(f"{name}.{network}.confidence.png")
    layers: dict[str, Mask | None] = {}
    for layer, path in paths.items():
        if layer in ("image", "truth") or path.is_file():
            layers[layer] = None
            with suppress(DataError):
                layers[layer] = read_image(path) if layer == "image" else read_labels(path)
    return layers


def _errors(truth: Mask, prediction: Mask) -> Image.Image:
    """Return wrong pixels in color, ignored ones in gray and correct ones transparent, to overlay the photograph."""
    kinds = np.where(truth == IGNORE_INDEX, 2, np.where(prediction == truth, 0, 1)).astype(np.uint8)
    table = np.zeros((256, 3), np.uint8)
    # Vermilion of Okabe and Ito is distinguishable from gray for all readers.
    table[1], table[2] = (213, 94, 0), (128, 128, 128)
    image = _indexed(kinds, table)
    image.info["transparency"] = bytes((0, 235, 170))
    return image


def _indexed(values: Mask, table: Mask) -> Image.Image:
    used = int(values.max()) + 1 if values.size else 1
    image = Image.fromarray(values)
    image.putpalette(table[:used].tobytes())
    return image


def _save_with_thumbnail(folder: Path, name: str, image: Image.Image, small: tuple[int, int] | None) -> None:
    mask = image.mode == "P"
    options = {"optimize": True, "transparency": image.info.get("transparency")} if mask else {"quality": 86}
    file, kind = (f"{name}.png", "PNG") if mask else (f"{name}.jpg", "JPEG")
    image.save(folder / file, format=kind, **options)
    if small is not None:
        thumbnail = image.resize(small, Image.Resampling.NEAREST if mask else Image.Resampling.LANCZOS)
        thumbnail.save(folder / "small" / file, format=kind, **options)
