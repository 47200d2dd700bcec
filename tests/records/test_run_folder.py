"""Run folders: keys, round trips, damaged records and states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segmi.errors import DataError, RunError, UsageError
from segmi.records import RunFolder, RunKey, find_runs, plain, write_confusion

KEY = RunKey("demo", "camvid", "model-1", 3)
RESULT: dict[str, Any] = {
    "study": "demo",
    "reported_network": "unet",
    "protocol": "full",
    "networks": {"unet": {"scores": {"full": {"mIoU": 0.1 + 0.2, "IoU": [0.5, float("nan")]}}}},
}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder.of(tmp_path, KEY)
    write_confusion(run.confusion_path("unet", "full"), np.ones((1, 2, 2), int), ["a"], ["g"])
    return run


def test_the_path_is_the_key(tmp_path: Path) -> None:
    run = RunFolder.of(tmp_path, KEY)
    assert run.path == tmp_path / "demo" / "camvid" / "model-1" / "seed3"
    assert run.key == KEY
    with pytest.raises(UsageError, match="not the folder of a run"):
        RunFolder(tmp_path / "demo" / "camvid")
    with pytest.raises(UsageError, match="cannot name a folder"):
        RunFolder.of(tmp_path, RunKey("demo", "../up", "m", 0))


def test_result_round_trip(run: RunFolder) -> None:
    assert run.result() is None
    assert run.state() == "unfinished"
    run.write_result(RESULT)
    back = run.result()
    assert back is not None
    assert back["schema_version"] == 1
    assert back["networks"]["unet"]["scores"]["full"] == {"mIoU": 0.1 + 0.2, "IoU": [0.5, None]}
    assert list(back["artifacts"]) == ["confusion/unet.full.npz"]
    assert run.finished
    assert next(iter(json.loads((run.path / "result.json").read_text()))) == "schema_version"


def test_states(run: RunFolder, tmp_path: Path) -> None:
    assert RunFolder.of(tmp_path, KEY._replace(seed=9)).state() == "missing"
    run.write_failure(RunError("the loss is NaN or infinite at step 7", "lower the learning rate"))
    assert run.state() == "failed"
    record = run.failure()
    assert record is not None
    assert (record["type"], record["exit_code"], record["remedy"]) == ("RunError", 4, "lower the learning rate")
    assert "RunError" in record["traceback"]
    run.write_result(RESULT)
    assert run.state() == "finished"
    assert run.failure() is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Expecting value"),
        ('{"schema_version": 1, "networks": {', "damaged"),
        ("[1]", "expected an object, got list"),
        ('{"networks": {}}', "no schema_version"),
        ('{"schema_version": 1}', "it lists no networks"),
        ('{"schema_version": 99, "networks": {}}', "schema version 99, expected at most 1"),
    ],
)
def test_a_damaged_result_is_unfinished_and_explained(run: RunFolder, content: str, reason: str) -> None:
    (run.path / "result.json").write_text(content)
    assert run.state() == "unfinished"
    with pytest.raises(DataError, match=reason) as caught:
        run.result()
    assert str(run.path / "result.json") in str(caught.value)
    assert caught.value.remedy


def test_a_result_in_binary(run: RunFolder) -> None:
    (run.path / "result.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"result\.json is damaged"):
        run.result()


@pytest.mark.parametrize("harm", ["removed", "truncated"])
def test_a_result_without_its_artifacts_is_unfinished(run: RunFolder, harm: str) -> None:
    run.write_result(RESULT)
    artifact = run.confusion_path("unet", "full")
    if harm == "removed":
        artifact.unlink()
    else:
        artifact.write_bytes(artifact.read_bytes()[:-1])
    assert run.state() == "unfinished"
    assert run.missing_artifacts(run.result() or {}) == ["confusion/unet.full.npz"]


def test_without_a_list_of_artifacts_the_confusion_counts_are_expected(run: RunFolder) -> None:
    (run.path / "result.json").write_text(json.dumps({"schema_version": 1, **plain(RESULT)}))
    assert run.finished
    run.confusion_path("unet", "full").unlink()
    assert not run.finished


def test_metrics_are_numbers(run: RunFolder) -> None:
    assert run.metrics() == []
    (run.path / "metrics.csv").write_text("step,train/loss,holdout/mIoU/unet\n10,0.5,\n20,nan,0.25\n")
    rows = run.metrics()
    assert rows[0] == {"step": 10.0, "train/loss": 0.5}
    assert rows[1]["holdout/mIoU/unet"] == 0.25
    (run.path / "metrics.csv").write_bytes(b"\xff\xff")
    with pytest.raises(DataError, match="damaged"):
        run.metrics()


def test_configuration_and_environment(run: RunFolder) -> None:
    assert (run.config(), run.environment()) == ({}, {})
    (run.path / "config.yaml").write_text("training: {steps: 5}\n")
    run.write_environment({"python": "3.11"})
    assert run.config() == {"training": {"steps": 5}}
    assert run.environment()["python"] == "3.11"
    (run.path / "config.yaml").write_text("a: [")
    with pytest.raises(DataError, match=r"config\.yaml is damaged"):
        run.config()


def test_find_runs_from_any_level(tmp_path: Path) -> None:
    keys = [RunKey("demo", d, m, s) for d in ("a", "b") for m in ("m", "n") for s in (0, 2, 10)]
    for key in reversed(keys):
        RunFolder.of(tmp_path, key).path.mkdir(parents=True)
    (tmp_path / "demo" / "report" / "figures").mkdir(parents=True)
    (tmp_path / "note.txt").touch()
    assert [run.key for run in find_runs(tmp_path)] == keys
    assert [run.key for run in find_runs(tmp_path / "demo")] == keys
    assert [run.key for run in find_runs(tmp_path / "demo" / "b" / "n")] == keys[-3:]
    with pytest.raises(UsageError, match="no folder"):
        find_runs(tmp_path / "nowhere")


def test_plain_converts_numpy() -> None:
    value = {"a": np.float64("nan"), "b": np.array([1, 2]), "c": np.int64(3), "d": Path("x"), "e": float("inf")}
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == {
        "a": None,
        "b": [1, 2],
        "c": 3,
        "d": "x",
        "e": None,
    }
