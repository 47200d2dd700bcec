"""Information quantities of predictions over a dataset: reported, never optimized.

The formulas are in `segmi.information`. The collected sums add up over images, devices and processes; values are
computed at the end only, so collecting does not synchronize a device.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, TypeAlias

import torch
from torch import Tensor

from segmi.information import (
    PredictionSums,
    barber_agakov_bound,
    conditional_prediction_mutual_information,
    empirical_distribution,
    entropy,
    jensen_shannon_divergence_of_logs,
    mutual_information,
    prediction_sums,
    soft_confusion_mutual_information,
)
from segmi.types import IGNORE_INDEX, Labels, Logits

PEERS: Final = "jensen_shannon_divergence"

Regions: TypeAlias = Callable[[Logits, Labels], tuple[Tensor, Tensor]]
"""From N×C×H×W logits and labels, with any values at ignored pixels: the sum of ``I_G`` over images by class, in nats,
and the number of these images; C each."""


class PredictionDiagnostics:
    """Information quantities of the predictions of one or more networks, in nats over all valid pixels of a dataset.

    Per network: ``mutual_information``, the plug-in ``I(Y; Ŷ)`` of the most probable class;
    ``mutual_information_share``, its share of ``H(Y)``; ``barber_agakov_bound``, ``H(Y) - CE``, a lower bound on the
    information of the image about its labels; ``soft_confusion_mutual_information``, ``I(Y; Ŷ)`` of a drawn class;
    ``conditional_mutual_information``, ``I(X; Ŷ|Y)``, the spread of the predictions within a class. Per class:
    ``region_information``, the ``I_G`` of windows, averaged over the images where the class varies, if ``regions`` is
    given. For two or more networks: ``jensen_shannon_divergence``, ``I(K; Ŷ|X)``, at most ``log K``.

    The pixels of an image are dependent samples; the quantities describe the observed pixels.

    Args:
        classes: C; 2 for a binary problem.
        ignore_index: label of ignored pixels.
        every: use every n-th row and column; 2 is four times as fast and hardly changes the values. Windows then
            consist of the pixels used.
        names: names of the classes; default: their indices.
        regions: computes ``I_G``; None leaves it out; see `segmi.training.region_diagnostics`.
    Raises: ValueError for fewer than one class, or ``every`` below 1.
    Example:
        >>> diagnostics = PredictionDiagnostics(2)
        >>> logits = torch.tensor([[9.0, -9.0], [-9.0, 9.0]]).view(1, 2, 1, 2)
        >>> diagnostics.update({"a": logits}, torch.tensor([[[0, 1]]]))
        >>> round(diagnostics.values()["mutual_information/a"], 4)  # log 2
        0.6931
    """

    def __init__(
        self, classes: int, *, ignore_index: int = IGNORE_INDEX, every: int = 1, names: Sequence[str] = (),
        regions: Regions | None = None
    ) -> None:  # fmt: skip
        for name, value in (("classes", classes), ("every", every)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        self.classes: Final = classes
        self.ignore_index: Final = ignore_index
        self.every: Final = every
        self.names: Final = tuple(names) or tuple(map(str, range(classes)))
        self.regions: Final = regions
        # by network; `_peers` has one entry, for two or more networks
        self._sums: dict[str, Tensor] = {}
        self._regions: dict[str, Tensor] = {}
        self._peers: dict[str, Tensor] = {}

    def update(
        self, logits: Mapping[str, Logits], labels: Labels, *, whole: bool = True, ensembles: Collection[str] = ()
    ) -> None:
        """Add a batch of images.

        Args:
            logits: N×C×H×W by network, floating point; C = 1 for a binary problem.
            labels: N×H×W, integer: class indices or the ignore value.
            whole: False for tiles of images, which are left out of ``region_information``, because windows across their
                borders are missing.
            ensembles: networks that are means of the others, which ``jensen_shannon_divergence`` leaves out.
        Raises:
            ValueError: shapes that do not match the labels or the number of classes, or other networks than before.
        """
        self._check(logits, labels)
        if not labels.numel():
            return
        every = slice(None, None, self.every)
        labels = labels[:, every, every]
        with torch.no_grad():
            channels = {name: _two_or_more_channels(z[:, :, every, every]) for name, z in logits.items()}
            # one image at a time bounds the memory
            for image, truth in enumerate(labels):
                peers = [name for name in channels if name not in ensembles]
                for names in filter(None, (peers, [name for name in channels if name in ensembles])):
                    one = [channels[name][image].flatten(1) for name in names]
                    sums, divergence = sums_of(one, truth.flatten(), self.ignore_index)
                    _add(self._sums, dict(zip(names, sums, strict=True)))
                    if names is peers and len(peers) > 1:
                        _add(self._peers, {PEERS: divergence})
            if self.regions is not None:
                self._add_regions(self.regions, channels, labels, whole)

    def _add_regions(self, regions: Regions, logits: Mapping[str, Tensor], labels: Tensor, counts: bool) -> None:
        index = labels.long()
        valid = (index != self.ignore_index) & (index >= 0) & (index < self.classes)
        truth = index.masked_fill(~valid, IGNORE_INDEX)
        for name, z in logits.items():
            result = regions(z, truth) if counts else None
            wide = torch.float32 if z.device.type == "mps" else torch.float64
            added = z.new_zeros(2, self.classes, dtype=wide) if result is None else torch.stack(result).to(wide)
            _add(self._regions, {name: added})

    def values(self) -> dict[str, float]:
        """Return the diagnostics: ``name/network``, ``name/network/class`` by class, and ``jensen_shannon_divergence``.

        Without a valid pixel the result is empty; absent classes have no entry.
        """
        values: dict[str, float] = {}
        for name, flat in self._sums.items():
            hard, sums = self._unpacked(flat.cpu())
            if not hard.sum() > 0:
                continue
            table = empirical_distribution(hard, dims=(-2, -1))
            information, label_entropy = mutual_information(table, check=False), entropy(table.sum(1), check=False)
            values[f"mutual_information/{name}"] = information.item()
            values[f"mutual_information_share/{name}"] = (
                (information / label_entropy).item() if label_entropy > 0 else 0.0
            )
            values[f"barber_agakov_bound/{name}"] = barber_agakov_bound(sums).item()
            values[f"soft_confusion_mutual_information/{name}"] = soft_confusion_mutual_information(sums).item()
            values[f"conditional_mutual_information/{name}"] = conditional_prediction_mutual_information(sums).item()
            if name in self._regions:
                for label, (nats, images) in zip(self.names, self._regions[name].T.tolist(), strict=True):
                    if images > 0:
                        values[f"region_information/{name}/{label}"] = nats / images
            for peers, total in self._peers.items():
                values[peers] = (total.cpu() / hard.sum()).item()
        return values

    def merge(self, other: PredictionDiagnostics) -> PredictionDiagnostics:
        """Return new diagnostics of the images of both, which must have the same classes, ignore value and networks."""
        mine, theirs = ((one.classes, one.ignore_index, list(one._sums)) for one in (self, other))
        if mine[:2] != theirs[:2] or (self._sums and other._sums and mine != theirs):
            raise ValueError(
                f"expected diagnostics of the same classes, ignore value and networks, got {mine} and {theirs}"
            )
        merged = self._empty()
        for part in (self, other):
            for whole, sums in zip(merged._collected(), part._collected(), strict=True):
                _add(whole, {name: total.cpu() for name, total in sums.items()})
        return merged

    def reduce(self, add_up: Callable[[Tensor], Tensor]) -> PredictionDiagnostics:
        """Return new diagnostics with ``add_up`` applied to every sum, the sum over processes for example.

        All processes must have the same networks; a process without images contributes nothing.
        """
        reduced = self._empty()
        for whole, sums in zip(reduced._collected(), self._collected(), strict=True):
            whole.update({name: add_up(total.clone()) for name, total in sums.items()})
        return reduced

    def take(self, other: PredictionDiagnostics) -> None:
        """Replace the collected sums by the sums of another."""
        self._sums, self._regions, self._peers = map(dict, other._collected())

    def reset(self) -> None:
        """Remove all collected sums."""
        self._sums, self._regions, self._peers = {}, {}, {}

    def _collected(self) -> tuple[dict[str, Tensor], ...]:
        return self._sums, self._regions, self._peers

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
            raise ValueError(f"logits: expected the networks {list(self._sums)}, as before, got {list(logits)}")
        for name, z in logits.items():
            channels = {self.classes, 1} if self.classes == 2 else {self.classes}
            wanted = (len(labels), *labels.shape[1:])
            if z.ndim != 4 or z.shape[1] not in channels or (z.shape[0], *z.shape[2:]) != wanted:
                raise ValueError(
                    f"logits of {name!r}: expected shape N×C×H×W with C = {self.classes} and N×H×W = {wanted} as the "
                    f"labels, got {tuple(z.shape)}. Fix: resize the logits to the labels"
                )


def _add(whole: dict[str, Tensor], added: Mapping[str, Tensor]) -> None:
    for name, value in added.items():
        whole[name] = whole[name] + value if name in whole else value


def _two_or_more_channels(logits: Tensor) -> Tensor:
    # logits in float32, with the logit 0 of class 0 added to a single channel
    z = logits.float()
    return torch.cat([torch.zeros_like(z), z], 1) if z.shape[1] == 1 else z


def sums_of(logits: list[Tensor], labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return K×(3C² + C) sums and the Jensen–Shannon sum, from C×n logits of K networks and n labels of an image."""
    if labels.device.type != "cpu":
        return sums_by_maps(logits, labels, ignore_index)
    from segmi.metrics._cpu_kernels import add_pixels

    stacked = logits[0][None] if len(logits) == 1 else torch.stack(logits)
    # compiled for two dtypes of labels, see `segmi.metrics.confusion_matrix`
    flat = labels if labels.dtype == torch.uint8 else labels.long()
    sums, divergence = add_pixels(stacked.contiguous().numpy(), flat.numpy(), ignore_index)
    return torch.from_numpy(sums), torch.tensor(divergence, dtype=torch.float64)


def sums_by_maps(logits: list[Tensor], labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return the same sums by PyTorch operations, on any device; the reference of the compiled version."""
    wide = torch.float32 if labels.device.type == "mps" else torch.float64
    classes = logits[0].shape[0]
    index = labels.long()
    valid = (index != ignore_index) & (index >= 0) & (index < classes)
    index = index.masked_fill(~valid, 0)
    # any values at ignored pixels, including NaN
    logs = [z.masked_fill(~valid, 0).log_softmax(0) for z in logits]
    rows = []
    for log_p in logs:
        sums = prediction_sums(log_p, index, weights=valid, dim=0, check=False)
        # ignored pixels are counted in an extra entry
        cells = torch.where(valid, index * classes + log_p.argmax(0), classes**2)
        hard = torch.zeros(classes**2 + 1, dtype=wide, device=labels.device)
        hard = hard.scatter_add(0, cells, torch.ones_like(cells, dtype=wide))[:-1]
        # C² hard counts, then mass, log mass and surprise
        rows.append(torch.cat([hard, *(part.to(wide).flatten() for part in sums)]))
    divergence = (
        jensen_shannon_divergence_of_logs(*logs, dim=0) if len(logs) > 1 else torch.zeros_like(valid, dtype=wide)
    )
    return torch.stack(rows), torch.where(valid, divergence, 0.0).sum(dtype=wide)
