"""From the records of a study to its report folder. Reads the disk only; equal records give equal bytes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from segmi.errors import UsageError
from segmi.records import atomic_folder, atomic_write, sweep
from segmi.report.answer import Answer, answer
from segmi.report.charts import Chart
from segmi.report.charts.classes import class_chart
from segmi.report.charts.confusion import confusion_chart
from segmi.report.charts.cost import cost_chart
from segmi.report.charts.curves import curve_charts
from segmi.report.charts.details import detail_charts
from segmi.report.charts.forest import forest_chart
from segmi.report.comparison import comparison_tables, remove_others
from segmi.report.curves import learning_curves
from segmi.report.details import table_beyond, without_details
from segmi.report.drawing import save_png, style, svg_text
from segmi.report.figures import predictions_figure
from segmi.report.gallery import gallery
from segmi.report.images import ImageRow, gallery_data, image_set, unreadable_layers, write_gallery
from segmi.report.markdown_page import markdown_page
from segmi.report.page import GALLERY_DATA, LIBRARY, Parts, class_titles, html_index, html_page
from segmi.report.paper_numbers import Reference
from segmi.report.render import csv_text, latex, markdown, terminal
from segmi.report.scripts import write_assets
from segmi.report.table import Table
from segmi.report.table1 import table1, title_of
from segmi.report.table_networks import table_classes, table_networks
from segmi.statistics import StudyRuns, collect

REPORT_FOLDER = "report"
TABLE1 = "table1"
"""The table that every report has, and by which a folder is known to be one."""


def write_report(
    runs_root: str | Path,
    out: str | Path | None = None,
    *,
    reference: Reference | None = None,
    images: bool = True,
    library: str | None = None,
) -> Path:
    """Write tables, figures and pages of the studies under a folder.

    Args:
        runs_root: the folder of one study, or the folder that holds several.
        out: where the report goes; by default ``report/`` in the study's folder. Of several studies each gets its own
            folder, ``<study>/report`` (or ``<out>/<study>``), listed in ``report/`` (or ``<out>``).
        reference: published numbers to show beside Table 1, by dataset and method; by default the paper's where the
            study is named ``paper``.
        images: whether images of the dataset are part of it, which not every license lets you hand on.
        library: where the plotting library lies, seen from the page, if several reports are to share one; by default
            each has its own.

    Returns: the report folder.

    Raises:
        UsageError: there is no such folder, no study in it, or something else where the report is to go.
        EnvironmentProblem: the report cannot be written.
    """
    studies = _studies(runs_root)
    if len(studies) == 1:
        folder = Path(out) if out else studies[0].folder / REPORT_FOLDER
        return _write_study(studies[0], folder, reference, images, library)
    root = Path(out) if out else Path(runs_root) / REPORT_FOLDER
    entries = []
    for study in studies:
        folder = root / study.folder.name if out else study.folder / REPORT_FOLDER
        _write_study(study, folder, reference, images, library)
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
            f"no runs under {root}, expected <study>/<dataset>/<method>/seed<k>/",
            "run a study first (segmi study run FILE), or give the folder that it wrote its runs into",
        )
    return studies


def _refuse_foreign(out: Path) -> None:
    """A report replaces the folders of an earlier one, and must not replace those of anything else."""
    names = [name for name in ("assets", "figures", "gallery") if (out / name).exists()]
    if names and not (out / f"{TABLE1}.csv").is_file():
        raise UsageError(
            f"expected a report or nothing in {out}, got a folder with {' and '.join(names)} of its own",
            "give the report a folder of its own with --out",
        )


def _write_study(
    study: StudyRuns, out: Path, reference: Reference | None, images: bool, library: str | None = None
) -> Path:
    _refuse_foreign(out)
    if out.is_dir():
        sweep(out)
    found = answer(study)
    tables = {"table1": table1(study, reference=reference), "networks": table_networks(study)}
    classes = {dataset: table for dataset in study.plan.datasets if (table := table_classes(study, dataset)).rows}
    compared = comparison_tables(study)
    if (out / f"{TABLE1}.csv").is_file():
        remove_others(out, compared)
    for one in compared:
        _write_table(out, one.name, one.table, f"tab:{one.name.replace('_', '-')}")
    _write_table(out, TABLE1, tables["table1"], "tab:table1")
    _write_table(out, "table_networks", tables["networks"], "tab:networks")
    beyond = table_beyond(study)
    if beyond is not None:
        _write_table(out, "table_beyond", beyond, "tab:beyond")
    for dataset, table in classes.items():
        _write_table(out, f"classes_{dataset}", table, f"tab:classes-{dataset}")
    figures = _write_figures(study, out / "figures", images)
    charts = _charts(study, found)
    galleries = _write_gallery(study, out, images)
    write_assets(out / "assets", charts, with_library=library is None)
    parts = Parts(
        answer=found,
        table1=tables["table1"],
        networks=tables["networks"],
        compared=compared,
        classes=class_titles(study, classes),
        charts={chart.name: chart for chart in charts},
        galleries=[title_of(study, dataset) for dataset in galleries],
        beyond=beyond,
        missing_details=without_details(study),
        unreadable=[layer for rows in galleries.values() for layer in unreadable_layers(rows)],
    )
    atomic_write(out / "report.md", markdown_page(study, found, tables, compared, list(classes.values()), figures))
    atomic_write(out / "index.html", html_page(study, parts, library or f"assets/{LIBRARY}"))
    return out


def _charts(study: StudyRuns, found: Answer) -> list[Chart]:
    made = [
        forest_chart(found),
        *curve_charts(study),
        cost_chart(study),
        class_chart(study),
        confusion_chart(study),
        *detail_charts(study),
    ]
    return [chart for chart in made if chart is not None]


def _write_gallery(study: StudyRuns, out: Path, images: bool) -> dict[str, list[ImageRow]]:
    """The images of all datasets that have some, as files and as rows."""
    sets = {d: found for d in study.plan.datasets if images and (found := image_set(study, d)) is not None}
    if not sets:
        shutil.rmtree(out / "gallery", ignore_errors=True)
        (out / "assets" / GALLERY_DATA).unlink(missing_ok=True)
        return {}
    with atomic_folder(out / "gallery", replace=True) as folder:
        rows = {dataset: write_gallery(found, folder / dataset) for dataset, found in sets.items()}
    data = gallery_data(study, {dataset: (found, rows[dataset]) for dataset, found in sets.items()})
    atomic_write(out / "assets" / GALLERY_DATA, data)
    return rows


def _write_table(out: Path, name: str, table: Table, label: str) -> None:
    atomic_write(out / f"{name}.md", markdown(table))
    atomic_write(out / f"{name}.csv", csv_text(table))
    atomic_write(out / f"{name}.tex", latex(table, re.sub(r"[^\w:-]", "-", label)))


def _write_figures(study: StudyRuns, folder: Path, images: bool) -> list[tuple[str, str]]:
    """The figures as files; returns (caption, file) of each."""
    shutil.rmtree(folder, ignore_errors=True)  # an image of a dataset that is no longer part would mislead
    written = []
    with style():
        for dataset in study.plan.datasets if images else ():
            shown = gallery(study, dataset)
            if shown is not None:
                save_png(predictions_figure(shown), folder / f"predictions_{dataset}.png")
                caption = f"Predictions on {title_of(study, dataset)}, seed {shown.seed}."
                written.append((caption, f"figures/predictions_{dataset}.png"))
        drawn = learning_curves(study)
        if drawn is not None:
            save_png(drawn, folder / "learning_curves.png")
            atomic_write(folder / "learning_curves.svg", svg_text(drawn))
            written.append(
                ("Learning curves: training loss, held-out mIoU, information.", "figures/learning_curves.png")
            )
    return written
