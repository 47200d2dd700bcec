"""Evaluation: one pooled confusion matrix for every network of a cohort."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial, reduce
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from segmi.datasets.crops import to_unit
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.errors import UsageError
from segmi.metrics.confusion_matrix import ConfusionMatrix
from segmi.metrics.details import Details, Truth
from segmi.metrics.diagnostics import PredictionDiagnostics
from segmi.models import InferenceConfig, SegmentationNetwork, inference
from segmi.models.averaging import Member, mean_logits
from segmi.models.network import evaluation_mode, resolve_device
from segmi.training.cohort import Cohort
from segmi.training.distributed import SINGLE_PROCESS, ProcessGroup
from segmi.types import THRESHOLD, Images, Labels, Logits

Protocol: TypeAlias = Literal["full", "paper"]
WHOLE: Final = slice(None)
Visitor: TypeAlias = Callable[[int, slice, slice, Mapping[str, Logits]], None]
"""Called with the index of an image in its batch, rows, columns, and the 1×C×h×w logits of every network there."""


class LabelMap(NamedTuple):
    """Prediction for one image: H×W uint8 class indices, and H×W float32 probabilities of these classes."""

    labels: np.ndarray
    confidence: np.ndarray


def evaluate(
    cohort: Cohort,
    images: SegmentationDataset,
    *,
    protocol: Protocol = "full",
    passes: int = 5,
    batch_size: int = 8,
    window: int | None = None,
    overlap: int | None = None,
    threshold: float = THRESHOLD,
    tta: tuple[str, ...] = (),
    device: str = "auto",
    processes: ProcessGroup = SINGLE_PROCESS,
    progress: Callable[[int, int], None] | None = None,
    diagnostics: PredictionDiagnostics | None = None,
    details: MutableMapping[str, Details] | None = None,
) -> dict[str, ConfusionMatrix]:
    """Return the confusion matrix of every network, including frozen ones, and of every ensemble, by name.

    ``full`` predicts whole images at the working scale, padded to the networks' stride, and scores the logits resized
    to the original label size; it is deterministic. ``paper`` follows the paper: ``passes`` passes of random crops,
    scored at the crop's scale, and keyed by the seed of ``images``.

    Args:
        cohort: moved to the device; its training mode is restored.
        images: evaluated images.
        protocol: ``full`` or ``paper``.
        passes: number of passes of random crops in ``paper``.
        batch_size, overlap, threshold: as in `segmi.models.InferenceConfig`.
        window, tta: as there, in ``full``.
        device: as in `fit`.
        processes: each evaluates a disjoint part of the images, and all return the matrices of all images.
        progress: called with (images done, total images) of this process.
        diagnostics: updated with the logits and labels of all processes.
        details: receives the per-image details of every network by name, at additional cost.

    Raises:
        UsageError: for an unknown protocol, no images, a threshold that does not fit the networks, or windows or
            test-time augmentation with the protocol ``paper``.
    """
    if protocol not in ("full", "paper"):
        raise UsageError(f"unknown evaluation protocol {protocol!r}", "use full or paper")
    if not len(images) or (protocol == "paper" and passes < 1):
        raise UsageError("there is nothing to evaluate: no images, or no passes", "use a split with images in it")
    if window is not None and protocol == "paper":
        problem = "windows do not go with the evaluation protocol paper, which predicts crops"
        raise UsageError(problem, "leave window out, or use protocol: full")
    if tta and protocol == "paper":
        problem = "test-time augmentation does not go with the evaluation protocol paper, which predicts crops"
        raise UsageError(problem, "leave tta out, or use protocol: full")
    config = InferenceConfig(window, overlap, batch_size, threshold, tta)
    target = processes.device or resolve_device(device)
    # The images of this process: consecutive whole batches, the same batches as with one process.
    part = processes.shard.slice(-(-len(images) // batch_size))
    share = range(part.start * batch_size, min(part.stop * batch_size, len(images)))
    classes = len(images.dataset.info.classes)
    matrices = {name: ConfusionMatrix(classes) for name in cohort.evaluated}
    collected = None if details is None else {name: Details(classes) for name in cohort.evaluated}
    batches = _whole(images, share, batch_size) if protocol == "full" else _crops(images, share, batch_size, passes)
    total, done = len(share) * (1 if protocol == "full" else passes), 0
    cohort.to(target)
    with evaluation_mode(cohort), torch.inference_mode():
        for indices, inputs, labels in batches:
            visit = None if diagnostics is None else partial(_update_diagnostics, diagnostics, cohort, labels)
            sizes = [(truth.shape[-2], truth.shape[-1]) for truth in labels]
            predictions = predict_batch(
                cohort, inputs.to(target), sizes, config, confidence=details is not None, visit=visit
            )
            samples = [images.samples[index] for index in indices]
            for name, matrix in matrices.items():
                for prediction, truth, sample in zip(predictions[name], labels, samples, strict=True):
                    predicted = prediction.labels.cpu()
                    matrix.update(predicted, truth[None], names=(sample.name,), groups=(sample.group,))
            if collected is not None:
                _add_details(collected, predictions, labels)
            done += len(indices)
            if progress is not None:
                progress(done, total)
    if details is not None and collected is not None:
        details.update({name: reduce(Details.merge, processes.gather(one)) for name, one in collected.items()})
    if processes.world_size == 1:
        return matrices
    if diagnostics is not None:
        diagnostics.take(reduce(PredictionDiagnostics.merge, processes.gather(diagnostics)))
    # Counts are integers, so the sum is exact; merging in the order of processes keeps the order of the images.
    return {name: reduce(ConfusionMatrix.merge, processes.gather(matrix)) for name, matrix in matrices.items()}


def predict_batch(
    cohort: Cohort,
    images: Images,
    sizes: list[tuple[int, int]],
    config: InferenceConfig,
    *,
    confidence: bool = False,
    visit: Visitor | None = None,
) -> dict[str, list[inference.Prediction]]:
    """Return the predictions of every network and ensemble for a batch of images, each at its own size.

    ``visit`` gets all logits at that size: whole images, or pieces if there are windows.
    """
    predictions: dict[str, list[inference.Prediction]] = {name: [] for name in cohort.evaluated}
    if not config.tta and config.window is not None and max(images.shape[-2:]) > config.window:
        for index, (image, size) in enumerate(zip(images, sizes, strict=True)):
            visitor = None if visit is None else partial(visit, index)
            options: Any = {"stride": cohort.stride, "confidence": confidence, "visit": visitor}
            options["ensembles"] = cohort.ensembles
            result = inference.predict_windows(dict(cohort.networks.items()), image, size, config, **options)
            for name, prediction in result.items():
                predictions[name].append(prediction)
        return predictions
    height, width = images.shape[-2:]
    whole: dict[str, Any]
    if config.tta:
        members = cast("dict[str, SegmentationNetwork]", dict(cohort.networks.items()))
        whole = {name: mean_logits([Member(network, images, config)], sizes) for name, network in members.items()}
    else:
        outputs = cohort(inference.pad_to_stride(images, cohort.stride))
        # N×C×h×w, without the padding
        whole = {name: output.logits[..., :height, :width].float().split(1) for name, output in outputs.items()}
    for index, size in enumerate(sizes):
        resized = {name: inference.resize_logits(logits[index], size) for name, logits in whole.items()}
        resized = inference.with_ensembles(resized, cohort.ensembles)
        for name, logits in resized.items():
            sure = inference.confidences(logits, config.threshold) if confidence else None
            predicted = inference.predict_labels(logits, threshold=config.threshold)
            predictions[name].append(inference.Prediction(predicted, sure))
        if visit is not None:
            visit(index, WHOLE, WHOLE, resized)
    return predictions


def predict_labels(cohort: Cohort, images: SegmentationDataset, index: int, **options: Any) -> dict[str, LabelMap]:
    """Return the label map of image ``index`` by every network and ensemble, at the size of its labels.

    The training mode of the cohort is restored. ``options`` are fields of `segmi.models.InferenceConfig`.
    """
    config = InferenceConfig(**options)
    device = next(cohort.parameters()).device
    image = to_unit(images[index].image.as_subclass(torch.Tensor)[None]).to(device)
    size = (images.labels(index).shape[-2], images.labels(index).shape[-1])
    with evaluation_mode(cohort), torch.inference_mode():
        predictions = predict_batch(cohort, image, [size], config, confidence=True)
    result = {}
    for name, ((labels, confidence),) in predictions.items():
        assert confidence is not None
        result[name] = LabelMap(labels[0].to(torch.uint8).cpu().numpy(), confidence[0].cpu().numpy())
    return result


def _update_diagnostics(
    diagnostics: PredictionDiagnostics,
    cohort: Cohort,
    labels: list[Labels],
    index: int,
    rows: slice,
    columns: slice,
    logits: Mapping[str, Logits],
) -> None:
    # Update diagnostics with a piece of an image, at the same subsampled pixels as in the whole image.
    top, left = (-(part.start or 0) % diagnostics.every for part in (rows, columns))
    device = next(iter(logits.values())).device
    truth = labels[index][None, rows, columns].to(device)[:, top:, left:]
    pieces = {name: z[:, :, top:, left:] for name, z in logits.items()}
    whole = rows == WHOLE and columns == WHOLE
    diagnostics.update(pieces, truth, whole=whole, ensembles=cohort.ensembles)


def _add_details(
    details: Mapping[str, Details], predictions: Mapping[str, list[inference.Prediction]], labels: list[Labels]
) -> None:
    # Add a batch; statistics of the labels alone are computed once for all networks.
    for index, truth in enumerate(labels):
        prepared = Truth.of(truth.cpu().numpy())
        for name, one in details.items():
            predicted, confidence = predictions[name][index]
            if confidence is not None:
                one.update(predicted[0].cpu().numpy(), confidence[0].cpu().numpy(), prepared)


def _whole(
    images: SegmentationDataset, chosen: range, batch_size: int
) -> Iterator[tuple[list[int], Images, list[Labels]]]:
    # Yield batches of whole images of one size at the working scale, with labels at the original size.
    indices: list[int] = []
    batch: list[Tensor] = []  # C×h×w each
    for index in chosen:
        image = images[index].image.as_subclass(Tensor)
        if batch and (len(batch) == batch_size or image.shape != batch[0].shape):
            yield indices, to_unit(torch.stack(batch)), [images.labels(i) for i in indices]
            indices, batch = [], []
        indices.append(index)
        batch.append(image)
    if indices:
        yield indices, to_unit(torch.stack(batch)), [images.labels(i) for i in indices]


def _crops(
    images: SegmentationDataset, chosen: range, batch_size: int, passes: int
) -> Iterator[tuple[list[int], Images, list[Labels]]]:
    # Yield random crops, all passes of an image one after the other, so that counts per image are complete.
    for start in range(0, len(chosen), batch_size):
        indices = list(chosen[start : start + batch_size])
        for number in range(passes):
            batch = images.batch([(number, index) for index in indices])
            yield indices, batch.images, list(batch.labels)
