"""Report folder of a study, built from its records on disk. Equal records give equal bytes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, Final

from segmi.errors import UsageError
from segmi.records import atomic_folder, atomic_write, sweep
from segmi.report.charts.curve_charts import curve_charts
from segmi.report.charts.error_charts import class_chart, confusion_chart, detail_charts
from segmi.report.charts.score_charts import cost_chart, forest_chart
from segmi.report.drawing import save_png, style, svg_text
from segmi.report.forest_figure import forest_figure
from segmi.report.gallery_files import gallery_data, image_set, unreadable_layers, write_gallery
from segmi.report.learning_curves import learning_curves
from segmi.report.page import GALLERY_DATA, PageParts, html_index, html_page, markdown_page, write_assets
from segmi.report.predictions_figure import prediction_rows, predictions_figure
from segmi.report.statistics_tables import remove_stale_tables, statistics_tables
from segmi.report.summary import Summary, summarize_study
from segmi.report.table import csv_text, latex, markdown, terminal
from segmi.report.table1 import Reference, table1
from segmi.report.table_networks import missing_details_note, table_classes, table_details, table_networks
from segmi.statistics import StudyRuns, collect

REPORT_FOLDER: Final = "report"

_TABLE1: Final = "table1"
"""Every report has this table, which identifies a folder as a report."""


def write_report(
    runs_root: str | Path, out: str | Path | None = None, *, reference: Reference | None = None, images: bool = True
) -> Path:
    """Write tables, figures and pages of the studies in a folder.

    Args:
        runs_root: the folder of one study, or of several studies.
        out: output folder, by default ``report/`` in the folder of the study. Several studies are written to
            ``<study>/report`` (or ``<out>/<study>``) and listed in ``report/`` (or ``<out>``).
        reference: published numbers for Table 1, by dataset, method and score; by default the numbers of the paper if
            the study follows its protocol.
        images: include images of the datasets; not every license allows their distribution.

    Returns: the report folder.

    Raises:
        UsageError: the folder is missing, contains no study, or the output folder is not a report.
        EnvironmentProblem: the report cannot be written.
    """
    studies = _studies(runs_root)
    if len(studies) == 1:
        folder = Path(out) if out else studies[0].folder / REPORT_FOLDER
        return _write_study(studies[0], folder, reference, images)
    root = Path(out) if out else Path(runs_root) / REPORT_FOLDER
    entries = []
    for study in studies:
        folder = root / study.folder.name if out else study.folder / REPORT_FOLDER
        _write_study(study, folder, reference, images)
        link = study.folder.name if out else f"../{study.folder.name}/{REPORT_FOLDER}"
        entries.append((study.plan.study, f"{link}/index.html", study.finished, len(study.runs)))
    atomic_write(root / "index.html", html_index(entries))
    return root


def table1_text(runs_root: str | Path, *, reference: Reference | None = None) -> str:
    """Return Table 1 of every study in a folder as aligned text for a terminal.

    Raises:
        UsageError: the folder is missing or contains no study.
    """
    return "\n".join(terminal(table1(study, reference=reference)) for study in _studies(runs_root))


def _studies(root: str | Path) -> list[StudyRuns]:
    studies = collect(root)
    if not studies:
        remedy = "run a study first (segmi study run FILE), or give the folder of its runs"
        raise UsageError(f"no runs under {root}, expected <study>/<dataset>/<method>/seed<k>/", remedy)
    return studies


def _write_study(study: StudyRuns, out: Path, reference: Reference | None, images: bool) -> Path:
    exists = (out / f"{_TABLE1}.csv").is_file()
    # A report replaces these folders, so they must belong to an earlier report.
    names = [name for name in ("assets", "figures", "gallery") if (out / name).exists()]
    if names and not exists:
        expected = f"expected a report or an empty folder at {out}"
        raise UsageError(f"{expected}, got a folder with {' and '.join(names)}", "choose another folder with --output")
    if out.is_dir():
        sweep(out)
    statistics, details = statistics_tables(study), table_details(study)
    if exists:
        remove_stale_tables(out, statistics)
    tables = {_TABLE1: table1(study, reference=reference), "table_networks": table_networks(study)}
    classes = {dataset: table for dataset in study.plan.datasets if (table := table_classes(study, dataset)).rows}
    tables |= {one.name: one.table for one in statistics} | ({"table_details": details} if details else {})
    tables |= {f"classes_{dataset}": table for dataset, table in classes.items()}
    for name, table in tables.items():  # Table 1 first: without it an interrupted report looks like a foreign folder
        label = re.sub(r"[^\w:-]", "-", f"tab:{name.removeprefix('table_').replace('_', '-')}")
        for suffix, text in (("md", markdown(table)), ("csv", csv_text(table)), ("tex", latex(table, label))):
            atomic_write(out / f"{name}.{suffix}", text)
    summary = summarize_study(study)
    of_scores = (forest_chart(summary), *curve_charts(study), cost_chart(study))
    of_errors = (class_chart(study), confusion_chart(study), *detail_charts(study))
    charts = [chart for chart in (*of_scores, *of_errors) if chart is not None]
    galleries = _write_gallery(study, out, images)
    parts = PageParts(
        summary=summary, table1=tables[_TABLE1], networks=tables["table_networks"], statistics=statistics,
        classes=classes, charts={chart.name: chart for chart in charts}, details=details,
        figures=_write_figures(study, summary, out / "figures", images), missing_details=missing_details_note(study),
        galleries=[study.title(dataset) for dataset in galleries],
        unreadable=[layer for rows in galleries.values() for layer in unreadable_layers(rows)],
    )  # fmt: skip
    write_assets(out / "assets", charts)
    atomic_write(out / "report.md", markdown_page(study, parts))
    atomic_write(out / "index.html", html_page(study, parts))
    return out


def _write_gallery(study: StudyRuns, out: Path, images: bool) -> dict[str, list[dict[str, Any]]]:
    """Write the images of all datasets; returns their rows."""
    sets = {d: one for d in study.plan.datasets if images and (one := image_set(study, d)) is not None}
    if not sets:
        shutil.rmtree(out / "gallery", ignore_errors=True)
        (out / "assets" / GALLERY_DATA).unlink(missing_ok=True)
        return {}
    with atomic_folder(out / "gallery", replace=True) as folder:
        rows = {dataset: write_gallery(one, folder / dataset) for dataset, one in sets.items()}
    data = gallery_data(study, {dataset: (one, rows[dataset]) for dataset, one in sets.items()})
    atomic_write(out / "assets" / GALLERY_DATA, data)
    return rows


def _write_figures(study: StudyRuns, summary: Summary, folder: Path, images: bool) -> list[tuple[str, str]]:
    """Write the static figures; returns (caption, file) of each."""
    shutil.rmtree(folder, ignore_errors=True)  # figures of an earlier plan are stale
    figures = []
    with style():
        for dataset in study.plan.datasets if images else ():
            rows = prediction_rows(study, dataset)
            if rows is not None:
                save_png(predictions_figure(rows), folder / f"predictions_{dataset}.png")
                caption = f"Predictions on {study.title(dataset)}, seed {rows.seed}."
                figures.append((caption, f"figures/predictions_{dataset}.png"))
        forest = forest_figure(summary)
        if forest is not None:
            save_png(forest, folder / "forest.png")
            atomic_write(folder / "forest.svg", svg_text(forest))
            figures.append(("Differences to the baseline with their intervals.", "figures/forest.png"))
        curves = learning_curves(study)
        if curves is not None:
            save_png(curves, folder / "learning_curves.png")
            atomic_write(folder / "learning_curves.svg", svg_text(curves))
            caption = "Learning curves: training loss, held-out mIoU, information."
            figures.append((caption, "figures/learning_curves.png"))
    return figures  # with paths relative to the report
