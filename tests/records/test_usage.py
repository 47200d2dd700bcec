"""Resource usage of a run: null if it cannot be read."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from segmi.errors import DataError, EnvironmentProblem
from segmi.records import usage
from segmi.records.usage import GpuCounter, RaplCounters, Usage, peak_memory, reset_peak_memory, sessions

LINUX = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux reports the peak memory")


@pytest.fixture
def counters(tmp_path: Path) -> Path:
    """Two packages; a part of one of them also has a counter."""
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        folder = tmp_path / "powercap" / name
        folder.mkdir(parents=True)
        (folder / "max_energy_range_uj").write_text("1000000000\n")
        (folder / "energy_uj").write_text("5000000\n")
    return tmp_path / "powercap"


def count(counters: Path, package: str, microjoules: int) -> None:
    (counters / package / "energy_uj").write_text(f"{microjoules}\n")


def test_the_energy_of_all_packages_is_summed(counters: Path) -> None:
    rapl = RaplCounters(counters)
    assert rapl.joules() == 0
    count(counters, "intel-rapl:0", 8_000_000)
    count(counters, "intel-rapl:1", 5_500_000)
    count(counters, "intel-rapl:0:0", 900_000_000)  # a part of package 0, which counts it already
    assert rapl.joules() == pytest.approx(3.5)
    assert rapl.joules() == pytest.approx(3.5)


def test_a_counter_that_overflows(counters: Path) -> None:
    count(counters, "intel-rapl:0", 999_000_000)
    rapl = RaplCounters(counters)
    count(counters, "intel-rapl:0", 2_000_000)
    assert rapl.joules() == pytest.approx(3.0)


def test_missing_and_unreadable_counters(counters: Path, tmp_path: Path) -> None:
    assert RaplCounters(tmp_path / "nothing").joules() is None
    rapl = RaplCounters(counters)
    (counters / "intel-rapl:1" / "energy_uj").unlink()
    assert rapl.joules() is None
    assert RaplCounters(counters).joules() is None


def test_the_counter_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    read = iter([1_000_000, 1_250_000])
    nvml = types.SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(read),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    counter = GpuCounter("GPU-1")
    assert counter.joules() == pytest.approx(250.0)
    assert counter.joules() is None  # the driver has gone
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    assert GpuCounter("GPU-1").joules() is None
    assert GpuCounter(None).joules() is None


@LINUX
def test_the_peak_is_that_of_the_session(tmp_path: Path) -> None:
    before = np.ones(400 * 2**17)  # 400 MiB of a run before
    del before
    with Usage(tmp_path) as usage:
        within = np.ones(200 * 2**17)
        del within
    (one,) = sessions(tmp_path)
    assert reset_peak_memory()
    rest = peak_memory()
    assert rest is not None
    assert rest + 190 * 2**20 < one["peak_memory_bytes"] < rest + 350 * 2**20
    assert usage.summary()["peak_memory_bytes"] is not None


def test_unknown_peak_memory(tmp_path: Path) -> None:
    assert not reset_peak_memory(tmp_path / "none")
    assert peak_memory(tmp_path) is None
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\tmany kB\n")
    assert peak_memory(tmp_path) is None


def test_sessions_add_up(tmp_path: Path, counters: Path) -> None:
    for joules in (2, 3):
        with Usage(
            tmp_path, device_memory=lambda joules=joules: 100 * joules, counters=RaplCounters(counters)
        ) as session:
            now = int((counters / "intel-rapl:0" / "energy_uj").read_text())
            count(counters, "intel-rapl:0", now + joules * 1_000_000)
            summary = session.summary()
    assert summary["sessions"] == 2
    assert summary["processor_joules"] == pytest.approx(5.0)
    assert summary["peak_device_memory_bytes"] == 300
    assert summary["gpu_joules"] is None
    assert summary["seconds"] > 0
    assert len(sessions(tmp_path)) == 2


def test_a_session_that_was_killed_leaves_the_sum_unknown(tmp_path: Path) -> None:
    Usage(tmp_path).__enter__()  # and nothing more
    assert sessions(tmp_path) == [{"ended": False}]
    with Usage(tmp_path) as session:
        summary = session.summary()
    assert (summary["sessions"], summary["seconds"], summary["peak_memory_bytes"]) == (2, None, None)


def test_a_damaged_record_does_not_stop_a_run(tmp_path: Path) -> None:
    (tmp_path / "usage.json").write_text("{")
    with Usage(tmp_path) as session:
        assert session.summary()["seconds"] is None
    (tmp_path / "usage.json").write_text(json.dumps({"schema_version": 99, "sessions": []}))
    with pytest.raises(DataError, match="has schema version 99, expected at most 1"):
        sessions(tmp_path)


def test_the_error_of_the_session_has_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Usage(tmp_path).__enter__()

    def full(*_: object) -> None:
        raise EnvironmentProblem("no space left")

    monkeypatch.setattr(usage, "write_record", full)
    session.__exit__(ValueError, ValueError("the cause"), None)  # raises no other error
    with pytest.raises(EnvironmentProblem):
        session.__exit__(None, None, None)
