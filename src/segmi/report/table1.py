"""Table 1: data sets as rows, IoU and Acc of every model, the best in bold."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from segmi.comparison import StudyRuns, best, run_scores, summarise
from segmi.records import RunKey
from segmi.report.describe import describe_method
from segmi.report.paper_numbers import Reference, reference_for
from segmi.report.table import Cell, Row, Table

HEADERS: Mapping[str, str] = {"mIoU": "IoU", "pixel_accuracy": "Acc"}
"""The scores of Table 1 under the paper's names."""


def table1(study: StudyRuns, *, reference: Reference | None = None) -> Table:
    """The table of a study, in the form of the paper's.

    Args:
        study: its runs.
        reference: published numbers, shown in a row below each data set that has some; by default the paper's, if the
            study is named ``paper``.
    """
    reference = reference_for(study.plan.study) if reference is None else reference
    scores = run_scores(study)
    meant = scores[scores["reported"].astype(bool) & scores["main"].astype(bool)]
    summaries = {score: summarise(meant, score) for score in HEADERS}
    rows = []
    for dataset in study.plan.datasets:
        title = title_of(study, dataset)
        cells = {score: _cells(study, dataset, summary) for score, summary in summaries.items()}
        rows.append(_row(title, cells, list(study.plan.methods), rule=bool(reference)))
        published = (reference or {}).get(dataset)
        if published:
            rows.append(_published_row(f"{title}, as published", published, list(study.plan.methods)))
    groups = tuple((label, tuple(HEADERS.values())) for label in study.plan.methods.values())
    return Table(f"Table 1 of the study {study.plan.study}.", ("data set",), groups, rows, notes(study))


def title_of(study: StudyRuns, dataset: str) -> str:
    """A data set's title, from its results or the plan."""
    for result in study.results_of(dataset):
        title = (result.get("dataset") or {}).get("title")
        if title:
            return str(title)
    return str(study.plan.datasets.get(dataset) or dataset)


def notes(study: StudyRuns) -> list[str]:
    """What stands below Table 1: what the columns are, what each model is, and what is missing."""
    protocols = sorted({str(result.get("protocol")) for result in study.results.values()})
    scored = f" Evaluation protocol: {', '.join(protocols)}." if protocols else ""
    seeds = len(study.plan.seeds)
    repeated = f" Mean ± standard deviation over {seeds} seeds." if seeds > 1 else ""
    lines = [
        "IoU is the mean over classes of the intersection over union, Acc the pixel accuracy, both from one confusion "
        f"matrix pooled over all pictures.{scored}{repeated}"
    ]
    lines += [describe_method(study, method) for method in study.plan.methods]
    total = len(study.runs)
    lines.append(f"{study.finished}/{total} runs finished." + _missing(study))
    return lines


def state_text(study: StudyRuns, dataset: str, method: str) -> str:
    """Why a cell has no number."""
    states = {study.states[key] for key in study.runs if (key.dataset, key.method) == (dataset, method)}
    for state in ("failed", "unfinished", "missing"):
        if state in states:
            return state
    return "–"


def _missing(study: StudyRuns) -> str:
    by_state: dict[str, list[RunKey]] = {}
    for key, state in study.states.items():
        if state != "finished":
            by_state.setdefault(state, []).append(key)
    return "".join(
        f" {state.capitalize()}: {', '.join(f'{k.dataset}/{k.method}/seed{k.seed}' for k in keys)}."
        for state, keys in by_state.items()
    )


def _cells(study: StudyRuns, dataset: str, summary: pd.DataFrame) -> dict[str, Cell]:
    found = {
        method: summary.loc[(dataset, method)] for method in study.plan.methods if (dataset, method) in summary.index
    }
    bold = best({method: float(row["mean"]) for method, row in found.items()})
    planned = len(study.plan.seeds)
    return {
        method: cell_of(found[method], planned, bold=method in bold)
        if method in found
        else Cell(state_text(study, dataset, method), planned=planned)
        for method in study.plan.methods
    }


def cell_of(row: pd.Series, planned: int, *, bold: bool = False) -> Cell:
    """A cell from a row of `summarise`."""
    sd = float(row["sd"]) if row["n"] > 1 else None
    return Cell(value=float(row["mean"]), sd=sd, n=int(row["n"]), planned=planned, bold=bold)


def _row(title: str, cells: Mapping[str, Mapping[str, Cell]], methods: list[str], *, rule: bool) -> Row:
    return Row((title,), tuple(cells[score][method] for method in methods for score in HEADERS), rule=rule)


def _published_row(title: str, published: Mapping[str, tuple[float, float]], methods: list[str]) -> Row:
    shown = {method: published[method] for method in methods if method in published}
    bold = [best({method: numbers[i] for method, numbers in shown.items()}) for i in range(len(HEADERS))]
    cells = [
        Cell(value=shown[method][i], bold=method in bold[i]) if method in shown else Cell()
        for method in methods
        for i in range(len(HEADERS))
    ]
    return Row((title,), tuple(cells), muted=True)
