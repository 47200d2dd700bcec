"""Statistics over the records of runs. Imports no torch."""

from __future__ import annotations

from segmi.statistics.differences import Comparison, compare, estimates
from segmi.statistics.interaction import Interaction, Over, interactions
from segmi.statistics.new_images import NewImages, compare_on_new_images
from segmi.statistics.paired_tests import LEVEL, Difference, describe_differences, holm, least_p
from segmi.statistics.pairing import PRIMARY, Pairing, pairings
from segmi.statistics.per_class import ClassComparison, compare_classes
from segmi.statistics.power import POWER, detectable_factor
from segmi.statistics.ranks import Ranks, rank_methods
from segmi.statistics.study_runs import SCORES, StudyRuns, collect, run_scores
from segmi.statistics.summary import best, summarize

__all__ = [
    "LEVEL",
    "POWER",
    "PRIMARY",
    "SCORES",
    "ClassComparison",
    "Comparison",
    "Difference",
    "Interaction",
    "NewImages",
    "Over",
    "Pairing",
    "Ranks",
    "StudyRuns",
    "best",
    "collect",
    "compare",
    "compare_classes",
    "compare_on_new_images",
    "describe_differences",
    "detectable_factor",
    "estimates",
    "holm",
    "interactions",
    "least_p",
    "pairings",
    "rank_methods",
    "run_scores",
    "summarize",
]
