"""The check of a GPU kernel against PyTorch, with kernels that are wrong on purpose."""

from __future__ import annotations

import json
import logging
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from segmi.cli import main
from segmi.losses.compiled import kernel_cache, kernel_check
from segmi.losses.compiled.kernel_check import agrees, checked_kernels, difference
from segmi.losses.rmi import dispatch
from segmi.losses.rmi.rmi_config import RMIConfig

CPU = torch.device("cpu")
LOGITS = torch.zeros(1, 2, 8, 8)


CASES = dispatch._check_values


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(kernel_check, "_reasons", {})
    kernel_cache.cache_folder.cache_clear()
    kernel_cache._compilation.cache_clear()
    yield tmp_path
    kernel_cache.cache_folder.cache_clear()
    kernel_cache._compilation.cache_clear()


def kernel_with(change):
    """Return values of the routine ``torch``, changed for any other kernel."""
    calls: list[str] = []

    def values(kernel, device):
        calls.append(kernel)
        right = CASES("torch", device)
        return right if kernel == "torch" else change(right)

    return values, calls


def shift_gradient(values):
    values[1][0, 0, 3, 3] += 1e-4 * values[1].abs().max()
    return values


def fail(values):
    raise RuntimeError("PTX is broken\nat line 7")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (shift_gradient, "expected a relative difference of at most 1e-05 to PyTorch, got 1.0e-04"),
        (lambda values: [value * float("nan") for value in values], "got nan"),
        (fail, "RuntimeError: PTX is broken"),
    ],
)
def test_wrong_kernel_is_refused_with_one_warning(folder, caplog, capsys, change, reason):
    values, calls = kernel_with(change)
    with caplog.at_level(logging.WARNING):
        assert not agrees("triton", LOGITS, values, Path(__file__).parent)
        assert not agrees("triton", LOGITS, values, Path(__file__).parent)
    (record,) = caplog.records
    assert "segmi: the kernel 'triton' is not used on cpu: " in record.getMessage()
    assert reason in record.getMessage()
    assert calls.count("triton") == 1
    assert checked_kernels()[0]["reason"].endswith(reason)
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kernel"]["triton on cpu"].endswith(reason)


def test_right_kernel_is_used_and_remembered(folder, caplog, monkeypatch):
    values, calls = kernel_with(lambda values: [value * (1 + 1e-6) for value in values])
    assert agrees("triton", LOGITS, values, Path(__file__).parent)
    monkeypatch.setattr(kernel_check, "_reasons", {})  # another process
    assert agrees("triton", LOGITS, values, Path(__file__).parent)
    assert calls == ["triton", "torch"]
    assert not caplog.records


def test_nothing_is_checked_while_tracing(folder):
    values, calls = kernel_with(lambda values: values)
    with FakeTensorMode():
        assert not agrees("triton", torch.zeros(1, 2, 8, 8), values, Path(__file__).parent)
    assert not calls
    assert not checked_kernels()


def test_compiled_cpu_kernel_agrees():
    assert difference(CASES, "numba", CPU) == ""


def test_cases_find_errors_of_either_part():
    assert len(CASES("torch", CPU)) == 16
    for index in range(16):
        values, _ = kernel_with(lambda right, index=index: [v * (i != index) for i, v in enumerate(right)])
        assert difference(values, "triton", CPU) == (
            "expected a relative difference of at most 1e-05 to PyTorch, got 1.0e+00"
        )


def test_both_kinds_of_sums_are_checked(folder, monkeypatch):
    """The result of one is not remembered for the other."""
    monkeypatch.setattr(dispatch, "_obstacle", lambda kernel, *_: "" if kernel == "triton" else "not on CUDA")
    for mode, expected in (("float64", "triton"), ("integer", "torch"), ("float64", "triton")):
        monkeypatch.setenv("SEGMI_SUMS", mode)
        values, _ = kernel_with(shift_gradient if mode == "integer" else lambda right: right)
        monkeypatch.setattr(dispatch, "_check_values", values)
        assert dispatch.choose_kernel(LOGITS, RMIConfig()) == expected
    assert {check["kernel"] for check in checked_kernels()} == {"triton (float64)", "triton (integers)"}


@pytest.mark.parametrize(("wrong", "expected"), [(False, "triton"), (True, "torch")])
def test_automatic_choice_on_cuda_follows_the_check(folder, monkeypatch, wrong, expected):
    monkeypatch.setattr(dispatch, "_obstacle", lambda kernel, *_: "" if kernel == "triton" else "not on CUDA")
    values, _ = kernel_with(shift_gradient if wrong else lambda right: right)
    monkeypatch.setattr(dispatch, "_check_values", values)
    assert dispatch.choose_kernel(LOGITS, RMIConfig()) == expected
    monkeypatch.setenv("SEGMI_KERNELS", "off")
    assert dispatch.choose_kernel(LOGITS, RMIConfig()) == "torch"


def test_doctor_prints_a_table(capsys, folder):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["group", "name", "state"]
    assert any(line.startswith("version  torch ") and line.endswith(f" {version('torch')}") for line in lines)
    assert any("RMI kernel (Numba)" in line and "compiled on first use" in line for line in lines)
    assert any(line.startswith("cache") and str(folder) in line and line.endswith("GB free)") for line in lines)
