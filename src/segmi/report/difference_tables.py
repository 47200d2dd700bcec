"""Tables of the scores over seeds and of the differences to the baseline, over retraining and on new images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from segmi.report.table import Cell, Row, Table
from segmi.statistics import LEVEL, PRIMARY, Comparison, NewImages, Pairing, StudyRuns, compare, estimates, least_p
from segmi.statistics.new_images import FEWEST_GROUPS, compare_on_new_images
from segmi.statistics.paired_tests import POWER

_PERCENT: Final = f"{100 * (1 - LEVEL):g} %"
_INTERVAL: Final = (f"{_PERCENT} interval", ("from", "to"))


def table_estimates(study: StudyRuns) -> Table:
    """Return mean, standard deviation and interval over seeds of every method on every dataset."""
    rows = []
    for cell in estimates(study):
        numbers = (cell.mean, cell.sd, *(cell.interval or (None, None)))
        shown = (_count(cell.n), *(Cell(value=number) for number in numbers))
        labels = (study.title(cell.dataset), study.plan.methods[cell.method])
        rows.append(Row(labels, shown, rule=cell.method == next(iter(study.plan.methods))))
    note = "sd: standard deviation over seeds (n − 1). interval: t interval of the expected score of a retraining."
    groups = (("", ("seeds", "mean", "sd")), _INTERVAL)
    return Table(f"{PRIMARY} over seeds.", ("dataset", "model"), groups, rows, (note,))


def table_statistics(study: StudyRuns) -> Table:
    """Return the comparison of every method with its baseline on every dataset, with seeds as the units."""
    comparisons = compare(study)
    rows = _rows(study, [one.pairing for one in comparisons], [_cells(one) for one in comparisons])
    tests = (("paired t", ("p", "Holm")), ("sign flip", ("p", "least")))
    groups = (("", ("seeds", "difference")), _INTERVAL, *tests, ("", ("effect", "detectable", "verdict")))
    title = f"Differences in {PRIMARY} to {baseline_name(study)}, expected over retraining on these images."
    return Table(title, ("dataset", "model"), groups, rows, _notes(comparisons))


def table_new_images(study: StudyRuns) -> Table:
    """Return the comparison of every method with its baseline on new images, with the networks fixed."""
    comparisons = compare_on_new_images(study)
    rows = _rows(study, [one.pairing for one in comparisons], [_new_cells(one) for one in comparisons])
    notes = (
        "A separate question: the networks are fixed (averaged over seeds) and the images are the sample. Whole "
        "groups (city, clip, patient) are drawn with replacement, never single frames; both methods score each draw.",
        f"The {_PERCENT} intervals are not adjusted for their number: of {len(comparisons)} intervals, "
        f"{LEVEL * len(comparisons):.2g} are expected to exclude 0 by chance. Fewer than {FEWEST_GROUPS} groups give "
        "no interval.",
    )
    groups = (("", ("groups", "images", "seeds", "difference")), _INTERVAL, ("", ("verdict",)))
    title = f"Differences in {PRIMARY} to {baseline_name(study)} on new images of the same kind."
    return Table(title, ("dataset", "model"), groups, rows, notes)


def baseline_name(study: StudyRuns) -> str:
    """Return the baseline in words."""
    others = [other for method in study.plan.methods if (other := study.plan.compared_with(method))]
    if study.plan.baselines:
        return "the baseline of each method"
    if study.plan.crossed and others:
        return f"{study.plan.treatment_of(others[0])} on the same network"
    return study.plan.methods[others[0]] if others else ""  # empty with one method


def compared_label(study: StudyRuns, method: str) -> str:
    """Return the label of a method, with the label of its baseline if methods have different baselines."""
    other = study.plan.compared_with(method)
    label = study.plan.methods[method]
    return f"{label} − {study.plan.methods[other]}" if study.plan.baselines and other else label


def p_cell(p: float | None) -> Cell:
    """Return a p value with three decimals.

    >>> p_cell(0.0421).plain(), p_cell(0.00001).plain(), p_cell(None).plain()
    ('0.042', '< 0.001', '–')
    """
    if p is None:
        return Cell()
    return Cell("< 0.001", is_text=True) if p < 0.0005 else Cell(value=p, digits=3)


def verdict_cell(verdict: str) -> Cell:
    """Return a verdict, in bold if a method differs or an effect depends on its context."""
    return Cell(verdict, is_text=True, bold=verdict.startswith(("better", "worse", "depends")))


def _rows(study: StudyRuns, pairs: Sequence[Pairing], cells: Sequence[tuple[Cell, ...]]) -> list[Row]:
    labels = [(study.title(pair.dataset), compared_label(study, pair.method)) for pair in pairs]
    rules = [i > 0 and pair.dataset != pairs[i - 1].dataset for i, pair in enumerate(pairs)]
    return [Row(*one) for one in zip(labels, cells, [False] * len(pairs), rules, strict=True)]


def _cells(one: Comparison) -> tuple[Cell, ...]:
    difference = one.difference
    low, high = difference.interval or (None, None)
    detectable = Cell("> 1", is_text=True) if one.detectable and one.detectable > 1 else Cell(value=one.detectable)
    least = least_p(difference.n) if difference.p_flip is not None else None
    return (
        _count(difference.n),
        *map(_signed, (difference.mean if difference.n else None, low, high)),
        *map(p_cell, (difference.p, one.p_holm, difference.p_flip, least)),
        Cell(value=difference.effect, digits=2, signed=True),
        detectable,
        verdict_cell(one.verdict),
    )


def _new_cells(one: NewImages) -> tuple[Cell, ...]:
    low, high = one.interval or (None, None)
    difference = None if math.isnan(one.difference) else one.difference
    counts = map(_count, (one.groups, one.images, len(one.pairing.seeds)))
    return (*counts, *map(_signed, (difference, low, high)), verdict_cell(one.verdict))


def _notes(comparisons: Sequence[Comparison]) -> list[str]:
    tests = sum(one.p_holm is not None for one in comparisons)
    seeds = sorted({one.difference.n for one in comparisons})
    notes = [
        "The unit is the seed: the run of a method is compared with the run of the baseline with the same seed, on the "
        "same images. New images are a separate question."
    ]
    if any(n < 2 for n in seeds):
        notes.append(
            "One seed gives no p value: a single difference has no spread, so the effect of the method cannot be "
            "separated from the effect of the seed. Add seeds and run the study again; finished runs are kept."
        )
    if tests:
        notes += _test_notes(tests, [n for n in seeds if n > 1])
    left_out = [
        f"{pair.dataset}/{pair.method} without " + ", ".join(f"seed {seed} ({why})" for seed, why in missing.items())
        for pair in (one.pairing for one in comparisons)
        if (missing := pair.left_out)
    ]
    only = f"Only seeds that finished in both methods are compared: {'; '.join(left_out)}."
    return [*notes, only] if left_out else notes


def _test_notes(tests: int, seeds: Sequence[int]) -> list[str]:
    family = f"adjusted over the {tests} comparisons of this table" if tests > 1 else "one comparison, not adjusted"
    blunt = [n for n in seeds if least_p(n) >= LEVEL]
    too_few = f" With {blunt[-1]} seeds it is above {LEVEL:g}, so the test is not conclusive." if blunt else ""
    return [
        f"paired t: two-sided test of the differences of the seeds. Holm: p value {family}. Better and worse require "
        f"Holm's p below {LEVEL:g}; not distinguishable does not mean equal.",
        f"sign flip: exact test without assumption of a normal distribution. least: its smallest possible p.{too_few}",
        "effect: mean difference in standard deviations of the differences of the seeds (Cohen's d_z with Hedges' "
        "correction), from three seeds on.",
        f"detectable: the smallest true difference that a repetition with as many new seeds finds with probability "
        f"{POWER:g} at the level {LEVEL:g}/{tests} (Holm's first step), including the uncertainty of the standard "
        "deviation.",
    ]


def _count(number: int) -> Cell:
    return Cell(value=number, digits=0)


def _signed(value: float | None) -> Cell:
    return Cell(value=value, signed=True)
