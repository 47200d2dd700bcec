"""Does the difference depend on where it is measured: against scipy, and on a study's records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from segmi.statistics import interactions
from segmi.statistics.interaction import equal_differences_p

ZERO = dict.fromkeys(range(3), 0.5)


def above(*steps: float) -> dict[int, float]:
    return {seed: 0.5 + step for seed, step in enumerate(steps)}


def test_two_contexts_give_welchs_test() -> None:
    first, second = np.array([0.01, 0.02, 0.05, 0.03]), np.array([0.0, -0.01, 0.02])
    assert equal_differences_p([first, second]) == pytest.approx(stats.ttest_ind(first, second, equal_var=False).pvalue)


def test_too_few_seeds_and_no_spread() -> None:
    assert equal_differences_p([np.array([0.1, 0.2]), np.array([0.1])]) is None
    assert equal_differences_p([np.array([0.1, 0.2])]) is None
    assert equal_differences_p([np.zeros(3), np.zeros(3)]) is None


def test_over_datasets(study_of: Callable[..., Any]) -> None:
    study = study_of(
        {
            ("a", "base"): ZERO, ("a", "here"): above(0.100, 0.101, 0.102), ("a", "all"): above(0.01, 0.03, 0.02),
            ("b", "base"): ZERO, ("b", "here"): above(0.001, 0.0, -0.001), ("b", "all"): above(0.02, 0.01, 0.03),
        }
    )  # fmt: skip
    here, everywhere = interactions(study, "dataset")
    assert (here.treatment, here.verdict) == ("here", "depends on the dataset")
    assert {name: round(d.mean, 4) for name, d in here.differences.items()} == {"a": 0.101, "b": 0.0}
    assert here.p_holm == pytest.approx(2 * (here.p or 0))
    assert everywhere.verdict == "no dependence shown"
    assert interactions(study, "network") == []


def test_over_networks(study_of: Callable[..., Any]) -> None:
    names = ("ce-unet", "mi-unet", "ce-fpn", "mi-fpn")
    values = {"mi-unet": above(0.1, 0.101, 0.102), "mi-fpn": above(-0.1, -0.101, -0.102)}
    study = study_of(
        {("a", name): values.get(name, ZERO) for name in names},
        treatments={name: name[:2] for name in names},
        networks={name: name[3:] for name in names},
    )
    (found,) = interactions(study, "network")
    assert (found.treatment, found.fixed, found.verdict) == ("mi", "a", "depends on the network")
    assert list(found.differences) == ["unet", "fpn"]


def test_one_seed_gives_no_test(study_of: Callable[..., Any]) -> None:
    one = {0: 0.5}
    (found,) = interactions(
        study_of({("a", "base"): one, ("a", "new"): one, ("b", "base"): one, ("b", "new"): one}), "dataset"
    )
    assert (found.p, found.verdict) == (None, "no test: too few seeds")
