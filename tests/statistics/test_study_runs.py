"""States and results of the runs of a study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segmi.records import Plan, RunFolder, RunKey, write_confusion, write_plan
from segmi.statistics import collect, run_scores


def finish(root: Path, key: RunKey, miou: float) -> None:
    run = RunFolder.of(root, key)
    write_confusion(run.confusion_path("unet", "full"), np.ones((1, 2, 2), int), ["a"], [""])
    networks = {
        "unet": {"architecture": "unet", "parameters": 10, "scores": {"full": {"mIoU": miou, "absent_classes": 0}}},
        "peer": {"scores": {"full": {"mIoU": 0.9, "pixel_accuracy": None}}},
    }
    run.write_result({"reported_network": "unet", "protocol": "full", "networks": networks})


def test_states_and_results_of_the_plan(tmp_path: Path) -> None:
    write_plan(tmp_path / "s", Plan("s", {"a": "A"}, {"m": "M", "n": "N"}, [0, 1]))
    finish(tmp_path, RunKey("s", "a", "m", 0), 0.25)
    RunFolder.of(tmp_path, RunKey("s", "a", "n", 0)).path.mkdir(parents=True)
    RunFolder.of(tmp_path, RunKey("s", "a", "n", 1)).write_failure(ValueError("x"))
    finish(tmp_path, RunKey("s", "a", "old", 0), 0.5)
    (study,) = collect(tmp_path)
    assert list(study.states.values()) == ["finished", "missing", "unfinished", "failed"]
    assert study.finished == 1
    frame = run_scores(study)
    assert frame[["network", "reported", "main", "mIoU"]].values.tolist() == [
        ["unet", True, True, 0.25],
        ["peer", False, True, 0.9],
    ]
    assert np.isnan(frame["pixel_accuracy"]).all()


def test_without_a_plan_and_from_any_height(tmp_path: Path) -> None:
    finish(tmp_path, RunKey("s", "a", "m", 0), 0.25)
    finish(tmp_path, RunKey("t", "b", "n", 3), 0.5)
    assert [study.plan.study for study in collect(tmp_path)] == ["s", "t"]
    (study,) = collect(tmp_path / "t")
    assert list(study.results) == [RunKey("t", "b", "n", 3)]


def test_a_plan_without_runs_is_a_study(tmp_path: Path) -> None:
    write_plan(tmp_path / "s", Plan("s", {"a": "A"}, {"m": "M"}, [0]))
    (study,) = collect(tmp_path)
    assert run_scores(study).empty
    assert list(study.states.values()) == ["missing"]


def test_a_damaged_result_is_unfinished(tmp_path: Path) -> None:
    finish(tmp_path, RunKey("s", "a", "m", 0), 0.25)
    (RunFolder.of(tmp_path, RunKey("s", "a", "m", 0)).path / "result.json").write_text("{")
    (study,) = collect(tmp_path)
    assert list(study.states.values()) == ["unfinished"]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no folder"):
        collect(tmp_path / "nowhere")
