"""Files that a finished run leaves: counts, images for the figures, bundles, and the record of its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
from PIL import Image

from segmi.datasets.reader import DatasetInfo, DatasetReader
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.deploy.bundle import save_bundle
from segmi.deploy.description import training_record
from segmi.metrics.confusion_matrix import ConfusionMatrix
from segmi.metrics.details import Details
from segmi.metrics.scores import constant_prediction_scores, scores
from segmi.models import SegmentationNetwork
from segmi.records import RunFolder, write_confusion, write_details, write_ensemble, write_sample
from segmi.study.dataset_context import DatasetContext
from segmi.study.run_config import Run, RunConfig
from segmi.study.schema import describe_network
from segmi.training import Cohort, FitOutcome, predict_labels
from segmi.types import IGNORE_INDEX

# Largest side of stored images in pixels; figures are small, and images of Cityscapes would fill the disk.
LONGEST_SIDE: Final = 640


@dataclass
class Evaluation:
    """Result of the evaluation of a run."""

    # Confusion matrices by protocol and network.
    matrices: dict[str, dict[str, ConfusionMatrix]] = field(default_factory=dict)
    diagnostics: dict[str, dict[str, float]] = field(default_factory=dict)  # diagnostics of the predictions by protocol
    details: dict[str, Details] = field(default_factory=dict)  # scores per image by network


def write_evaluation(folder: RunFolder, evaluation: Evaluation) -> None:
    """Write the confusion matrices and the scores per image."""
    for protocol, matrices in evaluation.matrices.items():
        for network, matrix in matrices.items():
            path = folder.confusion_path(network, protocol)
            write_confusion(path, matrix.counts().numpy(), matrix.names, matrix.groups)
    for network, details in evaluation.details.items():
        write_details(folder.details_path(network, "full"), details.arrays())


def write_samples(cohort: Cohort, images: SegmentationDataset, config: RunConfig, folder: RunFolder) -> None:
    """Write some images with labels, predictions and confidences, the same images in every run."""
    options = {name: getattr(config.evaluation, name) for name in ("window", "overlap", "threshold")}
    photo, mask, levels = Image.Resampling.LANCZOS, Image.Resampling.NEAREST, Image.Resampling.BILINEAR
    for index in evenly_spaced(config.samples, len(images)):
        sample = images.samples[index]
        image, labels = images.dataset.read(sample)
        predictions = predict_labels(cohort, images, index, **options)
        confidences = {name: np.rint(255 * one.confidence).astype(np.uint8) for name, one in predictions.items()}
        write_sample(
            folder.path / "samples",
            f"{index:04d}-{sample.name}",
            smaller(images.dataset.image_format.to_rgb(image), photo),
            smaller(labels, mask),
            {name: smaller(one.labels, mask) for name, one in predictions.items()},
            images.dataset.info.palette,
            confidences={name: smaller(one, levels) for name, one in confidences.items()},
        )


def evenly_spaced(count: int, total: int) -> list[int]:
    """Return ``count`` evenly spaced indices below ``total``, or all indices if there are fewer."""
    count = min(count, total)
    return [int((part + 0.5) * total / count) for part in range(count)]  # the middles of equal parts


def smaller(array: np.ndarray, method: Image.Resampling) -> np.ndarray:
    """Return an H×W or H×W×3 uint8 image, scaled down if a side is longer than `LONGEST_SIDE`."""
    scale = LONGEST_SIDE / max(array.shape[:2])
    if scale >= 1:
        return array
    size = (max(1, round(array.shape[1] * scale)), max(1, round(array.shape[0] * scale)))
    return np.asarray(Image.fromarray(array).resize(size, method))


def write_bundles(
    cohort: Cohort, config: RunConfig, dataset: DatasetReader, folder: RunFolder, result: Mapping[str, Any]
) -> None:
    """Write a bundle per network, with its scores and how it was trained; the list of a reported ensemble's bundles."""
    format = dataset.image_format.plain()
    preprocessing = {**config.plain()["processing"], **({"image_format": format} if format else {})}
    card = dataset_card(dataset.info) | {"values": dataset.class_values()}
    bundles = {network: folder.path / "bundles" / network for network in cohort.networks}
    for network, module in cohort.networks.items():
        record = training_record(result, config.plain(), network)
        save_bundle(
            bundles[network], cast("SegmentationNetwork", module), dataset=card, preprocessing=preprocessing,
            record=record,
        )  # fmt: skip
    if config.reported in cohort.ensembles:
        write_ensemble(folder.path, [bundles[member] for member in cohort.ensembles[config.reported]])


def dataset_card(info: DatasetInfo) -> dict[str, Any]:
    """Return what records and bundles store about a dataset."""
    colors = {"classes": list(info.classes), "palette": [list(color) for color in info.palette]}
    return {"name": info.name, "title": info.title, **colors, "ignore_index": IGNORE_INDEX}


def result_record(
    run: Run,
    context: DatasetContext,
    cohort: Cohort,
    outcome: FitOutcome,
    evaluation: Evaluation,
    machine: Mapping[str, Any],
    usage: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of ``result.json``."""
    config, protocol, matrices = run.config, run.config.evaluation.protocol, evaluation.matrices
    pooled = {kind: {name: one.pooled().numpy() for name, one in matrices[kind].items()} for kind in matrices}
    return {
        "study": run.study,
        "dataset": dataset_card(context.dataset.info) | {"name": run.dataset},
        "method": run.method,
        "label": config.label,
        "seed": run.seed,
        "reported_network": config.reported,
        "protocol": protocol,
        "networks": {
            network: {
                "label": network,
                **_description(network, cohort, config),
                "scores": {kind: scores(counts[network]) for kind, counts in pooled.items()},
            }
            for network in cohort.evaluated
        },
        "diagnostics": {kind: dict(values) for kind, values in evaluation.diagnostics.items()},
        "baseline_constant": constant_prediction_scores(
            pooled[protocol][config.reported], predicted_class=context.most_frequent_class()
        ),
        "training": {
            **{key: getattr(outcome, key) for key in ("steps", "images", "epochs", "best_step", "best_score")},
            "selection": config.training.select_by,
            "precision": outcome.precision.to_dict(),
            "processes": config.training.processes,
            "wall_seconds": outcome.wall_seconds,
        },
        "usage": dict(usage),
        "environment": dict(machine),
    }


def _description(name: str, cohort: Cohort, config: RunConfig) -> dict[str, Any]:
    """Return architecture and number of parameters of a network, or of the networks of an ensemble."""
    members = cohort.ensembles.get(name, [name])
    parameters = sum(one.numel() for member in members for one in cohort.networks[member].parameters())
    if name in cohort.ensembles:
        architecture = f"ensemble of {', '.join(members)}"
        return {"architecture": architecture, "parameters": parameters, "members": list(members)}
    return {"architecture": describe_network(config.networks[name]), "parameters": parameters}
