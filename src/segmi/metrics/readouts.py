"""What predictions tell about labels, collected over a data set: reported, never optimised, for whatever was trained.

The formulas are those of `segmi.information`. What is collected are sums that add up over pictures, devices and
processes; numbers are made of them at the end alone, so collecting makes no device wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor

from segmi.arrays import VOID, Labels, Logits
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

PEERS: Final = "jensen_shannon_divergence"


class PredictionReadouts:
    """What the predictions of one or more networks tell about the labels of a data set, and of each other.

    Per network, in nats over all valid pixels: ``mutual_information``, the plug-in ``I(Y; Ŷ)`` of the most probable
    class, and ``mutual_information_share``, its share of ``H(Y)``; ``barber_agakov_bound``, ``H(Y) - CE``, what the
    picture at least tells about its labels; ``soft_confusion_mutual_information``, ``I(Y; Ŷ)`` of a class drawn from
    the prediction; ``conditional_mutual_information``, ``I(X; Ŷ|Y)``, how much the predictions for one class differ. Of
    all networks together, where they are two or more: ``jensen_shannon_divergence``, ``I(K; Ŷ|X)``, what a drawn class
    tells of the network that predicted it, at most ``log K``.

    Pixels of a picture are no independent samples; these are properties of the pixels that were seen.

    Args:
        classes: C; 2 for a binary problem.
        ignore_index: the label of pixels that count nowhere.
        every: look at every so-manieth row and column alone; neighbours hardly differ, and 2 is four times as fast.

    Raises:
        ValueError: fewer than one class, or ``every`` below 1.

    Example:
        >>> readouts = PredictionReadouts(2)
        >>> readouts.update({"a": torch.tensor([[9.0, -9.0], [-9.0, 9.0]]).view(1, 2, 1, 2)}, torch.tensor([[[0, 1]]]))
        >>> round(readouts.values()["mutual_information/a"], 4)  # log 2
        0.6931
    """

    def __init__(self, classes: int, *, ignore_index: int = VOID, every: int = 1) -> None:
        for name, value in (("classes", classes), ("every", every)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        self.classes: Final = classes
        self.ignore_index: Final = ignore_index
        self.every: Final = every
        self._sums: dict[str, Tensor] = {}
        self._peers: Tensor | None = None

    def update(self, logits: Mapping[str, Logits], labels: Labels) -> None:
        """Look at a batch of pictures.

        Args:
            logits: N×C×H×W by network, any float type; C = 1 for a binary problem.
            labels: N×H×W, any integer type, class indices or the ignore value.

        Raises:
            ValueError: shapes that do not fit the labels and the number of classes, or other networks than before.
        """
        self._check(logits, labels)
        if not labels.numel():
            return
        step = slice(None, None, self.every)
        labels = labels[:, step, step]
        with torch.no_grad():
            channels = {name: _two_or_more_channels(z[:, :, step, step]) for name, z in logits.items()}
            for picture, truth in enumerate(labels):
                one = [z[picture].flatten(1) for z in channels.values()]
                self._add(list(channels), *_sums_of(one, truth.flatten(), self.ignore_index))

    def _add(self, names: list[str], sums: Tensor, divergence: Tensor) -> None:
        for name, added in zip(names, sums, strict=True):
            self._sums[name] = self._sums[name] + added if name in self._sums else added
        if len(names) > 1:
            self._peers = divergence if self._peers is None else self._peers + divergence

    def values(self) -> dict[str, float]:
        """The readouts: ``name/network``, and ``jensen_shannon_divergence``; none where no pixel was valid."""
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
            if self._peers is not None:
                found[PEERS] = (self._peers.cpu() / hard.sum()).item()
        return found

    def merge(self, other: PredictionReadouts) -> PredictionReadouts:
        """New readouts of the pictures of both.

        Raises:
            ValueError: different numbers of classes, ignore values or networks.
        """
        mine, theirs = ((one.classes, one.ignore_index, list(one._sums)) for one in (self, other))
        if mine[:2] != theirs[:2] or (self._sums and other._sums and mine != theirs):
            raise ValueError(
                f"expected readouts of the same classes, ignore value and networks, got {mine} and {theirs}"
            )
        merged = PredictionReadouts(self.classes, ignore_index=self.ignore_index, every=self.every)
        for part in (self, other):
            for name, flat in part._sums.items():
                merged._sums[name] = merged._sums[name] + flat.cpu() if name in merged._sums else flat.cpu()
            if part._peers is not None:
                merged._peers = part._peers.cpu() + (0 if merged._peers is None else merged._peers)
        return merged

    def reduce(self, add_up: Callable[[Tensor], Tensor]) -> PredictionReadouts:
        """New readouts with every sum replaced by ``add_up`` of it, the sum over processes for one.

        All processes must have seen the same networks; one that saw no picture has nothing to add.
        """
        reduced = PredictionReadouts(self.classes, ignore_index=self.ignore_index, every=self.every)
        reduced._sums = {name: add_up(flat.clone()) for name, flat in self._sums.items()}
        reduced._peers = None if self._peers is None else add_up(self._peers.clone())
        return reduced

    def take(self, other: PredictionReadouts) -> None:
        """Hold what another holds, in the place of what was collected."""
        self._sums, self._peers = dict(other._sums), other._peers

    def reset(self) -> None:
        """Forget everything."""
        self._sums, self._peers = {}, None

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


def _sums_of(logits: list[Tensor], labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """K×(3C² + C) sums and the Jensen–Shannon sum of one picture, from C×n logits of K networks and n labels."""
    if labels.device.type != "cpu":
        return sums_by_maps(logits, labels, ignore_index)
    from segmi.metrics._readouts_cpu import add_pixels

    together = logits[0][None] if len(logits) == 1 else torch.stack(logits)
    # two dtypes of labels are compiled for, see `segmi.metrics.confusion`
    flat = labels if labels.dtype == torch.uint8 else labels.long()
    sums, divergence = add_pixels(together.contiguous().numpy(), flat.numpy(), ignore_index)
    return torch.from_numpy(sums), torch.tensor(divergence, dtype=torch.float64)


def sums_by_maps(logits: list[Tensor], labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """The sums by PyTorch alone, on any device: what the compiled routine is tested against."""
    wide = torch.float32 if labels.device.type == "mps" else torch.float64
    classes = logits[0].shape[0]
    index = labels.long()
    valid = (index != ignore_index) & (index >= 0) & (index < classes)
    index = index.masked_fill(~valid, 0)
    # whatever stands at void pixels, NaN included
    logs = [z.masked_fill(~valid, 0).log_softmax(0) for z in logits]
    rows = []
    for log_p in logs:
        sums = prediction_sums(log_p, index, weights=valid, dim=0, check=False)
        cells = torch.where(valid, index * classes + log_p.argmax(0), classes**2)
        hard = torch.zeros(classes**2 + 1, dtype=wide, device=labels.device)
        hard = hard.scatter_add(0, cells, torch.ones_like(cells, dtype=wide))[:-1]
        rows.append(torch.cat([hard, *(part.to(wide).flatten() for part in sums)]))
    apart = jensen_shannon_divergence_of_logs(*logs, dim=0) if len(logs) > 1 else torch.zeros_like(valid, dtype=wide)
    return torch.stack(rows), torch.where(valid, apart, 0.0).sum(dtype=wide)
