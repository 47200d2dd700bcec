"""``kill -9`` at critical times: finished runs are kept, partly written files are not read, results are identical."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

UPDATE = "segmi.training.session:Session.train_step"

POINTS = {
    # point of the study: (fault, runs finished by then)
    "the first step": (f"kill_at {UPDATE} 1", 0),
    "an epoch": (f"kill_at {UPDATE} 4", 0),
    "a step of the second run": (f"kill_at {UPDATE} 13", 1),
    "the plan": ("kill_at segmi.records.atomic:_sync 1", 0),
    "before a checkpoint is written": ("kill_at segmi.training.checkpoints:Checkpoints.save 2", 0),
    "half of the weights of a checkpoint": ("kill_in_write networks.safetensors 2", 0),
    "half of the state of a checkpoint": ("kill_in_write state.pt 2", 0),
    "half of the manifest of a checkpoint": ("kill_in_write checkpoint.json 2", 0),
    "before a checkpoint takes its workspace": ("kill_at segmi.records.atomic:_take_place 2", 0),
    "after a checkpoint took its workspace": ("kill_at segmi.records.atomic:_take_place 2 after", 0),
    "before an old checkpoint goes": ("kill_at segmi.training.checkpoints:shutil.rmtree 1", 0),
    "after the selected weights": ("kill_at segmi.training.checkpoints:Checkpoints.save_best 1 after", 0),
    "the cache": ("kill_at segmi.datasets.cache.store:StoreWriter.add 3", 0),
    "the manifest of the cache": ("kill_at segmi.datasets.cache.store:StoreWriter.finish 1 after", 0),
    "the evaluation": ("kill_at segmi.study.run_outputs:write_confusion 1", 0),
    "the bundle": ("kill_at segmi.deploy.bundle:save_file 1 after", 0),
    "before the result": ("kill_at segmi.records.run_folder:RunFolder.write_result 1", 0),
    "after the result": ("kill_at segmi.records.run_folder:RunFolder.write_result 1 after", 1),
    "the report": ("kill_at segmi.report.build_report:markdown 2", 2),
    "the figures of the report": ("kill_at segmi.report.build_report:save_png 1 after", 2),
    "the page of the report": ("kill_at segmi.report.build_report:html_page 1 after", 2),
}


OFTEN = ("half of the state of a checkpoint", "the report")
"""Points that are tested by default."""


@pytest.mark.parametrize(
    "point", [point if point in OFTEN else pytest.param(point, marks=pytest.mark.slow) for point in POINTS]
)
def test_killed_in(point, workspace, ends_whole):
    fault, finished = POINTS[point]
    ended = workspace.do(fault=fault)
    assert ended.code == -signal.SIGKILL, ended.text
    results = list(workspace.runs.glob("tiny/*/*/*/result.json"))
    assert len(results) == finished
    before = {path: path.stat().st_mtime_ns for path in results}
    ends_whole()
    assert {path: path.stat().st_mtime_ns for path in results} == before


def killed_at_random(workspace, ends_whole, kills: int, seed: int) -> None:
    """Kill at random times until ``kills`` of them have hit a running process; then finish."""
    moments, met = random.Random(seed), 0
    while met < kills:
        child = workspace.start()
        until = time.monotonic() + 60
        while "]" not in child.text and time.monotonic() < until:
            time.sleep(0.01)  # not while the study file is read
        time.sleep(moments.uniform(0, 2))
        os.kill(child.pid, signal.SIGKILL)
        if child.wait().code != -signal.SIGKILL:
            for result in workspace.runs.glob("tiny/*/*/*/result.json"):  # everything was finished: start another round
                result.unlink()
            continue
        met += 1
    ends_whole()


def test_few_kills_at_random_times(workspace, ends_whole):
    killed_at_random(workspace, ends_whole, 3, seed=1)


@pytest.mark.slow
def test_25_kills_at_random_times(workspace, ends_whole):
    killed_at_random(workspace, ends_whole, 25, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
def test_one_kill_in_each_of_25_studies(seed, workspace, ends_whole):
    killed_at_random(workspace, ends_whole, 1, seed=100 + seed)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_signal_writes_a_checkpoint_and_reports_how_to_continue(number, code, workspace):
    child = workspace.start("training.steps=100000", "training.checkpoint_every=100000", "--only", "*/one/*")
    until = time.monotonic() + 60
    while "computes in" not in child.text and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.3)
    os.kill(child.pid, number)
    ended = child.wait()
    assert ended.code == code, ended.text
    assert "interrupted at step" in ended.text
    assert "run the same command again to continue" in ended.text
    assert "Traceback" not in ended.text
    assert list((workspace.run() / "checkpoints").glob("step-*"))
