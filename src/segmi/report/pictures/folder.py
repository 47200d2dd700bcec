"""The files of a gallery, and its rows as the page's script reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segmi.comparison import StudyRuns
from segmi.errors import DataError
from segmi.records import SamplePaths, read_labels, read_picture
from segmi.report.charts.spec import data_script
from segmi.report.pictures import layers
from segmi.report.pictures.rows import PictureRow, PictureSet, class_shares, disagreement, picture_scores
from segmi.report.table1 import title_of


def write_gallery(found: PictureSet, folder: Path) -> list[PictureRow]:
    """Write the layers of all pictures of a data set; returns their rows."""
    (folder / "small").mkdir(parents=True)
    return [_write_row(found, name, folder) for name in found.names]


def gallery_data(study: StudyRuns, sets: Mapping[str, tuple[PictureSet, Sequence[PictureRow]]]) -> str:
    """The rows of all data sets as a script that a page loads from the disk."""
    return data_script("galleries", [_dataset(study, found, rows) for found, rows in sets.values()])


def unreadable_layers(rows: Sequence[PictureRow]) -> list[str]:
    """The layers of pictures that cannot be read, as a page names them."""
    return [f"{row.name}, {layer.replace('.', ' ')}" for row in rows for layer in row.unreadable]


def _write_row(found: PictureSet, name: str, folder: Path) -> PictureRow:
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
        layers.save_layer(folder, f"{name}.truth", layers.coloured(truth, found.palette), small)
        there["truth"] = ["truth"]
    predictions = {
        method: pixels[f"{method}.prediction"] for method in found.samples if f"{method}.prediction" in pixels
    }
    for method, labels in predictions.items():
        shown = {"prediction": layers.coloured(labels, found.palette)}
        if truth is not None:
            shown["errors"] = layers.errors(truth, labels)
        if f"{method}.confidence" in pixels:
            shown["confidence"] = layers.confidence(pixels[f"{method}.confidence"])
        for layer, picture in shown.items():
            layers.save_layer(folder, f"{name}.{method}.{layer}", picture, small)
        there[method] = list(shown)
    return PictureRow(
        name=name,
        size=(width, height),
        shares=class_shares(truth) if truth is not None else {},
        scores={m: picture_scores(truth, labels) for m, labels in predictions.items()} if truth is not None else {},
        disagreement=disagreement(truth, list(predictions.values())) if truth is not None else 0.0,
        layers=there,
        unreadable=[layer for layer, one in read.items() if one is None],
    )


def _read(found: PictureSet, name: str) -> dict[str, np.ndarray | None]:
    """The layers of a picture that runs have kept; None of one that cannot be read."""
    source = found.source(name)
    paths = {"image": source.image, "truth": source.truth}
    for method, samples in found.samples.items():
        if name in samples:
            member = found.members[method]
            paths[f"{method}.prediction"] = source_of(samples[name], member)
            paths[f"{method}.confidence"] = source_of(samples[name], f"{member}.confidence")
    return {
        layer: _pixels(path, photograph=layer == "image")
        for layer, path in paths.items()
        if layer in ("image", "truth") or path.is_file()
    }


def source_of(sample: SamplePaths, layer: str) -> Path:
    """Where a run keeps another layer of a picture."""
    return sample.image.with_name(f"{sample.name}.{layer}.png")


def _pixels(path: Path, *, photograph: bool) -> np.ndarray | None:
    try:
        return read_picture(path) if photograph else read_labels(path)
    except DataError:
        return None


def _dataset(study: StudyRuns, found: PictureSet, rows: Sequence[PictureRow]) -> dict[str, Any]:
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
                "colour": "#{:02x}{:02x}{:02x}".format(*_colour(found.palette, c)),
                "seen": c in seen,
            }
            for c, name in enumerate(found.classes)
        ],
        "confidence": any("confidence" in there for row in rows for there in row.layers.values()),
        "rows": [_row(row) for row in rows],
    }


def _row(row: PictureRow) -> dict[str, Any]:
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


def _colour(palette: Sequence[Sequence[int]], index: int) -> tuple[int, int, int]:
    if index >= len(palette):
        return (0, 0, 0)
    red, green, blue = (int(channel) for channel in palette[index])
    return red, green, blue
