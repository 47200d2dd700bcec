"""Tables of the statistical comparison: differences to the baseline, and by dataset, network, class and rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from segmi import statistics
from segmi.report.study_notes import notes_on_differences
from segmi.report.table import Cell, Row, Table
from segmi.report.table1 import count_cell
from segmi.statistics import LEVEL, PRIMARY, Comparison, Difference, NewImages, Over, Pairing, StudyRuns
from segmi.statistics.new_images import FEWEST_GROUPS

PATTERNS: Final = (
    "statistics.*", "over_datasets.*", "estimates.*",
    "new_images.*", "interaction_*", "ranks.*", "class_differences_*", "table_details.*",
)  # fmt: skip
"""File names of tables that a later report may not have."""

_PERCENT: Final = f"{100 * (1 - LEVEL):g} %"
_INTERVAL: Final = (f"{_PERCENT} interval", ("from", "to"))


class NamedTable(NamedTuple):
    """Table on the page: its file name, its heading, and whether it is collapsed at first."""

    name: str
    heading: str
    table: Table
    collapsed: bool


def statistics_tables(study: StudyRuns) -> list[NamedTable]:
    """Return the tables of the comparison of methods; empty with one method or without results."""
    if not statistics.pairings(study) or not study.results:
        return []
    tables: list[tuple[str, str, Table | None, bool]] = [
        ("statistics", "Differences to the baseline over retraining", table_statistics(study), False),
        ("over_datasets", "Mean differences over datasets", table_over_datasets(study), False),
        ("new_images", "Differences to the baseline on new images", table_new_images(study), False),
        ("interaction_datasets", "Dependence on the dataset", table_interaction(study, "dataset"), False),
        ("interaction_networks", "Dependence on the network", table_interaction(study, "network"), False),
        ("ranks", "Ranks over datasets", table_ranks(study), False),
        ("estimates", "Scores over seeds", table_estimates(study), True),
    ]
    for dataset in study.plan.datasets:
        heading = f"Differences per class: {study.title(dataset)}"
        tables.append((f"class_differences_{dataset}", heading, table_class_differences(study, dataset), True))
    return [NamedTable(name, heading, table, collapsed) for name, heading, table, collapsed in tables if table]


def remove_stale_tables(folder: Path, current: list[NamedTable]) -> None:
    """Remove the tables of an earlier report that the current report does not have."""
    names = {one.name for one in current}
    for path in (path for pattern in PATTERNS for path in folder.glob(pattern)):
        if path.stem not in names:
            path.unlink()


def table_estimates(study: StudyRuns) -> Table:
    """Return mean, standard deviation and interval over seeds of every method on every dataset."""
    rows = []
    for cell in statistics.estimates(study):
        numbers = (cell.mean, cell.sd, *(cell.interval or (None, None)))
        shown = (_count(cell.n), *(Cell(value=number) for number in numbers))
        labels = (study.title(cell.dataset), study.plan.methods[cell.method])
        rows.append(Row(labels, shown, rule=cell.method == next(iter(study.plan.methods))))
    note = "sd: standard deviation over seeds (n − 1). interval: t interval of the expected score of a retraining."
    groups = (("", ("seeds", "mean", "sd")), _INTERVAL)
    return Table(f"{PRIMARY} over seeds.", ("dataset", "model"), groups, rows, (note,))


def table_statistics(study: StudyRuns) -> Table:
    """Return the comparison of every method with its baseline on every dataset, with seeds as the units."""
    comparisons = statistics.compare(study)
    rows = _rows(study, [one.pairing for one in comparisons], [_cells(one) for one in comparisons])
    tests = (("paired t", ("p", "Holm")), ("sign flip", ("p", "least")))
    improvement = ("P(improvement)", ("estimate", "from", "to"))
    last = ("", ("effect", "detectable", "equivalent, p", "verdict"))
    groups = (("", ("seeds", "difference")), _INTERVAL, *tests, improvement, last)
    title = f"Differences in {PRIMARY} to {baseline_name(study)}, expected over retraining on these images."
    return Table(title, ("dataset", "model"), groups, rows, notes_on_differences(comparisons))


def table_over_datasets(study: StudyRuns) -> Table | None:
    """Return the mean difference of every treatment over datasets; None with fewer than three datasets."""
    rows = []
    for one in statistics.pool_datasets(study):
        label = compared_label(study, one.treatment) if one.treatment in study.plan.methods else one.treatment
        low, high = one.pooled.interval or (None, None)
        cells = (
            _count(one.pooled.n), *map(_signed, (one.pooled.mean, low, high)), p_cell(one.pooled.p), p_cell(one.p_holm),
            Cell(value=one.tau), Cell(value=one.i2, digits=2), verdict_cell(one.verdict),
        )  # fmt: skip
        rows.append(Row((label, one.network) if one.network else (label,), cells))
    if not rows:
        return None
    notes = (
        "The unit is the dataset: mean over datasets of the differences of the table above, each dataset with equal "
        "weight, with a t interval and test. Holm: p value adjusted over the rows.",
        "tau: standard deviation of the expected difference between datasets. I2: share of the variance between the "
        "datasets' means that the seeds do not explain.",
    )
    groups = (("", ("datasets", "difference")), _INTERVAL, ("t", ("p", "Holm")), ("", ("tau", "I2", "verdict")))
    title = f"Mean difference in {PRIMARY} to {baseline_name(study)} over datasets."
    return Table(title, ("model", "network")[: len(rows[0].labels)], groups, rows, notes)


def table_new_images(study: StudyRuns) -> Table:
    """Return the comparison of every method with its baseline on new images, with the networks fixed."""
    comparisons = statistics.compare_on_new_images(study)
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


def table_interaction(study: StudyRuns, over: Over) -> Table | None:
    """Return treatments as rows, datasets or networks as columns; None with a single dataset or network."""
    tests = statistics.interactions(study, over)
    if not tests:
        return None
    contexts = list(dict.fromkeys(context for one in tests for context in one.differences))
    names = tuple(study.title(c) if over == "dataset" else c for c in contexts)
    fixed = any(one.fixed for one in tests)
    other = "network" if over == "dataset" else "dataset"
    rows = []
    for one in tests:
        label = compared_label(study, one.treatment) if one.treatment in study.plan.methods else one.treatment
        shared_by_all = study.title(one.fixed) if over == "network" else one.fixed
        cells = [_difference(one.differences.get(context)) for context in contexts]
        cells += [p_cell(one.p), p_cell(one.p_holm), verdict_cell(one.verdict)]
        rows.append(Row((label, shared_by_all) if fixed else (label,), tuple(cells)))
    shared = " Networks of a seed share the order of the images, which makes the test conservative."
    notes = (
        "Mean ± standard deviation of the differences of the seeds. p: test of equal expected differences on every "
        f"{over}, the analysis of variance of Brown and Forsythe with separate variances (with two columns, Welch's t "
        f"test).{shared if over == 'network' else ''} Holm: p value adjusted over the rows.",
    )
    title = f"Dependence of the difference to {baseline_name(study)} in {PRIMARY} on the {over}."
    groups = (("difference on", names), ("equal differences", ("p", "Holm")), ("", ("verdict",)))
    return Table(title, ("model", *((other,) if fixed else ())), groups, rows, notes)


def table_ranks(study: StudyRuns) -> Table | None:
    """Return methods as rows and their rank on every dataset; None with fewer than two datasets."""
    ranks = statistics.rank_methods(study)
    if len(ranks.by_dataset) < 2:
        return None
    columns = [*ranks.by_dataset.values(), ranks.mean]
    rows = [
        Row((label,), tuple(count_cell(Cell(value=c[method])) for c in columns))
        for method, label in study.plan.methods.items()
    ]
    test = f"Friedman's test of equal ranks: p = {p_cell(ranks.p).plain()}" if ranks.reason is None else ranks.reason
    note = f"By mean {PRIMARY} over seeds; 1 is the best. {test[0].upper()}{test[1:]}."
    titles = tuple(study.title(dataset) for dataset in ranks.by_dataset)
    return Table("Ranks over datasets.", ("model",), (("rank on", titles), ("", ("mean rank",))), rows, (note,))


def table_class_differences(study: StudyRuns, dataset: str) -> Table | None:
    """Return classes as rows, methods as columns: differences in IoU to the baseline; None without a common seed."""
    comparisons = statistics.compare_classes(study, dataset)
    if not comparisons:
        return None
    methods = list(dict.fromkeys(one.pairing.method for one in comparisons))
    by_cell = {(one.pairing.method, one.name): one for one in comparisons}
    rows = []
    for name in dict.fromkeys(one.name for one in comparisons):
        cells: list[Cell] = []
        for method in methods:
            one = by_cell[method, name]
            bold = one.verdict in ("better", "worse")
            cells += [_difference(one.difference, len(one.pairing.seeds), bold=bold), p_cell(one.p_holm)]
        rows.append(Row((name,), tuple(cells)))
    groups = tuple((compared_label(study, method), ("difference", "Holm")) for method in methods)
    notes = (
        "Exploratory: shows which classes differ; whether a method differs is decided by the mIoU. Holm: p value of "
        f"the paired t test, adjusted over all classes and models of this table; bold below {LEVEL:g}.",
    )
    title = f"Differences in IoU per class to {baseline_name(study)} on {study.title(dataset)}."
    return Table(title, ("class",), groups, rows, notes)


def _rows(study: StudyRuns, pairs: Sequence[Pairing], cells: Sequence[tuple[Cell, ...]]) -> list[Row]:
    labels = [(study.title(pair.dataset), compared_label(study, pair.method)) for pair in pairs]
    rules = [i > 0 and pair.dataset != pairs[i - 1].dataset for i, pair in enumerate(pairs)]
    return [Row(*one) for one in zip(labels, cells, [False] * len(pairs), rules, strict=True)]


def _cells(one: Comparison) -> tuple[Cell, ...]:
    difference = one.difference
    low, high = difference.interval or (None, None)
    detectable = Cell("> 1", is_text=True) if one.detectable and one.detectable > 1 else Cell(value=one.detectable)
    improvement = (difference.improvement, *(difference.improvement_interval or (None, None)))
    least = statistics.least_p(difference.n) if difference.p_flip is not None else None
    return (
        _count(difference.n),
        *map(_signed, (difference.mean if difference.n else None, low, high)),
        *map(p_cell, (difference.p, one.p_holm, difference.p_flip, least)),
        *(Cell(value=p, digits=2) for p in improvement),
        Cell(value=difference.effect, digits=2, signed=True),
        detectable,
        p_cell(difference.p_equivalent),
        verdict_cell(one.verdict),
    )


def _new_cells(one: NewImages) -> tuple[Cell, ...]:
    low, high = one.interval or (None, None)
    difference = None if math.isnan(one.difference) else one.difference
    counts = map(_count, (one.groups, one.images, len(one.pairing.seeds)))
    return (*counts, *map(_signed, (difference, low, high)), verdict_cell(one.verdict))


def _count(number: int) -> Cell:
    return Cell(value=number, digits=0)


def _signed(value: float | None) -> Cell:
    return Cell(value=value, signed=True)


def _difference(one: Difference | None, planned: int = 0, *, bold: bool = False) -> Cell:
    if one is None or not one.n:
        return Cell()
    return Cell(value=one.mean, sd=one.sd, n=one.n, planned=planned, signed=True, bold=bold)
