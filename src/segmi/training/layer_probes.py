"""Information of the layers of a network about the labels, from probes trained on their features."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final, Literal

import torch
from torch import Tensor

from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.errors import UsageError, unknown_name
from segmi.information.estimation import Estimate, label_information
from segmi.models import SegmentationNetwork, block_names
from segmi.models.network import evaluation_mode, resolve_device
from segmi.randomness import key
from segmi.types import IGNORE_INDEX, Batch

PROBES: Final[tuple[Literal["linear", "nonlinear"], ...]] = ("linear", "nonlinear")


def probe_layers(
    network: SegmentationNetwork,
    images: SegmentationDataset,
    layers: Sequence[str] | None = None,
    *,
    per_image: int = 200,
    batch_size: int = 8,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> dict[str, dict[str, Estimate]]:
    """Return lower bounds on ``I(feature; label)`` at named layers, from a linear and a small nonlinear probe.

    The same pixels of each image are sampled for all layers. The feature of a pixel is the vector in the cell of the
    layer's map that contains it. Whole images are divided into training, validation and test images of the probes, see
    `segmi.information.estimation.label_information`.

    Args:
        network: run in evaluation mode; unchanged except for the device.
        images: at least ten images on which the network was not trained, with the crops of training.
        layers: names in ``network.feature_names`` whose outputs are N×D×h×w. Default: `segmi.models.blocks`.
        per_image: pixels sampled per image; ignored ones are dropped.
        batch_size: images per forward pass.
        seed: seed of the pixels and the probes.
        device: as in `segmi.training.RuntimeConfig`.
        progress: called with (probes trained, number of probes).
        options: options of `label_information`, such as ``steps`` and ``hidden``.

    Returns:
        Estimates in nats by layer, and by ``linear`` and ``nonlinear``.

    Raises:
        UsageError: for an unknown layer, a layer whose output is not a map, or too few images.
    """
    for name in layers or ():
        if name not in network.feature_names:
            raise unknown_name("layer", name, network.feature_names)
    if len(images) < 3:
        raise UsageError(f"probes need at least 3 images, got {len(images)}", "use more images")
    target = resolve_device(device)
    network.to(target)
    values, truth, image = _samples(network, images, layers, per_image, batch_size, seed, target)
    if not values:
        raise UsageError("the network has no layer with weights whose output is a map", "set layers")
    classes = len(images.dataset.info.classes)
    estimates: dict[str, dict[str, Estimate]] = {name: {} for name in values}
    for number, (name, kind) in enumerate(itertools.product(values, PROBES), 1):
        estimates[name][kind] = label_information(
            values[name], truth, classes, probe=kind, groups=image, seed=seed, **options
        )
        if progress is not None:
            progress(number, len(PROBES) * len(values))
    return estimates


def _samples(
    network: SegmentationNetwork, images: SegmentationDataset, layers: Sequence[str] | None, per_image: int,
    batch_size: int, seed: int, device: torch.device,
) -> tuple[dict[str, Tensor], Tensor, Tensor]:  # fmt: skip
    """Return the features of the sampled pixels by layer, their labels, and the indices of their images."""
    labels, groups = [], []
    samples: dict[str, list[Tensor]] = {}
    with evaluation_mode(network), torch.inference_mode(), ExitStack() as stack:
        stack.callback(setattr, network, "features", network.features)
        network.features = ()
        for start in range(0, len(images), batch_size):
            indices = range(start, min(start + batch_size, len(images)))
            batch = images.batch([(0, index) for index in indices]).to(device)
            network.features = tuple(block_names(network, batch.images) if layers is None else layers)
            layers = network.features
            features = network(batch.images).features
            for number, index in enumerate(indices):
                rows, columns = _sample_pixels(batch, number, per_image, key(seed, "probe", index))
                labels.append(batch.labels[number, rows, columns].long())
                groups.append(torch.full_like(labels[-1], index))
                for name in layers:
                    size = batch.labels.shape[-2:]
                    samples.setdefault(name, []).append(_features_at(features[name], name, number, rows, columns, size))
    return {name: torch.cat(values) for name, values in samples.items()}, torch.cat(labels), torch.cat(groups)


def _sample_pixels(batch: Batch, number: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return rows and columns of sampled valid pixels of one image."""
    height, width = batch.labels.shape[-2:]
    generator = torch.Generator().manual_seed(seed)
    # Flat indices, with replacement.
    position = torch.randint(height * width, (count,), generator=generator).to(batch.labels.device)
    position = position[batch.labels[number].flatten()[position] != IGNORE_INDEX]
    return position // width, position % width


def _features_at(features: Tensor, name: str, number: int, rows: Tensor, columns: Tensor, size: torch.Size) -> Tensor:
    """Return the n×D features of pixels of an image of ``size``."""
    if features.ndim != 4:
        problem = f"layer {name!r} has features of shape {tuple(features.shape)}, expected maps N×D×h×w"
        raise UsageError(problem, "use a layer whose output is a map")
    height, width = features.shape[-2:]
    # Nearest cell: row r of H is in cell ⌊r h / H⌋ of h.
    return features[number, :, rows * height // size[0], columns * width // size[1]].T.float()
