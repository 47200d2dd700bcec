"""Table 1: datasets as rows and the scores of every model as columns, best in bold; models as rows if there are many.

The columns are the scores with a ``table1`` header in `segmi.statistics.SCORES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

import pandas as pd

from segmi.report.describe import describe_method
from segmi.report.table import Cell, Row, Table
from segmi.statistics import SCORES, Score, StudyRuns, best, run_scores, summarize

Reference: TypeAlias = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Published numbers: dataset → method → name of a score → fraction."""


_PUBLISHED: Final = {  # IoU, accuracy
    "cityscapes": {"model-1": (0.5931, 0.9388), "model-2": (0.5244, 0.9345), "model-3": (0.5619, 0.9342)},
    "voc2012": {"model-1": (0.1965, 0.7367), "model-2": (0.0607, 0.6893), "model-3": (0.2203, 0.7539)},
}

PAPER: Final[Reference] = {
    dataset: {method: {"mIoU": iou, "pixel_accuracy": accuracy} for method, (iou, accuracy) in rows.items()}
    for dataset, rows in _PUBLISHED.items()
}
"""Table 1 of Gonçalves et al., RECPAD 2024."""

_SOURCE: Final = "As published: Table 1 of Gonçalves et al., RECPAD 2024."

_MOST_COLUMNS: Final = 6  # largest number of models as columns, as in the paper; more models are rows
_MOST_NAMES: Final = 12  # number of unfinished runs that a note names

_Cells: TypeAlias = Mapping[str, Mapping[str, Cell]]  # name of a score → method → cell


def table1(study: StudyRuns, *, reference: Reference | None = None) -> Table:
    """Return Table 1 of a study, in the form of the paper.

    Args:
        study: the runs.
        reference: published numbers, shown for the datasets and models that have some; by default the numbers of the
            paper if the study follows its protocol.
    """
    if reference is None and "paper" in (study.plan.study, study.plan.protocol):
        reference = PAPER
    methods = study.plan.methods
    published = {
        dataset: {method: numbers[method] for method in methods if method in numbers}
        for dataset in study.plan.datasets
        if (numbers := (reference or {}).get(dataset)) and set(numbers) & set(methods)
    }
    columns = [score for score in SCORES if score.table1]
    headers = tuple(str(score.table1) for score in columns)
    scores = run_scores(study)
    reported = scores[scores["reported"].astype(bool) & scores["main"].astype(bool)]
    summaries = {score.name: summarize(reported, score.name) for score in columns}
    lines: list[tuple[str, _Cells, bool]] = []
    for dataset in study.plan.datasets:
        title = study.title(dataset)
        lines.append((title, {s.name: _cells(study, dataset, summaries[s.name], s) for s in columns}, False))
        if dataset in published:
            lines.append((f"{title}, as published", _published_cells(published[dataset], methods, columns), True))
    if len(methods) > _MOST_COLUMNS:
        labels, groups = ("model",), tuple((title, headers) for title, _, _ in lines)
        by_method = {m: tuple(cells[score.name][m] for _, cells, _ in lines for score in columns) for m in methods}
        rows = [Row((label,), by_method[method]) for method, label in methods.items()]
    else:
        labels, groups = ("dataset",), tuple((label, headers) for label in methods.values())
        rows = []
        for title, cells, muted in lines:
            shown = tuple(cells[score.name][method] for method in methods for score in columns)
            rows.append(Row((title,), shown, muted, rule=bool(published) and not muted))
    source = [_SOURCE] if published and reference is PAPER else []
    return Table(f"Table 1 of the study {study.plan.study}.", labels, groups, rows, [*source, *_notes(study, columns)])


def state_text(study: StudyRuns, dataset: str, method: str) -> str:
    """Return the reason for a cell without a number."""
    states = {study.states[key] for key in study.runs if (key.dataset, key.method) == (dataset, method)}
    return next((state for state in ("failed", "unfinished", "missing") if state in states), "–")


def cell_of(row: pd.Series, planned: int, score: Score) -> Cell:
    """Return the cell of a score for a row of `summarize`."""
    mean, sd = float(row["mean"]), float(row["sd"]) if row["n"] > 1 else None
    cell = Cell(value=mean, sd=sd, n=int(row["n"]), planned=planned)
    return count_cell(cell) if score.is_count else cell


def mark_best(cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """Return the cells of one row with the best ones in bold."""
    bold = best({method: cell.value for method, cell in cells.items()})
    return {method: replace(cell, bold=method in bold) for method, cell in cells.items()}


def count_cell(cell: Cell) -> Cell:
    """Return the cell of a count: without decimals if it is whole, and without a spread."""
    whole = cell.value is not None and cell.value == int(cell.value)
    return Cell(value=cell.value, n=cell.n, planned=cell.planned, digits=0 if whole else 1)


def _notes(study: StudyRuns, columns: Sequence[Score]) -> list[str]:
    """Return the notes below Table 1: its columns, the models, and missing runs."""
    protocols = sorted({str(result.get("protocol")) for result in study.results.values()})
    scored = f" Evaluation protocol: {', '.join(protocols)}." if protocols else ""
    seeds = len(study.plan.seeds)
    repeated = f" Mean ± standard deviation over {seeds} seeds." if seeds > 1 else ""
    meaning = ", ".join(f"{score.table1} is {score.description}" for score in columns)
    first = f"{meaning}, from one confusion matrix pooled over all images.{scored}{repeated}"
    models = [describe_method(study, method) for method in study.plan.methods]
    by_state: dict[str, list[str]] = {}
    for key, state in study.states.items():
        if state != "finished":
            by_state.setdefault(state, []).append(f"{key.dataset}/{key.method}/seed{key.seed}")
    finished = f"{study.finished}/{len(study.runs)} runs finished."
    for kind, names in by_state.items():
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        finished += f" {kind.capitalize()}: {', '.join(names[:_MOST_NAMES])}{more}."
    return [first, *models, finished]


def _cells(study: StudyRuns, dataset: str, summary: pd.DataFrame, score: Score) -> dict[str, Cell]:
    planned = len(study.plan.seeds)
    cells = {method: Cell(state_text(study, dataset, method), planned=planned) for method in study.plan.methods}
    known = [method for method in study.plan.methods if (dataset, method) in summary.index]
    cells |= {method: cell_of(summary.loc[(dataset, method)], planned, score) for method in known}
    return cells if score.is_count else mark_best(cells)


def _published_cells(
    numbers: Mapping[str, Mapping[str, float]], methods: Mapping[str, str], columns: Sequence[Score]
) -> dict[str, dict[str, Cell]]:
    cells = {s.name: {m: Cell(value=numbers.get(m, {}).get(s.name)) for m in methods} for s in columns}
    return {s.name: cells[s.name] if s.is_count else mark_best(cells[s.name]) for s in columns}
