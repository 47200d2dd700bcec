"""From records to better, worse and not distinguishable: pairing, families, missing seeds, classes, ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from segmi.report.statistics_tables import baseline_name, compared_label
from segmi.statistics import compare, compare_classes, detectable_factor, estimates, pairings, rank_methods
from segmi.statistics.interaction import ranks_of

Make = Callable[..., Any]
BASE = {0: 0.50, 1: 0.56, 2: 0.53}


def shifted(by: tuple[float, float, float]) -> dict[int, float]:
    return {seed: value + step for (seed, value), step in zip(BASE.items(), by, strict=True)}


def test_pairs_by_seed_and_adjusts_over_the_whole_study(study_of: Make) -> None:
    study = study_of(
        {
            ("a", "base"): BASE,
            ("a", "good"): shifted((0.100, 0.101, 0.102)),
            ("a", "same"): shifted((0.01, -0.02, 0.02)),
            ("b", "base"): BASE,
            ("b", "good"): shifted((-0.100, -0.101, -0.102)),
            ("b", "same"): shifted((0.02, -0.01, 0.0)),
        }
    )
    found = {(one.pairing.dataset, one.pairing.method): one for one in compare(study)}
    assert list(found) == [("a", "good"), ("a", "same"), ("b", "good"), ("b", "same")]
    assert [one.verdict for one in found.values()] == ["better", "not distinguishable", "worse", "not distinguishable"]
    good = found["a", "good"]
    # The seeds' scores vary by 0.03, their differences by 0.001: t = 0.101 / (0.001 / √3).
    assert good.difference.p == pytest.approx(2 * stats.t.sf(0.101 * np.sqrt(3) / 0.001, 2))
    assert good.p_holm == pytest.approx(4 * good.difference.p)
    assert good.detectable == pytest.approx(0.001 * detectable_factor(3, 0.05 / 4))


def test_the_baseline_may_be_any_method(study_of: Make) -> None:
    scores = {("a", "first"): BASE, ("a", "second"): shifted((0.1, 0.11, 0.12))}
    (one,) = compare(study_of(scores, baseline="second"))
    assert (one.pairing.method, one.pairing.baseline) == ("first", "second")
    assert one.difference.mean == pytest.approx(-0.11)


def test_methods_on_several_networks_have_the_baseline_on_their_network(study_of: Make) -> None:
    names = ("ce-unet", "mi-unet", "ce-fpn", "mi-fpn")
    study = study_of(
        {("a", name): BASE for name in names},
        treatments={name: name[:2] for name in names},
        networks={name: name[3:] for name in names},
        baseline="ce-fpn",
    )
    assert [(p.method, p.baseline) for p in pairings(study)] == [("mi-unet", "ce-unet"), ("mi-fpn", "ce-fpn")]


def test_missing_and_failed_seeds_are_left_out_and_named(study_of: Make) -> None:
    study = study_of({("a", "base"): {0: 0.5, 1: 0.6, 2: 0.7}, ("a", "new"): {0: 0.6, 1: None}})
    (one,) = compare(study)
    assert one.pairing.seeds == (0,)
    assert one.pairing.left_out == {1: "new is failed", 2: "new is missing"}
    assert one.verdict == "no test: one seed"
    assert (one.difference.p, one.p_holm, one.detectable) == (None, None, None)
    assert one.difference.mean == pytest.approx(0.1)


def test_no_common_seed_and_identical_seeds(study_of: Make) -> None:
    study = study_of(
        {("a", "base"): {0: 0.5, 1: None}, ("a", "new"): {0: None, 1: 0.5}, ("b", "base"): BASE, ("b", "new"): BASE},
        seeds=(0, 1, 2),
    )
    assert [one.verdict for one in compare(study)] == ["no test: no seed", "no test: no spread"]


def test_untestable_comparisons_are_not_part_of_the_family(study_of: Make) -> None:
    study = study_of(
        {
            ("a", "base"): BASE,
            ("a", "new"): shifted((0.01, 0.02, 0.04)),
            ("b", "base"): {0: 0.5},
            ("b", "new"): {0: 0.6},
        }
    )
    tested, untested = compare(study)
    assert tested.p_holm == tested.difference.p
    assert untested.p_holm is None


def test_estimates(study_of: Make) -> None:
    first, second = estimates(study_of({("a", "base"): BASE, ("a", "new"): {0: 0.5}}))
    assert (first.n, first.mean, first.sd) == (3, pytest.approx(0.53), pytest.approx(0.03))
    half = stats.t.ppf(0.975, 2) * 0.03 / np.sqrt(3)
    assert first.interval == pytest.approx((0.53 - half, 0.53 + half))
    assert (second.n, second.sd, second.interval) == (1, None, None)


def test_classes_are_a_separate_family(study_of: Make) -> None:
    study = study_of({("a", "base"): BASE, ("a", "new"): shifted((0.05, 0.051, 0.052))})
    road, sky, gone = compare_classes(study, "a")
    assert [one.name for one in (road, sky, gone)] == ["road", "sky", "gone"]
    assert road.p_holm == pytest.approx(2 * (road.difference.p or 0))
    assert (road.verdict, gone.verdict, gone.difference.n) == ("better", "no test: no seed", 0)


def test_ranks_by_hand(study_of: Make) -> None:
    study = study_of({("a", "m"): {0: 0.5}, ("a", "n"): {0: 0.6}, ("b", "m"): {0: 0.7}, ("b", "n"): {0: None}})
    ranks = rank_methods(study)
    assert ranks.by_dataset == {"a": {"m": 2.0, "n": 1.0}}  # b lacks a method
    assert ranks.p is None


def test_friedman_with_enough_datasets() -> None:
    order = {"a": (0.3, 0.2, 0.1), "b": (0.6, 0.5, 0.1), "c": (0.9, 0.3, 0.2), "d": (0.4, 0.4, 0.1)}
    ranks = ranks_of({dataset: dict(zip("mno", row, strict=True)) for dataset, row in order.items()})
    assert ranks.by_dataset["d"] == {"m": 1.5, "n": 1.5, "o": 3.0}
    assert ranks.mean == {"m": 1.125, "n": 1.875, "o": 3.0}
    assert ranks.p == pytest.approx(stats.friedmanchisquare(*np.array(list(order.values())).T).pvalue)
    equal = ranks_of({dataset: dict.fromkeys("mno", 0.5) for dataset in order})
    assert (equal.p, equal.reason) == (None, "all methods are equal")


def test_methods_with_separate_baselines(study_of: Make) -> None:
    zero, one, two = ({seed: base + 0.001 * seed for seed in range(3)} for base in (0.5, 0.6, 0.4))
    study = study_of({("a", "m1"): zero, ("a", "m2"): one, ("a", "m2-defect"): two}, baselines={"m2-defect": "m2"})
    found = {c.pairing.method: (c.pairing.baseline, round(c.difference.mean, 3)) for c in compare(study)}
    assert found == {"m2": ("m1", 0.1), "m2-defect": ("m2", -0.2)}
    assert compared_label(study, "m2-defect") == "M2-DEFECT − M2"
    assert baseline_name(study) == "the baseline of each method"
