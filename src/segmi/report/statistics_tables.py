"""All tables of the statistical comparison in their order, and those by dataset, network, class and rank."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from segmi import statistics
from segmi.report import difference_tables as differences
from segmi.report.difference_tables import baseline_name, compared_label, p_cell, verdict_cell
from segmi.report.table import Cell, Row, Table
from segmi.statistics import LEVEL, PRIMARY, Difference, Over, StudyRuns

PATTERNS: Final = (
    "statistics.*", "estimates.*", "new_images.*", "interaction_*", "ranks.*", "class_differences_*", "table_details.*",
)  # fmt: skip
"""File names of tables that a later report may not have."""


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
        ("statistics", "Differences to the baseline over retraining", differences.table_statistics(study), False),
        ("new_images", "Differences to the baseline on new images", differences.table_new_images(study), False),
        ("interaction_datasets", "Dependence on the dataset", table_interaction(study, "dataset"), False),
        ("interaction_networks", "Dependence on the network", table_interaction(study, "network"), False),
        ("ranks", "Ranks over datasets", table_ranks(study), False),
        ("estimates", "Scores over seeds", differences.table_estimates(study), True),
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
    rows = [Row((label,), tuple(_rank(c[method]) for c in columns)) for method, label in study.plan.methods.items()]
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


def _difference(one: Difference | None, planned: int = 0, *, bold: bool = False) -> Cell:
    if one is None or not one.n:
        return Cell()
    return Cell(value=one.mean, sd=one.sd, n=one.n, planned=planned, signed=True, bold=bold)


def _rank(value: float) -> Cell:
    return Cell(value=value, digits=0 if value == int(value) else 1)
