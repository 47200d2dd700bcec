"""What the layers of a network tell about the labels, by probes that are trained on their features."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

import torch
from torch import Tensor

from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.errors import UsageError, unknown_name
from segmi.information.estimation import Estimate, label_information
from segmi.models import SegmentationNetwork, block_names
from segmi.randomness import key
from segmi.training.launchers import resolve_device
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
    """Lower bounds on ``I(feature; label)`` at named layers, by a linear probe and a small non-linear one.

    From every image the same pixels are drawn for all layers; the feature of a pixel is that of the cell of the
    layer's map that it lies in. Images are divided, not pixels, into those that the probes learn from, those that
    choose and those that judge. See `segmi.information.estimation.label_information`.

    Args:
        network: looked at in evaluation mode; left as it came, but for the device.
        images: ten or more, not those that the network was trained on; crops as in training.
        layers: names of ``network.feature_names`` whose outputs are N×D×h×w; by default its `segmi.models.block_names`.
        per_image: pixels drawn from each, valid ones alone kept.
        batch_size: images per forward pass.
        seed: of the pixels and the probes.
        device: as in `fit`, of the network and the probes.
        progress: called with (probes trained, probes in all).
        options: of `label_information`: ``steps``, ``hidden``, ….

    Returns:
        By layer and by ``linear`` and ``nonlinear``, in nats.

    Raises:
        UsageError: an unknown layer, one without a map, or too few images.
    """
    for name in layers or ():
        if name not in network.feature_names:
            raise unknown_name("layer", name, network.feature_names)
    if len(images) < 3:
        raise UsageError(f"probes need images to learn from, to choose and to judge by, got {len(images)}")
    target = resolve_device(device)
    network.to(target)
    values, truth, image = _samples(network, images, layers, per_image, batch_size, seed, target)
    if not values:
        raise UsageError("the network has no layers with weights that put out maps", "name its layers")
    classes = len(images.dataset.info.classes)
    found: dict[str, dict[str, Estimate]] = {name: {} for name in values}
    for number, (name, kind) in enumerate(itertools.product(values, PROBES), 1):
        found[name][kind] = label_information(
            values[name], truth, classes, probe=kind, groups=image, seed=seed, **options
        )
        if progress is not None:
            progress(number, len(PROBES) * len(values))
    return found


def _samples(
    network: SegmentationNetwork, images: SegmentationDataset, layers: Sequence[str] | None, per_image: int, batch_size: int,
    seed: int, device: torch.device,
) -> tuple[dict[str, Tensor], Tensor, Tensor]:  # fmt: skip
    """The features of the drawn pixels by layer, their labels, and the images that they are of."""
    labels, groups = [], []
    found: dict[str, list[Tensor]] = {}
    with _looking(network), torch.inference_mode():
        for start in range(0, len(images), batch_size):
            chosen = range(start, min(start + batch_size, len(images)))
            batch = images.batch([(0, index) for index in chosen]).to(device)
            network.features = tuple(block_names(network, batch.images) if layers is None else layers)
            layers = network.features
            features = network(batch.images).features
            for number, index in enumerate(chosen):
                rows, columns = _drawn(batch, number, per_image, key(seed, "probe", index))
                labels.append(batch.labels[number, rows, columns].long())
                groups.append(torch.full_like(labels[-1], index))
                for name in layers:
                    size = batch.labels.shape[-2:]
                    found.setdefault(name, []).append(_at(features[name], name, number, rows, columns, size))
    joined = {name: torch.cat(values) for name, values in found.items()}
    return {name: values.clone() for name, values in joined.items()}, torch.cat(labels).clone(), torch.cat(groups)


@contextmanager
def _looking(network: SegmentationNetwork) -> Iterator[None]:
    """The network in evaluation mode, whatever features are asked of it; afterwards as it was."""
    before, training = network.features, network.training
    network.features = ()
    network.eval()
    try:
        yield
    finally:
        network.features = before
        network.train(training)


def _drawn(batch: Batch, number: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of valid pixels of one image."""
    height, width = batch.labels.shape[-2:]
    draw = torch.Generator().manual_seed(seed)
    place = torch.randint(height * width, (count,), generator=draw).to(batch.labels.device)
    place = place[batch.labels[number].flatten()[place] != IGNORE_INDEX]
    return place // width, place % width


def _at(features: Tensor, name: str, number: int, rows: Tensor, columns: Tensor, size: torch.Size) -> Tensor:
    """n×D: the features of pixels of a map of ``size``."""
    if features.ndim != 4:
        raise UsageError(
            f"layer {name!r} gives features of shape {tuple(features.shape)}, not maps N×D×h×w",
            "name a layer whose output is a map",
        )
    height, width = features.shape[-2:]
    return features[number, :, rows * height // size[0], columns * width // size[1]].T.float()
