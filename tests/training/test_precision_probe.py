"""``precision: auto``: measurement, choice, cache and resumption."""

from __future__ import annotations

import json
import time

import pytest
import torch

from segmi.training import Cohort, fit, precision_probe, training_configs
from segmi.training.precision import ResolvedPrecision, choose_precision
from segmi.types import Output

CPU = torch.device("cpu")
SLOW = {"fp32 channels_last": 1.0, "fp32 contiguous": 1.0, "bf16 channels_last": 9.0, "bf16 contiguous": 9.0}


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGMI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def timings(monkeypatch, cache):
    """Replace the clock by seconds per candidate; record the measured candidates in ``asked``."""
    given = dict(SLOW)
    asked: list[str] = []

    def step(cohort, images, name):
        asked.append(name)
        return given[name]

    monkeypatch.setattr(precision_probe, "_step", step)
    monkeypatch.setattr(precision_probe, "_is_busy", lambda: False)
    given["asked"] = asked
    return given


def chosen(cohort, **options) -> ResolvedPrecision:
    return choose_precision("auto", cohort, CPU, images=8, side=16, **options)


@pytest.mark.parametrize(
    ("faster", "expected"),
    [
        ({}, "fp32 channels_last"),
        ({"fp32 contiguous": 0.99}, "fp32 contiguous"),
        ({"fp32 contiguous": 1.01}, "fp32 channels_last"),
        ({"bf16 channels_last": 0.95}, "fp32 channels_last"),
        ({"bf16 channels_last": 0.39, "bf16 contiguous": 0.4}, "bf16 channels_last"),
        ({"bf16 channels_last": 0.6, "bf16 contiguous": 0.4}, "bf16 contiguous"),
        ({"fp32 contiguous": 0.5, "bf16 channels_last": 0.48}, "fp32 contiguous"),
        ({"fp32 channels_last": float("inf")}, "fp32 contiguous"),
    ],
)
def test_fastest_candidate_is_chosen(make_cohort, timings, faster, expected):
    timings.update(faster)
    result = chosen(make_cohort())
    assert f"{result.dtype} {result.memory_format}" == expected
    assert result.source == "measured"
    assert result.images == 2


def test_slow_candidate_is_dropped(make_cohort, timings):
    result = chosen(make_cohort())
    assert timings["asked"].count("bf16 channels_last") == 1
    assert "bf16 contiguous" not in timings["asked"]
    assert result.seconds == {**SLOW, "bf16 channels_last": None, "bf16 contiguous": None}
    assert "bf16 channels_last far slower" in result.describe()


def test_short_steps_are_not_compared(make_cohort, timings):
    timings.update({"fp32 channels_last": 0.002, "bf16 channels_last": 0.0001})
    assert chosen(make_cohort()).describe() == "fp32 channels_last (measured on 2 images: fp32 channels_last 2.0 ms)"


def test_short_steps_of_many_threads_are_compared(monkeypatch, make_cohort, timings):
    timings.update({"fp32 channels_last": 0.002, "bf16 channels_last": 0.001})
    monkeypatch.setattr(precision_probe.torch, "get_num_threads", lambda: 64)
    assert chosen(make_cohort()).dtype == "bf16"


class SlowNetwork(torch.nn.Module):
    """A network whose forward pass takes a time per pixel, at least a minimum."""

    def __init__(self, per_pixel, minimum=0.0):
        super().__init__()
        self.per_pixel, self.minimum = per_pixel, minimum
        self.layer = torch.nn.Conv2d(3, 2, 1)
        self.sides = []

    def forward(self, images):
        self.sides.append(images.shape[-1])
        time.sleep(max(self.minimum, self.per_pixel * images[:, 0].numel()))
        return Output(self.layer(images))


@pytest.mark.parametrize(
    ("per_pixel", "minimum", "side"),
    [(8e-5, 0.0, 32), (2e-6, 0.0, 192), (0.0, 6.0, None)],  # 8 s, 0.2 s or 6 s for a step on 2 images of 224×224
)
def test_measurement_is_bounded_for_every_network(monkeypatch, cache, per_pixel, minimum, side):
    monkeypatch.setattr(precision_probe.time, "process_time", time.perf_counter)  # sleeping counts
    network = SlowNetwork(per_pixel, minimum)
    began = time.perf_counter()
    result = choose_precision("auto", Cohort({"net0": network}), CPU, images=8, side=224)
    assert time.perf_counter() - began < (5.5 if minimum < 5 else 6.5), "a single step cannot be interrupted"
    assert result.dtype == "fp32"
    if side is None:
        assert network.sides == [32]
        expected = "fp32 channels_last (default, since a step takes too long to be measured in 4.5 s)"
        assert result.describe() == expected
    else:
        assert 32 <= result.side <= side
        assert max(network.sides) == result.side
        assert f"measured on 2 images of {result.side} pixels: fp32 channels_last" in result.describe()


def test_bf16_is_not_tried_without_instructions(monkeypatch, make_cohort, timings):
    monkeypatch.setattr(precision_probe, "_cpu", lambda: "some cpu AVX2 ")
    timings["bf16 channels_last"] = 0.1
    result = chosen(make_cohort())
    assert result.dtype == "fp32"
    assert set(timings["asked"]) == {"fp32 channels_last", "fp32 contiguous"}
    assert list(result.seconds) == ["fp32 channels_last", "fp32 contiguous"]
    monkeypatch.setattr(precision_probe, "_cpu", lambda: "some cpu AVX512 avx512_bf16")
    assert precision_probe.candidates(CPU) == list(precision_probe.CANDIDATES)


def test_times_are_cached_per_network(make_cohort, timings, cache):
    first = chosen(make_cohort())
    count = len(timings["asked"])
    timings["fp32 contiguous"] = 0.1
    assert chosen(make_cohort()) == first
    assert len(timings["asked"]) == count
    chosen(make_cohort(2))
    assert len(timings["asked"]) > count
    assert len(list(cache.rglob("*.json"))) == 2
    for path in cache.rglob("*.json"):
        path.write_text("{")
    assert chosen(make_cohort()).memory_format == "contiguous", "unreadable files are measured again"


def test_cached_times_are_evaluated_again(make_cohort, timings, cache):
    timings["fp32 contiguous"] = 0.95
    first = chosen(make_cohort())
    (path,) = cache.rglob("*.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "memory_format": "channels_last"}))
    assert chosen(make_cohort()) == first
    assert first.memory_format == "contiguous"


def test_unwritable_cache_measures_each_time(make_cohort, timings, cache):
    cache.write_text("no folder")
    chosen(make_cohort())
    count = len(timings["asked"])
    chosen(make_cohort())
    assert len(timings["asked"]) == 2 * count


def test_disabled_cache_measures_each_time(monkeypatch, make_cohort, timings, tmp_path):
    monkeypatch.setenv("SEGMI_CACHE", "none")
    monkeypatch.chdir(tmp_path)
    chosen(make_cohort())
    count = len(timings["asked"])
    chosen(make_cohort())
    assert len(timings["asked"]) == 2 * count
    assert not list(tmp_path.iterdir())


def test_measuring_does_not_change_the_networks(monkeypatch, make_cohort, cache):
    monkeypatch.setattr(precision_probe, "NEGLIGIBLE_SECONDS", 0.0)
    cohort = make_cohort(2, frozen=("net1",)).eval()
    before = {name: value.clone() for name, value in cohort.state_dict().items()}
    generator = torch.random.get_rng_state()
    result = chosen(cohort)
    assert set(result.seconds) == set(SLOW)
    assert result.seconds["fp32 channels_last"] > 0
    assert all(torch.equal(value, before[name]) for name, value in cohort.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert all(parameter.grad is None for parameter in cohort.parameters())
    assert not cohort.training


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_explicit_precision_is_not_measured(make_cohort, timings, precision):
    result = choose_precision(precision, make_cohort(), CPU, images=8, side=16)
    assert (result.dtype, result.source, timings["asked"]) == (precision, "given", [])


def test_choice_is_reported_and_kept(make_cohort, make_loss, train, run_folder, timings):
    timings["fp32 contiguous"] = 0.5
    texts: list[str] = []
    options = {"steps": 6, "batch_size": 3, "select_by": "last", "device": "cpu", "checkpoint_every": 2}

    def listen(progress):
        texts.extend([progress.text] if progress.phase == "begin" else [])
        if progress.step == 4 and progress.phase == "train" and len(texts) == 1:
            raise KeyboardInterrupt

    def run(cohort):
        return fit(cohort, make_loss(cohort), train, folder=run_folder, progress=listen,
                   **training_configs(options))  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        run(make_cohort())
    record = json.loads((run_folder / "precision.json").read_text())
    assert (record["dtype"], record["memory_format"], record["seconds"]["fp32 contiguous"]) == (
        "fp32", "contiguous", 0.5,
    )  # fmt: skip
    timings["fp32 contiguous"] = 9.0
    (run_folder / "precision.json").unlink()  # the checkpoint has a copy
    outcome = run(make_cohort())
    assert outcome.precision.memory_format == "contiguous"
    assert texts[0] == texts[1]
    assert texts[0].startswith("computes in fp32 contiguous (measured on 2 images: ")
    assert texts[0].endswith("on cpu with 1 thread")


def test_run_without_a_checkpoint_keeps_its_choice(make_cohort, make_loss, train, run_folder, timings, cache):
    def run(**options):
        cohort = make_cohort()
        return fit(cohort, make_loss(cohort), train, folder=run_folder, **training_configs({"steps": 1,
                   "batch_size": 3, "select_by": "last", "device": "cpu", **options})).precision  # fmt: skip

    (run_folder / "precision.json").write_text(
        json.dumps({"schema_version": 1, "dtype": "bf16", "memory_format": "contiguous", "source": "measured"})
    )
    assert run().dtype == "bf16"
    assert run(resume=False).dtype == "fp32"
