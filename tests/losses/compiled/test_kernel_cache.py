"""The cache of compiled kernels: compilation in the background, waiting, and folders that are not writable."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
import torch

from segmi.losses import (
    BinaryCrossEntropy,
    RegionCKA,
    RegionCovarianceMatching,
    RegionErrorDeterminant,
    RegionLogMSE,
    RMILoss,
    region_kernel,
    region_shuffled_labels,
)
from segmi.losses.compiled import kernel_cache
from segmi.losses.compiled.kernel_cache import (
    ABLATIONS_MODULE,
    cache_folder,
    compile_now,
    is_compiled,
    kernel_mode,
    marker_path,
)

# Takes a second to "compile", and records every compilation.
KERNEL = """
import os, pathlib, time
folder = pathlib.Path(os.environ["NUMBA_CACHE_DIR"])

def compile_entries():
    if not (folder / "code").exists():
        time.sleep(1)
        with (folder / "compilations").open("a") as file:
            file.write("compiled\\n")
        (folder / "code").write_text("")
"""


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """The name of a kernel that is not in the cache, whose folder is tmp_path/cache."""
    (tmp_path / "slow_kernel.py").write_text(KERNEL)
    (tmp_path / "cache").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("SEGMI_KERNELS")
    functions = cache_folder, kernel_cache._digest, kernel_cache._compilation
    for function in functions:
        function.cache_clear()
    yield "slow_kernel"
    for function in functions:
        function.cache_clear()
    sys.modules.pop("slow_kernel", None)


def compilations(folder: Path) -> int:
    path = folder / "cache" / "compilations"
    return len(path.read_text().split()) if path.exists() else 0


def wait_for_marker(kernel: str) -> None:
    marker, end = marker_path(kernel), time.monotonic() + 120
    assert marker is not None
    while not marker.exists():
        assert time.monotonic() < end, "the other process did not write the marker"
        time.sleep(0.1)


def test_missing_kernel_is_compiled_by_another_process(kernel, tmp_path, caplog):
    began = time.perf_counter()
    assert not is_compiled(kernel)
    assert not is_compiled(kernel)
    assert time.perf_counter() - began < 1, "the call does not wait"
    expected = "segmi: compiling the kernel slow_kernel in the background (about 30 s, once); the PyTorch"
    assert [record.getMessage()[: len(expected)] for record in caplog.records] == [expected]
    wait_for_marker(kernel)
    assert is_compiled(kernel)
    assert compilations(tmp_path) == 1
    assert kernel not in sys.modules


def test_two_processes_compile_once_and_may_end_before(kernel, tmp_path):
    code = f"from segmi.losses.compiled.kernel_cache import is_compiled; print(is_compiled({kernel!r}))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parents = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) for _ in range(2)
    ]
    for parent in parents:
        # the first process may have finished when the second one asks
        assert parent.communicate(timeout=120)[0].split() in ([b"False"], [b"True"])
        assert parent.returncode == 0
    wait_for_marker(kernel)
    compile_now(kernel)  # waits for a second process, if there is one
    assert compilations(tmp_path) == 1


def test_waiting_compiles_in_this_process(kernel, tmp_path, monkeypatch):
    lines: list[str] = []
    compile_now(kernel, lines.append)
    compile_now(kernel, lines.append)
    assert lines == ["compiling the kernel slow_kernel (about 30 s, once)"]
    assert compilations(tmp_path) == 1
    assert is_compiled(kernel)


@pytest.mark.parametrize("reason", ["variable", "deterministic", "kernel"])
def test_reasons_to_wait(kernel, tmp_path, monkeypatch, reason):
    if reason == "variable":
        monkeypatch.setenv("SEGMI_KERNELS", "wait")
    torch.use_deterministic_algorithms(reason == "deterministic")
    try:
        assert is_compiled(kernel, wait=reason == "kernel")
    finally:
        torch.use_deterministic_algorithms(False)
    assert compilations(tmp_path) == 1


def test_failed_compilation_is_reported_once(kernel, tmp_path, caplog):
    (tmp_path / "slow_kernel.py").write_text("def compile_entries():\n    raise OSError('broken')\n")
    assert not is_compiled(kernel)
    kernel_cache._compilation(kernel).process.wait(timeout=120)
    caplog.clear()
    assert not is_compiled(kernel)
    assert not is_compiled(kernel)
    (record,) = caplog.records
    assert "failed, see" in record.getMessage()
    assert "broken" in (tmp_path / "cache" / "compilation.log").read_text()


def test_unwritable_folders_use_pytorch_with_one_warning(kernel, monkeypatch, caplog):
    monkeypatch.setattr(kernel_cache, "cache_folders", lambda: [Path("/proc/none/a"), Path("/proc/none/b")])
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            value = RMILoss()(torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long))
    assert value == RMILoss(kernel="torch")(torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.long))
    (record,) = caplog.records
    assert "none of /proc/none/a, /proc/none/b is writable. Fix: set NUMBA_CACHE_DIR" in record.getMessage()


def test_cache_is_in_the_temporary_folder_if_nothing_else_is_writable(tmp_path):
    """Without a home, with an unwritable cache folder: the kernel is compiled and cached in the temporary folder."""
    code = """
import torch
from segmi.losses import BinaryCrossEntropy
from segmi.losses.compiled.kernel_cache import cache_folder
z = torch.zeros(1, 4, 2, 2, requires_grad=True)
loss = BinaryCrossEntropy(kernel="numba")(z, torch.zeros(1, 2, 2, dtype=torch.long))
loss.backward()
print(cache_folder(), round(loss.item(), 4), round(z.grad.sum().item(), 4), sep="|")
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG", "NUMBA"))}
    environment |= {
        "HOME": "/proc/none", "NUMBA_CACHE_DIR": "/proc/none", "TMPDIR": str(tmp_path), "SEGMI_KERNELS": "background",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    folder, loss, gradient = done.stdout.strip().split("|")
    assert Path(folder).parent == tmp_path
    assert (float(loss), float(gradient)) == (2.7726, 1.0)
    assert list(Path(folder).glob("*/*.nbc"))
    assert list(Path(folder).glob("*.json"))
    assert Path(folder).stat().st_mode & 0o077 == 0


def test_kernels_can_be_switched_off(monkeypatch):
    assert region_kernel(torch.zeros(1, 2, 8, 8)) == "numba"
    monkeypatch.setenv("SEGMI_KERNELS", "off")
    assert region_kernel(torch.zeros(1, 2, 8, 8)) == "torch"
    assert BinaryCrossEntropy().select_kernel(torch.zeros(1, 2, 8, 8)) == "torch"
    monkeypatch.setenv("SEGMI_KERNELS", "never")
    with pytest.raises(ValueError, match=r"^SEGMI_KERNELS: expected background, wait, off, got 'never'\. Fix: unset"):
        kernel_mode()


def test_warm_up_covers_all_calls():
    """Entry points compile one version each, for every kind of logits, labels and options."""
    from segmi.losses.rmi.cpu import compile_entries, entries

    compile_entries()
    import_module(ABLATIONS_MODULE).compile_entries()
    functions = entries.read_image, entries._forward_channels, entries._backward_channels
    versions = [len(function.signatures) for function in functions]
    assert versions == [1, 2, 1]  # with and without the ablations
    for channels in (1, 3):
        for options in ({}, {"variant": "corrected"}, {"ignored": "drop", "radius": 2}):
            z = torch.randn(2, channels, 9, 8).bfloat16().requires_grad_()
            labels = torch.randint(0, 2, (2, 9, 8), dtype=torch.uint8)
            labels[0, 3, 3] = 255
            (0.5 * RMILoss(kernel="numba", **options)(z.transpose(2, 3), labels.transpose(1, 2))).backward()
            for ablation in (RegionErrorDeterminant, RegionLogMSE, RegionCovarianceMatching, RegionCKA):
                (0.5 * ablation(kernel="numba", **options)(z, labels)).backward()
    assert [len(function.signatures) for function in functions] == versions


def test_warm_up_covers_all_calls_of_cells():
    from segmi.losses.compiled import softmax
    from segmi.losses.rmi.cpu import cells

    cells.compile_entries()
    for channels in (1, 3):
        for options in (
            {"pooling": "average", "stride": 2},
            {"pooling": "max", "stride": 2, "ignored": "drop"},
            {"pooling": "interpolation", "stride": 2, "legacy_interpolation": True, "variant": "corrected"},
            {"probability": "softmax"},
        ):
            if channels == 1 and "probability" in options:
                continue
            z = torch.randn(2, channels, 9, 8).bfloat16().requires_grad_()
            labels = torch.randint(0, 2, (2, 9, 8), dtype=torch.uint8)
            labels[0, 3, 3] = 255
            loss = RMILoss(kernel="numba", radius=1, **options)
            (0.5 * loss(z.transpose(2, 3), labels.transpose(1, 2))).backward()
            if channels > 1:
                region_shuffled_labels(z.detach(), labels)
    softmax_entries = (softmax.pool_softmax, softmax.softmax_backward)
    for function in (cells._forward_cells, cells._backward_cells, *softmax_entries):
        assert len(function.signatures) == 1, function
