"""From the records of a study to its report folder. Reads the disk only; equal records give equal bytes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from segmi.comparison import StudyRuns, collect
from segmi.errors import UsageError
from segmi.records import atomic_write, sweep
from segmi.report.comparison import comparison_tables, remove_others
from segmi.report.curves import learning_curves
from segmi.report.drawing import save_png, style, svg_text
from segmi.report.figures import predictions_figure
from segmi.report.gallery import Gallery, gallery
from segmi.report.page import html_index, html_page, markdown_page
from segmi.report.paper_numbers import Reference
from segmi.report.render import csv_text, latex, markdown, terminal
from segmi.report.table import Table
from segmi.report.table1 import table1, title_of
from segmi.report.table_members import table_classes, table_members

REPORT_FOLDER = "report"


def write_report(runs_root: str | Path, out: str | Path | None = None, *, reference: Reference | None = None) -> Path:
    """Write tables, figures and pages of the studies under a folder.

    Args:
        runs_root: the folder of one study, or the folder that holds several.
        out: where the report goes; by default ``report/`` in the study's folder. Of several studies each gets its own
            folder, ``<study>/report`` (or ``<out>/<study>``), listed in ``report/`` (or ``<out>``).
        reference: published numbers to show beside Table 1, by data set and method; by default the paper's where the
            study is named ``paper``.

    Returns: the report folder.

    Raises:
        UsageError: there is no such folder, or no study in it.
        EnvironmentProblem: the report cannot be written.
    """
    studies = _studies(runs_root)
    if len(studies) == 1:
        return _write_study(studies[0], Path(out) if out else studies[0].folder / REPORT_FOLDER, reference)
    root = Path(out) if out else Path(runs_root) / REPORT_FOLDER
    entries = []
    for study in studies:
        _write_study(study, root / study.folder.name if out else study.folder / REPORT_FOLDER, reference)
        link = study.folder.name if out else f"../{study.folder.name}/{REPORT_FOLDER}"
        entries.append((study.plan.study, f"{link}/index.html", study.finished, len(study.runs)))
    atomic_write(root / "index.html", html_index(entries))
    return root


def table1_text(runs_root: str | Path, *, reference: Reference | None = None) -> str:
    """Table 1 of every study under a folder as aligned text for a terminal.

    Raises:
        UsageError: there is no such folder, or no study in it.
    """
    return "\n".join(terminal(table1(study, reference=reference)) for study in _studies(runs_root))


def _studies(root: str | Path) -> list[StudyRuns]:
    studies = collect(root)
    if not studies:
        raise UsageError(
            f"no runs under {root}, expected <study>/<data set>/<method>/seed<k>/",
            "run a study first (segmi study run FILE), or give the folder that it wrote its runs into",
        )
    return studies


def _write_study(study: StudyRuns, out: Path, reference: Reference | None) -> Path:
    if out.is_dir():
        sweep(out)
    tables = {"table1": table1(study, reference=reference), "members": table_members(study)}
    classes = [
        (dataset, title_of(study, dataset), table)
        for dataset in study.plan.datasets
        if (table := table_classes(study, dataset)).rows
    ]
    galleries = {dataset: found for dataset in study.plan.datasets if (found := gallery(study, dataset)) is not None}
    named = [(title, table) for _, title, table in classes]
    compared = comparison_tables(study)
    if out.is_dir():
        remove_others(out, compared)
    for one in compared:
        _write_table(out, one.name, one.table, f"tab:{one.name.replace('_', '-')}")
    _write_table(out, "table1", tables["table1"], "tab:table1")
    _write_table(out, "table_members", tables["members"], "tab:members")
    for dataset, _, table in classes:
        _write_table(out, f"classes_{dataset}", table, f"tab:classes-{dataset}")
    figures, curves = _write_figures(study, galleries, out / "figures")
    atomic_write(out / "report.md", markdown_page(study, tables, compared, named, figures))
    atomic_write(out / "index.html", html_page(study, tables, compared, named, galleries, curves))
    return out


def _write_table(out: Path, name: str, table: Table, label: str) -> None:
    atomic_write(out / f"{name}.md", markdown(table))
    atomic_write(out / f"{name}.csv", csv_text(table))
    atomic_write(out / f"{name}.tex", latex(table, re.sub(r"[^\w:-]", "-", label)))


def _write_figures(
    study: StudyRuns, galleries: dict[str, Gallery], folder: Path
) -> tuple[list[tuple[str, str]], str | None]:
    """The figures as files; returns (caption, file) of each and the learning curves as SVG."""
    shutil.rmtree(folder, ignore_errors=True)  # a picture of a data set that is no longer part would mislead
    written, curves = [], None
    with style():
        for dataset, pictures in galleries.items():
            save_png(predictions_figure(pictures), folder / f"predictions_{dataset}.png")
            caption = f"Predictions on {title_of(study, dataset)}, seed {pictures.seed}."
            written.append((caption, f"figures/predictions_{dataset}.png"))
        drawn = learning_curves(study)
        if drawn is not None:
            save_png(drawn, folder / "learning_curves.png")
            curves = svg_text(drawn)
            atomic_write(folder / "learning_curves.svg", curves)
            written.append(("Learning curves: training loss and held-out mIoU.", "figures/learning_curves.png"))
    return written, curves
