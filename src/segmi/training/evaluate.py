"""Score every network of a cohort on images, with one pooled confusion matrix each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial, reduce
from typing import Final, Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.datasets.reader import Sample
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.errors import UsageError
from segmi.metrics.confusion import ConfusionMatrix, predicted_labels
from segmi.metrics.details import Details, Truth
from segmi.metrics.diagnostics import PredictionDiagnostics
from segmi.models.label_maps import confidences
from segmi.models.sliding_window import check_windows
from segmi.training.cohort import Cohort
from segmi.training.precision import resolve_device
from segmi.training.processes import ALONE, Processes
from segmi.training.windowed import fits, windowed_labels
from segmi.types import Images, Labels, Logits

Protocol: TypeAlias = Literal["full", "paper"]
WHOLE: Final = slice(None)


def evaluate(
    cohort: Cohort,
    images: SegmentationDataset,
    *,
    protocol: Protocol = "full",
    passes: int = 5,
    batch_size: int = 8,
    window: int | None = None,
    overlap: int | None = None,
    device: str = "auto",
    processes: Processes = ALONE,
    progress: Callable[[int, int], None] | None = None,
    diagnostics: PredictionDiagnostics | None = None,
    details: MutableMapping[str, Details] | None = None,
) -> dict[str, ConfusionMatrix]:
    """The confusion matrix of every network, frozen ones included, by the network's name.

    ``full`` predicts whole images at the working scale, padded to the networks' stride, and scores the logits resized
    to the original label size; it draws nothing. ``paper`` does what the study did: ``passes`` passes of random crops,
    scored at the crop's scale, here keyed by the images' seed.

    Args:
        cohort: the networks; moved to the device, left in the mode they came in.
        images: what is scored.
        protocol: see above.
        passes: passes of random crops of ``paper``.
        batch_size: images predicted together, or windows.
        window: side of the windows in which ``full`` predicts images that are larger, see
            `segmi.models.sliding_window.blended_tiles`; None predicts every image whole.
        overlap: pixels that neighboring windows share; a quarter of the window by default.
        device: as in `fit`.
        processes: each scores a part of the images, none twice, and all have the matrices of all of them.
        progress: called with (images done, images in all) of this process.
        diagnostics: look at what the matrices are counted from, those of all processes.
        details: gets every network's, by its name; they cost more than the counting.

    Raises:
        UsageError: for an unknown protocol, no images, or windows that do not go with the protocol.
    """
    if protocol not in ("full", "paper"):
        raise UsageError(f"unknown evaluation protocol {protocol!r}", "use full or paper")
    if not len(images) or (protocol == "paper" and passes < 1):
        raise UsageError("there is nothing to evaluate: no images, or no passes", "use a split with images in it")
    if window is not None and protocol == "paper":
        raise UsageError(
            "windows do not go with the evaluation protocol paper, which predicts crops",
            "leave window out, or use protocol: full",
        )
    check_windows(window, overlap)
    target = processes.device or resolve_device(device)
    mine = _in_batches(len(images), batch_size, processes)
    classes = len(images.dataset.info.classes)
    matrices = {name: ConfusionMatrix(classes) for name in cohort.networks}
    known = None if details is None else {name: Details(classes) for name in cohort.networks}
    batches = _whole(images, mine, batch_size) if protocol == "full" else _crops(images, mine, batch_size, passes)
    total, done = len(mine) * (1 if protocol == "full" else passes), 0
    was_training = cohort.training
    cohort.to(target).eval()
    try:
        with torch.inference_mode():
            for indices, inputs, labels in batches:
                sizes = [(truth.shape[-2], truth.shape[-1]) for truth in labels]
                look = None if diagnostics is None else partial(_look, diagnostics, labels)
                found = predictions_by_network(
                    cohort, inputs.to(target), sizes, window, overlap, batch_size, look, confident=details is not None
                )
                for name, matrix in matrices.items():
                    _score(matrix, found[name], labels, [images.samples[index] for index in indices])
                if known is not None:
                    _add_details(known, found, labels)
                done += len(indices)
                if progress is not None:
                    progress(done, total)
    finally:
        cohort.train(was_training)
    if details is not None and known is not None:
        details.update({name: reduce(Details.merge, processes.gather(one)) for name, one in known.items()})
    if processes.count == 1:
        return matrices
    if diagnostics is not None:
        diagnostics.take(reduce(PredictionDiagnostics.merge, processes.gather(diagnostics)))
    # Counts are whole numbers, so their sum is exact; process by process, the images are in their order again.
    return {name: reduce(ConfusionMatrix.merge, processes.gather(matrix)) for name, matrix in matrices.items()}


class Prediction(NamedTuple):
    """What a network says of one image: 1×H×W class indices, and their probabilities where they were asked for."""

    labels: Labels
    confidence: Tensor | None


def _in_batches(images: int, batch_size: int, processes: Processes) -> range:
    """This process's run of images, which begins where a batch does, so that batches are those of one process."""
    batches = processes.shard.slice(-(-images // batch_size))
    return range(batches.start * batch_size, min(batches.stop * batch_size, images))


def padded_forward(cohort: Cohort, images: Images) -> dict[str, Logits]:
    """The logits of all networks at the size of the images, which are padded to the cohort's stride on the way."""
    height, width = images.shape[-2:]
    stride = cohort.stride
    padding = (0, -width % stride, 0, -height % stride)
    if any(padding):
        images = F.pad(images, padding, mode="replicate")
    return {name: output.logits[..., :height, :width].float() for name, output in cohort(images).items()}


def resize_logits(logits: Logits, size: tuple[int, int]) -> Logits:
    """N×C×h×w logits, bilinearly at N×C×``size``; unchanged where they have that size."""
    if tuple(logits.shape[-2:]) == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def predictions_by_network(
    cohort: Cohort,
    images: Images,
    sizes: list[tuple[int, int]],
    window: int | None,
    overlap: int | None,
    batch_size: int,
    look: Callable[[int, slice, slice, Mapping[str, Logits]], None] | None = None,
    *,
    confident: bool = False,
) -> dict[str, list[Prediction]]:
    """By network what it says of every image, at the size that is given for it.

    ``look`` is shown the logits of all networks at that size, image by image, or piece by piece where an image is
    predicted in windows.
    """
    if fits(images, window):
        whole = padded_forward(cohort, images)
        maps: dict[str, list[Prediction]] = {name: [] for name in whole}
        for number, size in enumerate(sizes):
            resized = {name: resize_logits(logits[number : number + 1], size) for name, logits in whole.items()}
            for name, logits in resized.items():
                maps[name].append(_decided(logits, confident))
            if look is not None:
                look(number, WHOLE, WHOLE, resized)
        return maps
    found = [
        windowed_labels(
            cohort, image, size, window=window, overlap=overlap, batch_size=batch_size, confident=confident,
            look=None if look is None else partial(look, number),
        )
        for number, (image, size) in enumerate(zip(images, sizes, strict=True))
    ]  # fmt: skip
    return {name: [Prediction(*by_network[name]) for by_network in found] for name in cohort.networks}


def _look(
    diagnostics: PredictionDiagnostics, labels: list[Labels], number: int, rows: slice, columns: slice,
    logits: Mapping[str, Logits],
) -> None:  # fmt: skip
    """Look at a piece of an image, at those of its pixels that would be looked at in the whole."""
    above, beside = (-(stretch.start or 0) % diagnostics.every for stretch in (rows, columns))
    device = next(iter(logits.values())).device
    truth = labels[number][None, rows, columns].to(device)[:, above:, beside:]
    pieces = {name: z[:, :, above:, beside:] for name, z in logits.items()}
    diagnostics.update(pieces, truth, whole=rows == WHOLE and columns == WHOLE)


def _decided(logits: Logits, confident: bool) -> Prediction:
    return Prediction(predicted_labels(logits), confidences(logits) if confident else None)


def _score(matrix: ConfusionMatrix, predictions: list[Prediction], labels: list[Labels], samples: list[Sample]) -> None:
    for prediction, truth, sample in zip(predictions, labels, samples, strict=True):
        matrix.update(prediction.labels.cpu(), truth[None], names=(sample.name,), groups=(sample.group,))


def _add_details(details: Mapping[str, Details], found: Mapping[str, list[Prediction]], labels: list[Labels]) -> None:
    """Add a batch; what depends on the truth alone is worked out once for all networks."""
    for place, truth in enumerate(labels):
        prepared = Truth.of(truth.cpu().numpy())
        for name, one in details.items():
            said, confidence = found[name][place]
            if confidence is not None:
                one.update(said[0].cpu().numpy(), confidence[0].cpu().numpy(), prepared)


def _whole(
    images: SegmentationDataset, chosen: range, batch_size: int
) -> Iterator[tuple[list[int], Images, list[Labels]]]:
    """Whole images at the working scale, batched while their size is the same; labels at the original size."""
    indices: list[int] = []
    batch: list[Tensor] = []
    for index in chosen:
        image = images.resized(index).image.as_subclass(Tensor)
        if batch and (len(batch) == batch_size or image.shape != batch[0].shape):
            yield indices, _as_floats(batch), [images.labels(i) for i in indices]
            indices, batch = [], []
        indices.append(index)
        batch.append(image)
    if indices:
        yield indices, _as_floats(batch), [images.labels(i) for i in indices]


def _crops(
    images: SegmentationDataset, chosen: range, batch_size: int, passes: int
) -> Iterator[tuple[list[int], Images, list[Labels]]]:
    """Random crops of every image; all passes of an image together, so that its counts are its own."""
    for start in range(0, len(chosen), batch_size):
        indices = list(chosen[start : start + batch_size])
        for number in range(passes):
            batch = images.batch([(number, index) for index in indices])
            yield indices, batch.images, list(batch.labels)


def _as_floats(batch: list[Tensor]) -> Images:
    return torch.stack(batch).float().div_(255)
