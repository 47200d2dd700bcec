"""Statistics over the records of runs. Imports no torch."""

from __future__ import annotations

from segmi.comparison.detectable import POWER, detectable_factor
from segmi.comparison.differences import Comparison, compare, estimates
from segmi.comparison.gather import SCORES, StudyRuns, collect, run_scores
from segmi.comparison.interaction import Interaction, Over, interactions
from segmi.comparison.new_images import NewImages, compare_on_new_images
from segmi.comparison.paired import LEVEL, Difference, describe_differences, holm, least_p
from segmi.comparison.pairing import PRIMARY, Pairing, pairings
from segmi.comparison.per_class import ClassComparison, compare_classes
from segmi.comparison.ranks import Ranks, rank_methods
from segmi.comparison.summary import best, summarise

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
    "summarise",
]
