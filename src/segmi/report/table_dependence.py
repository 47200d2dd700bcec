"""Where a difference lies: by dataset, by network, by class, and how the methods rank."""

from __future__ import annotations

from segmi.report.table import Cell, Row, Table
from segmi.report.table1 import title_of
from segmi.report.table_comparison import baseline_name, compared_label, p_cell
from segmi.statistics import (
    LEVEL,
    PRIMARY,
    Difference,
    Interaction,
    Over,
    StudyRuns,
    compare_classes,
    interactions,
    rank_methods,
)


def table_interaction(study: StudyRuns, over: Over) -> Table | None:
    """Treatments as rows, datasets or networks as columns; None where there is only one of them."""
    found = interactions(study, over)
    if not found:
        return None
    contexts = list(dict.fromkeys(context for one in found for context in one.differences))
    names = tuple(title_of(study, c) if over == "dataset" else c for c in contexts)
    fixed = any(one.fixed for one in found)
    other = "network" if over == "dataset" else "dataset"
    rows = [
        Row(
            (_treatment(study, one), *((_fixed(study, one),) if fixed else ())),
            (
                *(_difference(one.differences.get(context)) for context in contexts),
                p_cell(one.p),
                p_cell(one.p_holm),
                Cell(one.verdict, stated=True, bold=one.verdict.startswith("depends")),
            ),
        )
        for one in found
    ]
    shared = " Networks share the order of the images with their seeds, which makes it cautious."
    notes = (
        f"Mean ± standard deviation of the seeds' differences. p: of equal expected differences on every {over}, by "
        "Brown and Forsythe's analysis of variance, which lets every column have a spread of its own (with two it is "
        f"Welch's t test).{shared if over == 'network' else ''} Holm: adjusted over the rows.",
    )
    title = f"Does the difference to {baseline_name(study)} in {PRIMARY} depend on the {over}?"
    groups = (("difference on", names), ("same difference", ("p", "Holm")), ("", ("verdict",)))
    return Table(title, ("model", *((other,) if fixed else ())), groups, rows, notes)


def table_ranks(study: StudyRuns) -> Table | None:
    """Methods as rows, their rank on every dataset; None with fewer than two datasets."""
    ranks = rank_methods(study)
    if len(ranks.by_dataset) < 2:
        return None
    rows = [
        Row(
            (label,),
            tuple(_rank(value) for value in (*(r[method] for r in ranks.by_dataset.values()), ranks.mean[method])),
        )
        for method, label in study.plan.methods.items()
    ]
    test = f"Friedman's test of equal ranks: p = {p_cell(ranks.p).plain()}." if ranks.reason is None else ranks.reason
    note = f"By mean {PRIMARY} over seeds, 1 is the best. {test[0].upper()}{test[1:].rstrip('.')}."
    titles = tuple(title_of(study, dataset) for dataset in ranks.by_dataset)
    return Table("Ranks over datasets.", ("model",), (("rank on", titles), ("", ("mean rank",))), rows, (note,))


def table_class_differences(study: StudyRuns, dataset: str) -> Table | None:
    """Classes as rows, methods as columns: the difference in IoU to the baseline; None without a common seed."""
    found = compare_classes(study, dataset)
    if not found:
        return None
    methods = list(dict.fromkeys(one.pairing.method for one in found))
    cells = {(one.pairing.method, one.name): one for one in found}
    planned = {one.pairing.method: len(one.pairing.seeds) for one in found}
    rows = []
    for name in dict.fromkeys(one.name for one in found):
        shown: list[Cell] = []
        for method in methods:
            one = cells[method, name]
            shown += [
                _difference(one.difference, planned[method], bold=one.verdict in ("better", "worse")),
                p_cell(one.p_holm),
            ]
        rows.append(Row((name,), tuple(shown)))
    groups = tuple((compared_label(study, method), ("difference", "Holm")) for method in methods)
    notes = (
        "Exploratory: it says where a difference lies, not whether there is one. Holm: p of the paired t test, "
        f"adjusted over all classes and models of this table; bold below {LEVEL:g}.",
    )
    title = f"Differences in IoU to {baseline_name(study)}, class by class, on {title_of(study, dataset)}."
    return Table(title, ("class",), groups, rows, notes)


def _treatment(study: StudyRuns, one: Interaction) -> str:
    return compared_label(study, one.treatment) if one.treatment in study.plan.methods else one.treatment


def _fixed(study: StudyRuns, one: Interaction) -> str:
    return title_of(study, one.fixed) if one.over == "network" else one.fixed


def _difference(found: Difference | None, planned: int = 0, *, bold: bool = False) -> Cell:
    if found is None or not found.n:
        return Cell()
    return Cell(value=found.mean, sd=found.sd, n=found.n, planned=planned, signed=True, bold=bold)


def _rank(value: float) -> Cell:
    return Cell(value=value, digits=0 if value == int(value) else 1)
