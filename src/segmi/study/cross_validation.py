"""Cross-validation as a study with one run per fold: its datasets, and the table of its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

from segmi.datasets.folds import Fold, assign_folds
from segmi.metrics.scores import scores
from segmi.records import RunFolder, read_confusion, write_ensemble
from segmi.study.components import open_data
from segmi.study.dataset_context import DataRoots
from segmi.study.recipe import Decision

HELD_OUT: Final = 0.1
"""Share of the training images of a fold that is held out to select weights by."""

_SELECTION: Final = ("select_by", "holdout", "selection_split")
_NOT_OF_TABLE: Final = ("IoU", "absent_classes")


def fold_datasets(
    dataset: Mapping[str, Mapping[str, Any]], folds: int, roots: DataRoots
) -> tuple[dict[str, dict[str, Any]], DataRoots, Fold]:
    """Return the folds of the only dataset in ``dataset`` as datasets of a study, their roots, and the first fold.

    Raises:
        SegmiError: if the dataset cannot be opened, or has too few groups.
    """
    ((name, options),) = dataset.items()
    first = Fold(open_data(name, options, roots), 1, folds)
    first.split("val")  # raises an error once, and not for each fold
    common = {"type": name, **options}
    datasets = {f"fold-{number}": {**common, "fold": f"{number}/{folds}"} for number in range(1, folds + 1)}
    return datasets, DataRoots(default=roots.of(name)), first


def select_without_fold(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that select weights by training images, so that a fold is scored on unseen images.

    They are empty if ``given``, explicit settings by path, has a selection.
    """
    if any(f"training.{name}" in given for name in _SELECTION):
        return {}
    return {"training.holdout": HELD_OUT, "training.weight_average": True, "training.estimate": True}


def describe_folds(fold: Fold, decided: Mapping[str, Any]) -> Decision:
    """Return the line of the recipe about the folds, from one of them and the settings of all runs by path."""
    groups = [sample.group for sample in fold.samples]
    assigned = assign_folds(groups, fold.folds)
    sizes = sorted(assigned.count(number) for number in range(fold.folds))
    unit = f"{len(set(groups))} groups" if len(set(groups)) < len(groups) else "single images without groups"
    minutes = decided.get("training.minutes")
    time = f", {fold.folds} × {minutes:g} minutes of training" if minutes else ""
    held_out = decided.get("training.holdout")
    selection = f"; weights are selected by {held_out:.0%} of the other folds" if held_out else ""
    return Decision(
        {}, f"{fold.folds} folds of {sizes[0]} to {sizes[-1]} images{time}",
        f"train and val together, {unit}; each fold is evaluated by a network that has not seen it{selection}",
    )  # fmt: skip


def write_folds(folder: Path, runs: Sequence[RunFolder]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Write the ``ensemble.json`` of finished runs, one per fold; return its table and the pooled scores.

    The table has a row per fold, the mean and the standard deviation (n − 1) over the folds, and the scores of the
    confusion matrix of all images.
    """
    rows: list[dict[str, Any]] = []
    counts, bundles = [], []
    for number, run in enumerate(runs, 1):
        result = run.result() or {}
        network, protocol = result["reported_network"], result["protocol"]
        confusion = read_confusion(run.confusion_path(network, protocol))
        entry = result["networks"][network]
        values = entry["scores"][protocol]
        counts.append(confusion.pooled())
        bundles += [run.path / "bundles" / member for member in entry.get("members", [network])]
        rows.append({"fold": str(number), "images": len(set(confusion.names)), **_scalars(values)})
    pooled = scores(sum(counts[1:], counts[0]))
    columns = {name: [row[name] for row in rows if row.get(name) is not None] for name in _scalars(pooled)}
    means = {name: mean(values) if values else None for name, values in columns.items()}
    deviations = {name: stdev(values) if len(values) > 1 else None for name, values in columns.items()}
    images = sum(row["images"] for row in rows)
    rows += [
        {"fold": "mean", "images": None, **means}, {"fold": "standard deviation", "images": None, **deviations},
        {"fold": "pooled", "images": images, **_scalars(pooled)},
    ]  # fmt: skip
    write_ensemble(folder, bundles, {"kind": "folds", "table": rows, "pooled": pooled})
    return rows, dict(pooled)


def _scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in _NOT_OF_TABLE}
