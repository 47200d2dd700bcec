"""Statistics over the records of runs. Imports no torch."""

from __future__ import annotations

from segmi.comparison.gather import SCORES, StudyRuns, collect, run_scores
from segmi.comparison.summary import best, summarise

__all__ = ["SCORES", "StudyRuns", "best", "collect", "run_scores", "summarise"]
