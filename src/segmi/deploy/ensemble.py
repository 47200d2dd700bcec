"""Ensembles of networks: the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, final

import torch

from segmi.errors import DataError, UsageError
from segmi.models import SegmentationNetwork


def get_card(network: SegmentationNetwork | Ensemble) -> dict[str, Any]:
    """Return the card of a network, the contents of its bundle's ``model.json``.

    Raises:
        UsageError: if the network was not loaded from a bundle.
    """
    if network.card is None:
        problem = "this network has no description of its images and classes"
        raise UsageError(problem, "save it with save_bundle and load it again")
    return network.card


@final
class Ensemble:
    """Networks whose probabilities are averaged, as `segmi.load` returns them for several bundles.

    Each network sees the images with its own preprocessing: size, bands and value range.

    Args:
        networks: as `segmi.load` returns them, with the same classes.
        names: names of the networks in error messages.

    Raises:
        DataError: if classes, colors or mask values of two networks differ; the message names both and the difference.
        UsageError: for no networks, or one that was not loaded from a bundle.
    """

    def __init__(self, networks: Sequence[SegmentationNetwork], names: Sequence[object] = ()) -> None:
        if not networks:
            raise UsageError("expected networks for an ensemble, got none", "pass at least one")
        self.networks: Final = tuple(networks)
        labels = [str(name) for name in names] or [f"network {number}" for number in range(1, len(networks) + 1)]
        self.card: Final = get_card(networks[0])
        for network, label in zip(networks[1:], labels[1:], strict=True):
            difference = _difference(self.card, get_card(network))
            if difference is not None:
                kind, ours, theirs = difference
                raise DataError(
                    f"{labels[0]} and {label} cannot predict together: {kind} is {ours} in the first and {theirs} in "
                    "the second",
                    "combine bundles that were trained on the same dataset",
                )

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.networks[0].classes

    @property
    def channels(self) -> int:
        """Number of logit channels: 1 if all networks have one logit, otherwise the number of classes."""
        return 1 if self.one_logit else self.classes

    @property
    def one_logit(self) -> bool:
        """Whether all networks have one logit, so that the threshold applies."""
        return all(network.one_logit for network in self.networks)

    def eval(self) -> Ensemble:
        """Set evaluation mode."""
        for network in self.networks:
            network.eval()
        return self

    def to(self, device: str | torch.device) -> Ensemble:
        """Move all networks to a device."""
        for network in self.networks:
            network.to(device)
        return self


Predictor: TypeAlias = SegmentationNetwork | Ensemble
BundlePath: TypeAlias = str | Path


def members_of(network: Predictor) -> tuple[SegmentationNetwork, ...]:
    """Return the networks of an ensemble, or the one network."""
    return network.networks if isinstance(network, Ensemble) else (network,)


def _difference(first: dict[str, Any], second: dict[str, Any]) -> tuple[str, object, object] | None:
    # Return what differs and both values; None if the networks can predict together.
    ours, theirs = first["classes"], second["classes"]
    if len(ours) != len(theirs):
        return "the number of classes", len(ours), len(theirs)
    lists = [("class", ours, theirs), ("the color of", first["palette"], second["palette"])]
    if "values" in first and "values" in second:
        lists.append(("the mask value of", first["values"], second["values"]))
    for kind, one, other in lists:
        for index, name in enumerate(ours):
            if one[index] != other[index]:
                what = f"class {index}" if kind == "class" else f"{kind} class {index} ({name})"
                return what, repr(one[index]), repr(other[index])
    return None
