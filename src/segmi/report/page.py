"""Pages of a report: HTML with its assets, and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup

from segmi.errors import EnvironmentProblem
from segmi.records import atomic_write
from segmi.report.charts import Chart, chart_data
from segmi.report.protocol import settings_table
from segmi.report.statistics_tables import NamedTable
from segmi.report.study_notes import failures, study_notes
from segmi.report.summary import Summary
from segmi.report.table import Table, escape_markdown, markdown
from segmi.statistics import StudyRuns

# Assets of the page, in the package and in ``assets/`` of the report.
STYLE: Final = "report.css"
SCRIPTS: Final = ("theme.js", "charts.js", "tables.js", "gallery.js", "viewer.js")
# Other files of ``assets/``.
LIBRARY: Final = "plotly.min.js"
CHART_DATA, GALLERY_DATA = "charts.data.js", "gallery.data.js"


@dataclass(frozen=True)
class PageParts:
    """Content of the pages of a study."""

    summary: Summary
    table1: Table
    networks: Table
    statistics: Sequence[NamedTable] = ()
    classes: Mapping[str, Table] = field(default_factory=dict)  # IoU per class by dataset
    charts: Mapping[str, Chart] = field(default_factory=dict)  # by name
    figures: Sequence[tuple[str, str]] = ()  # (caption, file) of the static figures
    galleries: Sequence[str] = ()  # titles of the datasets with images
    unreadable: Sequence[str] = ()  # layers of images that cannot be read
    details: Table | None = None  # table of calibration, boundaries and objects; None if no run has details
    missing_details: str = ""  # note about runs without details


def html_page(study: StudyRuns, parts: PageParts) -> str:
    """Return the HTML page."""
    error_charts = [parts.charts[name] for name in ("confusion", "reliability", "sizes") if name in parts.charts]
    failed = failures(study)
    sections = [
        ("summary", "Summary", True),
        ("table1", "Table 1", True),
        ("statistics", "Statistical comparison", bool(parts.statistics)),
        ("gallery", "Example images", bool(parts.galleries)),
        ("training", "Learning curves", bool({"curves", "diagnostics"} & set(parts.charts))),
        ("cost", "Cost", "cost" in parts.charts),
        ("classes", "Scores per class", bool(parts.classes)),
        ("errors", "Error analysis", bool(error_charts)),
        ("networks", "All networks", True),
        ("setup", "Setup", True),
        ("failures", "Failures", bool(failed)),
    ]
    scripts = ([LIBRARY, CHART_DATA] if parts.charts else []) + ([GALLERY_DATA] if parts.galleries else [])
    scripts += SCRIPTS[1:]
    compared, settings = settings_table(study)
    return _template("page.html.jinja").render(
        study=study, parts=parts, scripts=scripts, error_charts=error_charts, failures=failed,
        sections={anchor: title for anchor, title, exists in sections if exists},
        charts={name: parts.charts.get(name) for name in ("forest", "curves", "diagnostics", "cost", "classes")},
        colors={dataset: _class_colors(study, dataset) for dataset in parts.classes},
        methods=len(study.plan.methods), notes=study_notes(study), compared=compared, settings=settings,
    )  # fmt: skip


def html_index(studies: Sequence[tuple[str, str, int, int]]) -> str:
    """Return the page that lists several studies: (name, link, finished runs, planned runs)."""
    style, theme = Markup(asset(STYLE)), Markup(asset("theme.js"))
    return _template("index.html.jinja").render(studies=studies, style=style, theme=theme)


def markdown_page(study: StudyRuns, parts: PageParts) -> str:
    """Return the tables, figures and notes as Markdown."""
    summary = parts.summary
    lines = [f"# Study {escape_markdown(study.plan.study)}", "", f"**{escape_markdown(summary.headline)}**", ""]
    lines += [escape_markdown(summary.preliminary), ""] if summary.preliminary else []
    for one in summary.statements:
        compared = escape_markdown(f"{one.dataset}: {one.method} compared with {one.baseline}")
        lines.append(f"- {compared}: **{escape_markdown(one.verdict)}**, {escape_markdown(one.details)}.")
    lines += ["", markdown(parts.table1)] if summary.statements else [markdown(parts.table1)]
    lines += ["## Statistical comparison", ""] if parts.statistics else []
    for named in parts.statistics:
        lines += [f"### {escape_markdown(named.heading)}", "", markdown(named.table)]
    for caption, file in parts.figures:
        lines.append(f"![{escape_markdown(caption)}]({file})\n\n*{escape_markdown(caption)}*\n")
    lines += ["## All networks", "", markdown(parts.networks)]
    lines += ["## Scores per class", "", *map(markdown, parts.classes.values())] if parts.classes else []
    for title, entries in study_notes(study):
        lines += [f"## {title}", ""]
        lines += [f"- {escape_markdown(name)}: {escape_markdown(value)}" for name, value in entries] + [""]
    failed = [f"- {escape_markdown(run)}: {escape_markdown(message)}" for run, message, _ in failures(study)]
    lines += ["## Failures", "", *failed, ""] if failed else []
    return "\n".join(lines).rstrip() + "\n"


def write_assets(folder: Path, charts: Sequence[Chart]) -> None:
    """Write style, scripts, the data of the charts and the plotting library."""
    for name in (STYLE, *SCRIPTS):
        atomic_write(folder / name, asset(name))
    if not charts:
        return
    atomic_write(folder / CHART_DATA, chart_data(charts))
    target, library = folder / LIBRARY, plotting_library()
    if not target.is_file() or target.stat().st_size != library.stat().st_size:
        atomic_write(target, library.read_bytes())


def plotting_library() -> Path:
    """Return the path of the script in the package of Plotly, without the slow import of the package."""
    spec = find_spec("plotly")
    path = Path(str(spec.origin)).parent / "package_data" / LIBRARY if spec is not None else None
    if path is None or not path.is_file():
        message = f"the plotting library is missing: expected {path or LIBRARY} in the package plotly"
        raise EnvironmentProblem(message, "install the dependencies of segmi again: pip install 'plotly>=6'")
    return path


def asset(name: str) -> str:
    """Return the text of an asset of the package."""
    return (files("segmi.report") / "assets" / name).read_text(encoding="utf-8")


def _class_colors(study: StudyRuns, dataset: str) -> dict[str, str]:
    pairs = zip(study.classes(dataset), study.dataset_info(dataset).get("palette") or [], strict=False)
    return {name: f"rgb({', '.join(str(int(channel)) for channel in color)})" for name, color in pairs}  # CSS


def _template(name: str) -> jinja2.Template:
    loader, strict = jinja2.PackageLoader("segmi.report", "templates"), jinja2.StrictUndefined
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=strict, trim_blocks=True, lstrip_blocks=True
    ).get_template(name)
