"""Adapter of losses to the decode heads of mmsegmentation, which pass more arguments than logits and labels."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from segmi.losses.base import Loss
from segmi.losses.targets import check_targets, ignore_value
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["MMSegmentationLoss"]


class MMSegmentationLoss(nn.Module):
    """A loss with the call of mmsegmentation: ``loss(logits, labels, weight=, avg_factor=, ignore_index=)``.

    Register it with ``MODELS.register_module(module=MMSegmentationLoss)``, or assign an object to the head's
    ``loss_decode``.

    Args:
        loss: a loss of `segmi.losses`, or its name in `LOSSES` with ``options``.
        loss_weight: factor of the value.
        loss_name: name in the log; mmsegmentation sums the values whose names begin with ``loss``.
        options: of a loss given by name.
    Raises: ValueError when called, for weights of pixels other than 0 and 1, or a ``reduction_override`` but ``mean``.
    Example:
        >>> import torch
        >>> loss = MMSegmentationLoss("cross_entropy", loss_weight=0.5, loss_name="loss_ce")
        >>> loss(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 9]]]), ignore_index=9), loss.loss_name  # ½ log 2
        (tensor(0.3466), 'loss_ce')
    """

    def __init__(
        self, loss: Loss | str, *, loss_weight: float = 1.0, loss_name: str = "loss_segmi", **options: Any
    ) -> None:
        super().__init__()
        if isinstance(loss, str):
            from segmi.losses.build import LOSSES  # imports all losses

            kind = LOSSES.get(loss)
            if kind is None or not issubclass(kind, Loss):
                raise ValueError(
                    f"loss: expected the name of a loss of one network, got {loss!r}. Fix: see `segmi list losses`"
                )
            loss = kind(**options)
        self.loss, self.loss_weight, self.loss_name = loss, loss_weight, loss_name

    def forward(
        self, logits: Logits, labels: Labels, weight: Tensor | None = None, avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None, ignore_index: int | None = IGNORE_INDEX, **_: Any
    ) -> Tensor:  # fmt: skip
        """Return the weighted loss.

        Args:
            logits, labels: N×C×H×W and N×H×W.
            weight: N×H×W of 0 and 1, as a pixel sampler gives them: pixels of weight 0 are ignored.
            avg_factor: divides the sum of the loss, instead of its denominator.
            reduction_override: None or ``mean``.
            ignore_index: label of ignored pixels in ``labels``.
        """
        check_targets(logits, labels, ignore_index)
        if reduction_override not in (None, "mean"):
            raise ValueError(f"reduction_override: expected None or 'mean', got {reduction_override!r}. Fix: omit it")
        ignored = labels.long() == ignore_value(ignore_index)
        if weight is not None:
            if not bool(((weight == 0) | (weight == 1)).all()):
                raise ValueError("weight: expected 0 and 1 only, got other values. Fix: use a loss with class weights")
            ignored = ignored | (weight == 0)
        labels = labels.long().masked_fill(ignored, ignore_value(self.loss.ignore_index))
        if avg_factor is None:
            value: Tensor = self.loss(logits, labels)
            return self.loss_weight * value
        first, *others = self.loss.terms(logits, labels).values()
        total = sum((term.weight * term.numerator for term in others), start=first.weight * first.numerator)
        return self.loss_weight * total / avg_factor
