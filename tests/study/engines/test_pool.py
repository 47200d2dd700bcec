"""The pool has the same results as one process, also if a worker is killed; Ctrl-C reaches all workers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segmi.errors import UsageError
from segmi.records import RunFolder
from segmi.study.engines import Pool
from segmi.study.run import run_study
from segmi.study.schema import Study


def test_pool_has_same_results_as_in_process(
    study_of: Callable[..., Study], outcome_of: Callable[[Path], Any], tmp_path: Path
) -> None:
    study, events = study_of(), []
    run_study(study, tmp_path / "here")
    outcome = run_study(study, tmp_path / "pool", engine=Pool(), listener=events.append)
    assert outcome.finished == ["street-scenes/model-1/seed0"]
    (started,) = (event.text for event in events if event.kind == "started")
    assert started.startswith("process ")
    assert f"process {os.getpid()} " not in started
    assert outcome_of(tmp_path / "pool") == outcome_of(tmp_path / "here")
    assert len(outcome_of(tmp_path / "here")) == 1


@pytest.mark.slow
def test_killed_process_fails_or_retries_one_run(
    study_of: Callable[..., Study], outcome_of: Callable[[Path], Any], killer: Callable[..., Any], tmp_path: Path
) -> None:
    study = study_of("training.steps=40", "seeds=[0, 1]")
    run_study(study, tmp_path / "here")
    outcome = run_study(study, tmp_path / "pool", engine=Pool(2), listener=killer(seed=0, times=1))
    assert outcome.finished == ["street-scenes/model-1/seed1"]
    failure = outcome.failed["street-scenes/model-1/seed0"]
    assert failure["type"] == "WorkerCrashed"
    assert "ended by SIGKILL, as the system does when memory runs out" in failure["message"]
    kill = killer(seed=0, times=1)
    outcome = run_study(study, tmp_path / "pool", engine=Pool(1, retries=1), listener=kill)
    assert outcome.skipped == ["street-scenes/model-1/seed1"]
    assert outcome.finished == ["street-scenes/model-1/seed0"]
    assert [note for note in kill.notes if "retry 1 of 1" in note]
    record = tmp_path / "pool/tiny/street-scenes/model-1/seed0/crashes.json"
    assert len(RunFolder(record.parent).crashes()) == 2
    record.unlink()
    assert outcome_of(tmp_path / "pool") == outcome_of(tmp_path / "here")


@pytest.mark.slow
def test_ctrl_c_ends_all_runs_after_checkpoints(interrupted: Callable[..., None], tmp_path: Path) -> None:
    interrupted(tmp_path, "--engine", "pool", "--jobs", "2")


def test_runs_of_several_processes_are_refused(study_of: Callable[..., Study], tmp_path: Path) -> None:
    message = r"needs 2 × 1 processes(.|\n)*the engine pool does a run in one(.|\n)*torchrun"
    with pytest.raises(UsageError, match=message):
        run_study(study_of("training.devices=2"), tmp_path, engine=Pool())


def test_invalid_counts_are_refused() -> None:
    with pytest.raises(UsageError, match="--jobs: expected 1 or more, got 0"):
        Pool(0)
    with pytest.raises(UsageError, match="--retries: expected 0 or more, got -1"):
        Pool(retries=-1)
