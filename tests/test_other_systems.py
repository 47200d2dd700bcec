"""Fall-backs for functions that Windows or macOS lack; the other system is simulated."""

from __future__ import annotations

import ast
import errno
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict, namedtuple
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import segmi
from segmi.datasets import workers
from segmi.datasets.folders import study_name
from segmi.errors import EnvironmentProblem, Interrupted, UsageError
from segmi.losses.compiled import kernel_cache
from segmi.models import averaging
from segmi.records import atomic, process
from segmi.study.engines.worker import output_to
from segmi.study.executor import stoppable
from segmi.study.schema import Study
from segmi.study.strict_yaml import parse
from segmi.study.validation import validated
from segmi.training import launchers
from segmi.training.loop import Interruption

SOURCES = sorted(Path(segmi.__file__).parent.rglob("*.py"))
Memory = namedtuple("Memory", "total used free")

# Removes what Windows lacks after the libraries are imported, which have their own fall-backs.
WINDOWS = """
import mmap, os, sys, time
import lightning, numba, psutil, safetensors.torch, scipy.stats, segmentation_models_pytorch, tifffile, timm
import torchvision
import segmi.cli, segmi.training, segmi.study.executor, segmi.study.engines.pool, segmi.deploy, segmi.losses
from segmi.losses.compiled import kernel_cache
for name in ("fork", "forkpty", "getuid", "geteuid", "getloadavg", "nice", "posix_fallocate", "pwrite", "setpgid",
             "register_at_fork", "sched_getaffinity", "sysconf", "killpg", "mkfifo"):
    delattr(os, name)
del mmap.MADV_DONTNEED, time.tzset
del kernel_cache.fcntl
sys.modules.update(fcntl=None, resource=None, pwd=None, termios=None)

class Windows:  # the platform as segmi sees it
    platform = "win32"
    def __getattr__(self, name):
        return getattr(sys, name)

for name, module in list(sys.modules.items()):
    if name.startswith("segmi.") and vars(module).get("sys") is sys:
        module.sys = Windows()
"""


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    psutil.cpu_count()  # its import chooses the real system
    monkeypatch.setattr(sys, "platform", "win32")


def test_text_files_have_an_encoding() -> None:
    """The default of Windows is a code page."""
    missing = []
    for path in SOURCES:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            texts = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            is_text = name in ("read_text", "write_text") or (
                name == "open" and any(set(text) <= set("rwax+t") for text in texts)
            )
            if is_text and not {"encoding"} & {one.arg for one in call.keywords}:
                missing.append(f"{path.name}:{call.lineno}")
    assert not missing


def test_training_and_prediction_without_what_windows_lacks(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for folder in ("images", "masks"):
        (photos / folder).mkdir(parents=True)
    for number in range(6):
        mask = np.zeros((40, 48), np.uint8)
        mask[8 + number : 24, 10:30] = 255
        Image.fromarray(np.stack([mask // 2 + 40] * 3, axis=2)).save(photos / "images" / f"{number}.png")
        Image.fromarray(mask).save(photos / "masks" / f"{number}.png")
    code = f"""{WINDOWS}
from segmi.cli import main
small = ["--width", "2", "--steps", "2", "-b", "2", "-j", "0", "processing={{resize: 36, crop: 32}}"]
assert main(["data", "init", "photos"]) == 0
assert main(["train", "photos", *small, "--loss", "rmi_loss", "--output", "runs"]) == 0
assert main(["predict", "runs", "photos/images", "--output", "masks", "--probabilities"]) == 0
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "SEGMI_KERNELS": "off"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "masks").glob("*.png"))) == 6
    assert not list(tmp_path.rglob(f"{atomic.TEMPORARY_PREFIX}*"))
    assert not list(tmp_path.rglob("run.lock"))


# --- processes and signals


def test_processes_have_start_times_without_proc(windows: None) -> None:
    own = process.process_start(os.getpid())
    assert own is not None
    assert own.isdigit()
    assert process.is_running(os.getpid(), own)
    assert not process.is_running(os.getpid(), "12")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert process.process_start(ended.pid) is None
    assert not process.is_running(ended.pid)


def test_unfinished_files_of_killed_processes_are_removed_on_windows(windows: None, tmp_path: Path) -> None:
    (tmp_path / f"{atomic.TEMPORARY_PREFIX}999999999-1-ab.json").touch()
    own = tmp_path / f"{atomic.TEMPORARY_PREFIX}{os.getpid()}-{process.process_start(os.getpid())}-ab.json"
    own.touch()
    assert len(atomic.sweep(tmp_path)) == 1
    assert own.exists()


def test_a_run_is_stopped_by_a_thread_of_its_process(windows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """os.kill ends a process of Windows without calling its handler."""
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("os.kill was called"))
    with Interruption() as interruption:
        thread = threading.Thread(target=process.request_stop)
        thread.start()
        thread.join()
        for _ in range(100):
            if interruption.requested:
                break
            time.sleep(0.01)
    assert interruption.signal_number == signal.SIGTERM


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="a signal in place of Windows' SIGBREAK")
def test_break_writes_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    signals = (*process.STOP_SIGNALS, signal.SIGUSR1)
    monkeypatch.setattr("segmi.training.loop.STOP_SIGNALS", signals)
    monkeypatch.setattr("segmi.study.executor.STOP_SIGNALS", signals)
    before = signal.getsignal(signal.SIGUSR1)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGUSR1)
    assert interruption.signal_number == signal.SIGUSR1
    with pytest.raises(Interrupted) as caught, stoppable():
        signal.raise_signal(signal.SIGUSR1)
    assert caught.value.exit_code == 128 + signal.SIGUSR1
    assert signal.getsignal(signal.SIGUSR1) == before


def test_images_are_read_by_spawned_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert workers._start_method() == "spawn"
    dataset: Any = defaultdict(partial(int, "7"))
    assert list(workers.read_by_workers(dataset, 1, sampler=range(2), batch_size=None)) == [7, 7]


def test_output_of_a_worker_without_the_descriptors_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a console of Windows, the streams of Python do not use descriptors 1 and 2."""
    console = io.StringIO()
    monkeypatch.setattr(sys, "stdout", console)
    with output_to(tmp_path / "output.txt"):
        print("≥ 3 from Python")
        os.write(1, b"from a library\n")
    print("after")
    assert (tmp_path / "output.txt").read_text(encoding="utf-8") == "≥ 3 from Python\nfrom a library\n"
    assert console.getvalue() == "after\n"


def test_the_compiler_process_is_apart_from_the_console(windows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200, raising=False)
    monkeypatch.setattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0x4000, raising=False)
    assert kernel_cache._apart() == {"creationflags": 0x4200}


def test_kernels_are_compiled_without_file_locks(windows: None, tmp_path: Path) -> None:
    with kernel_cache._lock(tmp_path / "lock", wait=False) as first, kernel_cache._lock(tmp_path / "lock") as second:
        assert (first, second) == (True, True)


@pytest.mark.parametrize(
    ("platform", "nccl", "backend", "libuv"), [("win32", False, "gloo", "0"), ("linux", True, None, None)]
)
def test_data_parallel_training_without_nccl_and_libuv(
    monkeypatch: pytest.MonkeyPatch, platform: str, nccl: bool, backend: str | None, libuv: str | None
) -> None:
    made: dict[str, Any] = {}

    class NoFabric:
        def __init__(self, **options: Any) -> None:
            made.update(options)

        def launch(self) -> None:
            made["libuv"] = os.environ.get("USE_LIBUV")

    monkeypatch.setenv("USE_LIBUV", "")
    monkeypatch.delenv("USE_LIBUV")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: nccl)
    monkeypatch.setattr(launchers, "Fabric", NoFabric)
    launchers.launch_fabric(torch.device("cpu"), 2, 1, "auto", "fp32")
    assert made["strategy"]._process_group_backend == backend
    assert made["libuv"] == libuv


# --- files


def busy(monkeypatch: pytest.MonkeyPatch, times: int) -> list[Path]:
    """Let os.replace fail as often as if another process had the file open."""
    attempts: list[Path] = []
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        attempts.append(source)
        if len(attempts) <= times:
            raise PermissionError(errno.EACCES, "The process cannot access the file", str(target))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return attempts


def test_a_file_that_is_open_elsewhere_is_replaced_later(
    windows: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = atomic.atomic_write(tmp_path / "result.json", "old")
    attempts = busy(monkeypatch, times=3)
    atomic.atomic_write(target, "new")
    assert target.read_text(encoding="utf-8") == "new"
    assert len(attempts) == 4
    attempts = busy(monkeypatch, times=100)
    with pytest.raises(EnvironmentProblem, match="cannot write"):
        atomic.atomic_write(target, "newer")
    assert len(attempts) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_other_systems_replace_files_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    attempts = busy(monkeypatch, times=1)
    with pytest.raises(EnvironmentProblem):
        atomic.atomic_write(tmp_path / "result.json", "new")
    assert len(attempts) == 1


def test_windows_syncs_files_but_no_folders(windows: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[tuple[Path, int]] = []
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, flags, *rest: opened.append((Path(path), flags)) or real(path, flags, *rest)
    )
    with atomic.atomic_folder(tmp_path / "bundle") as folder:
        (folder / "model.json").write_bytes(b"{}")
    synced = [(path.name, flags) for path, flags in opened if flags in (os.O_RDONLY, os.O_RDWR)]
    assert synced == [("model.json", os.O_RDWR)]


def is_open(path: Path) -> bool:
    """Return whether this process has a file open or mapped, as Linux knows it."""
    targets = [str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if os.path.lexists(one)]
    return str(path) in targets or str(path) in Path("/proc/self/maps").read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to see open files")
def test_probabilities_are_unmapped_before_the_file_is_renamed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from segmi.deploy.prediction import _probability_file

    real, states = os.replace, list[bool]()
    monkeypatch.setattr(os, "replace", lambda source, target: states.append(is_open(source)) or real(source, target))
    with _probability_file(tmp_path / "a.npy", (2, 8, 8)) as file:
        assert is_open(next(tmp_path.iterdir()))
        file.write(slice(0, 8), slice(0, 8), torch.zeros(1, 2, 8, 8))
    assert states == [False]
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.full((2, 8, 8), 0.5, np.float16))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to see open files")
def test_uploads_are_closed_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    app_page = pytest.importorskip("segmi.deploy.app_page")
    states = []
    monkeypatch.setattr(app_page, "decode_image", lambda path, format: states.append((path.suffix, is_open(path))))
    app_page.decode_upload("photo.png", b"content")
    assert states == [(".png", False)]


def test_space_is_checked_without_posix_fallocate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Memory(100, 90, 10))
    with (tmp_path / "a").open("wb") as file:
        averaging.reserve_space(file, 10, tmp_path)
        with pytest.raises(OSError, match="No space left") as caught:
            averaging.reserve_space(file, 11, tmp_path)
    assert caught.value.errno == errno.ENOSPC


def test_measured_precision_is_cached_without_hard_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from segmi.training import precision_probe as probe

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    measurement = probe.Measurement(*range(len(probe.Measurement._fields)))
    probe._write(tmp_path / "times.json", measurement)
    assert probe._read(tmp_path / "times.json") == measurement
    assert len(list(tmp_path.iterdir())) == 1


# --- names and output


METHOD = {"networks": {"unet": {"architecture": "unet"}}, "loss": {"cross_entropy": {}}}


def study(name: str = "a", methods: tuple[str, ...] = ("ce",)) -> Study:
    text = {
        "name": name, "datasets": {"street-scenes": {}}, "training": {"steps": 2},
        "methods": dict.fromkeys(methods, METHOD),
    }  # fmt: skip
    return validated(parse(json.dumps(text)))


@pytest.mark.parametrize("name", ["aux", "NUL", "com1", "con.2", "unet."])
def test_names_that_windows_reserves_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="expected a name that Windows accepts for a folder"):
        study(name)
    assert study(f"a-{name.strip('.')}").name == f"a-{name.strip('.')}"


def test_names_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(UsageError, match="ce, CE are one folder on Windows and macOS, which ignore case"):
        study(methods=("ce", "rmi", "CE"))


def test_folders_with_reserved_names_get_another_name_in_studies() -> None:
    assert study_name(Path("/data/aux")) == "data-aux"
    assert study_name(Path("/data/con.1")) == "data-con.1"


def test_output_in_a_code_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that the code page of a pipe lacks do not end a command."""
    from segmi.cli import main
    from segmi.cli.output import put

    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["--version"]) == 0
    put("α ≥ 3 · µ")
    stream.flush()
    assert stream.buffer.getvalue().decode("cp1252").splitlines() == [segmi.__version__, "\\u03b1 \\u2265 3 · µ"]
