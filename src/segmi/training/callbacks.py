"""The diagnostics of `segmi.metrics.PredictionDiagnostics` in loops that are not segmi's: Lightning's Trainer, and Fabric.

Imports Lightning, so nothing else of segmi imports this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from lightning.fabric import Fabric
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from segmi.training.region_diagnostics import diagnostics_of
from segmi.types import IGNORE_INDEX, Labels, Logits

Predicted: TypeAlias = "tuple[Logits | Mapping[str, Logits], Labels]"
"""Logits of one network, or of several by name, and labels."""


class FabricDiagnostics:
    """What predictions tell about labels, over all batches and processes of an epoch of a loop on Fabric.

    Args:
        fabric: sums over its processes, and logs to its loggers. All processes must look at something.
        classes: their names, or C; 2 for a binary problem.
        prefix: of the names in the log.
        ignore_index: the label of pixels that count nowhere.
        every: look at every so-manieth row and column alone.

    Example:
        >>> diagnostics = FabricDiagnostics(Fabric(accelerator="cpu"), classes=2)
        >>> diagnostics.update(torch.tensor([[9.0, -9.0], [-9.0, 9.0]]).view(1, 2, 1, 2), torch.tensor([[[0, 1]]]))
        >>> round(diagnostics.log(step=1)["val/mutual_information"], 4)  # log 2
        0.6931
    """

    def __init__(
        self,
        fabric: Fabric,
        classes: int | Sequence[str],
        *,
        prefix: str = "val/",
        ignore_index: int = IGNORE_INDEX,
        every: int = 1,
    ) -> None:
        self.fabric, self.prefix = fabric, prefix
        self.diagnostics = diagnostics_of(classes, ignore_index=ignore_index, every=every)

    def update(self, logits: Logits | Mapping[str, Logits], labels: Labels) -> None:
        """Look at a batch: N×C×H×W logits, of one network or of several by name, and N×H×W labels."""
        self.diagnostics.update(_by_name(logits), labels)

    def log(self, step: int) -> dict[str, float]:
        """The values of all processes by name, logged at ``step``; then forget what was seen."""
        values = _named(self.diagnostics.reduce(self._sum).values(), self.prefix)
        self.diagnostics.reset()
        self.fabric.log_dict(values, step=step)
        return values

    def _sum(self, sums: Tensor) -> Tensor:
        return torch.as_tensor(self.fabric.all_reduce(sums.to(self.fabric.device), reduce_op="sum"))


class DiagnosticsCallback(Callback):
    """What predictions tell about labels, at the end of every validation epoch of a Lightning Trainer.

    Args:
        classes: their names, or C; 2 for a binary problem.
        predicted: how logits and labels are found, from what ``validation_step`` returned and the batch; by default
            the ``logits`` and ``labels`` of the mapping that it returned.
        prefix: of the names in the log.
        ignore_index: the label of pixels that count nowhere.
        every: look at every so-manieth row and column alone.

    Raises:
        TypeError: in validation, where ``validation_step`` returned no such mapping and ``predicted`` is not given.
    """

    def __init__(
        self,
        classes: int | Sequence[str],
        *,
        predicted: Callable[[Any, Any], Predicted] | None = None,
        prefix: str = "val/",
        ignore_index: int = IGNORE_INDEX,
        every: int = 1,
    ) -> None:
        self.diagnostics = diagnostics_of(classes, ignore_index=ignore_index, every=every)
        self.predicted, self.prefix = predicted or _returned, prefix

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the epoch before."""
        self.diagnostics.reset()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at a batch."""
        logits, labels = self.predicted(outputs, batch)
        self.diagnostics.update(_by_name(logits), labels)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the values of all processes."""

        def add_up(sums: Tensor) -> Tensor:
            return torch.as_tensor(trainer.strategy.reduce(sums.to(pl_module.device), reduce_op="sum"))

        values = _named(self.diagnostics.reduce(add_up).values(), self.prefix)
        pl_module.log_dict(values, rank_zero_only=False)


def _returned(outputs: Any, batch: Any) -> Predicted:
    if not isinstance(outputs, Mapping) or not {"logits", "labels"} <= set(outputs):
        raise TypeError(
            f"validation_step: expected a mapping with logits and labels to be returned, got {type(outputs).__name__}; "
            "return {'logits': logits, 'labels': labels}, or tell DiagnosticsCallback with predicted= where they are"
        )
    return outputs["logits"], outputs["labels"]


def _by_name(logits: Logits | Mapping[str, Logits]) -> Mapping[str, Logits]:
    return {"": logits} if isinstance(logits, Tensor) else logits


def _named(values: Mapping[str, float], prefix: str) -> dict[str, float]:
    """With the prefix; the only network has no name."""
    return {prefix + "/".join(part for part in name.split("/") if part): value for name, value in values.items()}
