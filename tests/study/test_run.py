"""Outcomes of runs: skipped, resumed, refused, failed, or locked by another process."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from segmi.errors import DataError, EnvironmentProblem, Interrupted, RunError, SegmiError, UsageError
from segmi.records import RunFolder, read_plan, run_lock, write_confusion
from segmi.study import Study
from segmi.study.run import StudyOutcome, run_study
from segmi.study.run_config import Run, changed_keys, expand
from segmi.study.status import study_status
from segmi.study.strict_yaml import dump, parse
from segmi.study.study_file import apply_overrides
from segmi.study.validation import validated

TWO = "methods.model-2={networks: {unet: {architecture: unet, width: 2}}, loss: {rmi_loss: {}}}"


def study_of(text: str, *overrides: str) -> Study:
    return validated(apply_overrides(parse(text), overrides))


class Work:
    """Replacement for training that finishes runs or raises given errors."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failing: dict[str, BaseException] = {}

    def __call__(self, run: Run, folder: RunFolder, context: Any, **rest: Any) -> None:
        self.done.append(run.key)
        if not (folder.path / "config.yaml").exists():
            (folder.path / "config.yaml").write_text(dump(run.config.plain()))
        if run.key in self.failing:
            raise self.failing[run.key]
        write_confusion(folder.confusion_path("unet", "full"), [[[1]]], ["a"], ["a"])
        scores = {"full": {"mIoU": 0.5}}
        folder.write_result({"networks": {"unet": {"scores": scores}}, "reported_network": "unet", "protocol": "full"})


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    work = Work()
    monkeypatch.setattr("segmi.study.execute.execute", work)
    return work


def test_every_run_is_done_once(work: Work, tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text, TWO, "seeds=[0, 1]")
    events: list[str] = []
    first = run_study(study, tmp_path, listener=lambda event: events.append(f"{event.kind} {event.ended}"))
    keys = [f"street-scenes/{method}/seed{seed}" for method in ("model-1", "model-2") for seed in (0, 1)]
    assert first.finished == work.done == keys
    assert events[:2] == ["started 0", "finished 1"]
    second = run_study(study, tmp_path)
    assert second.skipped == keys
    assert work.done == keys
    second.raise_if_incomplete()


def test_plan_lists_all_runs_for_report(work: Work, tiny_text: str, tmp_path: Path) -> None:
    run_study(study_of(tiny_text, TWO), tmp_path, command="segmi study run tiny.yaml")
    plan = read_plan(tmp_path / "tiny")
    assert plan is not None
    assert plan.methods == {"model-1": "Model 1", "model-2": "model-2"}
    assert plan.datasets == {"street-scenes": "Street scenes"}
    assert plan.command == "segmi study run tiny.yaml"


def test_failure_is_recorded_and_other_runs_continue(work: Work, tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text, TWO)
    work.failing["street-scenes/model-1/seed0"] = RunError("the loss is not finite", "lower the learning rate")
    outcome = run_study(study, tmp_path)
    assert outcome.finished == ["street-scenes/model-2/seed0"]
    record = json.loads((tmp_path / "tiny/street-scenes/model-1/seed0/failure.json").read_text())
    assert record["message"] == "the loss is not finite"
    assert "Traceback" in record["traceback"]
    with pytest.raises(SegmiError) as caught:
        outcome.raise_if_incomplete()
    assert caught.value.exit_code == 4
    assert "1 of 2 runs failed" in str(caught.value)
    assert "street-scenes/model-1/seed0: RunError: the loss is not finite" in str(caught.value)
    states = {row.run: (row.state, row.detail) for row in study_status(study, tmp_path)}
    assert states["street-scenes/model-1/seed0"] == ("failed", "RunError: the loss is not finite")
    assert states["street-scenes/model-2/seed0"][0] == "finished"


def test_failed_run_is_retried_and_its_record_removed(work: Work, tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text)
    work.failing["street-scenes/model-1/seed0"] = ValueError("surprise")
    assert "street-scenes/model-1/seed0" in run_study(study, tmp_path).failed
    work.failing.clear()
    assert run_study(study, tmp_path).finished == ["street-scenes/model-1/seed0"]
    assert not (tmp_path / "tiny/street-scenes/model-1/seed0/failure.json").exists()


@pytest.mark.parametrize(
    ("errors", "code"),
    [([DataError("a"), DataError("b")], 3), ([DataError("a"), ValueError("b")], 4), ([EnvironmentProblem("a")], 5)],
)
def test_exit_code_is_shared_by_equal_failures(
    work: Work, tiny_text: str, tmp_path: Path, errors: list[Exception], code: int
) -> None:
    for number, error in enumerate(errors, 1):
        work.failing[f"street-scenes/model-{number}/seed0"] = error
    with pytest.raises(SegmiError) as caught:
        run_study(study_of(tiny_text, TWO), tmp_path).raise_if_incomplete()
    assert caught.value.exit_code == code


def test_changed_configuration_is_refused_with_its_keys(work: Work, tiny_text: str, tmp_path: Path) -> None:
    run_study(study_of(tiny_text), tmp_path)
    changed = study_of(
        tiny_text, "training.steps=7", "processing.flip=0.5", "training.workers=1", "training.log_every=7"
    )
    with pytest.raises(UsageError) as caught:
        run_study(changed, tmp_path)
    message = str(caught.value)
    assert "training.steps was 6, is now 7" in message
    assert "processing.flip was 0.0, is now 0.5" in message
    assert "workers" not in message
    assert "log_every" not in message
    assert "--overwrite" in message
    assert "--allow-changed" in message
    allowed = ["training.steps", "processing"]
    assert run_study(changed, tmp_path, allow_changed=allowed).skipped == ["street-scenes/model-1/seed0"]


def test_change_in_every_run_is_reported_once(work: Work, tiny_text: str, tmp_path: Path) -> None:
    run_study(study_of(tiny_text, TWO), tmp_path)
    with pytest.raises(UsageError) as caught:
        run_study(study_of(tiny_text, TWO, "training.steps=7"), tmp_path)
    assert str(caught.value).count("training.steps was 6, is now 7") == 1
    assert "street-scenes/model-1/seed0 and 1 more" in str(caught.value)


def test_label_can_change(work: Work, tiny_text: str, tmp_path: Path) -> None:
    run_study(study_of(tiny_text), tmp_path)
    assert run_study(study_of(tiny_text, "methods.model-1.label=New"), tmp_path).skipped


def test_initial_weights_are_part_of_configuration(work: Work, tiny_text: str, tmp_path: Path) -> None:
    run_study(study_of(tiny_text), tmp_path)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "model.json").write_text("{}")
    with pytest.raises(UsageError, match="init_from was missing, is now"):
        run_study(study_of(tiny_text), tmp_path, init_from=tmp_path / "bundle")


def test_overwrite_removes_only_records(work: Work, tiny_text: str, tmp_path: Path) -> None:
    run_study(study_of(tiny_text), tmp_path)
    folder = tmp_path / "tiny/street-scenes/model-1/seed0"
    (folder / "notes.txt").write_text("mine")
    (folder / "checkpoints").mkdir()
    outcome = run_study(study_of(tiny_text, "training.steps=7"), tmp_path, overwrite=True)
    assert outcome.finished == ["street-scenes/model-1/seed0"]
    assert (folder / "notes.txt").exists()
    assert not (folder / "checkpoints").exists()
    assert RunFolder(folder).config()["training"]["steps"] == 7


def test_result_without_artifacts_is_not_finished(work: Work, tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text)
    run_study(study, tmp_path)
    (tmp_path / "tiny/street-scenes/model-1/seed0/confusion/unet.full.npz").unlink()
    assert run_study(study, tmp_path).finished == ["street-scenes/model-1/seed0"]


def test_only_selects_runs(work: Work, tiny_text: str, tmp_path: Path) -> None:
    run_study(study_of(tiny_text, TWO), tmp_path, only=["*/model-2/*"])
    assert work.done == ["street-scenes/model-2/seed0"]
    with pytest.raises(UsageError, match=r"no run matches --only 'x/\*'"):
        run_study(study_of(tiny_text), tmp_path, only=["x/*"])


def test_run_of_another_process_is_skipped(work: Work, tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text, TWO)
    with run_lock(tmp_path / "tiny/street-scenes/model-1/seed0"):
        outcome = run_study(study, tmp_path)
        assert study_status(study, tmp_path)[0].state == "running"
    assert outcome.finished == ["street-scenes/model-2/seed0"]
    with pytest.raises(EnvironmentProblem, match=f"1 of 2 runs belong to another process(.|\n)*{os.getpid()}"):
        outcome.raise_if_incomplete()


def test_interruption_stops_all_runs(work: Work, tiny_text: str, tmp_path: Path) -> None:
    work.failing["street-scenes/model-1/seed0"] = Interrupted("interrupted at update 3", signal_number=15)
    with pytest.raises(Interrupted) as caught:
        run_study(study_of(tiny_text, TWO), tmp_path)
    assert caught.value.exit_code == 143
    assert work.done == ["street-scenes/model-1/seed0"]
    assert not (tmp_path / "tiny/street-scenes/model-1/seed0/failure.json").exists()


def test_signal_outside_training_raises_interrupted(
    tiny_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("segmi.study.execute.execute", lambda *a, **k: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted) as caught:
        run_study(study_of(tiny_text), tmp_path)
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == before

    def interrupt(*a: Any, **k: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("segmi.study.execute.execute", interrupt)
    with pytest.raises(Interrupted) as caught:
        run_study(study_of(tiny_text), tmp_path)
    assert caught.value.exit_code == 130


def test_file_in_place_of_run_folder_is_reported(work: Work, tiny_text: str, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(EnvironmentProblem, match="runs"):
        run_study(study_of(tiny_text), tmp_path / "runs")


def test_runs_are_datasets_times_methods_times_seeds(tiny_text: str) -> None:
    runs = expand(study_of(tiny_text, TWO, "seeds=[3, 1]", "datasets.object-scenes={train: 4, val: 2}"))
    assert [run.key for run in runs][:3] == [
        "street-scenes/model-1/seed3", "street-scenes/model-1/seed1", "street-scenes/model-2/seed3",
    ]  # fmt: skip
    assert len(runs) == 8
    assert runs[0].folder(Path("runs")) == Path("runs/tiny/street-scenes/model-1/seed3")
    assert "model-2" not in json.dumps(runs[0].config.plain())


def test_added_or_removed_key_is_a_change() -> None:
    assert changed_keys({"a": None}, {}) != {}
    assert changed_keys({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2]}}) == {}


def test_empty_outcome_raises_nothing() -> None:
    StudyOutcome().raise_if_incomplete()


def test_run_of_newer_version_is_refused(work: Work, tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text)
    run_study(study, tmp_path)
    path = tmp_path / "tiny/street-scenes/model-1/seed0/config.yaml"
    path.write_text(path.read_text().replace("schema_version: 1", "schema_version: 2"))
    for ask in (lambda: run_study(study, tmp_path), RunFolder(path.parent).config):
        with pytest.raises(DataError, match=r"config\.yaml has schema version 2, expected at most 1"):
            ask()
