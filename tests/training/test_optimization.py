"""Learning rates of single schedulers, sequences and warm-up: per step against formulas, resumed, and refused."""

from __future__ import annotations

import itertools
import math

import pytest
from torch import nn
from torch.optim import SGD, lr_scheduler

from segmi.errors import UsageError
from segmi.training import fit, training_configs
from segmi.training.optimization import SCHEDULES, TIME_STEPS, build_schedule

OPTIONS = {
    "StepLR": {"step_size": 2},
    "MultiStepLR": {"milestones": [2, 4]},
    "ExponentialLR": {"gamma": 0.9},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3},
}


def sgd(learning_rate: float = 0.1) -> SGD:
    return SGD(nn.Linear(1, 1).parameters(), lr=learning_rate)


def rates(schedule, steps, *, options=None, state=None, stop=None, **settings):
    """Return the learning rates of all steps, and the state of optimizer and scheduler after ``stop`` steps."""
    optimizer = sgd()
    scheduler = build_schedule(optimizer, schedule, steps, options, **settings)
    done, kept = 0, None
    if state is not None:
        done = state[0]
        optimizer.load_state_dict(state[1])
        scheduler.load_state_dict(state[2])
    result = []
    for step in range(done, steps):
        if step == stop:
            kept = (step, optimizer.state_dict(), scheduler.state_dict())
            break
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return result, kept


def test_warmup_and_polynomial_decay_follow_the_formula():
    result, _ = rates("PolynomialLR", 50, options={"power": 0.9}, warmup_steps=10)
    expected = [0.1 * t / 11 for t in range(1, 11)] + [0.1 * (1 - t / 40) ** 0.9 for t in range(40)]
    assert result == pytest.approx(expected, rel=1e-12)


def test_warmup_and_cosine_decay_follow_the_formula():
    result, _ = rates("CosineAnnealingLR", 30, warmup_steps=1)
    expected = [0.05] + [0.05 * (1 + math.cos(math.pi * t / 29)) for t in range(29)]
    assert result == pytest.approx(expected, rel=1e-12)


def test_a_sequence_follows_the_formula():
    sequence = [
        {"name": "LinearLR", "steps": 4, "start_factor": 0.2},
        {"name": "constant", "steps": 3},
        {"name": "PolynomialLR", "power": 2.0},
    ]
    result, _ = rates(sequence, 12)
    linear, flat, decay = [0.02, 0.04, 0.06, 0.08], [0.1] * 3, [0.1 * (1 - t / 5) ** 2 for t in range(5)]
    assert result == pytest.approx(linear + flat + decay, rel=1e-12)
    warm, _ = rates(sequence, 14, warmup_steps=2)
    warm_decay = [0.1 * (1 - t / 5) ** 2 for t in range(5)]
    assert warm == pytest.approx([0.1 / 3, 0.2 / 3, *linear, *flat, *warm_decay], rel=1e-12)


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name not in ("OneCycleLR", "CyclicLR")])
def test_after_the_warmup_each_schedule_is_the_one_without(name):
    plain, _ = rates(name, 12, options=OPTIONS.get(name))
    warm, _ = rates(name, 17, options=OPTIONS.get(name), warmup_steps=5)
    assert warm[5:] == plain
    assert warm[:5] == pytest.approx([0.1 * t / 6 for t in range(1, 6)], rel=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_without_warmup_each_schedule_is_that_of_pytorch(name):
    lengths = {"CosineAnnealingLR": {"T_max": 12}, "OneCycleLR": {"total_steps": 12, "max_lr": 0.1}}
    lengths |= {kind: {"total_iters": 12} for kind in ("ConstantLR", "LinearLR", "PolynomialLR")}
    optimizer, options = sgd(), {**OPTIONS.get(name, {}), **lengths.get(name, {})}
    scheduler = getattr(lr_scheduler, name)(optimizer, **options)
    expected = []
    for _ in range(12):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates(name, 12, options=OPTIONS.get(name))[0] == expected


@pytest.mark.parametrize("stop", [1, 3, 4, 5, 8, 9, 10, 13])
@pytest.mark.parametrize("last", ["PolynomialLR", "CosineAnnealingLR", "constant", "ExponentialLR"])
def test_a_resumed_schedule_has_the_same_rates(stop, last):
    sequence = [{"name": "LinearLR", "steps": 5}, {"name": last, **OPTIONS.get(last, {})}]
    whole, _ = rates(sequence, 16, warmup_steps=4)
    first, state = rates(sequence, 16, warmup_steps=4, stop=stop)
    rest, _ = rates(sequence, 16, warmup_steps=4, state=state)
    assert first + rest == whole


def test_run_resumed_in_its_warmup_is_bit_identical(make_cohort, make_loss, train, tmp_path, stop_at):
    settings = {"steps": 10, "batch_size": 3, "select_by": "last", "device": "cpu", "checkpoint_every": 2,
                "validate_every": 1, "schedule": "PolynomialLR", "warmup_steps": 6}  # fmt: skip

    def run(folder, progress=None):
        cohort = make_cohort()
        outcome = fit(cohort, make_loss(cohort), train, folder=folder, progress=progress, **training_configs(settings))
        return [value.numpy().tobytes() for value in cohort.state_dict().values()], outcome.history

    whole, history = run(tmp_path / "straight")
    # a row has the learning rate of the next step
    expected = [0.001 * t / 7 for t in range(2, 7)] + [0.001 * (1 - t / 4) for t in range(5)]
    assert [row["learning_rate"] for row in history] == pytest.approx(expected, rel=1e-12, abs=1e-12)
    for step in (3, 5, 7):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped", stop_at(step))
    assert run(tmp_path / "stopped") == (whole, history)


def test_a_constant_rate_needs_no_scheduler():
    assert build_schedule(sgd(), "constant", 10) is None
    assert build_schedule(sgd(), [{"name": "constant"}], None) is None
    assert rates("constant", 5, warmup_steps=2)[0] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, 0.1, 0.1])


def test_a_schedule_without_length_works_with_warmup_and_a_budget_in_minutes():
    scheduler = build_schedule(sgd(), "ExponentialLR", TIME_STEPS, {"gamma": 0.5}, warmup_steps=1)
    result = []
    for _ in itertools.repeat(None, 3):
        result.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    assert result == pytest.approx([0.05, 0.1, 0.05])


@pytest.mark.parametrize(
    ("schedule", "settings", "message"),
    [
        ("cosine", {}, "unknown schedule 'cosine'"),
        ("constant", {"options": {"x": 1}}, "schedule constant takes no options, got 'x'"),
        ("PolynomialLR", {"options": {"powr": 1}}, "did you mean 'power'"),
        ("StepLR", {}, "schedule StepLR refuses its options"),
        ("constant", {"warmup_steps": -1}, "expected at least 0, got -1"),
        ("constant", {"warmup_steps": 10}, "schedule constant starts after step 10, but the run has only 10 steps"),
        ("OneCycleLR", {"warmup_steps": 1}, "OneCycleLR sets the initial learning rate"),
        ([], {}, "expected at least one scheduler"),
        ([{"name": "LinearLR", "steps": 5}, {"name": "cosine"}], {}, "unknown schedule 'cosine'"),
        (
            [{"name": "LinearLR"}, {"name": "constant"}],
            {},
            "LinearLR: expected steps of at least 1, got None",
        ),
        ([{"name": "LinearLR", "steps": 0}, {"name": "constant"}], {}, "expected steps of at least 1, got 0"),
        ([{"steps": 5}, {"name": "constant"}], {}, "scheduler 1 of 2: expected a name, got None"),
        ([{"name": "LinearLR", "steps": 5}], {}, "the last one ends with the run, got steps: 5"),
        ([{"name": "LinearLR", "steps": 12}, {"name": "constant"}], {}, "starts after step 12"),
        ([{"name": "constant"}], {"options": {"power": 1}}, "schedule_options is for a single scheduler"),
    ],
)
def test_invalid_schedules_are_refused(schedule, settings, message):
    settings = {"steps": 10, **settings}
    with pytest.raises(UsageError, match=message):
        build_schedule(sgd(), schedule, settings.pop("steps"), settings.pop("options", None), **settings)
