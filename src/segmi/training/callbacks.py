"""`segmi.metrics.PredictionDiagnostics` in other training loops: Lightning's Trainer and Lightning Fabric.

No other module imports this one, since ``lightning.pytorch`` takes seconds to import.
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
"""Logits of one network, or of several by name; and labels."""


class FabricDiagnostics:
    """Information of predictions about labels, over the batches and processes of an epoch, for Lightning Fabric.

    Args:
        fabric: its processes and loggers are used. Each process needs at least one batch.
        classes, ignore_index, every: see `segmi.training.region_diagnostics.diagnostics_of`.
        prefix: prefix of the logged names.

    Example:
        >>> diagnostics = FabricDiagnostics(Fabric(accelerator="cpu"), classes=2)
        >>> diagnostics.update(torch.tensor([[9.0, -9.0], [-9.0, 9.0]]).view(1, 2, 1, 2), torch.tensor([[[0, 1]]]))
        >>> round(diagnostics.log(step=1)["val/mutual_information"], 4)  # log 2
        0.6931
    """

    def __init__(
        self, fabric: Fabric, classes: int | Sequence[str], *, prefix: str = "val/", ignore_index: int = IGNORE_INDEX,
        every: int = 1,
    ) -> None:  # fmt: skip
        self.fabric, self.prefix = fabric, prefix
        self.diagnostics = diagnostics_of(classes, ignore_index=ignore_index, every=every)

    def update(self, logits: Logits | Mapping[str, Logits], labels: Labels) -> None:
        """Add a batch: N×C×H×W logits, of one network or of several by name, and N×H×W labels."""
        self.diagnostics.update(_by_name(logits), labels)

    def log(self, step: int) -> dict[str, float]:
        """Log and return the values over all processes by name, and reset."""
        values = _with_prefix(self.diagnostics.reduce(self._sum).values(), self.prefix)
        self.diagnostics.reset()
        self.fabric.log_dict(values, step=step)
        return values

    def _sum(self, sums: Tensor) -> Tensor:
        return torch.as_tensor(self.fabric.all_reduce(sums.to(self.fabric.device), reduce_op="sum"))


class DiagnosticsCallback(Callback):
    """Information of predictions about labels, logged after each validation epoch of a Lightning Trainer.

    Args:
        classes, prefix, ignore_index, every: see `FabricDiagnostics`.
        predicted: function from the output of ``validation_step`` and the batch to logits and labels. By default, the
            output is a mapping with ``logits`` and ``labels``.

    Raises:
        TypeError: in validation, without ``predicted``, if ``validation_step`` does not return such a mapping.
    """

    def __init__(
        self, classes: int | Sequence[str], *, predicted: Callable[[Any, Any], Predicted] | None = None,
        prefix: str = "val/", ignore_index: int = IGNORE_INDEX, every: int = 1,
    ) -> None:  # fmt: skip
        self.diagnostics = diagnostics_of(classes, ignore_index=ignore_index, every=every)
        self.predicted, self.prefix = predicted or _from_mapping, prefix

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset."""
        self.diagnostics.reset()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Add a batch."""
        logits, labels = self.predicted(outputs, batch)
        self.diagnostics.update(_by_name(logits), labels)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the values over all processes."""

        def reduce_sum(sums: Tensor) -> Tensor:
            return torch.as_tensor(trainer.strategy.reduce(sums.to(pl_module.device), reduce_op="sum"))

        values = _with_prefix(self.diagnostics.reduce(reduce_sum).values(), self.prefix)
        # The values are already reduced, so each process may log them.
        pl_module.log_dict(values, rank_zero_only=False)


def _from_mapping(outputs: Any, batch: Any) -> Predicted:
    if not isinstance(outputs, Mapping) or not {"logits", "labels"} <= set(outputs):
        raise TypeError(
            f"validation_step: expected a mapping with logits and labels, got {type(outputs).__name__}; return "
            "{'logits': logits, 'labels': labels}, or pass predicted= to DiagnosticsCallback"
        )
    return outputs["logits"], outputs["labels"]


def _by_name(logits: Logits | Mapping[str, Logits]) -> Mapping[str, Logits]:
    return {"": logits} if isinstance(logits, Tensor) else logits


def _with_prefix(values: Mapping[str, float], prefix: str) -> dict[str, float]:
    """Add the prefix; the empty name of a single network is left out."""
    return {prefix + "/".join(part for part in name.split("/") if part): value for name, value in values.items()}
