"""What changes while a run goes on: weights, optimiser, counters, history; and how to save and restore it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from segmi.arrays import Batch
from segmi.errors import RunError
from segmi.objectives.contract import Objective
from segmi.randomness import key
from segmi.training.cohort import Cohort
from segmi.training.precision import FABRIC_PRECISION
from segmi.training.progress import RunningMeans, check_finite
from segmi.training.step import accumulate_gradient, weighted_sum


class Session:
    """A cohort in training on one device.

    Args:
        cohort: the networks.
        objective: what is minimised.
        optimizer: over the parameters of both.
        schedule: stepped once per update, or None.
        device: where to compute.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        seed: keys dropout.
        clip_norm: largest norm of the gradient, or None.
        classes: their names, for the readouts that have a value per class.
    """

    def __init__(
        self,
        cohort: Cohort,
        objective: Objective,
        optimizer: Optimizer,
        schedule: LRScheduler | None,
        *,
        device: torch.device,
        precision: str,
        seed: int,
        clip_norm: float | None,
        classes: Sequence[str] = (),
    ) -> None:
        self.cohort, self.objective, self.schedule = cohort, objective, schedule
        self.precision, self.seed, self.clip_norm, self.classes = precision, seed, clip_norm, tuple(classes)
        self.step, self.best_step, self.best_score = 0, 0, None
        self.history: list[dict[str, Any]] = []
        self.means = RunningMeans()
        self.latest: dict[str, float] = {}
        self._pending: list[tuple[int, tuple[str, ...], dict[str, Tensor], dict[str, Tensor]]] = []
        self._seconds_before, self._began, self._step_began = 0.0, time.perf_counter(), 0
        devices = [device.index or 0] if device.type == "cuda" else 1
        self.fabric = Fabric(accelerator=device.type, devices=devices, precision=FABRIC_PRECISION[precision])
        self.device = self.fabric.device
        if device.type != "mps":
            cohort.to(memory_format=torch.channels_last)
        self._forward, self.optimizer = self.fabric.setup(cohort, optimizer)
        objective.to(self.device)

    best_score: float | None

    def update(self, batches: Iterator[Batch], parts: int) -> None:
        """One optimiser step on the next ``parts`` batches.

        Raises:
            RunError: if memory runs out, or if a loss read back was not finite.
        """
        group = [next(batches).to(self.device, non_blocking=True) for _ in range(parts)]
        self._seed_generators(key(self.seed, "update", self.step))
        self.cohort.train()
        self.objective.train()
        try:
            self.optimizer.zero_grad()
            terms = accumulate_gradient(self._forward, self.objective, group, self.fabric.backward)
            if self.clip_norm is not None:
                self.fabric.clip_gradients(self._forward, self.optimizer, max_norm=self.clip_norm)
            self.optimizer.step()
        except torch.OutOfMemoryError as error:
            raise RunError(
                f"out of memory at update {self.step + 1} with batches of {len(group[0])} pictures of "
                f"{tuple(group[0].images.shape[-2:])} pixels",
                "use a smaller batch_size with accumulate, or a smaller crop",
            ) from error
        if self.schedule is not None:
            self.schedule.step()
        self.step += 1
        names = tuple(name for batch in group for name in batch.names)
        with torch.no_grad():
            values = {"loss": weighted_sum(terms), **{f"loss/{name}": term.value for name, term in terms.items()}}
            readouts = {
                name: torch.stack([ratio.numerator, ratio.denominator]).reshape(2, -1)
                for term in terms.values()
                for name, ratio in term.readouts.items()
            }
        self._pending.append((self.step, names, {name: value.detach() for name, value in values.items()}, readouts))

    def _seed_generators(self, seed: int) -> None:
        """Key what dropout draws; only the CPU and the device in use, for seeding all is slow."""
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    def read_back(self) -> None:
        """Fetch the losses of the updates since the last call: the only place that waits for the device."""
        for step, names, tensors, readouts in self._pending:
            values = {name: float(value) for name, value in tensors.items()}
            check_finite(values, step, names)
            self.means.add(values)
            self.latest = values
            for readout, ratios in readouts.items():
                suffixes = self._suffixes(ratios.shape[1])
                for suffix, numerator, denominator in zip(suffixes, *ratios.tolist(), strict=True):
                    self.means.add_ratio(readout + suffix, numerator, denominator)
        self._pending.clear()

    def _suffixes(self, channels: int) -> list[str]:
        """What tells the classes of a readout apart; a single channel is that of class 1, or no class at all."""
        if channels == 1:
            return [""]
        named = channels == len(self.classes)
        return [f"/{self.classes[channel] if named else channel}" for channel in range(channels)]

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def seconds(self) -> float:
        """Wall time over all sessions of the run."""
        return self._seconds_before + time.perf_counter() - self._began

    @property
    def steps_per_second(self) -> float:
        """Updates per second since this process began."""
        return (self.step - self._step_began) / max(time.perf_counter() - self._began, 1e-9)

    def weights(self) -> dict[str, Tensor]:
        """The weights of all members."""
        return dict(self.cohort.state_dict())

    def state(self) -> dict[str, Any]:
        """Everything besides the weights, as tensors and plain types."""
        self.read_back()
        return {
            "precision": self.precision,
            "best_step": self.best_step,
            "best_score": self.best_score,
            "history": self.history,
            "means": self.means.state(),
            "seconds": self.seconds,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule else None,
            "objective": dict(self.objective.state_dict()),
            "scaler": self.fabric.strategy.precision.state_dict(),
        }

    def restore(self, step: int, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint as if nothing had happened."""
        self.step, self._step_began = step, step
        self.best_step, self.best_score = state["best_step"], state["best_score"]
        self.history = [dict(row) for row in state["history"]]
        self.means = RunningMeans.from_state(state["means"])
        self._seconds_before = state["seconds"]
        self.cohort.load_state_dict(dict(weights))
        self.optimizer.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.objective.load_state_dict(state["objective"])
        self.fabric.strategy.precision.load_state_dict(state["scaler"])
