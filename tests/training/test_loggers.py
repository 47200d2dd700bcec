"""Loggers: their files are read back, a resumed run continues its entries, and none of them stops a run."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from segmi.errors import EnvironmentProblem
from segmi.training import loggers
from segmi.training.loggers import RunLogger, check_loggers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cells" / "mine" / "region" / "seed0"


def two_sessions(name: str, folder: Path) -> None:
    for first in (0, 2):
        with RunLogger(folder, [name], first_step=first) as logger:
            for step in range(first, first + 3):
                logger.log({"train/loss": 10.0 * first + step, "lr": 0.1}, step)


def test_tensorboard_hides_repeated_steps(folder: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    two_sessions("tensorboard", folder)
    events_file = events.EventAccumulator(str(folder / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events_file.Scalars("train/loss")] == [
        (0, 0.0), (1, 1.0), (2, 22.0), (3, 23.0), (4, 24.0)
    ]  # fmt: skip
    assert not (folder / "trackers.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_mlflow_with_a_local_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sqlalchemy")
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    two_sessions("mlflow", folder)
    client = tracking.MlflowClient(f"sqlite:///{folder}/mlflow/mlflow.db")
    run = client.get_run(json.loads((folder / "trackers.json").read_text())["ids"]["mlflow"])
    assert run.info.run_name == "mine/region/seed0"
    assert client.get_experiment(run.info.experiment_id).name == "cells"
    assert run.info.status == "FINISHED"
    assert {(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "train/loss")} >= {
        (0, 0.0),
        (4, 24.0),
    }
    assert len(client.search_runs([run.info.experiment_id])) == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_wandb_offline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    two_sessions("wandb", folder)
    name = json.loads((folder / "trackers.json").read_text())["ids"]["wandb"]
    files = list((folder / "wandb").glob(f"offline-run-*/run-{name}.wandb"))
    assert len(files) == 2
    assert all(b"train/loss" in file.read_bytes() for file in files)


def test_missing_packages_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblem) as caught:
        check_loggers(["tensorboard", "mlflow"])
    assert "the logger mlflow needs mlflow and sqlalchemy, which is not installed" in str(caught.value)
    assert "pip install 'segmi[mlflow]', or leave mlflow out of training.logger" in str(caught.value)
    with pytest.raises(EnvironmentProblem, match="the logger wandb needs wandb"):
        check_loggers(["wandb"])
    check_loggers(["tensorboard", "csv"])


class Broken:
    def __init__(self, after: int) -> None:
        self.left = after

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise ConnectionError("no route to host\nand more")

    def finalize(self, status: str) -> None:
        raise AssertionError("a logger that failed is not used again")


def test_lost_server_is_reported_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loggers, "_CREATE", {"mlflow": lambda *_: Broken(2)})
    with caplog.at_level(logging.WARNING), RunLogger(folder, ["mlflow"]) as logger:
        for step in range(6):
            logger.log({"a": 1.0}, step)
    (record,) = caplog.records
    assert record.getMessage() == "the logger mlflow failed: no route to host; the run continues without it"


def test_missing_server_is_reported_and_the_run_continues(
    make_cohort: Any, make_loss: Any, train: Any, run_folder: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    from segmi.training import fit, training_configs

    def refuse(*_: object) -> Any:
        raise ConnectionError("refused")

    monkeypatch.setattr(loggers, "_CREATE", {"wandb": refuse})
    cohort = make_cohort(1)
    with caplog.at_level(logging.WARNING):
        outcome = fit(
            cohort, make_loss(cohort), train, folder=run_folder, **training_configs({"steps": 3, "batch_size": 3,
            "select_by": "last", "device": "cpu", "logger": ("csv", "wandb")}),
        )  # fmt: skip
    assert outcome.steps == 3
    assert "the logger wandb failed: refused" in caplog.text
    assert (run_folder / "metrics.csv").exists()
    assert not (run_folder / "tensorboard").exists()
