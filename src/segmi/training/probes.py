"""What the layers of a network tell about the labels, by probes that are trained on their features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor

from segmi.arrays import VOID, Batch
from segmi.data.loader import Pictures
from segmi.errors import UsageError, unknown_name
from segmi.information.estimation import Estimate, label_information
from segmi.models import SegmentationNetwork
from segmi.randomness import key
from segmi.training.precision import resolve_device

PROBES: Final = ("linear", "nonlinear")


def probe_layers(
    network: SegmentationNetwork,
    pictures: Pictures,
    layers: Sequence[str],
    *,
    per_picture: int = 200,
    batch_size: int = 8,
    seed: int = 0,
    device: str = "auto",
    **options: Any,
) -> dict[str, dict[str, Estimate]]:
    """Lower bounds on ``I(feature; label)`` at named layers, by a linear probe and a small non-linear one.

    From every picture the same pixels are drawn for all layers; the feature of a pixel is that of the cell of the
    layer's map that it lies in. Pictures are divided, not pixels, into those that the probes learn from, those that
    choose and those that judge. See `segmi.information.estimation.label_information`.

    Args:
        network: looked at in evaluation mode; left as it came, but for the device.
        pictures: ten or more, not those that the network was trained on; crops as in training.
        layers: names of ``network.feature_names`` whose outputs are N×D×h×w.
        per_picture: pixels drawn from each, valid ones alone kept.
        batch_size: pictures per forward pass.
        seed: of the pixels and the probes.
        device: as in `fit`, of the network and the probes.
        options: of `label_information`: ``steps``, ``hidden``, ….

    Returns:
        By layer and by ``linear`` and ``nonlinear``, in nats.

    Raises:
        UsageError: an unknown layer, one without a map, or too few pictures.
    """
    for name in layers:
        if name not in network.feature_names:
            raise unknown_name("layer", name, network.feature_names)
    if len(pictures) < 3:
        raise UsageError(f"probes need pictures to learn from, to choose and to judge by, got {len(pictures)}")
    target = resolve_device(device)
    network.to(target)
    found: dict[str, list[Tensor]] = {name: [] for name in layers}
    labels, groups = [], []
    with _looking(network, layers), torch.inference_mode():
        for start in range(0, len(pictures), batch_size):
            chosen = range(start, min(start + batch_size, len(pictures)))
            batch = pictures.batch([(0, index) for index in chosen]).to(target)
            features = network(batch.images).features
            for number, index in enumerate(chosen):
                rows, columns = _drawn(batch, number, per_picture, key(seed, "probe", index))
                labels.append(batch.labels[number, rows, columns].long())
                groups.append(torch.full_like(labels[-1], index))
                for name in layers:
                    found[name].append(_at(features[name], name, number, rows, columns, batch.labels.shape[-2:]))
    truth, picture = torch.cat(labels), torch.cat(groups)
    classes = len(pictures.dataset.info.classes)
    return {
        name: {
            probe: label_information(
                torch.cat(values).clone(), truth, classes, probe=probe, groups=picture, seed=seed, **options
            )
            for probe in PROBES
        }
        for name, values in found.items()
    }


@contextmanager
def _looking(network: SegmentationNetwork, layers: Sequence[str]) -> Iterator[None]:
    """The network in evaluation mode and with the features of ``layers``; afterwards as it was."""
    before, training = network.features, network.training
    network.features = tuple(layers)
    network.eval()
    try:
        yield
    finally:
        network.features = before
        network.train(training)


def _drawn(batch: Batch, number: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of valid pixels of one picture."""
    height, width = batch.labels.shape[-2:]
    draw = torch.Generator().manual_seed(seed)
    place = torch.randint(height * width, (count,), generator=draw).to(batch.labels.device)
    place = place[batch.labels[number].flatten()[place] != VOID]
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
