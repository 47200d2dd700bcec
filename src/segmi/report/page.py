"""The report as one HTML page; beside it lie its scripts, the data of its charts and its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Final

import jinja2
from markupsafe import Markup

from segmi.report.answer import Answer
from segmi.report.charts import Chart
from segmi.report.comparison import Shown
from segmi.report.facts import facts, failures
from segmi.report.settings import settings_table
from segmi.report.table import Table
from segmi.report.table1 import title_of
from segmi.statistics import StudyRuns

STYLE: Final = "report.css"
SCRIPTS: Final = ("theme.js", "charts.js", "tables.js", "gallery.js", "viewer.js")
"""The page's own files, as they lie in the package and in ``assets/`` beside the page."""

LIBRARY: Final = "plotly.min.js"
CHART_DATA: Final = "charts.data.js"
GALLERY_DATA: Final = "gallery.data.js"

_DIAGNOSTICS: Final = ("confusion", "reliability", "sizes")


@dataclass(frozen=True)
class Parts:
    """What the page shows.

    Args:
        answer: the top.
        table1: the table in the paper's form.
        networks: every network with every score.
        compared: what is known about differences.
        classes: (file, dataset, IoU per class, colors by class).
        charts: by name.
        galleries: titles of the datasets that have images.
        unreadable: images, or layers of them, that could not be read.
        beyond: scores beyond the mIoU; None where no run kept what they need.
        missing_details: what to say where runs lack those.
    """

    answer: Answer
    table1: Table
    networks: Table
    compared: Sequence[Shown] = ()
    classes: Sequence[tuple[str, str, Table, Mapping[str, str]]] = ()
    charts: Mapping[str, Chart] = field(default_factory=dict)
    galleries: Sequence[str] = ()
    unreadable: Sequence[str] = ()
    beyond: Table | None = None
    missing_details: str = ""


def html_page(study: StudyRuns, parts: Parts, library: str = f"assets/{LIBRARY}") -> str:
    """The page; ``library`` is where the plotting library lies, seen from it."""
    diagnostics = [parts.charts[name] for name in _DIAGNOSTICS if name in parts.charts]
    failed = failures(study)
    sections = [
        ("answer", "The answer", True),
        ("table1", "Table 1", True),
        ("comparison", "More than the seed?", bool(parts.compared)),
        ("gallery", "SegmentationDataset", bool(parts.galleries)),
        ("training", "Learning curves", bool({"curves", "diagnostics"} & set(parts.charts))),
        ("cost", "Cost", "cost" in parts.charts),
        ("classes", "Class by class", bool(parts.classes)),
        ("diagnostics", "Where they go wrong", bool(diagnostics)),
        ("networks", "All scores", True),
        ("making", "How it was made", True),
        ("failures", "Failures", bool(failed)),
    ]
    scripts = [
        *([library, f"assets/{CHART_DATA}"] if parts.charts else []),
        *([f"assets/{GALLERY_DATA}"] if parts.galleries else []),
        *(f"assets/{name}" for name in SCRIPTS[1:]),
    ]
    names = ("forest", "curves", "diagnostics", "cost", "classes")
    return _template("page.html.jinja").render(
        study=study.plan.study,
        finished=study.finished,
        planned=len(study.runs),
        methods=len(study.plan.methods),
        datasets=len(study.plan.datasets),
        seeds=len(study.plan.seeds),
        sections=[(anchor, title) for anchor, title, there in sections if there],
        scripts=scripts,
        answer=parts.answer,
        table1=parts.table1,
        networks=parts.networks,
        comparison=parts.compared,
        classes=parts.classes,
        charts={name: parts.charts.get(name) for name in names},
        diagnostics=diagnostics,
        beyond=parts.beyond,
        missing_details=parts.missing_details,
        galleries=parts.galleries,
        unreadable=parts.unreadable,
        facts=facts(study),
        settings=settings_table(study),
        failures=failed,
    )


def html_index(studies: Sequence[tuple[str, str, int, int]]) -> str:
    """The list of several studies: (name, link, runs finished, runs planned)."""
    return _template("index.html.jinja").render(
        studies=studies, style=Markup(asset(STYLE)), theme=Markup(asset("theme.js"))
    )


def asset(name: str) -> str:
    """One of the page's own files."""
    return (files("segmi.report") / "assets" / name).read_text(encoding="utf-8")


def class_colors(study: StudyRuns, dataset: str) -> dict[str, str]:
    """The colors of a dataset's classes as CSS has them."""
    card = next((result.get("dataset") or {} for result in study.results_of(dataset)), {})
    pairs = zip(card.get("classes") or [], card.get("palette") or [], strict=False)
    return {str(name): f"rgb({', '.join(str(int(channel)) for channel in color)})" for name, color in pairs}


def class_titles(study: StudyRuns, tables: Mapping[str, Table]) -> list[tuple[str, str, Table, Mapping[str, str]]]:
    """The tables of classes as `Parts` takes them."""
    return [
        (f"classes_{dataset}", title_of(study, dataset), table, class_colors(study, dataset))
        for dataset, table in tables.items()
    ]


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("segmi.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
