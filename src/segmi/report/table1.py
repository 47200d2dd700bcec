"""Table 1: datasets as rows, IoU and Acc of every model, the best in bold; models as rows where there are many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import pandas as pd

from segmi.records import RunKey
from segmi.report.describe import describe_method
from segmi.report.paper_numbers import PAPER, SOURCE, Reference, reference_for
from segmi.report.table import Cell, Row, Table
from segmi.statistics import StudyRuns, best, run_scores, summarize

HEADERS: Mapping[str, str] = {"mIoU": "IoU", "pixel_accuracy": "Acc"}
"""The scores of Table 1 under the paper's names."""

WIDEST: Final = 6
"""Up to so many models stand side by side, as in the paper; more stand one below the other."""

LISTED: Final = 12
"""So many runs without a result are named."""


def table1(study: StudyRuns, *, reference: Reference | None = None) -> Table:
    """The table of a study, in the form of the paper's.

    Args:
        study: its runs.
        reference: published numbers, shown beside the datasets and models that have some; by default the paper's,
            where the study follows its protocol.
    """
    reference = reference_for(study.plan.study, study.plan.protocol) if reference is None else reference
    published = {
        dataset: {method: numbers[method] for method in study.plan.methods if method in numbers}
        for dataset in study.plan.datasets
        if (numbers := (reference or {}).get(dataset)) and set(numbers) & set(study.plan.methods)
    }
    scores = run_scores(study)
    meant = scores[scores["reported"].astype(bool) & scores["main"].astype(bool)]
    summaries = {score: summarize(meant, score) for score in HEADERS}
    found = {
        dataset: {score: _cells(study, dataset, summary) for score, summary in summaries.items()}
        for dataset in study.plan.datasets
    }
    columns = _methods_below(study, found, published) if len(study.plan.methods) > WIDEST else None
    labels, groups, rows = columns or _methods_beside(study, found, published)
    source = [SOURCE] if published and reference is PAPER else []
    return Table(f"Table 1 of the study {study.plan.study}.", labels, groups, rows, [*source, *notes(study)])


_Found: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Cell]]]
"""Dataset → score → method → cell."""
_Shape: TypeAlias = tuple[tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...], list[Row]]
"""What a table is made of: headers of its labels, groups of columns, rows."""


def _methods_beside(study: StudyRuns, found: _Found, published: Reference) -> _Shape:
    rows = []
    methods = list(study.plan.methods)
    for dataset, cells in found.items():
        title = title_of(study, dataset)
        rows.append(_row(title, cells, methods, rule=bool(published)))
        if dataset in published:
            rows.append(_row(_as_published(title), _published(published[dataset], methods), methods, muted=True))
    return ("dataset",), tuple((label, tuple(HEADERS.values())) for label in study.plan.methods.values()), rows


def _methods_below(study: StudyRuns, found: _Found, published: Reference) -> _Shape:
    methods = list(study.plan.methods)
    blocks: list[tuple[str, Mapping[str, Mapping[str, Cell]]]] = []
    for dataset, cells in found.items():
        title = title_of(study, dataset)
        blocks.append((title, cells))
        if dataset in published:
            blocks.append((_as_published(title), _published(published[dataset], methods)))
    rows = [
        Row((label,), tuple(cells[score][method] for _, cells in blocks for score in HEADERS))
        for method, label in study.plan.methods.items()
    ]
    return ("model",), tuple((title, tuple(HEADERS.values())) for title, _ in blocks), rows


def title_of(study: StudyRuns, dataset: str) -> str:
    """A dataset's title, from its results or the plan."""
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
        f"matrix pooled over all images.{scored}{repeated}"
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
    return "".join(f" {state.capitalize()}: {_listed(keys)}." for state, keys in by_state.items())


def _listed(keys: Sequence[RunKey]) -> str:
    names = [f"{key.dataset}/{key.method}/seed{key.seed}" for key in keys[:LISTED]]
    more = [f"{len(keys) - LISTED} more"] if len(keys) > LISTED else []
    return ", ".join(names) + "".join(f" and {text}" for text in more)


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
    """A cell from a row of `summarize`."""
    sd = float(row["sd"]) if row["n"] > 1 else None
    return Cell(value=float(row["mean"]), sd=sd, n=int(row["n"]), planned=planned, bold=bold)


def _row(
    title: str, cells: Mapping[str, Mapping[str, Cell]], methods: list[str], *, rule: bool = False, muted: bool = False
) -> Row:
    shown = tuple(cells[score][method] for method in methods for score in HEADERS)
    return Row((title,), shown, muted=muted, rule=rule)


def _as_published(title: str) -> str:
    return f"{title}, as published"


def _published(numbers: Mapping[str, tuple[float, float]], methods: list[str]) -> dict[str, dict[str, Cell]]:
    cells: dict[str, dict[str, Cell]] = {}
    for place, score in enumerate(HEADERS):
        bold = best({method: values[place] for method, values in numbers.items()})
        cells[score] = {
            method: Cell(value=numbers[method][place], bold=method in bold) if method in numbers else Cell()
            for method in methods
        }
    return cells
