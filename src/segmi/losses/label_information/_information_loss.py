"""The common part of losses that are functions of `segmi.information.PredictionSums` of a whole batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from segmi.information import PredictionSums
from segmi.losses.base import PixelLoss, Term
from segmi.losses.coupling import coupled_term, gathered
from segmi.losses.probabilities import class_sums, log_probabilities, pixel_entropies, precise
from segmi.losses.targets import class_count, is_transformed, read_targets, upcast
from segmi.types import IGNORE_INDEX, Labels, Logits


class MovingAverage(nn.Module):
    """Moving average of the sums of training batches, for batches too small to be representative.

    ``S̄ ← m S̄ + (1 - m) S``, S the sums of a batch with their counts; S̄ starts at 0, so the first batch counts alone.
    It is updated in training mode and with a gradient only, and not in transforms of `torch.func`.

    Args:
        momentum: m, in [0, 1).
    Raises: ValueError for momentum out of range; in `forward`, sums of another size than before.
    """

    sums: Tensor

    def __init__(self, momentum: float) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum: expected at least 0 and less than 1, got {momentum!r}. Fix: use 0.9, say")
        self.momentum = float(momentum)
        self.register_buffer("sums", torch.zeros(0))

    def forward(self, sums: Tensor) -> Tensor:
        """Return the average including this batch; in evaluation mode, the sums of the batch."""
        if not self.training:
            return sums
        past = self.sums.to(sums.device, sums.dtype) if self.sums.numel() else torch.zeros_like(sums)
        if past.shape != sums.shape:
            raise ValueError(
                f"the average has {len(past)} sums and the batch {len(sums)}: expected the same number of classes. "
                "Fix: create a new loss for other classes"
            )
        mixed = self.momentum * past + (1 - self.momentum) * sums
        if sums.requires_grad and (torch.compiler.is_compiling() or not is_transformed()):
            new = mixed.detach()
            self.sums = torch.where(new.isfinite().all(), new, past)  # non-finite batches are skipped, as their step is
        return mixed

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *arguments: Any) -> None:
        # the size is known after the first batch, so a resumed run takes it from the checkpoint
        self.sums = torch.zeros_like(state.get(prefix + "sums", self.sums), device=self.sums.device)
        super()._load_from_state_dict(state, prefix, *arguments)


def information_term(
    logits: Logits, labels: Labels, value: Callable[[PredictionSums], Tensor], ignore_index: int | None,
    average: MovingAverage | None = None
) -> Term:  # fmt: skip
    """Return a function of the prediction sums of the batch, over all processes, times the number of valid pixels.

    With a moving average, the value is a function of the average, and the gradient is scaled as if the whole average
    depended on this batch. So a weight has the same meaning with and without an average.
    """
    targets = read_targets(logits, labels, ignore_index)
    log_p, classes = log_probabilities(logits), class_count(logits)
    # N×(2C + 1)×H×W: probabilities, log-probabilities, entropies
    maps = torch.cat([log_p.exp(), log_p, pixel_entropies(log_p).unsqueeze(1)], 1)
    own, count = class_sums(maps, targets, classes), precise(targets.valid.sum())
    batch = gathered(torch.cat([own.flatten(), count.view(1)]))  # one communication for sums and count
    everywhere = batch if average is None else average(batch)
    mass, log_mass, surprise = everywhere[:-1].view_as(own).split([classes, classes, 1], 1)
    quantity = value(PredictionSums(mass, log_mass, surprise.squeeze(1)))
    total = batch[-1].detach()
    if average is not None and average.training:
        # share of this batch in the average, by pixels
        share = (1 - average.momentum) * total / everywhere[-1].detach().clamp(min=1e-12)
        # the value is unchanged, the gradient is divided by the share
        quantity = quantity.detach() + (quantity - quantity.detach()) / torch.where(share > 0, share, 1.0)
    return coupled_term(quantity, count, total, dtype=upcast(logits).dtype, invalid=targets.invalid)


class InformationLoss(PixelLoss):
    """A function of the prediction sums of a batch as a module; abstract.

    Args:
        momentum: m of a moving average of the sums, for batches too small to be representative, 0.9 for example; 0
            uses each batch alone. There is one average per network.
        ignore_index: label of ignored pixels.
    """

    family = "label_information"
    invariances = ("logit shift", "prediction permutation", "class permutation", "pixel permutation")
    scope = "global"

    def __init__(self, *, momentum: float = 0.0, ignore_index: int | None = IGNORE_INDEX) -> None:
        super().__init__(ignore_index=ignore_index)
        self.memory, self.stateful = MovingAverage(momentum) if momentum else None, momentum > 0

    @abstractmethod
    def value(self, sums: PredictionSums) -> Tensor:
        """Return the loss of the sums."""

    def term(self, logits: Logits, labels: Labels) -> Term:
        """Return the loss times the number of valid pixels, and that number."""
        return information_term(logits, labels, self.value, self.ignore_index, self.memory)
