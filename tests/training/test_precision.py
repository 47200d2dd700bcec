"""Threads, kernels and precision are resolved when a run starts and kept when it resumes."""

from __future__ import annotations

import importlib.util
import json
import logging
import time

import pytest
import torch
from torch import nn

from segmi.errors import UsageError
from segmi.losses import build_objective
from segmi.losses.compiled.kernel_cache import compile_now
from segmi.training import fit, training_configs
from segmi.training.precision import preserve_threads, select_kernels
from segmi.training.precision_probe import Measurement

CPU = torch.device("cpu")
RMI = {"cross_entropy": {}, "rmi_loss": {"radius": 2}}
REGION = "losses.1.loss.region"


def run(make_cohort, train, folder, *, loss=RMI, progress=None, **settings):
    options = {"steps": 6, "device": "cpu", "batch_size": 3, "checkpoint_every": 2, "select_by": "last",
               "precision": "fp32"}  # fmt: skip
    cohort = make_cohort(1)
    objective = build_objective(loss, networks=list(cohort.networks))
    return cohort, fit(cohort, objective, train, folder=folder, progress=progress,
                       **training_configs({**options, **settings}))  # fmt: skip


def settled(folder):
    record = json.loads((folder / "precision.json").read_text())
    return record["threads"], record["kernels"]


def test_resumed_run_keeps_its_threads(make_cohort, train, run_folder, stop_at):
    seen = []

    class Watching(nn.Module):
        def forward(self, logits, labels):
            seen.append(torch.get_num_threads())
            return logits.square().mean()

    def watched(**settings):
        from segmi.losses import PerNetwork

        return fit(
            make_cohort(1), PerNetwork(Watching(), "watching"), train, folder=run_folder, **settings,
            **training_configs({"steps": 4, "batch_size": 3, "checkpoint_every": 2, "select_by": "last",
                                "precision": "fp32", "device": "cpu"}),
        )  # fmt: skip

    with preserve_threads(3):
        with pytest.raises(KeyboardInterrupt):
            watched(progress=stop_at(3))
        assert torch.get_num_threads() == 3
    with preserve_threads(1):
        outcome = watched()
        assert torch.get_num_threads() == 1
    assert set(seen) == {3}
    assert outcome.precision.threads == settled(run_folder)[0] == 3


def test_threads_are_set(make_cohort, train, run_folder):
    _, outcome = run(make_cohort, train, run_folder, threads=2)
    assert outcome.precision.threads == settled(run_folder)[0] == 2
    with pytest.raises(UsageError, match="threads must be at least 1, got 0"):
        run(make_cohort, train, run_folder, threads=0)


@pytest.mark.parametrize("kernel", ["auto", "torch"])
def test_kernel_is_selected_and_reported(make_cohort, train, run_folder, kernel):
    texts = []
    loss = {"cross_entropy": {}, "rmi_loss": {"radius": 2, "kernel": kernel}}
    run(make_cohort, train, run_folder, loss=loss, threads=1, progress=lambda p: texts.append(p.text))
    expected = "torch" if kernel == "torch" else "numba"
    assert settled(run_folder)[1] == {REGION: expected}
    (text,) = (text for text in texts if text.startswith("computes in"))  # a compilation may be reported before
    assert text.endswith(f"on cpu with 1 thread, kernel {expected}")


def test_compilation_and_measurement_do_not_count(make_cohort, train, run_folder, monkeypatch):
    """A budget in minutes begins after the kernels are compiled and the precision is measured."""

    def compile_slowly(module, notify):
        notify(f"compiling {module}")
        compile_now(module, notify)
        time.sleep(2)

    def measure_slowly(cohort, device, *, images, side):
        time.sleep(2)
        return Measurement({"fp32 contiguous": 1.0}, images, side)

    monkeypatch.setattr("segmi.training.precision.compile_now", compile_slowly)
    monkeypatch.setattr("segmi.training.precision.measure_steps", measure_slowly)
    texts = []
    _, outcome = run(
        make_cohort, train, run_folder, loss={"rmi_loss": {"radius": 2}}, steps=None, minutes=0.01, precision="auto",
        progress=lambda p: texts.append(p.text),
    )  # fmt: skip
    assert texts[0] == "compiling segmi.losses.rmi.cpu"
    assert 0.6 <= outcome.wall_seconds < 4
    assert outcome.steps >= 1


def test_resumed_run_keeps_its_kernel(make_cohort, train, tmp_path, stop_at):
    """The compiled kernel rounds differently, so it does not replace the kernel of a resumed run."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    plain = {"cross_entropy": {}, "rmi_loss": {"radius": 2, "kernel": "torch"}}
    expected, _ = run(make_cohort, train, whole, loss=plain)
    with pytest.raises(KeyboardInterrupt):
        run(make_cohort, train, stopped, loss=plain, progress=stop_at(3))
    cohort, outcome = run(make_cohort, train, stopped)  # a new run would use the compiled kernel
    assert outcome.precision.kernels == {REGION: "torch"}
    assert all(torch.equal(mine, other) for mine, other in zip(cohort.parameters(), expected.parameters(), strict=True))


def test_unavailable_kernel_is_replaced_with_a_warning(monkeypatch, caplog):
    objective = build_objective(RMI, networks=["net0"])
    find = importlib.util.find_spec
    monkeypatch.setattr("segmi.losses.compiled.find_spec", lambda name: None if name == "numba" else find(name))
    with caplog.at_level(logging.WARNING):
        assert select_kernels(objective, CPU, {REGION: "numba"}) == {REGION: "torch"}
    assert "kernel: 'numba' expected the package numba to be installed" in caplog.text
    assert "the run started with this kernel, and continues with 'torch', whose rounding differs" in caplog.text


def test_record_without_threads_is_completed(make_cohort, train, run_folder):
    run_folder.mkdir(parents=True, exist_ok=True)
    (run_folder / "precision.json").write_text(
        json.dumps({"schema_version": 1, "dtype": "fp32", "memory_format": "contiguous", "source": "measured"})
    )
    _, outcome = run(make_cohort, train, run_folder, precision="auto")
    assert outcome.precision.memory_format == "contiguous"
    assert settled(run_folder) == (torch.get_num_threads(), {REGION: "numba"})
