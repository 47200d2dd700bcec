"""The images of a study, ready to be shown: the same images for every model, in the dataset's own colors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from segmi.errors import DataError
from segmi.records import RunKey, SamplePaths, read_image, read_labels
from segmi.statistics import StudyRuns

IGNORE_INDEX: Final = 255
IGNORED_COLOR: Final = (255, 255, 255)

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Tile:
    """One image of a row.

    Args:
        title: its column.
        pixels: H×W×3; None where a model has no prediction.
        reason: why there is none.
        exact: whether pixels are to be shown as they are (masks) or smoothed (photographs).
    """

    title: str
    pixels: Pixels | None
    reason: str = ""
    exact: bool = True


@dataclass(frozen=True)
class Gallery:
    """Rows of image, ground truth and each model's prediction, and the classes seen in them.

    Args:
        rows: (image name, its tiles).
        legend: (class name, RGB) of the classes in any shown mask, ignored last.
        seed: the seed whose predictions are shown.
    """

    rows: Sequence[tuple[str, Sequence[Tile]]]
    legend: Sequence[tuple[str, tuple[int, int, int]]]
    seed: int


def gallery(study: StudyRuns, dataset: str, *, rows: int = 4, largest: int = 640) -> Gallery | None:
    """The images of one dataset under the lowest seed that has any; None if no run kept some.

    Args:
        study: its runs.
        dataset: the dataset's name.
        rows: how many images at most.
        largest: the longest side of a tile; larger images are shrunk, masks without mixing labels.
    """
    for seed in sorted(study.plan.seeds):
        samples = {
            method: found
            for method in study.plan.methods
            if (found := samples_of(study, RunKey(study.folder.name, dataset, method, seed)))
        }
        if samples:
            return _gallery(study, dataset, seed, samples, rows, largest)
    return None


def samples_of(study: StudyRuns, key: RunKey) -> dict[str, SamplePaths]:
    """The images that a run has kept, by name; none before it is finished."""
    result = study.results.get(key)
    if result is None:
        return {}
    return {sample.name: sample for sample in study.runs[key].samples(list(result["networks"]))}


def _gallery(
    study: StudyRuns,
    dataset: str,
    seed: int,
    samples: dict[str, dict[str, SamplePaths]],
    rows: int,
    largest: int,
) -> Gallery:
    first = next(study.results[RunKey(study.folder.name, dataset, method, seed)] for method in samples)
    palette = _palette(first)
    names = list(dict.fromkeys(name for found in samples.values() for name in found))[:rows]
    shown, seen = [], np.zeros(256, bool)
    for name in names:
        source = next(found[name] for found in samples.values() if name in found)
        tiles = [_photograph(source, largest), _mask("Ground truth", source.truth, palette, seen, largest)]
        for method, label in study.plan.methods.items():
            key = RunKey(study.folder.name, dataset, method, seed)
            sample = samples.get(method, {}).get(name)
            network = study.results[key]["reported_network"] if key in study.results else ""
            path = sample.predictions.get(network) if sample else None
            if path is None:
                tiles.append(Tile(label, None, study.states.get(key, "missing") if sample is None else "missing"))
            else:
                tiles.append(_mask(label, path, palette, seen, largest))
        shown.append((name, tiles))
    classes = (first.get("dataset") or {}).get("classes") or []
    legend = [(str(name), _color(palette, index)) for index, name in enumerate(classes) if seen[index]]
    legend += [("ignored", _color(palette, IGNORE_INDEX))] if seen[IGNORE_INDEX] else []
    return Gallery(shown, legend, seed)


def _palette(result: dict[str, Any]) -> Pixels:
    palette = np.zeros((256, 3), np.uint8)
    palette[IGNORE_INDEX] = IGNORED_COLOR
    colors = (result.get("dataset") or {}).get("palette") or []
    for index, color in enumerate(colors[:256]):
        palette[index] = color
    return palette


def _color(palette: Pixels, index: int) -> tuple[int, int, int]:
    red, green, blue = (int(channel) for channel in palette[index])
    return red, green, blue


def _photograph(sample: SamplePaths, largest: int) -> Tile:
    try:
        pixels = read_image(sample.image)
    except DataError:
        return Tile("Image", None, "unreadable", exact=False)
    return Tile("Image", _shrunk(pixels, largest, Image.Resampling.LANCZOS), exact=False)


def _mask(title: str, path: Any, palette: Pixels, seen: npt.NDArray[np.bool_], largest: int) -> Tile:
    try:
        labels = _shrunk(read_labels(path), largest, Image.Resampling.NEAREST)
    except DataError:
        return Tile(title, None, "unreadable")
    seen[np.unique(labels)] = True
    return Tile(title, palette[labels])


def _shrunk(pixels: Pixels, largest: int, method: Image.Resampling) -> Pixels:
    height, width = pixels.shape[:2]
    scale = largest / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, method))
