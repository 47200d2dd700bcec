"""What changes while a run goes on: weights, optimizer, counters, history; and how to save and restore it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from segmi.errors import RunError
from segmi.losses.base import Objective, Term
from segmi.randomness import key
from segmi.training.cohort import Cohort
from segmi.training.metric_sync import ReadBack
from segmi.training.number_format import NumberFormat
from segmi.training.processes import ALONE, Processes
from segmi.training.profile import UNTIMED, Profile
from segmi.training.progress import RunningMeans, check_finite
from segmi.training.step import accumulate_gradient, weighted_sum
from segmi.types import Batch


@dataclass(frozen=True)
class Runtime:
    """How a run computes, as opposed to what.

    Args:
        device: where.
        number_format: in which numbers.
        processes: together with which others.
        compile: whether the cohort is compiled by ``torch.compile``.
        sync_batch_norm: whether batch statistics are those of all processes.
        profile: measures what takes how long.
    """

    device: torch.device
    number_format: NumberFormat
    processes: Processes = ALONE
    compile: bool = False
    sync_batch_norm: bool = False
    profile: Profile = UNTIMED


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory has run out: a GPU's is an error of its own, the machine's is told by PyTorch in words alone.

    Example:
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
        True
    """
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in said


class Session:
    """A cohort in training.

    Args:
        cohort: the networks.
        objective: what is minimized.
        optimizer: over the parameters of both.
        schedule: stepped once per step, or None.
        runtime: device, precision, processes.
        seed: keys dropout.
        sequential: whether the networks take their steps one after the other, each after what the others say by then.
        clip_norm: largest norm of the gradient, or None.
        classes: their names, for the diagnostics that have a value per class.
    """

    best_score: float | None

    def __init__(
        self,
        cohort: Cohort,
        objective: Objective,
        optimizer: Optimizer,
        schedule: LRScheduler | None,
        *,
        runtime: Runtime,
        seed: int,
        clip_norm: float | None,
        classes: Sequence[str] = (),
        sequential: bool = False,
    ) -> None:
        self.cohort, self.objective, self.schedule, self.runtime = cohort, objective, schedule, runtime
        self.seed, self.clip_norm, self.classes = seed, clip_norm, tuple(classes)
        self._turns: tuple[str | None, ...] = cohort.learning if sequential else (None,)
        self.step, self.best_step, self.best_score = 0, 0, None
        self.history: list[dict[str, Any]] = []
        self.means = RunningMeans()
        self.latest: dict[str, float] = {}
        self._read_back = ReadBack(runtime.processes)
        self._seconds_before, self._began, self._step_began = 0.0, time.perf_counter(), 0
        self.fabric = runtime.processes.fabric(runtime.device, runtime.number_format.precision)
        self.device = self.fabric.device
        runtime.number_format.apply(cohort)
        if runtime.sync_batch_norm and runtime.processes.count > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(cohort)
        module: Any = torch.compile(cohort) if runtime.compile else cohort
        self._forward, self.optimizer = self.fabric.setup(module, optimizer)
        objective.to(self.device)

    def update(self, batches: Iterator[Batch], parts: int) -> None:
        """One optimizer step on the next ``parts`` batches.

        Raises:
            RunError: if memory runs out, or if a loss read back was not finite.
        """
        profile = self.runtime.profile
        with profile.part("data"):
            group = [self._taken(next(batches)) for _ in range(parts)]
        self._seed_generators()
        self.cohort.train()
        self.objective.train()
        try:
            terms: dict[str, Term] = {}
            norms = []
            for network in self._turns:
                found, norm = self._step(group, network)
                terms |= found
                norms += [] if norm is None else [norm]
            with profile.part("optimizer"):
                self.cohort.average(self.step)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise RunError(
                f"out of memory at update {self.step + 1} with batches of {len(group[0])} images of "
                f"{tuple(group[0].images.shape[-2:])} pixels",
                "use a smaller batch_size with accumulate, or a smaller crop",
            ) from error
        if self.schedule is not None:
            self.schedule.step()
        self.step += 1
        with torch.no_grad():
            values = {"loss": weighted_sum(terms), **{f"loss/{name}": term.value for name, term in terms.items()}}
        if norms:
            norm = torch.stack(norms).square().sum().sqrt()
            values["gradient_norm"] = norm / self.runtime.processes.count  # every process has that of the whole
        ratios = {
            name: (ratio.numerator, ratio.denominator) for t in terms.values() for name, ratio in t.diagnostics.items()
        }
        self._read_back.add(self.step, tuple(name for batch in group for name in batch.names), values, ratios)
        profile.step_done()

    def _taken(self, batch: Batch) -> Batch:
        """A batch on the device; a GPU copies it when it gets there, without anybody waiting."""
        if self.device.type != "cuda":
            return batch.to(self.device)
        return batch.pinned().to(self.device, non_blocking=True)

    def _step(self, group: Sequence[Batch], network: str | None) -> tuple[dict[str, Term], Tensor | None]:
        """One step of the optimizer, of all networks or of one: the terms, and the norm of the gradient if it is cut."""
        with self.cohort.turn_of(network) if network else nullcontext():
            with self.runtime.profile.part("optimizer"):
                self.optimizer.zero_grad()
            terms = self._gradient(group, network)
            with self.runtime.profile.part("optimizer"):
                norm = self._clipped()
                self.optimizer.step()
        return terms, norm

    def _gradient(self, group: Sequence[Batch], network: str | None) -> dict[str, Term]:
        processes = self.runtime.processes
        terms = accumulate_gradient(
            self._forward,
            self.objective,
            group,
            self.fabric.backward,
            processes=processes,
            of=network,
            unsynchronized=lambda enabled: self.fabric.no_backward_sync(
                self._forward, enabled=enabled and processes.count > 1
            ),
            profile=self.runtime.profile,
        )
        if processes.count > 1:  # the objective's own parameters are in no module that Fabric has wrapped
            for parameter in self.objective.parameters():
                if parameter.requires_grad:
                    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                    parameter.grad = processes.sum(gradient).div_(processes.count)
        return terms

    def _clipped(self) -> Tensor | None:
        """The norm of the gradient before it is clipped, where it is and where fp16 does not scale it at will."""
        if self.clip_norm is None:
            return None
        norm = self.fabric.clip_gradients(
            self._forward, self.optimizer, max_norm=self.clip_norm, error_if_nonfinite=False
        )
        return norm if self.runtime.number_format.precision != "fp16" else None

    def _seed_generators(self) -> None:
        """Key what dropout draws; only the CPU and the device in use, for seeding all is slow."""
        rank = self.runtime.processes.rank
        seed = key(self.seed, "update", self.step, *((rank,) if rank else ()))
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    def take_statistics_of_leader(self) -> None:
        """Have the batch statistics of process 0, which are the ones that are kept; others saw other images."""
        for buffer in self.cohort.buffers():
            self.runtime.processes.as_leader(buffer)

    def read_back(self) -> None:
        """Fetch the losses of the steps since the last call: the only place that waits for the device.

        Raises:
            Diverged: if one of them is not finite.
        """
        for step in self._read_back.fetch():
            check_finite(step.values, step.step, step.names, self.runtime.processes)
            self.means.add(step.values)
            self.latest = step.values
            for name, ratios in step.ratios.items():
                for suffix, (numerator, denominator) in zip(self._suffixes(len(ratios)), ratios, strict=True):
                    self.means.add_ratio(name + suffix, numerator, denominator)
        self.runtime.profile.settle()

    def _suffixes(self, channels: int) -> list[str]:
        """What tells the classes of a diagnostic apart; a single channel is that of class 1, or no class at all."""
        if channels == 1:
            return [""]
        named = channels == len(self.classes)
        return [f"/{self.classes[channel] if named else channel}" for channel in range(channels)]

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
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
        """The weights of all networks."""
        return dict(self.cohort.state_dict())

    def state(self) -> dict[str, Any]:
        """Everything besides the weights, as tensors and plain types."""
        self.read_back()
        return {
            "precision": self.runtime.number_format.precision,
            "number_format": self.runtime.number_format.plain(),
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
        """Continue from a checkpoint as if nothing had happened.

        Raises:
            RunError: it is of another network, optimizer or objective.
        """
        try:
            self._restore(step, weights, state)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split()[:40])
            raise RunError(
                f"the checkpoint of step {step} does not fit this run: {type(error).__name__}: {reason}",
                "start the run anew with --overwrite, or continue it as it was begun",
            ) from error

    def _restore(self, step: int, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
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
