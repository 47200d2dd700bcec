"""Several processes prepare the same cache entry, and some of them are killed."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segmi.datasets import open_dataset
from segmi.datasets.cache import IMAGES, preparation

BUILDER = """
import sys, time
from pathlib import Path
from segmi.datasets import open_dataset
from segmi.datasets.cache import entry_key, prepare
name, root, cache, pause, jobs = sys.argv[1:]
dataset = open_dataset(name, root)
samples = dataset.split("train")
def progress(done, of):
    print(done, flush=True)
    time.sleep(float(pause))
key = entry_key(dataset, "train", samples, resize=12)
store = prepare(Path(cache), dataset, samples, key, jobs=int(jobs), progress=progress)
print("built", len(store), flush=True)
"""


def builder(dataset, cache, pause=0.0, jobs=1, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", BUILDER, "camvid", str(dataset.root), str(cache), str(pause), str(jobs)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_several_processes_build_the_same_entry(make, tmp_path, monkeypatch, store_of):
    dataset = open_dataset("folder", make("folder"), val=0)
    alone = store_of(tmp_path / "a", dataset, jobs=1)
    several = store_of(tmp_path / "b", dataset, jobs=2)
    monkeypatch.setattr(preparation, "TRIAL_SECONDS", -1.0)
    monkeypatch.setattr(preparation, "WORTH_SECONDS", -1.0)  # the rest of the work seems to be worth it at once
    turned = store_of(tmp_path / "c", dataset)
    for store in (several, turned):
        for column in IMAGES:
            assert (store.folder / f"{column}.bin").read_bytes() == (alone.folder / f"{column}.bin").read_bytes()
        assert store.names == alone.names


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_builder_leaves_no_partial_entry(camvid, cache, jobs, store_of):
    process = builder(camvid, cache, pause=60, jobs=jobs)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(cache.glob("*-*/[!.]*/"))
    assert list(cache.glob("*/.segmi-partial-*"))
    store = store_of(cache, camvid)
    store.verify()
    assert len(store) == 2
    assert not list(cache.glob("*/.segmi-partial-*"))
    assert len(workers) >= jobs - 1
    until = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() and "Z" not in state(pid) for pid in workers):
        assert time.monotonic() < until, "workers outlive their builder"
        time.sleep(0.2)


def children(pid: int) -> list[int]:
    """All processes below a process."""
    pids = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return pids + [below for child in pids for below in children(child)]


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_the_second_builder_waits_and_uses_the_entry(camvid, cache, caplog, store_of):
    process = builder(camvid, cache, pause=1.5)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    calls = []
    with caplog.at_level(logging.WARNING):
        store = store_of(cache, camvid, progress=lambda done, of: calls.append(done))
    assert process.wait(60) == 0
    assert len(store) == 2
    assert calls == []
    assert f"waiting for process {process.pid} on " in caplog.text


def test_the_second_builder_takes_over_from_a_dead_one(camvid, cache):
    process = builder(camvid, cache, pause=60)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    second = builder(camvid, cache)
    time.sleep(1)
    process.kill()
    process.wait()
    out, err = second.communicate(timeout=120)
    assert out.endswith("built 2\n"), err
