"""Callbacks of Lightning in segmi's training. No other module imports this one: Lightning takes seconds to import."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final, NoReturn

import torch
from lightning.pytorch import Callback as Wrapped
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from segmi.errors import UsageError
from segmi.training.run_callbacks import Callback, TrainingState

SUPPORTED: Final = (
    "setup", "on_fit_start", "on_train_start", "on_train_batch_end", "on_train_epoch_end", "on_validation_epoch_end",
    "on_validation_end", "on_train_end", "on_fit_end", "teardown", "state_dict", "load_state_dict", "state_key",
)  # fmt: skip
"""Hooks with an equivalent in segmi."""

_NOT_IN_FIT: Final = ("on_test_", "on_predict_")  # Lightning does not call these in training either


class LightningCallback(Callback):
    """A callback of Lightning as a callback of segmi.

    `SUPPORTED` lists the hooks that are called. They receive a substitute of the trainer, and the network in place of
    the Lightning module, or the cohort of several networks. The substitute has ``global_step``, ``current_epoch``,
    ``max_steps``, ``callback_metrics`` (see `TrainingState.metrics`), ``logged_metrics``, ``optimizers``,
    ``default_root_dir``, ``is_global_zero`` and ``should_stop``, which may be set; any other attribute is an error.
    ``on_train_batch_end`` is called once per optimizer step, with the loss and without the batch.

    Args:
        wrapped: the callback, such as ``EarlyStopping("holdout/mIoU/network", mode="max")``.

    Raises:
        UsageError: if it is not a callback of Lightning, writes checkpoints, or overrides a hook without an equivalent.
    """

    def __init__(self, wrapped: Wrapped) -> None:
        if not isinstance(wrapped, Wrapped):
            raise UsageError(
                f"expected a lightning.pytorch.Callback, got {type(wrapped).__name__}",
                "import it from lightning.pytorch, not from pytorch_lightning",
            )
        if isinstance(wrapped, Checkpoint):
            raise UsageError(
                f"{type(wrapped).__name__} writes checkpoints of Lightning, and segmi writes its own",
                "omit it, and use checkpoint_every and select_by",
            )
        hooks = [name for name in dir(Wrapped) if not name.startswith(("_", *_NOT_IN_FIT))]
        refused = [name for name in hooks if name not in SUPPORTED and _is_overridden(wrapped, name)]
        if refused:
            raise UsageError(
                f"{type(wrapped).__name__} overrides {', '.join(refused)}, which has no equivalent in segmi",
                f"override only {', '.join(SUPPORTED[:-3])}, or derive it from segmi.training.Callback",
            )
        self.wrapped = wrapped
        self._epoch = 0

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"LightningCallback({type(self.wrapped).__name__})"

    def start(self, state: TrainingState) -> None:
        """Call ``setup``, ``on_fit_start`` and ``on_train_start``."""
        self._epoch = state.epoch
        trainer, module = _arguments(state)
        self.wrapped.setup(trainer, module, "fit")
        self.wrapped.on_fit_start(trainer, module)
        self.wrapped.on_train_start(trainer, module)

    def step(self, state: TrainingState) -> None:
        """Call ``on_train_batch_end``, and ``on_train_epoch_end`` at the end of an epoch."""
        trainer, module = _arguments(state)
        outputs: Any = {"loss": trainer.callback_metrics.get("loss")}
        self.wrapped.on_train_batch_end(trainer, module, outputs, None, state.step - 1)
        if state.epoch > self._epoch:
            self._epoch = state.epoch
            trainer.current_epoch = state.epoch - 1  # the one that ends
            self.wrapped.on_train_epoch_end(trainer, module)

    def validation(self, state: TrainingState) -> None:
        """Call ``on_validation_epoch_end`` and ``on_validation_end``."""
        trainer, module = _arguments(state)
        self.wrapped.on_validation_epoch_end(trainer, module)
        self.wrapped.on_validation_end(trainer, module)

    def end(self, state: TrainingState) -> None:
        """Call ``on_train_end``, ``on_fit_end`` and ``teardown``."""
        trainer, module = _arguments(state)
        self.wrapped.on_train_end(trainer, module)
        self.wrapped.on_fit_end(trainer, module)
        self.wrapped.teardown(trainer, module, "fit")

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the wrapped callback."""
        return self.wrapped.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the wrapped callback."""
        self.wrapped.load_state_dict(state)


def _is_overridden(callback: Wrapped, name: str) -> bool:
    # `LambdaCallback` sets hooks on the instance, which then have no __func__.
    return getattr(getattr(callback, name), "__func__", None) is not getattr(Wrapped, name)


def _arguments(state: TrainingState) -> tuple[Any, Any]:
    networks = state.networks
    module = next(iter(networks.values())) if len(networks) == 1 else torch.nn.ModuleDict(dict(networks))
    return _Trainer(state), module


class _Trainer:
    """Substitute of a Lightning trainer."""

    sanity_checking, fast_dev_run, max_epochs = False, False, None
    val_check_interval, check_val_every_n_epoch = None, None  # validations follow ``validate_every``
    loggers: tuple[()] = ()
    logger = None

    def __init__(self, state: TrainingState) -> None:
        self._state = state
        self.global_step, self.current_epoch = state.step, state.epoch
        self.max_steps = -1 if state.steps is None else state.steps
        self.callback_metrics = {
            name: torch.tensor(float(value))
            for name, value in state.metrics.items()
            if isinstance(value, int | float)
        }  # fmt: skip
        self.logged_metrics = self.callback_metrics
        self.optimizers, self.default_root_dir = [state.optimizer], str(state.folder)
        self.is_global_zero, self.state = state.is_main, SimpleNamespace(fn=TrainerFn.FITTING)
        # segmi ends all processes when one of them stops.
        self.strategy = SimpleNamespace(reduce_boolean_decision=lambda decision, all=True: bool(decision))

    @property
    def should_stop(self) -> bool:
        return self._state.stopped_by is not None

    @should_stop.setter
    def should_stop(self, stop: bool) -> None:
        if stop and not self.should_stop:
            self._state.stop()

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"trainer.{name} has no equivalent in segmi")
