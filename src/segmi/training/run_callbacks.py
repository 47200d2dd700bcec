"""Callbacks of a run: user code that is called during training and may stop it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from segmi.errors import Interrupted, RunError, UsageError, first_line
from segmi.models import SegmentationNetwork
from segmi.training.session import Session


class TrainingState:
    """State of a run as callbacks see it. Only `stop` changes the run.

    Networks and optimizer belong to the run: code that changes them changes the result. A callback may switch
    networks to evaluation mode and draw random numbers, since each step sets the mode and seeds the generators.
    """

    def __init__(self, session: Session, *, folder: Path, steps: int | None, steps_per_epoch: float) -> None:
        self._session, self._steps_per_epoch = session, steps_per_epoch
        self.folder: Final = folder
        """Folder of the run."""
        self.steps: Final = steps
        """Number of optimizer steps of the whole run; None for a budget in minutes."""
        self.stopped_by: str | None = None
        """Callback that has stopped the run, with its reason."""
        self.caller = ""
        """Name of the callback that is being called."""

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self._session.step

    @property
    def epoch(self) -> int:
        """Complete passes over the training images."""
        return int(self.step / self._steps_per_epoch)

    @property
    def seconds(self) -> float:
        """Time of training and validation, over all sessions of the run."""
        return self._session.seconds

    @property
    def metrics(self) -> dict[str, float]:
        """Values of the last fetched step (``loss``, ``loss/NAME``), and of the last row of the history.

        On a GPU, the values of steps are fetched every ``log_every`` steps, since this waits for the device.
        """
        row = self.history[-1] if self.history else {}
        return {**row, **self._session.latest}

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row per validation, as in ``metrics.csv``: ``step``, ``train/loss``, ``holdout/mIoU/NETWORK``, ..."""
        return [dict(row) for row in self._session.history]

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self._session.learning_rate

    @property
    def best_step(self) -> int:
        """The step of the best weights so far."""
        return self._session.best_step

    @property
    def best_score(self) -> float | None:
        """Held-out mIoU or training loss of the best weights; None before the first validation."""
        return self._session.best_score

    @property
    def networks(self) -> Mapping[str, SegmentationNetwork]:
        """The networks by name; in `Callback.end` with the selected weights."""
        return self._session.cohort.networks  # type: ignore[return-value]  # a ModuleDict, typed with Module

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of all networks."""
        return self._session.optimizer

    @property
    def is_main(self) -> bool:
        """Whether this is the first of several processes; all processes call the callbacks."""
        return self._session.runtime.processes.is_main

    def stop(self, reason: str = "") -> None:
        """End the run after this step as if its budget were spent: it is validated, saved and evaluated."""
        self.stopped_by = self.caller + (f": {reason}" if reason else "")


class Callback:
    """Base class of callbacks: override the methods that you need.

    Callbacks are called in the given order, for each run and in each of its processes. An exception fails the run.

    Example:
        >>> class StopAtLoss(Callback):
        ...     def step(self, state: TrainingState) -> None:
        ...         if state.metrics["loss"] < 0.1:
        ...             state.stop("the loss is below 0.1")
    """

    @property
    def name(self) -> str:
        """Name in messages."""
        return type(self).__name__

    def start(self, state: TrainingState) -> None:
        """Called before the first step of this session, after a resumed run is restored."""

    def step(self, state: TrainingState) -> None:
        """Called after each optimizer step."""

    def validation(self, state: TrainingState) -> None:
        """Called after each row of the history, and after `step`."""

    def end(self, state: TrainingState) -> None:
        """Called after the last step, with the selected weights; not if the run fails or is interrupted."""

    def state_dict(self) -> dict[str, Any]:
        """Return the values that a resumed run needs, as tensors and plain types; saved in each checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`; called before `start` when a run continues."""


class CallbackList:
    """The callbacks of a run.

    Raises:
        UsageError: if one of them is not a `Callback`.
    """

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        for callback in callbacks:
            if not isinstance(callback, Callback):
                remedy = "derive it from segmi.training.Callback"
                if any(
                    base.__module__.startswith(("lightning.", "pytorch_lightning.")) for base in type(callback).mro()
                ):
                    remedy = "wrap it: segmi.training.lightning_bridge.LightningCallback(callback)"
                raise UsageError(f"expected a callback of segmi, got {type(callback).__name__}", remedy)
        names = [callback.name for callback in callbacks]
        self._callbacks = {
            name if names.count(name) == 1 else f"{name} {index}": callback
            for index, (name, callback) in enumerate(zip(names, callbacks, strict=True), 1)
        }

    def attach(self, state: TrainingState, saved: Mapping[str, Any] | None = None) -> None:
        """Set the state that callbacks receive; restore ``saved``, the `state_dict` of an earlier session."""
        self._state = state
        if saved is not None:
            state.stopped_by = saved["stopped_by"]
            for name, callback in self._callbacks.items():
                if saved["callbacks"].get(name):
                    callback.load_state_dict(saved["callbacks"][name])

    @property
    def stopped_by(self) -> str | None:
        """Callback that has stopped the run in this process, with its reason."""
        return self._state.stopped_by

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def call(self, method: str) -> None:
        """Call a method of each callback.

        Raises:
            RunError: if it raises an exception, with the name of the callback.
        """
        state = self._state
        for name, callback in self._callbacks.items():
            state.caller = name
            try:
                getattr(callback, method)(state)
            except Interrupted:
                raise
            except Exception as error:
                message = f"callback {name} failed in {method} at step {state.step}"
                remedy = "correct or omit the callback, and continue from the last checkpoint with --resume"
                raise RunError(f"{message}: {type(error).__name__}: {first_line(error)}", remedy) from error

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the callbacks by name, and whether one of them has stopped the run.

        Raises:
            RunError: if a state has other types than tensors and plain ones, which a checkpoint cannot hold.
        """
        states = {name: callback.state_dict() for name, callback in self._callbacks.items()}
        for name, state in states.items():
            if not _is_plain(state):
                message = f"the state_dict of callback {name} has values that a checkpoint cannot hold"
                raise RunError(message, "return tensors, numbers, strings, lists and dicts")
        return {"stopped_by": self.stopped_by, "callbacks": states}


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return type(value) is dict and all(isinstance(key, str | int) and _is_plain(one) for key, one in value.items())
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str, Tensor)
