"""What predictions tell about labels, collected over a dataset: reported, never optimized, for whatever was trained.

The formulas are those of `segmi.information`. What is collected are sums that add up over images, devices and
processes; numbers are made of them at the end alone, so collecting makes no device wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import torch
from torch import Tensor

from segmi.information import (
    PredictionSums,
    barber_agakov_bound,
    conditional_prediction_mutual_information,
    empirical_distribution,
    entropy,
    mutual_information,
    soft_confusion_mutual_information,
)
from segmi.metrics._diagnostic_sums import sums_of
from segmi.types import IGNORE_INDEX, Labels, Logits

PEERS: Final = "jensen_shannon_divergence"

Regions: TypeAlias = Callable[[Logits, Labels], tuple[Tensor, Tensor]]
"""Of N×C×H×W logits, with whatever at ignored pixels, and labels, ignored 255: the sum of ``I_G`` over images by class, in
nats, and the number of those images; each is C."""


class PredictionDiagnostics:
    """What the predictions of one or more networks tell about the labels of a dataset, and of each other.

    Per network, in nats over all valid pixels: ``mutual_information``, the plug-in ``I(Y; Ŷ)`` of the most probable
    class, and ``mutual_information_share``, its share of ``H(Y)``; ``barber_agakov_bound``, ``H(Y) - CE``, what the
    image at least tells about its labels; ``soft_confusion_mutual_information``, ``I(Y; Ŷ)`` of a class drawn from
    the prediction; ``conditional_mutual_information``, ``I(X; Ŷ|Y)``, how much the predictions for one class differ. By
    class, ``region_information``, the ``I_G`` of windows, averaged over the images in which the class varies, if
    ``regions`` says how it is found. Of all networks together, where they are two or more:
    ``jensen_shannon_divergence``, ``I(K; Ŷ|X)``, what a drawn class tells of the network that predicted it, at most
    ``log K``.

    Pixels of an image are no independent samples; these are properties of the pixels that were seen.

    Args:
        classes: C; 2 for a binary problem.
        ignore_index: the label of pixels that count nowhere.
        every: look at every so-manieth row and column alone; neighbors hardly differ, and 2 is four times as fast.
            Windows then are of the pixels that are looked at.
        names: of the classes, for what there is of each; their numbers by default.
        regions: finds ``I_G``, which is left out without it; see `segmi.training.region_diagnostics`.

    Raises:
        ValueError: fewer than one class, or ``every`` below 1.

    Example:
        >>> diagnostics = PredictionDiagnostics(2)
        >>> diagnostics.update({"a": torch.tensor([[9.0, -9.0], [-9.0, 9.0]]).view(1, 2, 1, 2)}, torch.tensor([[[0, 1]]]))
        >>> round(diagnostics.values()["mutual_information/a"], 4)  # log 2
        0.6931
    """

    def __init__(
        self,
        classes: int,
        *,
        ignore_index: int = IGNORE_INDEX,
        every: int = 1,
        names: Sequence[str] = (),
        regions: Regions | None = None,
    ) -> None:
        for name, value in (("classes", classes), ("every", every)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        self.classes: Final = classes
        self.ignore_index: Final = ignore_index
        self.every: Final = every
        self.names: Final = tuple(names) or tuple(map(str, range(classes)))
        self.regions: Final = regions
        self._sums: dict[str, Tensor] = {}
        self._regions: dict[str, Tensor] = {}
        self._peers: Tensor | None = None

    def update(self, logits: Mapping[str, Logits], labels: Labels, *, whole: bool = True) -> None:
        """Look at a batch of images.

        Args:
            logits: N×C×H×W by network, any float type; C = 1 for a binary problem.
            labels: N×H×W, any integer type, class indices or the ignore value.
            whole: whether these are images, not pieces of them, at whose seams windows would be missing: pieces
                are left out of ``region_information``.

        Raises:
            ValueError: shapes that do not fit the labels and the number of classes, or other networks than before.
        """
        self._check(logits, labels)
        if not labels.numel():
            return
        every = slice(None, None, self.every)
        labels = labels[:, every, every]
        with torch.no_grad():
            channels = {name: _two_or_more_channels(z[:, :, every, every]) for name, z in logits.items()}
            for image, truth in enumerate(labels):
                one = [z[image].flatten(1) for z in channels.values()]
                self._add(list(channels), *sums_of(one, truth.flatten(), self.ignore_index))
            if self.regions is not None:
                self._add_regions(self.regions, channels, labels, whole)

    def _add(self, names: list[str], sums: Tensor, divergence: Tensor) -> None:
        for name, added in zip(names, sums, strict=True):
            self._sums[name] = self._sums[name] + added if name in self._sums else added
        if len(names) > 1:
            self._peers = divergence if self._peers is None else self._peers + divergence

    def _add_regions(self, regions: Regions, logits: Mapping[str, Tensor], labels: Tensor, counts: bool) -> None:
        index = labels.long()
        valid = (index != self.ignore_index) & (index >= 0) & (index < self.classes)
        truth = index.masked_fill(~valid, IGNORE_INDEX)
        for name, z in logits.items():
            found = regions(z, truth) if counts else None
            wide = torch.float32 if z.device.type == "mps" else torch.float64
            added = z.new_zeros(2, self.classes, dtype=wide) if found is None else torch.stack(found).to(wide)
            self._regions[name] = self._regions[name] + added if name in self._regions else added

    def values(self) -> dict[str, float]:
        """The diagnostics: ``name/network``, those of a class ``name/network/class``, and ``jensen_shannon_divergence``.

        None where no pixel was valid, and none of a class that was in no image.
        """
        found: dict[str, float] = {}
        for name, flat in self._sums.items():
            hard, sums = self._unpacked(flat.cpu())
            if not hard.sum() > 0:
                continue
            table = empirical_distribution(hard, dims=(-2, -1))
            told, whole = mutual_information(table, check=False), entropy(table.sum(1), check=False)
            found[f"mutual_information/{name}"] = told.item()
            found[f"mutual_information_share/{name}"] = (told / whole).item() if whole > 0 else 0.0
            found[f"barber_agakov_bound/{name}"] = barber_agakov_bound(sums).item()
            found[f"soft_confusion_mutual_information/{name}"] = soft_confusion_mutual_information(sums).item()
            found[f"conditional_mutual_information/{name}"] = conditional_prediction_mutual_information(sums).item()
            if name in self._regions:
                for label, (nats, images) in zip(self.names, self._regions[name].T.tolist(), strict=True):
                    if images > 0:
                        found[f"region_information/{name}/{label}"] = nats / images
            if self._peers is not None:
                found[PEERS] = (self._peers.cpu() / hard.sum()).item()
        return found

    def merge(self, other: PredictionDiagnostics) -> PredictionDiagnostics:
        """New diagnostics of the images of both.

        Raises:
            ValueError: different numbers of classes, ignore values or networks.
        """
        mine, theirs = ((one.classes, one.ignore_index, list(one._sums)) for one in (self, other))
        if mine[:2] != theirs[:2] or (self._sums and other._sums and mine != theirs):
            raise ValueError(
                f"expected diagnostics of the same classes, ignore value and networks, got {mine} and {theirs}"
            )
        merged = self._empty()
        for part in (self, other):
            for whole, sums in ((merged._sums, part._sums), (merged._regions, part._regions)):
                for name, flat in sums.items():
                    whole[name] = whole[name] + flat.cpu() if name in whole else flat.cpu()
            if part._peers is not None:
                merged._peers = part._peers.cpu() + (0 if merged._peers is None else merged._peers)
        return merged

    def reduce(self, add_up: Callable[[Tensor], Tensor]) -> PredictionDiagnostics:
        """New diagnostics with every sum replaced by ``add_up`` of it, the sum over processes for one.

        All processes must have seen the same networks; one that saw no image has nothing to add.
        """
        reduced = self._empty()
        reduced._sums = {name: add_up(flat.clone()) for name, flat in self._sums.items()}
        reduced._regions = {name: add_up(flat.clone()) for name, flat in self._regions.items()}
        reduced._peers = None if self._peers is None else add_up(self._peers.clone())
        return reduced

    def take(self, other: PredictionDiagnostics) -> None:
        """Hold what another holds, in the place of what was collected."""
        self._sums, self._regions, self._peers = dict(other._sums), dict(other._regions), other._peers

    def reset(self) -> None:
        """Forget everything."""
        self._sums, self._regions, self._peers = {}, {}, None

    def _empty(self) -> PredictionDiagnostics:
        return PredictionDiagnostics(
            self.classes, ignore_index=self.ignore_index, every=self.every, names=self.names, regions=self.regions
        )

    def _unpacked(self, flat: Tensor) -> tuple[Tensor, PredictionSums]:
        c = self.classes
        hard, mass, log_mass, surprise = flat.split([c * c, c * c, c * c, c])
        return hard.view(c, c), PredictionSums(mass.view(c, c), log_mass.view(c, c), surprise)

    def _check(self, logits: Mapping[str, Tensor], labels: Tensor) -> None:
        if self._sums and list(self._sums) != list(logits):
            raise ValueError(f"logits: expected those of {list(self._sums)}, as before, got {list(logits)}")
        for name, z in logits.items():
            channels = {self.classes, 1} if self.classes == 2 else {self.classes}
            wanted = (len(labels), *labels.shape[1:])
            if z.ndim != 4 or z.shape[1] not in channels or (z.shape[0], *z.shape[2:]) != wanted:
                raise ValueError(
                    f"logits of {name!r}: expected shape N×C×H×W with C = {self.classes} and N×H×W = {wanted} as the "
                    f"labels, got {tuple(z.shape)}; resize the logits to the labels"
                )


def _two_or_more_channels(logits: Tensor) -> Tensor:
    """In float32, with the logit 0 of class 0 beside a single channel."""
    z = logits.float()
    return torch.cat([torch.zeros_like(z), z], 1) if z.shape[1] == 1 else z
