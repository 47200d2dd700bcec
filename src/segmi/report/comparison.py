"""The tables of a study's comparisons, in the order in which the pages show them."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from segmi.report.table import Table
from segmi.report.table1 import title_of
from segmi.report.table_comparison import table_comparison, table_estimates, table_new_images
from segmi.report.table_dependence import table_class_differences, table_interaction, table_ranks
from segmi.statistics import StudyRuns, pairings

PATTERNS: Final = (
    "comparison.*",
    "estimates.*",
    "new_images.*",
    "interaction_*",
    "ranks.*",
    "class_differences_*",
    "table_beyond.*",
)
"""The files that these tables may become."""


class Shown(NamedTuple):
    """A table on the pages: the name of its files, its heading there, and whether it is folded away at first."""

    name: str
    heading: str
    table: Table
    folded: bool


def comparison_tables(study: StudyRuns) -> list[Shown]:
    """What can be said of a study's methods against its baseline; nothing where there is one method, or no result."""
    if not pairings(study) or not study.results:
        return []
    shown: list[tuple[str, str, Table | None, bool]] = [
        ("comparison", "Differences to the baseline, over retraining", table_comparison(study), False),
        ("new_images", "Differences to the baseline, on new images", table_new_images(study), False),
        ("interaction_datasets", "Does it depend on the dataset?", table_interaction(study, "dataset"), False),
        ("interaction_networks", "Does it depend on the network?", table_interaction(study, "network"), False),
        ("ranks", "Ranks over datasets", table_ranks(study), False),
        ("estimates", "Every method by itself", table_estimates(study), True),
    ]
    for dataset in study.plan.datasets:
        heading = f"Class by class: {title_of(study, dataset)}"
        shown.append((f"class_differences_{dataset}", heading, table_class_differences(study, dataset), True))
    return [Shown(name, heading, table, folded) for name, heading, table, folded in shown if table is not None]


def remove_others(folder: Path, kept: list[Shown]) -> None:
    """Remove the files of tables that an earlier report had and this one has not: they would mislead."""
    names = {one.name for one in kept}
    for pattern in PATTERNS:
        for path in folder.glob(pattern):
            if path.stem not in names:
                path.unlink()
