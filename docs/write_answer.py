"""Write docs/answer.md, its tables and its forest plot from the records in docs/answer/records: `make answer-report`.

Every number, table and sentence follows from the packed records, the registered comparisons and the rules of the
protocol, so equal records give equal bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from answer_outcomes import correlation_matrix, correlation_table, cost_table, machines, scores_table, secondary_table
from answer_records import Answer, Tested
from answer_tables import (
    Reading,
    claims_table,
    forest,
    ladder,
    ladder_matrix,
    matrix,
    plain_table,
    primary_table,
    readings,
)
from answer_text import limits, recommendation, sentences

from segmi.records import atomic_write
from segmi.report.table import markdown
from segmi.report.table1 import PAPER
from segmi.statistics import StudyRuns

DOCS = Path(__file__).resolve().parent
REGISTRY = DOCS / "answer" / "comparisons.yaml"
RECORDS = DOCS / "answer" / "records"
PAGE, TABLES, FOREST = "answer.md", "answer/tables.md", "answer/forest.svg"

_HEAD = """\
# Is it mutual information that helps?

Does mutual information help a segmentation network, and if so, is mutual information the reason? `make answer-report`
writes this page from the [records](answer/records) of the runs, by the rules of the [protocol](answer/protocol.md),
which was registered before the runs."""

_RULE = """\
Each rival lacks one property of a primary method. If the primary method is better than its baseline, the property is
*not needed* for the gain if the rival is better than the baseline too, or equivalent to the primary method; it is
*needed* if the primary method is better than the rival. [All numbers](answer/tables.md#rival-explanations)."""

_SLICE = """\
`make answer-slice` repeats four of the runs, without a download, and compares them with the
[intervals of a further run](answer/tables.md#scores); `make answer-report` writes this page from the records again."""

_TABLES_HEAD = """\
# Tables of the answer

All numbers behind [the answer](../answer.md), written by `make answer-report`."""


def render(registry: Path = REGISTRY, records: Path = RECORDS) -> dict[str, str]:
    """Return the text of every file of the answer, by its path in docs."""
    answer = Answer.read(registry, records)
    entries, figure = readings(answer), forest(answer)
    files = {PAGE: _page(answer, entries, figure), TABLES: _tables(answer, entries)}
    return files | ({FOREST: figure} if figure else {})


def _page(answer: Answer, entries: Sequence[Reading], figure: str) -> str:
    runs, correlations = answer.primary, correlation_table(answer)
    return _joined(
        _HEAD, "## Answer", *_answer(answer, entries), "## Primary comparisons",
        f"![Differences with their intervals]({FOREST})" if figure else "",
        markdown(primary_table(runs, answer.means, f"the {len(answer.means)} means")),
        markdown(matrix(runs, answer.primary_tests)),
        "[All numbers by dataset](answer/tables.md#primary-comparisons), see [statistics](guides/statistics.md).",
        "## Rival explanations", _RULE, markdown(ladder_matrix(answer, entries)),
        "## The claims of the paper", markdown(claims_table(answer, PAPER)),
        "With the network of the paper, a U-Net from scratch:",
        markdown(matrix(answer.repeated, answer.repeated_tests)),
        "Departures of the code of the paper from its text, each alone and compared with the same model without it:",
        markdown(matrix(answer.defects, answer.defects_tests)),
        "## Diagnostics", markdown(correlation_matrix(correlations)) if correlations else "No finished runs yet.",
        markdown(secondary_table(answer, means=True)),
        "## What cannot be concluded", "\n".join(f"- {item}" for item in limits(answer, entries)),
        "## Cost", *_cost(answer), _SLICE, "## At larger scale", *_scale(answer),
    )  # fmt: skip


def _tables(answer: Answer, entries: Sequence[Reading]) -> str:
    correlations = correlation_table(answer)
    return _joined(
        _TABLES_HEAD, "## Primary comparisons", _family(answer.primary, answer.primary_tests),
        "## Scores", markdown(scores_table(answer)),
        "## Primary comparisons with a U-Net", _family(answer.repeated, answer.repeated_tests),
        "## Departures of the code of the paper", _family(answer.defects, answer.defects_tests),
        "## Rival explanations", "Holm's p is adjusted over the comparisons of a question on a dataset.",
        *(markdown(ladder(answer, key, entries)) for key in answer.registry["questions"]),
        "## Further questions", *(markdown(plain_table(answer, key)) for key in answer.registry["plain"]),
        "## Measures of information", markdown(correlations) if correlations else "No finished runs yet.",
        "## Secondary outcomes", markdown(secondary_table(answer, means=False)),
    )  # fmt: skip


def _family(runs: StudyRuns, tests: Sequence[Tested]) -> str:
    return markdown(primary_table(runs, tests, f"the {len(tests)} comparisons of this table"))


def _joined(*parts: str) -> str:
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _answer(answer: Answer, entries: Sequence[Reading]) -> list[str]:
    progress = answer.progress().items()
    missing = [f"{done} of {planned} runs of `{name}`" for name, (done, planned) in progress if done < planned]
    note = f"**Preliminary: {', '.join(missing)} are finished.** Comparisons with missing runs have no conclusion."
    numbered = "\n".join(f"{number}. {one}" for number, one in enumerate(sentences(answer, entries), 1))
    return [note if missing else "", numbered, f"**Recommended loss.** {recommendation(answer)}"]


def _cost(answer: Answer) -> list[str]:
    planned = {name: number for name, (_, number) in answer.progress().items()}
    used = machines(answer, list(planned))
    return [markdown(cost_table(answer, planned)), f"Machines: {'; '.join(used)}." if used else ""]


def _scale(answer: Answer) -> list[str]:
    scale = answer.registry["scale"]
    return [f"```sh\n{scale['command'].strip()}\n```", str(scale["cost"]).strip()]


def main(folder: Path = DOCS) -> int:
    """Write the files of the answer."""
    for name, text in render().items():
        print(atomic_write(folder / name, text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
