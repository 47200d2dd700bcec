"""The average of the weights, its selection and resumption; schedules over a time; patience; the estimate of a run."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from segmi.errors import UsageError
from segmi.training import Cohort, fit
from segmi.training.config import training_configs
from segmi.training.optimization import TIME_STEPS
from segmi.training.weight_average import EXPONENT, WeightAverage


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which every look at the time takes a quarter of a second."""
    times = itertools.count()
    module = SimpleNamespace(perf_counter=lambda: next(times) / 4)
    monkeypatch.setattr("segmi.training.session.time", module)


def run(make_cohort, make_loss, train, folder, holdout, *, progress=None, **settings):
    cohort = make_cohort(1)
    options = {"steps": 12, "batch_size": 3, "device": "cpu", "validate_every": 4, "checkpoint_every": 4, **settings}
    outcome = fit(cohort, make_loss(cohort), train, folder=folder, holdout=holdout, progress=progress,
                  **training_configs(options))  # fmt: skip
    return cohort, outcome


def test_average_has_the_stated_profile() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average = WeightAverage(Cohort({"layer": layer}))
    values = [3.0, -1.0, 2.0, 5.0]
    for step, value in enumerate(values, 1):
        with torch.no_grad():
            layer.weight.fill_(value)
        average.update(step)
    expected = 0.0  # the recursion of the docstring, in plain numbers
    for step, value in enumerate(values, 1):
        decay = (1 - 1 / step) ** (EXPONENT + 1)
        expected = decay * expected + (1 - decay) * value
    assert average.values["networks.layer.weight"].item() == pytest.approx(expected)
    with average.applied():
        assert layer.weight.item() == pytest.approx(expected)
    assert layer.weight.item() == 5.0


def test_width_of_the_average_is_a_tenth_of_the_run() -> None:
    steps, share = 2000, np.zeros(2000)
    for step in range(1, steps + 1):
        decay = (1 - 1 / step) ** (EXPONENT + 1)
        share *= decay
        share[step - 1] = 1 - decay
    position = np.arange(1, steps + 1) / steps
    mean = (share * position).sum()
    assert np.sqrt((share * (position - mean) ** 2).sum()) == pytest.approx(0.1, abs=0.001)


def test_the_better_of_weights_and_average_is_kept(make_cohort, make_loss, train, val, run_folder) -> None:
    cohort, outcome = run(
        make_cohort, make_loss, train, run_folder, val, weight_average=True, steps=24, learning_rate=0.1
    )
    scores = {
        (row["step"], kind): row[f"{kind}/mIoU/net0"] for row in outcome.history for kind in ("holdout", "average")
    }
    assert outcome.best_score == max(scores.values())
    assert any(scores[step, "average"] != scores[step, "holdout"] for step, _ in scores)
    assert (outcome.best_step, outcome.best_score) in [(step, score) for (step, _), score in scores.items()]
    best = load_file(run_folder / "checkpoints" / "best.safetensors")
    assert all(torch.equal(value, best[name]) for name, value in cohort.state_dict().items())


def test_average_resumes_bit_identically(make_cohort, make_loss, train, val, tmp_path, stop_at) -> None:
    options = {"weight_average": True, "schedule": "PolynomialLR", "warmup_steps": 2}
    _, whole = run(make_cohort, make_loss, train, tmp_path / "whole", val, **options)
    with pytest.raises(KeyboardInterrupt):
        run(make_cohort, make_loss, train, tmp_path / "parts", val, progress=stop_at(6), **options)
    _, resumed = run(make_cohort, make_loss, train, tmp_path / "parts", val, **options)
    assert resumed.history == whole.history


def test_schedule_spans_a_budget_in_minutes(make_cohort, make_loss, train, val, run_folder, clock) -> None:
    _, outcome = run(
        make_cohort, make_loss, train, run_folder, val, steps=None, minutes=1, validate_every=1, learning_rate=1.0,
        optimizer="SGD", schedule="PolynomialLR", warmup_steps=TIME_STEPS // 4, optimizer_options={},
    )  # fmt: skip
    rates = [row["learning_rate"] for row in outcome.history]
    top = int(np.argmax(rates))
    assert rates[0] < 0.25
    assert 0.9 < rates[top] <= 1
    assert rates[-1] < 0.02  # at the end of the time, whatever the number of steps
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_validations_take_a_twentieth_of_a_budget_in_minutes(
    make_cohort, make_loss, train, val, run_folder, clock
) -> None:  # fmt: skip
    _, outcome = run(make_cohort, make_loss, train, run_folder, val, steps=None, minutes=1, validate_every=None)
    assert 5 <= len(outcome.history) <= 11 < outcome.steps


def test_patience_ends_a_run_without_progress(make_cohort, make_loss, train, val, run_folder) -> None:
    options = {"steps": 100, "validate_every": 2, "patience": 3, "learning_rate": 1e-9}
    _, outcome = run(make_cohort, make_loss, train, run_folder, val, **options)
    assert outcome.steps == outcome.best_step + 6 < 100  # three rows of two steps
    _, again = run(make_cohort, make_loss, train, run_folder, val, **options)  # and stays ended
    assert again.steps == outcome.steps
    with pytest.raises(UsageError, match="patience 3 needs a score, got select_by last"):
        run(make_cohort, make_loss, train, run_folder, None, patience=3, select_by="last")
    with pytest.raises(UsageError, match="weight_average is compared with the weights"):
        run(make_cohort, make_loss, train, run_folder, None, weight_average=True, select_by="train_loss")


def test_estimate_changes_nothing_but_is_reported(make_cohort, make_loss, train, val, tmp_path) -> None:
    texts: list[str] = []
    _, plain = run(make_cohort, make_loss, train, tmp_path / "plain", val)
    _, outcome = run(
        make_cohort, make_loss, train, tmp_path / "estimate", val, estimate=True,
        progress=lambda news: texts.append(news.text),
    )  # fmt: skip
    assert outcome.history == plain.history
    (text,) = [text for text in texts if text.startswith("a step of 3 images takes ")]
    assert "about 12 steps, 4.0 epochs, in " in text
