"""Description of a bundle: architecture, classes, preprocessing, scores and training."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from segmi.datasets.image_format import ImageFormat
from segmi.deploy.bundle import RECORDS, read_card
from segmi.deploy.bundle_paths import WEIGHTS
from segmi.records import RunFolder
from segmi.records.serialization import read_configuration
from segmi.types import THRESHOLD

SETTINGS: Final = ("batch_size", "learning_rate", "optimizer", "minutes")


def training_record(result: Mapping[str, Any], configuration: Mapping[str, Any], network: str) -> dict[str, Any]:
    """Return the fields ``training`` and ``evaluation`` of a bundle's card.

    Times and dates are left out: equal runs give equal bundles.

    Args:
        result: the run's ``result.json``.
        configuration: the run's ``config.yaml``.
        network: name of the network in the run.
    """
    settings, training = configuration.get("training", {}), result["training"]
    evaluation = configuration.get("evaluation", {})
    return {
        "training": {
            "dataset": result["dataset"]["name"],
            "method": result["label"] or result["method"],
            "network": network,
            "loss": configuration.get("loss", {}),
            "seed": result["seed"],
            **{key: training[key] for key in ("steps", "epochs", "images", "best_step", "selection")},
            **{key: settings[key] for key in SETTINGS if settings.get(key) is not None},
            "precision": training["precision"]["dtype"],
            **{key: result.get("environment", {}).get(key) for key in ("segmi", "commit")},
        },
        "evaluation": {
            "protocol": result["protocol"],
            **{key: evaluation[key] for key in ("split", "threshold", "window") if evaluation.get(key) is not None},
            "scores": result["networks"][network]["scores"][result["protocol"]],
        },
    }


def describe_bundle(folder: Path) -> dict[str, Any]:
    """Return the description of a bundle as plain data.

    Args:
        folder: of the bundle. In a run's folder, scores and training are read from the run if the bundle lacks them.

    Raises:
        DataError: if it is not a bundle.
    """
    card = read_card(folder)
    specification, values = card["specification"], card.get("values")
    record = {key: card.get(key) for key in RECORDS}
    if record["training"] is None:
        record |= _record_of_run(folder.resolve())
    weights = (folder / WEIGHTS).stat()
    one_logit = bool(specification.get("one_logit"))
    format = ImageFormat.from_plain(card["preprocessing"].get("image_format", {}))
    threshold = (record["evaluation"] or {}).get("threshold", THRESHOLD)
    return {
        "bundle": str(folder),
        "architecture": card["architecture"],
        "options": {key: value for key, value in specification.items() if key not in ("architecture", "classes")},
        "parameters": card["parameters"],
        "bytes": weights.st_size,
        "date": datetime.fromtimestamp(weights.st_mtime, UTC).date().isoformat(),
        "dataset": card["dataset"],
        "classes": [
            {"index": index, "name": name, "color": card["palette"][index], "value": values and values[index]}
            for index, name in enumerate(card["classes"])
        ],
        "preprocessing": {
            "images": format.describe(),
            "resize": card["preprocessing"].get("resize"),
            "resize_mode": card["preprocessing"].get("resize_mode", "exact"),
            "normalization": specification.get("normalize"),
            "threshold": threshold if one_logit else None,
        },
        "augmentation": _augmentation(card["preprocessing"]),
        **record,
        "plugins": card.get("plugins", {}),
        "segmi_version": card.get("segmi_version"),
    }


def _augmentation(preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    unchanged: dict[str, Any] = {"flip": 0, "vertical_flip": 0, "scale": [1, 1], "color": 0, "transforms": []}
    used = {key: value for key, value in preprocessing.items() if key in unchanged and value != unchanged[key]}
    return {"crop": preprocessing.get("crop"), **used}


def _record_of_run(bundle: Path) -> dict[str, Any]:
    # Bundles that earlier versions wrote have no record, but their runs do.
    run = bundle.parent.parent  # a run keeps its bundles in bundles/<network>
    result = RunFolder(run).result() if bundle.parent.name == "bundles" else None
    if result is None or bundle.name not in result["networks"]:
        return {}
    return training_record(result, read_configuration(run / "config.yaml"), bundle.name)
