"""The profile: parts that add up, and no cost if it is disabled."""

from __future__ import annotations

import json
import time

import pytest
import torch

from segmi.training import fit, training_configs
from segmi.training.profile import PARTS, UNTIMED, Profile


def test_parts_add_up():
    profile = Profile(torch.device("cpu"))
    with profile.part("forward"):
        time.sleep(0.2)  # before measuring starts
    profile.step_done()
    with profile.part("data"):
        time.sleep(0.03)
    for _ in range(2):
        with profile.part("backward"):
            time.sleep(0.02)
        profile.step_done()
    time.sleep(0.03)
    profile.collect()
    summary = profile.summary()
    parts = {row["part"]: row for row in summary["parts"]}
    assert list(parts) == [*PARTS, "other"]
    assert summary["steps"] == 2
    assert sum(row["share"] for row in parts.values()) == pytest.approx(1)
    assert sum(row["seconds"] for row in parts.values()) == pytest.approx(summary["seconds"])
    assert parts["forward"]["seconds"] == 0
    assert parts["data"]["seconds"] >= 0.03
    assert parts["backward"]["seconds"] >= 0.04
    assert parts["other"]["seconds"] >= 0.029
    assert parts["backward"]["ms_per_step"] == pytest.approx(500 * parts["backward"]["seconds"])


def test_disabled_profile_measures_nothing():
    with UNTIMED.part("forward"):
        pass
    UNTIMED.step_done()
    assert UNTIMED.summary()["seconds"] == 0


def test_profile_of_a_single_step_is_empty():
    assert {row["share"] for row in Profile(torch.device("cpu")).summary()["parts"]} == {0.0}


@pytest.mark.parametrize("asked", [True, False])
def test_profile_is_written_if_enabled(make_cohort, make_loss, train, val, run_folder, asked):
    cohort = make_cohort(2)
    fit(cohort, make_loss(cohort, cross_entropy={}, mutual_learning={}), train, folder=run_folder, holdout=val,
        **training_configs({"steps": 4, "batch_size": 3, "device": "cpu", "checkpoint_every": 2, "accumulate": 2,
                            "profile": asked}))  # fmt: skip
    path = run_folder / "profile.json"
    assert path.exists() == asked
    if asked:
        summary = json.loads(path.read_text())
        assert summary["steps"] == 3
        parts = {row["part"]: row["seconds"] for row in summary["parts"]}
        assert all(parts[name] > 0 for name in PARTS)


def test_resumed_run_profiles_its_own_session(make_cohort, make_loss, train, run_folder, stop_at):
    def run(**settings):
        cohort = make_cohort()
        fit(cohort, make_loss(cohort), train, folder=run_folder, **settings, **training_configs({"steps": 6,
            "batch_size": 3, "device": "cpu", "select_by": "last", "checkpoint_every": 2,
            "profile": True}))  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        run(progress=stop_at(3))
    run()
    assert json.loads((run_folder / "profile.json").read_text())["steps"] == 3  # without the first step of the session
