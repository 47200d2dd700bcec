"""Two processes give the results of one, stop together, and do not wait for a crashed process."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from segmi.datasets.loader import Shard, training_batches
from segmi.errors import UsageError
from segmi.losses import CrossEntropy, PerNetwork
from segmi.metrics.diagnostics import PredictionDiagnostics
from segmi.training import Cohort, evaluate, fit, training_configs
from segmi.training.distributed import SINGLE_PROCESS, ProcessGroup, connect

SCRIPT = Path(__file__).with_name("joint_run.py")


def load_script() -> Any:
    spec = importlib.util.spec_from_file_location("joint_run", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["joint_run"] = module
    spec.loader.exec_module(module)
    return module


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def by_torchrun(rank: int) -> dict[str, str]:
    """Return the variables that ``torchrun`` sets."""
    return {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test",
            "RANK": str(rank), "LOCAL_RANK": str(rank)}  # fmt: skip


def by_slurm(rank: int, nodes: int) -> dict[str, str]:
    """Return the variables that ``srun --ntasks 2 --nodes …`` sets."""
    return {"SLURM_JOB_ID": "12345", "SLURM_JOB_NAME": "cells", "SLURM_NTASKS": "2", "SLURM_NNODES": str(nodes),
            "SLURM_NODELIST": "127.0.0.1", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2",
            "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank if nodes == 1 else 0),
            "SLURM_NODEID": str(0 if nodes == 1 else rank)}  # fmt: skip


def start(folder: Path, task: str, launcher: Callable[[int], dict[str, str]] = by_torchrun) -> list[subprocess.Popen]:
    """Start two processes with the variables of ``launcher``."""
    folder.mkdir(exist_ok=True)
    shared = {"MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), task], stderr=subprocess.PIPE, text=True,
            env={**os.environ, **shared, **launcher(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip


def results(folder: Path, task: str, launcher: Callable[[int], dict[str, str]] = by_torchrun) -> list[Any]:
    for process in start(folder, task, launcher):
        _, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def errors(folder: Path, task: str) -> list[tuple[int, str]]:
    result = []
    for rank, process in enumerate(start(folder, task)):
        process.communicate(timeout=200)
        path = folder / f"{rank}.error"
        result.append((process.returncode, path.read_text() if path.exists() else ""))
    return result


@pytest.fixture(scope="module")
def both_curves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Any]:
    folder = tmp_path_factory.mktemp("curves")
    alone = load_script().curves(folder / "alone")
    return alone, *results(folder / "together", "curves")


@pytest.mark.parametrize(
    "case",
    [
        "coupled-1",
        *(f"{name}-{n}" for name in ("cross-entropy", "region", "present-pairs", "mutual", "heads") for n in (1, 2)),
    ],
)
def test_two_processes_equal_one(both_curves, case):
    alone, first, second = (result[case] for result in both_curves)
    assert first["history"] == second["history"]
    assert len(first["history"]) == 6
    for here, there in zip(alone["history"], first["history"], strict=True):
        assert here.keys() == there.keys()
        for column, value in here.items():
            assert there[column] == pytest.approx(value, rel=2e-5, abs=1e-6), column
    for name, value in alone["weights"].items():
        assert torch.equal(first["weights"][name], second["weights"][name])
        torch.testing.assert_close(first["weights"][name], value, rtol=1e-4, atol=2e-6)


def test_batch_statistics_of_process_0_are_used_for_scores(both_curves):
    """Each process has its own batch statistics, but the saved ones are scored."""
    script = load_script()
    _, first, second = (result["normed"] for result in both_curves)
    assert all(torch.equal(first["weights"][name], value) for name, value in second["weights"].items())
    cohort = Cohort({"net0": script.Tiny(0)})
    cohort.load_state_dict(first["weights"])
    diagnostics = PredictionDiagnostics(3, every=2)
    evaluate(cohort, script.images("val"), device="cpu", diagnostics=diagnostics)
    shown = {name.removeprefix("holdout/"): value for name, value in first["history"][-1].items()}
    for name, value in diagnostics.values().items():
        assert shown[name] == pytest.approx(value, abs=1e-6), name  # some are differences of values around 1


def test_comparison_includes_heads_and_averages(both_curves):
    heads, coupled = (set(both_curves[0][case]["weights"]) for case in ("heads-1", "coupled-1"))
    assert {name.split(".")[3] for name in heads if name.startswith("objective.")} == {"heads", "spreads"}
    assert sum(name.endswith("memory.sums") for name in coupled) == 2, "of the loss and of the network's copy"
    start, end = (both_curves[0]["heads-1"]["history"][i]["train/loss"] for i in (0, -1))
    assert end < start


def test_comparison_detects_errors(both_curves):
    """The numbers of ignored pixels differ, so the mean of two means differs from the joint mean."""
    train = load_script().images("train")
    for share, known in ((Shard(0, 2), True), (Shard(1, 2), False)):
        first = next(training_batches(train, batch_size=4, first=0, last=1, shard=share))
        assert bool((first.labels != 255).any()) == known
    second = next(training_batches(train, batch_size=4, first=1, last=2))
    valid = (second.labels != 255).flatten(1).sum(1)
    assert valid.max() > 4 * valid[valid > 0].min()


@pytest.mark.parametrize("count", [5, 1])
@pytest.mark.parametrize("protocol", ["full", "paper"])
def test_each_image_is_scored_once(both_curves, protocol, count):
    alone, first, second = (result[f"{protocol}-{count}"] for result in both_curves)
    names = tuple(f"val-{i}" for i in range(100, 100 + count))
    assert first["names"] == second["names"] == alone["names"] == names
    assert first["diagnostics"] == second["diagnostics"] == pytest.approx(alone["diagnostics"])
    assert first["groups"] == alone["groups"]
    assert torch.equal(first["counts"], alone["counts"])
    assert torch.equal(second["counts"], alone["counts"])


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("whole") / "straight"
    return folder, results(folder, "whole")[0]


@pytest.mark.parametrize("nodes", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_slurm_starts_two_processes(tmp_path, whole_run, nodes):
    for result in results(tmp_path / "run", "whole", partial(by_slurm, nodes=nodes)):
        assert result["history"] == whole_run[1]["history"]
        assert all(torch.equal(value, whole_run[1]["weights"][name]) for name, value in result["weights"].items())


def test_signal_to_one_process_stops_both_and_they_resume(tmp_path, whole_run):
    (whole, straight), stopped = whole_run, tmp_path / "stopped"
    for code, text in errors(stopped, "interrupted"):
        assert code == 143
        assert "interrupted at step 7 of 12" in text
    assert [path.name for path in sorted((stopped / "run/checkpoints").glob("step-*"))][-1] == "step-00000007"
    (stopped / "again").touch()
    resumed = results(stopped, "interrupted")
    for result in resumed:
        assert result["history"] == straight["history"]
        assert all(torch.equal(value, straight["weights"][name]) for name, value in result["weights"].items())
    csv = "run/metrics.csv"
    assert (stopped / csv).read_bytes() == (whole / csv).read_bytes()


@pytest.mark.parametrize(
    ("task", "text"), [("killed", "process 1 of 2 has exited"), ("failing", "process 1 of 2 failed: OSError: no image")]
)
def test_crashed_process_is_named_without_waiting(tmp_path, task, text):
    processes = start(tmp_path, task)
    processes[1].communicate(timeout=200)
    ended = time.monotonic()
    processes[0].communicate(timeout=60)
    assert time.monotonic() - ended < 30
    assert processes[0].returncode == 4
    assert text in (tmp_path / "0.error").read_text()


def test_infinite_loss_names_the_images_of_all_processes(tmp_path):
    texts = [text for code, text in errors(tmp_path, "exploding") if code == 4]
    assert len(texts) == 2
    assert texts[0] == texts[1]
    assert len(texts[0].split("images of the batch: ")[1].splitlines()[0].split(", ")) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": 2}, r"devices × num_nodes is 2 × 1, but the number of processes started is 1"),
        ({"devices": 0}, "devices must be at least 1, got 0"),
        ({"strategy": "fsdp"}, "unknown strategy 'fsdp'"),
    ],
)
def test_missing_processes_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        connect(**options)


def test_single_process_needs_no_communication():
    assert connect() is SINGLE_PROCESS
    assert SINGLE_PROCESS.is_main
    assert SINGLE_PROCESS.gather(1) == [1]
    assert SINGLE_PROCESS.broadcast_object("a") == "a"
    assert SINGLE_PROCESS.max(3) == 3
    assert torch.equal(SINGLE_PROCESS.sum(torch.ones(2)), torch.ones(2))


def test_additional_processes_are_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UsageError, match=r"is 1 × 1, but the number of processes started is 4(.|\n)*torchrun"):
        connect()


class Two(ProcessGroup):
    """Group of two processes without communication."""

    def __init__(self) -> None:
        super().__init__()
        self.world_size = 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 3}, "batch_size 3, the total over all processes, is not divisible by 2 processes"),
        ({"batch_size": 9 * 2, "drop_last": True}, "10 training images do not fill a batch of 18"),
        ({"batch_size": 9 - 1, "drop_last": False, "images": 9}, "has 1 of 9 images, too few for 2 processes"),
    ],
)
def test_batches_must_divide(monkeypatch, make_cohort, make_loss, train, run_folder, settings, message):
    monkeypatch.setattr(import_module("segmi.training.fit"), "connect", lambda *arguments: Two())
    train.samples = train.samples[: settings.pop("images", 10)]
    cohort = make_cohort()
    with pytest.raises(UsageError, match=message):
        fit(cohort, make_loss(cohort), train, folder=run_folder,
            **training_configs({"steps": 2, "select_by": "last", **settings}))  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "settings", "divided"),
    [
        ("batch", {"accumulate": 2}, "accumulate: 2"),
        ("global", {"accumulate": 2}, "accumulate: 2"),
        ("batch", {"joint": True}, "2 processes"),
        ("batch", {"joint": True, "accumulate": 2}, "2 processes and accumulate: 2"),
    ],
)
def test_batch_scope_is_not_split(monkeypatch, make_cohort, train, run_folder, scope, settings, divided):
    if settings.pop("joint", False):
        monkeypatch.setattr(import_module("segmi.training.fit"), "connect", lambda *arguments: Two())
    loss = CrossEntropy()
    loss.scope = scope
    with pytest.raises(UsageError, match=f"its scope is '{scope}'.*{divided} would split them"):
        fit(make_cohort(), PerNetwork(loss, "ce"), train, folder=run_folder,
            **training_configs({"steps": 2, "batch_size": 4, "select_by": "last", **settings}))  # fmt: skip


def test_sync_batch_norm_needs_cuda(make_cohort, make_loss, train, run_folder):
    cohort = make_cohort()
    with pytest.raises(UsageError, match="sync_batch_norm needs CUDA devices, this run is on cpu"):
        fit(cohort, make_loss(cohort), train, folder=run_folder, **training_configs(
            {"steps": 2, "select_by": "last", "device": "cpu", "sync_batch_norm": True}))  # fmt: skip
