"""The pool gives what the process itself gives; a process that is killed is one run's failure."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from segmi.errors import UsageError
from segmi.study.engines import Pool
from segmi.study.events import Event
from segmi.study.overrides import apply_overrides
from segmi.study.run import run_study
from segmi.study.schema import Study
from segmi.study.strict_yaml import parse
from segmi.study.validation import validated


def study_of(text: str, *overrides: str) -> Study:
    return validated(apply_overrides(parse(text), ["training.precision=fp32", *overrides]))


def outcome_of(root: Path) -> dict[str, Any]:
    """Weights and scores by run."""
    found: dict[str, Any] = {}
    for path in sorted(root.glob("tiny/*/*/*/result.json")):
        result = json.loads(path.read_text())
        weights = (path.parent / "bundles/unet/model.safetensors").read_bytes()
        found[str(path.parent.relative_to(root))] = (hashlib.sha256(weights).hexdigest(), result["members"])
    return found


def test_the_pool_gives_what_the_process_itself_gives_and_a_killed_process_is_one_failure(
    tiny_text: str, tmp_path: Path
) -> None:
    study = study_of(tiny_text, "seeds=[0, 1]", "training.workers=1")
    run_study(study, tmp_path / "here")

    def kill(event: Event) -> None:
        if event.kind == "train" and event.run.seed == 0:
            holder = json.loads((event.run.folder(tmp_path / "pool") / "run.lock").read_text())
            os.kill(holder["pid"], signal.SIGKILL)

    outcome = run_study(study, tmp_path / "pool", engine=Pool(1), listener=kill)
    assert outcome.finished == ["street-scenes/model-1/seed1"]
    failure = outcome.failed["street-scenes/model-1/seed0"]
    assert failure["type"] == "LostWorker"
    assert "ended by SIGKILL" in failure["message"]
    outcome = run_study(study, tmp_path / "pool", engine=Pool(2))
    assert outcome.skipped == ["street-scenes/model-1/seed1"]
    assert outcome.finished == ["street-scenes/model-1/seed0"]
    assert outcome_of(tmp_path / "pool") == outcome_of(tmp_path / "here")
    assert len(outcome_of(tmp_path / "here")) == 2


def test_runs_of_several_processes_need_another_start(tiny_text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"by 2 × 1 processes(.|\n)*the engine pool does a run in one(.|\n)*torchrun"):
        run_study(study_of(tiny_text, "training.devices=2"), tmp_path, engine=Pool())


def test_jobs_must_be_positive() -> None:
    with pytest.raises(UsageError, match="--jobs: expected 1 or more, got 0"):
        Pool(0)
