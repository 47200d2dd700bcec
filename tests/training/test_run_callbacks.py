"""Callbacks: when they are called, what they read, how they stop a run, and their errors."""

from __future__ import annotations

import pytest
import torch

from segmi.errors import RunError, UsageError
from segmi.training import Callback, TrainingState, fit, training_configs


def run(make_cohort, make_loss, train, folder, holdout=None, *, callbacks=(), progress=None, **settings):
    cohort = make_cohort(1)
    options = {"steps": 12, "batch_size": 3, "checkpoint_every": 4, "validate_every": 4, "device": "cpu",
               "precision": "fp32", "select_by": "holdout_mIoU" if holdout else "last", **settings}  # fmt: skip
    outcome = fit(cohort, make_loss(cohort), train, folder=folder, holdout=holdout, callbacks=callbacks,
                  progress=progress, **training_configs(options))  # fmt: skip
    return cohort, outcome


class Recorder(Callback):
    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.seen: list[TrainingState] = []
        self.losses: list[float] = []

    def start(self, state: TrainingState) -> None:
        self.calls.append(("start", state.step))

    def step(self, state: TrainingState) -> None:
        self.calls.append(("step", state.step))
        self.losses.append(state.metrics["loss"])
        state.networks["net0"].eval()  # the next step trains again
        torch.rand(7)

    def validation(self, state: TrainingState) -> None:
        self.calls.append(("validation", state.step))
        assert state.history[-1]["step"] == state.step
        assert state.metrics["holdout/mIoU/net0"] == state.history[-1]["holdout/mIoU/net0"]

    def end(self, state: TrainingState) -> None:
        self.calls.append(("end", state.step))
        self.weights = {name: value.clone() for name, value in state.networks["net0"].state_dict().items()}

    def state_dict(self) -> dict[str, object]:
        return {"losses": self.losses}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.losses = list(state["losses"])  # type: ignore[call-overload]


def test_callbacks_are_called_in_order_and_change_nothing(make_cohort, make_loss, train, val, tmp_path):
    recorder = Recorder()
    watched, outcome = run(make_cohort, make_loss, train, tmp_path / "watched", val, callbacks=[recorder])
    expected: list[tuple[str, int]] = [("start", 0)]
    for step in range(1, 13):
        expected += [("step", step)] + ([("validation", step)] if step % 4 == 0 else [])
    assert recorder.calls == [*expected, ("end", 12)]
    plain, without = run(make_cohort, make_loss, train, tmp_path / "plain", val)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in watched.state_dict().items())
    assert outcome.history == without.history
    mean = sum(recorder.losses[:4]) / 4
    assert outcome.history[0]["train/loss"] == pytest.approx(mean)
    assert all(
        torch.equal(value, recorder.weights[name]) for name, value in plain.networks["net0"].state_dict().items()
    )


def test_the_state_can_be_read(make_cohort, make_loss, train, val, tmp_path):
    class Reader(Callback):
        def validation(self, state: TrainingState) -> None:
            self.values = (state.steps, state.epoch, state.best_step, state.learning_rate, state.folder, state.is_main)
            self.best_score, self.seconds = state.best_score, state.seconds

    reader = Reader()
    _, outcome = run(make_cohort, make_loss, train, tmp_path, val, callbacks=[reader], learning_rate=0.01)
    assert reader.values == (12, 4, outcome.best_step, 0.01, tmp_path, True)  # 10 images, 3 batches of 3 per epoch
    assert reader.best_score == outcome.best_score
    assert 0 < reader.seconds <= outcome.wall_seconds


class Stop(Callback):
    def __init__(self, method: str, at: int) -> None:
        self.method, self.at = method, at

    def _stop(self, method: str, state: TrainingState) -> None:
        if method == self.method and state.step >= self.at:
            state.stop("it is enough")

    def step(self, state: TrainingState) -> None:
        self._stop("step", state)

    def validation(self, state: TrainingState) -> None:
        self._stop("validation", state)


@pytest.mark.parametrize(("method", "at", "rows"), [("step", 6, [4, 6]), ("validation", 5, [4, 8])])
def test_a_stopped_run_is_validated_saved_and_stays_stopped(
    make_cohort, make_loss, train, val, tmp_path, method, at, rows
):
    texts: list[str] = []
    options = {"progress": lambda news: texts.append(news.text) if news.text else None}
    stopped, outcome = run(
        make_cohort, make_loss, train, tmp_path, val, callbacks=[Stop(method, at)], select_by="last", **options
    )
    assert outcome.steps == rows[-1]
    assert [row["step"] for row in outcome.history] == rows
    assert texts[-1] == f"stopped at step {rows[-1]} by Stop: it is enough"
    again, resumed = run(make_cohort, make_loss, train, tmp_path, val, select_by="last")
    assert resumed.steps == rows[-1]
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in stopped.state_dict().items())


def test_callbacks_continue_with_their_state(make_cohort, make_loss, train, tmp_path):
    class Kill(Callback):
        def step(self, state: TrainingState) -> None:
            if state.step == 7:
                raise KeyboardInterrupt

    whole, first, second = Recorder(), Recorder(), Recorder()
    for one in (whole, first, second):
        one.validation = lambda state: None  # type: ignore[method-assign]
    run(make_cohort, make_loss, train, tmp_path / "whole", callbacks=[whole])
    with pytest.raises(KeyboardInterrupt):
        run(make_cohort, make_loss, train, tmp_path / "killed", callbacks=[first, Kill()])
    run(make_cohort, make_loss, train, tmp_path / "killed", callbacks=[second])
    assert second.calls[0] == ("start", 4)
    assert second.losses == whole.losses


def test_errors_name_the_callback(make_cohort, make_loss, train, tmp_path):
    class Broken(Callback):
        def step(self, state: TrainingState) -> None:
            raise ValueError("no such file")

    with pytest.raises(RunError) as error:
        run(make_cohort, make_loss, train, tmp_path, callbacks=[Broken()])
    assert "callback Broken failed in step at step 1: ValueError: no such file" in str(error.value)
    assert isinstance(error.value.__cause__, ValueError)

    class Unsaved(Callback):
        def state_dict(self) -> dict[str, object]:
            return {"function": print}

    with pytest.raises(RunError, match="the state_dict of callback Unsaved has values that a checkpoint cannot hold"):
        run(make_cohort, make_loss, train, tmp_path, callbacks=[Unsaved()])


def test_other_objects_are_refused(make_cohort, make_loss, train, tmp_path):
    with pytest.raises(UsageError, match=r"got function\n?.*derive it from segmi.training.Callback"):
        run(make_cohort, make_loss, train, tmp_path, callbacks=[lambda state: None])
    assert not (tmp_path / "checkpoints").exists()


def test_compilation_is_a_phase_before_the_first_step(make_cohort, make_loss, train, tmp_path, monkeypatch):
    def select(objective, device, stored, notify=None):
        notify("compiling the kernel")
        return {}

    monkeypatch.setattr("segmi.training.precision.select_kernels", select)
    phases: list[tuple[str, int, str]] = []
    run(make_cohort, make_loss, train, tmp_path, steps=2, progress=lambda n: phases.append((n.phase, n.step, n.text)))
    assert phases[0] == ("compile", 0, "compiling the kernel")
    assert [(phase, step) for phase, step, _ in phases[1:4]] == [("begin", 0), ("train", 1), ("train", 2)]
