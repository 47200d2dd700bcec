"""The files of a gallery, and its rows as the page's script reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segmi.errors import DataError
from segmi.records import SamplePaths, read_image, read_labels
from segmi.report.charts.spec import data_script
from segmi.report.images import layers
from segmi.report.images.rows import ImageRow, ImageSet, class_shares, disagreement, image_scores
from segmi.report.table1 import title_of
from segmi.statistics import StudyRuns


def write_gallery(found: ImageSet, folder: Path) -> list[ImageRow]:
    """Write the layers of all images of a dataset; returns their rows."""
    (folder / "small").mkdir(parents=True)
    return [_write_row(found, name, folder) for name in found.names]


def gallery_data(study: StudyRuns, sets: Mapping[str, tuple[ImageSet, Sequence[ImageRow]]]) -> str:
    """The rows of all datasets as a script that a page loads from the disk."""
    return data_script("galleries", [_dataset(study, found, rows) for found, rows in sets.values()])


def unreadable_layers(rows: Sequence[ImageRow]) -> list[str]:
    """The layers of images that cannot be read, as a page names them."""
    return [f"{row.name}, {layer.replace('.', ' ')}" for row in rows for layer in row.unreadable]


def _write_row(found: ImageSet, name: str, folder: Path) -> ImageRow:
    read = _read(found, name)
    pixels = {layer: one for layer, one in read.items() if one is not None}
    height, width = next((one.shape[:2] for one in pixels.values()), (3, 4))
    pixels = {layer: one for layer, one in pixels.items() if one.shape[:2] == (height, width)}
    small = layers.small_size(width, height)
    truth = pixels.get("truth")
    there: dict[str, list[str]] = {}
    if "image" in pixels:
        layers.save_layer(folder, f"{name}.image", layers.photograph(pixels["image"]), small)
        there["image"] = ["image"]
    if truth is not None:
        layers.save_layer(folder, f"{name}.truth", layers.colored(truth, found.palette), small)
        there["truth"] = ["truth"]
    predictions = {
        method: pixels[f"{method}.prediction"] for method in found.samples if f"{method}.prediction" in pixels
    }
    for method, labels in predictions.items():
        shown = {"prediction": layers.colored(labels, found.palette)}
        if truth is not None:
            shown["errors"] = layers.errors(truth, labels)
        if f"{method}.confidence" in pixels:
            shown["confidence"] = layers.confidence(pixels[f"{method}.confidence"])
        for layer, image in shown.items():
            layers.save_layer(folder, f"{name}.{method}.{layer}", image, small)
        there[method] = list(shown)
    return ImageRow(
        name=name,
        size=(width, height),
        shares=class_shares(truth) if truth is not None else {},
        scores={m: image_scores(truth, labels) for m, labels in predictions.items()} if truth is not None else {},
        disagreement=disagreement(truth, list(predictions.values())) if truth is not None else 0.0,
        layers=there,
        unreadable=[layer for layer, one in read.items() if one is None],
    )


def _read(found: ImageSet, name: str) -> dict[str, np.ndarray | None]:
    """The layers of an image that runs have kept; None of one that cannot be read."""
    source = found.source(name)
    paths = {"image": source.image, "truth": source.truth}
    for method, samples in found.samples.items():
        if name in samples:
            network = found.networks[method]
            paths[f"{method}.prediction"] = source_of(samples[name], network)
            paths[f"{method}.confidence"] = source_of(samples[name], f"{network}.confidence")
    return {
        layer: _pixels(path, photograph=layer == "image")
        for layer, path in paths.items()
        if layer in ("image", "truth") or path.is_file()
    }


def source_of(sample: SamplePaths, layer: str) -> Path:
    """Where a run keeps another layer of an image."""
    return sample.image.with_name(f"{sample.name}.{layer}.png")


def _pixels(path: Path, *, photograph: bool) -> np.ndarray | None:
    try:
        return read_image(path) if photograph else read_labels(path)
    except DataError:
        return None


def _dataset(study: StudyRuns, found: ImageSet, rows: Sequence[ImageRow]) -> dict[str, Any]:
    seen = {c for row in rows for c in row.shares}
    seen |= {c for row in rows for score in row.scores.values() for c in score.iou}
    return {
        "name": found.dataset,
        "title": title_of(study, found.dataset),
        "seed": found.seed,
        "methods": [
            {"name": method, "label": label, "state": found.states.get(method, "")}
            for method, label in study.plan.methods.items()
        ],
        "classes": [
            {
                "id": c,
                "name": name,
                "color": "#{:02x}{:02x}{:02x}".format(*_color(found.palette, c)),
                "seen": c in seen,
            }
            for c, name in enumerate(found.classes)
        ],
        "confidence": any("confidence" in there for row in rows for there in row.layers.values()),
        "rows": [_row(row) for row in rows],
    }


def _row(row: ImageRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "size": row.size,
        "small": layers.small_size(*row.size) is not None,
        "differ": round(row.disagreement, 4),
        "shares": {c: round(share, 4) for c, share in row.shares.items()},
        "layers": row.layers,
        "unreadable": row.unreadable,
        "scores": {
            method: {
                "accuracy": _number(score.accuracy),
                "mean": _number(score.mean_iou),
                "iou": {c: _number(value) for c, value in score.iou.items()},
            }
            for method, score in row.scores.items()
        },
    }


def _number(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _color(palette: Sequence[Sequence[int]], index: int) -> tuple[int, int, int]:
    if index >= len(palette):
        return (0, 0, 0)
    red, green, blue = (int(channel) for channel in palette[index])
    return red, green, blue
