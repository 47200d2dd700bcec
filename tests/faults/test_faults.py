"""Failing disks, files, memory, processes and clocks: messages name problem and fix, and no results are lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

UPDATE = "segmi.training.session:Session.train_step"


# the disk


MOMENTS = {
    "a checkpoint": "segmi.training.checkpoints:Checkpoints.save 3",
    "a row of metrics": "segmi.training.loggers:RunLogger.log_row 2",
    "the result": "segmi.study.execute:result_record 1",
}


@pytest.mark.parametrize(
    "moment",
    ["a checkpoint", *(pytest.param(one, marks=pytest.mark.slow) for one in ("a row of metrics", "the result"))],
)
def test_a_full_disk(moment, small_disk, workspace, ends_whole):
    ended = workspace.do(fault=f"fill_at {MOMENTS[moment]} {small_disk}")
    assert ended.code == 5, ended.text
    assert "no space left to write" in ended.text
    assert str(small_disk) in ended.text
    assert "Fix: free space on the file system of" in ended.text
    assert "Traceback" not in ended.text
    (small_disk / "ballast").unlink()
    ends_whole()


@pytest.mark.slow
def test_a_full_disk_at_the_report(small_disk, workspace, ends_whole):
    ended = workspace.do(fault=f"fill_at segmi.report.build_report:_write_figures 1 {small_disk}")
    assert ended.code == 5, ended.text
    assert "no space left to write" in ended.text
    assert len(list(workspace.runs.glob("tiny/*/*/*/result.json"))) == 2
    (small_disk / "ballast").unlink()
    assert ends_whole().text.count("already finished") == 2


@pytest.mark.slow
def test_file_size_limit(workspace, ends_whole):
    ended = workspace.do(fault="small_files 60000")
    assert ended.code == 5, ended.text
    assert "it would be larger than the limit for files" in ended.text
    assert "ulimit -f" in ended.text
    ends_whole()


@pytest.fixture
def closed_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Read-only folder; for root, a read-only file system."""
    if os.geteuid() != 0:
        (tmp_path / "runs").mkdir(mode=0o555)
        yield tmp_path / "runs"
        (tmp_path / "runs").chmod(0o755)
        return
    folder = request.getfixturevalue("small_disk")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    yield folder


def test_unwritable_output_folder(closed_folder, workspace):
    ended = workspace.do()
    assert ended.code == 5, ended.text
    assert f"the runs cannot be written to {workspace.runs / 'tiny'}" in ended.text
    assert "Read-only file system" in ended.text or "Permission denied" in ended.text
    assert "give a writable folder with --runs" in ended.text
    assert "decoded" not in ended.text, "no image is read for nothing"
    assert not workspace.cache.exists()


@pytest.mark.slow
def test_unwritable_cache_is_not_used(workspace, ends_whole):
    workspace.cache.write_text("in the way")
    ended = ends_whole()
    assert f"the cache {workspace.cache / 'images'}" in ended.text
    assert "is not writable: Not a directory; images are decoded in every run instead" in ended.text


@pytest.mark.slow
def test_runs_on_another_file_system(small_disk, workspace, ends_whole):
    """A rename from another file system would be a copy, which is not atomic."""
    assert small_disk.stat().st_dev != Path(tempfile.gettempdir()).stat().st_dev
    ended = workspace.do(fault="kill_in_write networks.safetensors 3")
    assert ended.code == -signal.SIGKILL
    ends_whole()


# checkpoints


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "gone"])
def test_corrupt_checkpoint_is_skipped(harm, workspace, ends_whole):
    assert workspace.do(fault=f"kill_at {UPDATE} 6").code == -signal.SIGKILL
    newest = workspace.run() / "checkpoints/step-00000004"
    path = newest / "networks.safetensors"
    content = bytearray(path.read_bytes())
    if harm == "gone":
        path.unlink()
    elif harm == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: len(content) // 2] if harm == "cut" else b"")
    ended = ends_whole()
    assert f"checkpoint {newest} " in ended.text
    assert f"continuing from {newest.with_name('step-00000002')} instead" in ended.text


@pytest.mark.slow
def test_only_corrupt_checkpoints_are_a_failure(workspace, ends_whole):
    assert workspace.do(fault=f"kill_at {UPDATE} 6").code == -signal.SIGKILL
    for path in (workspace.run() / "checkpoints").glob("step-*/state.pt"):
        path.write_bytes(b"")
    ended = workspace.do()
    assert ended.code == 4, ended.text
    assert "every checkpoint is damaged" in ended.text
    assert "1/2 runs finished" in ended.text, "the other run continues"
    assert "--overwrite" in workspace.failure()["remedy"]
    ends_whole("--overwrite", "--only", "*/one/*")


# data


FOLDER = """\
name: tiny
datasets:
  cells: {type: folder, classes: [background, cell], val: 0.3}
processing: {resize: 36, crop: 32}
training: {steps: 8, batch_size: 2, holdout: 0.25, checkpoint_every: 2, precision: fp32, workers: WORKERS}
samples: 1
methods:
  one: {networks: {unet: {architecture: unet, width: 2}}, loss: {cross_entropy: {}}}
"""


@pytest.fixture
def images(workspace) -> Path:
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (workspace.root / "data" / folder).mkdir(parents=True)
    for number in range(10):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).save(workspace.root / f"data/images/{number}.png")
        Image.fromarray(rng.integers(0, 2, (40, 48), np.uint8)).save(workspace.root / f"data/masks/{number}.png")
    return workspace.root / "data"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_image_disappears_during_a_run(workers, workspace, images):
    workspace.study.write_text(FOLDER.replace("WORKERS", str(workers)))
    words = ("--root", str(images), "--cache", "none")
    whole = workspace.do(*words)
    assert whole.code == 0, whole.text
    weights = (workspace.runs / "tiny/cells/one/seed0/bundles/unet/model.safetensors").read_bytes()
    shutil.rmtree(workspace.runs)
    kept = workspace.root / "kept"
    shutil.copytree(images, kept)
    ended = workspace.do(*words, fault=f"lose_images {images / 'images'}")
    assert ended.code == 3, ended.text
    assert ".png: expected a file, got none" in ended.text
    failure = json.loads((workspace.runs / "tiny/cells/one/seed0/failure.json").read_text())
    assert failure["type"] == "DataError"
    assert "put the file there" in failure["remedy"]
    assert "Traceback" not in failure["message"]
    shutil.rmtree(images)
    shutil.copytree(kept, images)
    ended = workspace.do(*words)
    assert ended.code == 0, ended.text
    assert (workspace.runs / "tiny/cells/one/seed0/bundles/unet/model.safetensors").read_bytes() == weights


@pytest.mark.slow
def test_killed_image_worker(workspace, ends_whole):
    words = ("training.workers=1", "--cache", "none", "--only", "*/one/*")
    ended = workspace.do(*words, fault="kill_readers 4")
    assert ended.code == 4, ended.text
    assert "a data loader worker crashed or stalled" in ended.text
    assert "continues from its checkpoint" in workspace.failure()["remedy"]
    ends_whole()


# processes


def test_two_commands_do_each_run_once(workspace, ends_whole):
    pair = [workspace.start(), workspace.start()]
    ended = [child.wait() for child in pair]
    assert {one.code for one in ended} <= {0, 5}, "\n".join(one.text for one in ended)
    output = "".join(one.text for one in ended)
    for method in ("one", "two"):
        assert output.count(f"street-scenes/{method}/seed0: finished") == 1, output
    for one in ended:
        assert "Traceback" not in one.text
        if one.code == 5:
            assert "in use by process" in one.text
            assert "run the same command again when that process has ended" in one.text
    ends_whole()


@pytest.mark.slow
def test_lock_of_a_killed_command_is_released(workspace, ends_whole):
    first = workspace.start("training.steps=8", fault=f"kill_at {UPDATE} 5")
    assert first.wait().code == -signal.SIGKILL
    holder = json.loads((workspace.run() / "run.lock").read_text())
    assert holder["pid"] == first.pid
    ends_whole()


@pytest.mark.slow
def test_closed_output(workspace, ends_whole):
    """``segmi study run … 2>&1 | head -1``: the run continues without a reader."""
    ended = workspace.do(fault="nobody_listens")
    assert not list(workspace.runs.rglob("failure.json")), ended.text
    assert len(list(workspace.runs.rglob("result.json"))) == 2
    ends_whole()


# numbers, memory, time


def test_infinite_loss_fails_one_run(workspace):
    ended = workspace.do("methods.one.training.learning_rate=1e38")
    assert ended.code == 4, ended.text
    assert "the loss is NaN or infinite at step" in ended.text
    assert "street_train_" in workspace.failure()["message"], "the images of the batch are named"
    assert "lower the learning rate" in workspace.failure()["remedy"]
    assert workspace.failure()["type"] == "Diverged"
    assert (workspace.run("two") / "result.json").exists()
    assert "1/2 runs finished" in ended.text


def test_out_of_memory_fails_one_run(workspace, ends_whole):
    ended = workspace.do(fault="out_of_memory 5")
    assert ended.code == 4, ended.text
    assert "out of memory at step 5 with batches of 2 images of (32, 32) pixels" in ended.text
    assert "smaller batch_size" in workspace.failure("two")["remedy"]
    assert (workspace.run("one") / "result.json").exists()
    ends_whole()


@pytest.mark.slow
def test_clock_jumps(workspace, ends_whole):
    ended = workspace.do(fault="jumping_clock")
    assert ended.code == 0, ended.text
    ends_whole()


@pytest.mark.slow
def test_clock_jumps_before_a_kill(workspace, ends_whole):
    assert workspace.do(fault=f"jumping_clock_and_kill {UPDATE} 6").code == -signal.SIGKILL
    steps = sorted((workspace.run() / "checkpoints").glob("step-*"))
    for age, step in enumerate(steps):
        os.utime(step, (2e9 - age * 1e6, 2e9 - age * 1e6))
    ends_whole()


# secrets


@pytest.mark.slow
def test_secrets_of_the_environment_are_not_written(workspace, monkeypatch):
    secret = "canary-7f3a9c"
    child = workspace._fork_server.start(
        ["study", "run", str(workspace.study), "--runs", str(workspace.runs)], "",
        {"SEGMI_CACHE": str(workspace.cache), "WANDB_API_KEY": secret, "HF_TOKEN": secret, "MY_PASSWORD": secret},
    )  # fmt: skip
    ended = child.wait()
    assert ended.code == 0, ended.text
    assert secret not in ended.text
    files = [path for folder in (workspace.runs, workspace.cache) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if secret.encode() in path.read_bytes()] == []
