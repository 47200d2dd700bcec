"""What a confusion matrix cannot tell: how sure predictions are, how well edges lie, how small objects fare.

Each is a sufficient statistic that adds up over images; the numbers are read off `segmi.records.DetailsRecord`.
"""

from __future__ import annotations

from segmi.metrics.details.boundary import boundary, boundary_counts, boundary_distance
from segmi.metrics.details.calibration import reliability_counts
from segmi.metrics.details.collect import Details, Truth
from segmi.metrics.details.objects import components, object_scores

__all__ = [
    "Details",
    "Truth",
    "boundary",
    "boundary_counts",
    "boundary_distance",
    "components",
    "object_scores",
    "reliability_counts",
]
