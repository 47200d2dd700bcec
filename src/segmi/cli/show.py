"""``segmi show``: print the description of a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segmi.cli.options import AsJson, Bundle
from segmi.cli.output import calm_libraries, put, put_json, put_table


def show(bundle: Bundle, as_json: AsJson = False) -> None:
    """Print the architecture, classes, preprocessing and scores of a bundle, and how it was trained.

    Example: `segmi show runs/mine`
    """
    calm_libraries()
    from segmi.deploy.bundle_paths import find_bundles
    from segmi.deploy.description import describe_bundle

    descriptions = [describe_bundle(folder) for folder in find_bundles(bundle)]
    if as_json:
        put_json(descriptions if descriptions[1:] else descriptions[0])
        return
    for number, description in enumerate(descriptions):
        if number:
            put("")
        _put_description(description)


def _put_description(description: Mapping[str, Any]) -> None:
    preprocessing, training, evaluation = (
        description[key] or {} for key in ("preprocessing", "training", "evaluation")
    )
    scores = evaluation.get("scores") or {}
    size = preprocessing["resize"]
    facts = {
        "bundle": description["bundle"],
        "architecture": f"{description['architecture']} ({_options(description['options'])})",
        "parameters": f"{description['parameters']:,}",
        "file": f"{description['bytes'] / 1e6:.1f} MB of {description['date']}",
        "dataset": description["dataset"]["title"],
        "images": preprocessing["images"],
        "size": "original" if size is None else _size(size, preprocessing["resize_mode"]),
        "normalization": _cell(preprocessing["normalization"] or "none"),
        "threshold": preprocessing["threshold"],
        "augmentation": _options(description["augmentation"]),
        "loss": " + ".join(training.get("loss", {})) or None,
        **{key: training.get(key) for key in ("method", "seed", "steps", "epochs", "batch_size", "learning_rate")},
        **{key: training.get(key) for key in ("optimizer", "precision", "best_step")},
        "plugins": ", ".join(f"{name} of {package}" for name, package in description["plugins"].items()) or None,
        "segmi": description["segmi_version"],
        "evaluated on": evaluation.get("split"),
        **{name: value for name, value in scores.items() if name != "IoU"},
    }
    rows = [{"field": name, "value": value} for name, value in facts.items() if value is not None]
    put_table(rows, ["field", "value"])
    if not training:
        put("Scores and training are not recorded in this bundle.")
    put("")
    ious = scores.get("IoU") or []
    columns = ["index", "value", "color", "class", *(["IoU"] if ious else [])]
    put_table(
        [
            {
                **{"index": one["index"], "value": _cell(one["value"]), "color": _cell(one["color"])},
                **{"class": one["name"], "IoU": ious[one["index"]] if ious else None},
            }
            for one in description["classes"]
        ],
        columns,
    )


def _size(size: int, mode: str) -> str:
    return f"resized to {size} × {size}" if mode == "exact" else f"shorter side resized to {size}"


def _options(options: Mapping[str, Any]) -> str:
    # the normalization has a separate row
    given = {name: v for name, v in options.items() if v not in (None, False, [], {}) and name != "normalize"}
    return ", ".join(f"{name} {_cell(value)}" for name, value in given.items())


def _cell(value: Any) -> Any:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_cell(one)}" for name, one in value.items())
    return " ".join(str(_cell(one)) for one in value) if isinstance(value, list | tuple) else value
