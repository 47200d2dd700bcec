"""State of a run: weights, optimizer, counters and history; one optimizer step; saving and restoring the state."""

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

from segmi.errors import RunError, counted
from segmi.losses.base import Objective, Term
from segmi.randomness import key
from segmi.training.allocator import is_out_of_memory
from segmi.training.cohort import Cohort
from segmi.training.distributed import SINGLE_PROCESS, ProcessGroup
from segmi.training.metric_sync import MetricSync, RunningMeans, check_finite
from segmi.training.optimization import TIME_STEPS
from segmi.training.precision import ResolvedPrecision
from segmi.training.profile import UNTIMED, Profile
from segmi.training.step import accumulate_gradient, weighted_sum
from segmi.training.weight_average import WeightAverage
from segmi.types import Batch


@dataclass(frozen=True)
class Runtime:
    """Resolved form of `segmi.training.RuntimeConfig`."""

    device: torch.device  # of this process
    precision: ResolvedPrecision
    processes: ProcessGroup = SINGLE_PROCESS
    compile: bool = False
    sync_batch_norm: bool = False
    profile: Profile = UNTIMED


class Session:
    """A cohort in training.

    Args:
        optimizer: optimizer of the parameters of cohort and objective.
        schedule: learning-rate scheduler, stepped once per optimizer step, or None.
        seed: seed of dropout.
        clip_norm, sequential: see ``clip_norm`` and ``step_order`` of `segmi.training.OptimizationConfig`.
        classes: class names, for diagnostics with one value per class.
        budget_seconds: duration of the schedule. None: the schedule has one step per optimizer step.
        weight_average: keep the moving average of the weights.
    """

    best_score: float | None

    def __init__(
        self, cohort: Cohort, objective: Objective, optimizer: Optimizer, schedule: LRScheduler | None, *,
        runtime: Runtime, seed: int, clip_norm: float | None, classes: Sequence[str] = (), sequential: bool = False,
        budget_seconds: float | None = None, weight_average: bool = False,
    ) -> None:  # fmt: skip
        self.cohort, self.objective, self.schedule, self.runtime = cohort, objective, schedule, runtime
        self.seed, self.clip_norm, self.classes = seed, clip_norm, tuple(classes)
        # The networks that are updated together in each turn; None: all of them.
        self._turns: tuple[str | None, ...] = cohort.learning if sequential else (None,)
        self.step, self.best_step, self.best_score = 0, 0, None
        self.budget_seconds = budget_seconds
        self.history: list[dict[str, Any]] = []
        self.means = RunningMeans()
        self.latest: dict[str, float] = {}
        self._metrics = MetricSync(runtime.processes)
        self._seconds_before, self._began, self._step_began = 0.0, time.perf_counter(), 0
        self.fabric = runtime.processes.fabric(runtime.device, runtime.precision.dtype)
        self.device = self.fabric.device
        # Before DDP and torch.compile, which depend on the memory layout of the weights.
        runtime.precision.apply(cohort)
        if runtime.sync_batch_norm and runtime.processes.world_size > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(cohort)
        module: Any = torch.compile(cohort) if runtime.compile else cohort
        self._forward, self.optimizer = self.fabric.setup(module, optimizer)
        # Fabric and DDP wrap the networks only; most objectives have no parameters.
        objective.to(self.device)
        # After the weights have their device and memory format.
        self.average = WeightAverage(cohort) if weight_average else None

    def train_step(self, batches: Iterator[Batch], parts: int) -> None:
        """Take one optimizer step on the next ``parts`` batches.

        Raises:
            RunError: if memory runs out.
        """
        profile = self.runtime.profile
        with profile.part("data"):
            group = [self._to_device(next(batches)) for _ in range(parts)]
        # Validation and other code of the process may have drawn random numbers.
        self._seed_generators()
        self.cohort.train()
        self.objective.train()
        try:
            results = [self._step(group, network) for network in self._turns]
            terms = {name: term for result, _ in results for name, term in result.items()}
            norms = [norm for _, norm in results if norm is not None]
            with profile.part("optimizer"):
                self.cohort.average(self.step)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise RunError(
                f"out of memory at step {self.step + 1} with batches of {counted(len(group[0]), 'image')} of "
                f"{tuple(group[0].images.shape[-2:])} pixels",
                "use a smaller batch_size with accumulate, or a smaller crop",
            ) from error
        self.step += 1
        if self.average is not None:
            self.average.update(self.step)
        self._advance_schedule()
        # Kept on the device: reading a value here would wait for the GPU in each step.
        with torch.no_grad():
            values = {"loss": weighted_sum(terms), **{f"loss/{name}": term.value for name, term in terms.items()}}
        if norms:
            norm = torch.stack(norms).square().sum().sqrt()  # over the networks of all turns
            # Each process has the norm of the whole gradient, and metrics are summed over the processes.
            values["gradient_norm"] = norm / self.runtime.processes.world_size
        ratios = {
            name: (ratio.numerator, ratio.denominator) for t in terms.values() for name, ratio in t.diagnostics.items()
        }
        self._metrics.add(self.step, tuple(name for batch in group for name in batch.names), values, ratios)
        profile.step_done()

    def _advance_schedule(self) -> None:
        # Once per optimizer step, or to the share of the time that has passed.
        if self.schedule is None:
            return
        due = self.step
        if self.budget_seconds is not None:
            due = min(TIME_STEPS - 1, int(TIME_STEPS * self.seconds / self.budget_seconds))
            due = self.runtime.processes.max(due)  # clocks differ between processes, learning rates must not
        while self.schedule.last_epoch < due:
            self.schedule.step()

    def time_step(self, batches: Sequence[Batch]) -> float:
        """Return the seconds of a step without its update, and start the clock of the run again."""
        buffers = [(buffer, buffer.clone()) for part in (self.cohort, self.objective) for buffer in part.buffers()]
        self.cohort.train()
        self.objective.train()
        for _ in range(2):  # the first pass compiles kernels
            began = time.perf_counter()
            self._seed_generators()
            self._gradient([self._to_device(batch) for batch in batches], self._turns[0])
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds = time.perf_counter() - began
        self.optimizer.zero_grad()
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        self._began = time.perf_counter()
        return seconds * len(self._turns)

    def _to_device(self, batch: Batch) -> Batch:
        # Only a copy from pinned memory to a GPU is asynchronous.
        on_cuda = self.device.type == "cuda"
        return batch.pinned().to(self.device, non_blocking=True) if on_cuda else batch.to(self.device)

    def _step(self, group: Sequence[Batch], network: str | None) -> tuple[dict[str, Term], Tensor | None]:
        """Update all networks or one; return the terms, and the norm of the gradient if it is clipped."""
        with self.cohort.turn_of(network) if network else nullcontext():
            with self.runtime.profile.part("optimizer"):
                self.optimizer.zero_grad()
            terms = self._gradient(group, network)
            with self.runtime.profile.part("optimizer"):
                norm = self._clip_gradient()
                self.optimizer.step()  # networks without gradient are skipped
        return terms, norm

    def _gradient(self, group: Sequence[Batch], network: str | None) -> dict[str, Term]:
        processes = self.runtime.processes
        terms = accumulate_gradient(
            self._forward, self.objective, group, self.fabric.backward, processes=processes, network=network,
            no_sync=lambda on: self.fabric.no_backward_sync(self._forward, enabled=on and processes.world_size > 1),
            profile=self.runtime.profile,
        )  # fmt: skip
        if processes.world_size > 1:  # DDP does not wrap the objective, so its gradient is averaged here
            for parameter in self.objective.parameters():
                if parameter.requires_grad:
                    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                    parameter.grad = processes.sum(gradient).div_(processes.world_size)
        return terms

    def _clip_gradient(self) -> Tensor | None:
        """Return the norm before clipping; None without clipping, and with fp16, which scales the gradient."""
        if self.clip_norm is None:
            return None
        norm = self.fabric.clip_gradients(
            self._forward, self.optimizer, max_norm=self.clip_norm, error_if_nonfinite=False
        )
        return norm if self.runtime.precision.dtype != "fp16" else None

    def _seed_generators(self) -> None:
        """Seed dropout for this step on the CPU and the device; seeding all devices is slow."""
        # Process 0 has the same seed as a run with one process.
        rank = self.runtime.processes.rank
        seed = key(self.seed, "update", self.step, *((rank,) if rank else ()))
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    def broadcast_buffers(self) -> None:
        """Copy the batch statistics of process 0, which are saved, to the others, which have seen other images."""
        for buffer in self.cohort.buffers():
            self.runtime.processes.broadcast(buffer)

    def fetch_metrics(self) -> None:
        """Fetch the metrics of the steps since the last call. Only this waits for the device.

        Raises:
            Diverged: if one of them is NaN or infinite.
        """
        for step in self._metrics.fetch():
            check_finite(step, self.runtime.processes)
            self.means.add(step.values)
            self.latest = step.values
            for name, ratios in step.ratios.items():
                for suffix, (numerator, denominator) in zip(self._suffixes(len(ratios)), ratios, strict=True):
                    self.means.add_ratio(name + suffix, numerator, denominator)
        self.runtime.profile.collect()

    def _suffixes(self, channels: int) -> list[str]:
        """Return a suffix per class of a diagnostic."""
        if channels == 1:  # class 1 of a binary problem, or a diagnostic without classes
            return [""]
        named = channels == len(self.classes)
        return [f"/{self.classes[channel] if named else channel}" for channel in range(channels)]

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def seconds(self) -> float:
        """Wall time, summed over all sessions of the run."""
        return self._seconds_before + time.perf_counter() - self._began

    @property
    def steps_per_second(self) -> float:
        """Optimizer steps per second since this process started."""
        return (self.step - self._step_began) / max(time.perf_counter() - self._began, 1e-9)

    def weights(self) -> dict[str, Tensor]:
        """Return the weights of all networks."""
        return dict(self.cohort.state_dict())

    def state(self) -> dict[str, Any]:
        """Return everything except the weights, as tensors and plain types."""
        self.fetch_metrics()
        return {
            "precision": self.runtime.precision.to_dict(),
            "best_step": self.best_step,
            "best_score": self.best_score,
            "history": self.history,
            "means": self.means.state_dict(),
            "seconds": self.seconds,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule else None,
            "objective": dict(self.objective.state_dict()),
            "scaler": self.fabric.strategy.precision.state_dict(),
            "weight_average": self.average and self.average.values,
        }

    def restore(self, step: int, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Restore a checkpoint, so that the run continues as if uninterrupted.

        Raises:
            RunError: if it belongs to another network, optimizer or objective.
        """
        try:
            self.step, self._step_began = step, step
            self.best_step, self.best_score = state["best_step"], state["best_score"]
            self.history = [dict(row) for row in state["history"]]
            self.means = RunningMeans.from_state_dict(state["means"])
            self._seconds_before = state["seconds"]
            self.cohort.load_state_dict(dict(weights))
            # Fabric wraps the optimizer. Its state includes the learning rate, which the scheduler continues from.
            self.optimizer.optimizer.load_state_dict(state["optimizer"])
            if self.schedule is not None:
                self.schedule.load_state_dict(state["schedule"])
            self.objective.load_state_dict(state["objective"])
            self.fabric.strategy.precision.load_state_dict(state["scaler"])  # gradient scaler of fp16
            if self.average is not None:
                self.average.load_state_dict(state["weight_average"])
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split()[:40])
            raise RunError(
                f"the checkpoint of step {step} does not fit this run: {type(error).__name__}: {reason}",
                "start over with --overwrite, or resume it with its original settings",
            ) from error
