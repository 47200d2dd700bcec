"""What is known of the differences between methods: over retraining on these images, and on new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from segmi.report.table import Cell, Row, Table
from segmi.report.table1 import title_of
from segmi.statistics import LEVEL, POWER, PRIMARY, StudyRuns, compare, compare_on_new_images, estimates, least_p
from segmi.statistics.differences import Comparison
from segmi.statistics.new_images import FEWEST_GROUPS, NewImages
from segmi.statistics.pairing import Pairing

_PERCENT: Final = f"{100 * (1 - LEVEL):g} %"
_INTERVAL: Final = (f"{_PERCENT} interval", ("from", "to"))


def table_estimates(study: StudyRuns) -> Table:
    """Every method on every dataset: mean, standard deviation and interval over seeds."""
    rows = []
    for cell in estimates(study):
        low, high = cell.interval or (None, None)
        shown = (_count(cell.n), Cell(value=cell.mean), Cell(value=cell.sd), Cell(value=low), Cell(value=high))
        labels = (title_of(study, cell.dataset), study.plan.methods[cell.method])
        rows.append(Row(labels, shown, rule=cell.method == next(iter(study.plan.methods))))
    note = "sd: standard deviation over seeds (n − 1). The interval holds the expected score of a retraining, by the t "
    return Table(
        f"{PRIMARY} over seeds.",
        ("dataset", "model"),
        (("", ("seeds", "mean", "sd")), _INTERVAL),
        rows,
        (note + "distribution.",),
    )


def table_comparison(study: StudyRuns) -> Table:
    """Every method against the baseline on every dataset, with the seed as the unit."""
    found = compare(study)
    rows = [
        Row(_labels(study, one.pairing), _cells(one), rule=_first_of_its_data_set(i, [c.pairing for c in found]))
        for i, one in enumerate(found)
    ]
    groups = (
        ("", ("seeds", "difference")),
        _INTERVAL,
        ("paired t", ("p", "Holm")),
        ("sign flip", ("p", "least")),
        ("", ("effect", "detectable", "verdict")),
    )
    title = f"Differences in {PRIMARY} to {baseline_name(study)}, expected over retraining on these images."
    return Table(title, ("dataset", "model"), groups, rows, _notes(study, found))


def table_new_images(study: StudyRuns) -> Table:
    """Every method against the baseline on new images of the same kind, the trained networks fixed."""
    found = compare_on_new_images(study)
    rows = [
        Row(_labels(study, one.pairing), _new_cells(one), rule=_first_of_its_data_set(i, [c.pairing for c in found]))
        for i, one in enumerate(found)
    ]
    notes = (
        "A separate statement: the networks stay as they were trained (their seeds averaged), the images are the "
        "sample. Whole groups (city, clip, patient) are drawn with replacement, never single frames, and each draw is "
        "scored by both methods.",
        f"Each interval stands for itself at {_PERCENT}, not adjusted for their number: of {len(found)} it is expected "
        f"that {LEVEL * len(found):.2g} leave out 0 by chance. Fewer than {FEWEST_GROUPS} groups give none.",
    )
    groups = (("", ("groups", "images", "seeds", "difference")), _INTERVAL, ("", ("verdict",)))
    title = f"Differences in {PRIMARY} to {baseline_name(study)} on new images of the same kind."
    return Table(title, ("dataset", "model"), groups, rows, notes)


def baseline_name(study: StudyRuns) -> str:
    """What the methods are compared with, in words."""
    others = [other for method in study.plan.methods if (other := study.plan.compared_with(method))]
    if study.plan.baselines:
        return "what each is compared with"
    if study.plan.crossed and others:
        return f"{study.plan.treatment_of(others[0])} on the same network"
    return study.plan.methods[others[0]] if others else ""


def compared_label(study: StudyRuns, method: str) -> str:
    """A method's label, with that of what it is compared with where methods have baselines of their own."""
    other = study.plan.compared_with(method)
    label = study.plan.methods[method]
    return f"{label} − {study.plan.methods[other]}" if study.plan.baselines and other else label


def p_cell(p: float | None) -> Cell:
    """A p value to three decimals.

    >>> p_cell(0.0421).plain(), p_cell(0.00001).plain(), p_cell(None).plain()
    ('0.042', '< 0.001', '–')
    """
    if p is None:
        return Cell()
    return Cell("< 0.001", stated=True) if p < 0.0005 else Cell(value=p, digits=3)


def _cells(one: Comparison) -> tuple[Cell, ...]:
    found = one.difference
    low, high = found.interval or (None, None)
    detectable = Cell("> 1", stated=True) if one.detectable and one.detectable > 1 else Cell(value=one.detectable)
    return (
        _count(found.n),
        _signed(found.mean if found.n else None),
        _signed(low),
        _signed(high),
        p_cell(found.p),
        p_cell(one.p_holm),
        p_cell(found.p_flip),
        p_cell(least_p(found.n) if found.p_flip is not None else None),
        Cell(value=found.effect, digits=2, signed=True),
        detectable,
        Cell(one.verdict, stated=True, bold=one.verdict in ("better", "worse")),
    )


def _new_cells(one: NewImages) -> tuple[Cell, ...]:
    low, high = one.interval or (None, None)
    return (
        _count(one.groups),
        _count(one.images),
        _count(len(one.pairing.seeds)),
        _signed(one.difference if one.difference == one.difference else None),
        _signed(low),
        _signed(high),
        Cell(one.verdict, stated=True, bold=one.verdict in ("better", "worse")),
    )


def _notes(study: StudyRuns, found: Sequence[Comparison]) -> list[str]:
    tests = sum(one.p_holm is not None for one in found)
    seeds = sorted({one.difference.n for one in found})
    notes = [
        "The unit is the seed: a method's run is compared with the baseline's run of the same seed, on images that "
        "stay the same. Whether it would hold on other images is another question.",
    ]
    if any(n < 2 for n in seeds):
        notes.append(
            "One seed gives no p: a single difference has no spread, so nothing tells the method's part in it from the "
            "seed's. Add seeds to the study and run it again; what is finished stays."
        )
    if tests:
        notes += _test_notes(tests, [n for n in seeds if n > 1])
    return notes + _left_out(found)


def _test_notes(tests: int, seeds: Sequence[int]) -> list[str]:
    family = (
        f"adjusted over the {tests} comparisons of this table" if tests > 1 else "one comparison, nothing to adjust"
    )
    blunt = [n for n in seeds if least_p(n) >= LEVEL]
    silent = f" With {blunt[-1]} seeds that is above {LEVEL:g} and says nothing by itself." if blunt else ""
    return [
        f"paired t: of the seeds' differences, two-sided. Holm: {family}. Better and worse ask for Holm's p below "
        f"{LEVEL:g}; everything else is not distinguishable, which is not the same as equal.",
        "sign flip: the exact test that assumes no normal distribution; least is the smallest p that so many seeds can "
        f"reach.{silent}",
        "effect: the mean difference in standard deviations of the seeds' differences (Cohen's d_z with Hedges' "
        "correction), from three seeds on.",
        f"detectable: the smallest true difference that a repetition with as many new seeds would find in "
        f"{100 * POWER:g} of 100 cases at the level {LEVEL:g}/{tests} (Holm's first step), the uncertainty of the "
        "standard deviation included.",
    ]


def _left_out(found: Sequence[Comparison]) -> list[str]:
    lines = [
        f"{one.pairing.dataset}/{one.pairing.method} without "
        + ", ".join(f"seed {seed} ({reason})" for seed, reason in one.pairing.left_out.items())
        for one in found
        if one.pairing.left_out
    ]
    return [f"Only seeds that finished in both methods are compared: {'; '.join(lines)}."] if lines else []


def _labels(study: StudyRuns, pairing: Pairing) -> tuple[str, str]:
    return title_of(study, pairing.dataset), compared_label(study, pairing.method)


def _first_of_its_data_set(index: int, pairs: Sequence[Pairing]) -> bool:
    return index > 0 and pairs[index].dataset != pairs[index - 1].dataset


def _count(number: int) -> Cell:
    return Cell(value=number, digits=0)


def _signed(value: float | None) -> Cell:
    return Cell(value=value, signed=True)
