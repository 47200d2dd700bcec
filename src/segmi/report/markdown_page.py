"""The report as Markdown that shows the files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from segmi.report.answer import Answer
from segmi.report.comparison import Shown
from segmi.report.facts import facts, failures
from segmi.report.render import escape_markdown, markdown
from segmi.report.table import Table
from segmi.statistics import StudyRuns


def markdown_page(
    study: StudyRuns,
    found: Answer,
    tables: Mapping[str, Table],
    compared: Sequence[Shown],
    classes: Sequence[Table],
    figures: Sequence[tuple[str, str]],
) -> str:
    """The same as Markdown; ``figures`` are (caption, file relative to the page)."""
    lines = [f"# Study {escape_markdown(study.plan.study)}", "", *_answer(found), markdown(tables["table1"])]
    lines += ["## Is it more than the seed?", ""] if compared else []
    for one in compared:
        lines += [f"### {escape_markdown(one.heading)}", "", markdown(one.table)]
    lines += [f"![{escape_markdown(caption)}]({file})\n\n*{escape_markdown(caption)}*\n" for caption, file in figures]
    lines += ["## All networks", "", markdown(tables["networks"])]
    lines += ["## IoU per class", ""] + [markdown(table) for table in classes] if classes else []
    for title, entries in facts(study):
        lines += [f"## {title}", ""]
        lines += [f"- {escape_markdown(name)}: {escape_markdown(value)}" for name, value in entries] + [""]
    failed = failures(study)
    if failed:
        lines += ["## Failures", ""]
        lines += [f"- {escape_markdown(run)}: {escape_markdown(message)}" for run, message, _ in failed] + [""]
    return "\n".join(lines).rstrip() + "\n"


def _answer(found: Answer) -> list[str]:
    lines = [f"**{escape_markdown(found.headline)}**", ""]
    lines += [escape_markdown(found.preliminary), ""] if found.preliminary else []
    lines += [
        f"- {escape_markdown(f'{one.dataset}: {one.method} against {one.baseline}')}: "
        f"**{escape_markdown(one.verdict)}**, {escape_markdown(one.details)}."
        for one in found.statements
    ]
    return [*lines, ""] if found.statements else lines
