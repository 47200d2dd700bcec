"""Statistical comparison of methods from the records of runs. Does not import torch."""

from __future__ import annotations

from segmi.records import reported_score
from segmi.statistics.differences import ClassComparison, Comparison, compare, compare_classes, estimates
from segmi.statistics.interaction import Interaction, Over, Ranks, interactions, rank_methods
from segmi.statistics.new_images import NewImages, compare_on_new_images
from segmi.statistics.paired_tests import (
    LEVEL,
    POWER,
    Difference,
    describe_differences,
    detectable_factor,
    holm,
    least_p,
)
from segmi.statistics.random_effects import PooledDifference, pool_datasets
from segmi.statistics.score_table import SCORES, Score, best, run_scores, summarize
from segmi.statistics.study_runs import PRIMARY, Pairing, StudyRuns, collect, pairings

__all__ = [
    "LEVEL", "POWER", "PRIMARY", "SCORES", "ClassComparison", "Comparison", "Difference", "Interaction",
    "NewImages", "Over", "Pairing", "PooledDifference", "Ranks", "Score", "StudyRuns", "best", "collect", "compare",
    "compare_classes", "compare_on_new_images", "describe_differences", "detectable_factor", "estimates",
    "holm",
    "interactions", "least_p", "pairings", "pool_datasets", "rank_methods", "reported_score", "run_scores", "summarize",
]  # fmt: skip
