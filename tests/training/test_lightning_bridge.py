"""Callbacks of Lightning in segmi's training."""

from __future__ import annotations

import pytest

pytest.importorskip("lightning.pytorch", reason="lightning is not installed")

import torch
from lightning.pytorch import Callback as LightningBase
from lightning.pytorch.callbacks import EarlyStopping, LambdaCallback, LearningRateMonitor, ModelCheckpoint

from segmi.errors import RunError, UsageError
from segmi.training import fit, training_configs
from segmi.training.lightning_bridge import LightningCallback


def run(make_cohort, make_loss, train, folder, holdout=None, *, callbacks=(), **settings):
    cohort = make_cohort(1)
    options = {"steps": 12, "batch_size": 3, "validate_every": 4, "device": "cpu", "precision": "fp32",
               "select_by": "last", **settings}  # fmt: skip
    return fit(cohort, make_loss(cohort), train, folder=folder, holdout=holdout, callbacks=callbacks,
               **training_configs(options))  # fmt: skip


def test_hooks_are_called_as_in_lightning(make_cohort, make_loss, train, val, tmp_path):
    class Recorder(LightningBase):
        def __init__(self):
            self.calls = []

        def setup(self, trainer, pl_module, stage):
            self.calls.append(("setup", stage))

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            assert isinstance(pl_module, torch.nn.Module)
            assert torch.equal(outputs["loss"], trainer.callback_metrics["loss"])
            self.calls.append(("batch", batch_idx, trainer.global_step))

        def on_train_epoch_end(self, trainer, pl_module):
            self.calls.append(("epoch", trainer.current_epoch))

        def on_validation_end(self, trainer, pl_module):
            self.calls.append(("validation", round(float(trainer.callback_metrics["holdout/mIoU/net0"]), 6)))

        def on_fit_end(self, trainer, pl_module):
            self.calls.append(("end", trainer.max_steps))

    recorder = Recorder()
    outcome = run(make_cohort, make_loss, train, tmp_path, val, callbacks=[LightningCallback(recorder)], steps=4)
    score = round(outcome.history[0]["holdout/mIoU/net0"], 6)
    assert recorder.calls == [
        ("setup", "fit"), ("batch", 0, 1), ("batch", 1, 2), ("batch", 2, 3), ("epoch", 0), ("batch", 3, 4),
        ("validation", score), ("end", 4),
    ]  # fmt: skip


def test_early_stopping_stops_when_it_would_in_lightning(make_cohort, make_loss, train, val, tmp_path):
    # No score is above 2, so the second and the third validation are without an improvement.
    stopping = EarlyStopping("holdout/mIoU/net0", mode="max", patience=2, min_delta=1.0)
    outcome = run(make_cohort, make_loss, train, tmp_path, val, callbacks=[LightningCallback(stopping)], steps=100)
    assert outcome.steps == 12
    assert stopping.state_dict()["wait_count"] == 2
    assert float(stopping.best_score) == pytest.approx(outcome.history[0]["holdout/mIoU/net0"])


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (LearningRateMonitor(), "LearningRateMonitor overrides on_train_batch_start, on_train_epoch_start, which has"),
        (LambdaCallback(on_before_backward=print), "LambdaCallback overrides on_before_backward, which has no equiv"),
        (ModelCheckpoint(), "ModelCheckpoint writes checkpoints of Lightning, and segmi writes its own"),
        (print, "expected a lightning.pytorch.Callback, got builtin_function_or_method"),
    ],
)
def test_callbacks_without_equivalent_are_refused_by_name(callback, message):
    with pytest.raises(UsageError) as error:
        LightningCallback(callback)
    assert message in str(error.value)


def test_errors_name_the_wrapped_callback_and_the_missing_attribute(make_cohort, make_loss, train, tmp_path):
    callback = LambdaCallback(on_train_start=lambda trainer, module: trainer.datamodule)
    with pytest.raises(RunError) as error:
        run(make_cohort, make_loss, train, tmp_path, callbacks=[LightningCallback(callback)])
    assert "callback LightningCallback(LambdaCallback) failed in start at step 0" in str(error.value)
    assert "trainer.datamodule has no equivalent in segmi" in str(error.value)


def test_a_callback_that_is_not_wrapped_is_refused_with_the_remedy(make_cohort, make_loss, train, tmp_path):
    with pytest.raises(UsageError, match=r"wrap it: segmi\.training\.lightning_bridge\.LightningCallback"):
        run(make_cohort, make_loss, train, tmp_path, callbacks=[LambdaCallback()])
