"""Table 1 of the study that segmi implements: Gonçalves et al., RECPAD 2024."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

Reference: TypeAlias = Mapping[str, Mapping[str, tuple[float, float]]]
"""Numbers to show beside one's own: data set → method → (IoU, Acc), as fractions."""

PAPER: Final[Reference] = {
    "cityscapes": {"model-1": (0.5931, 0.9388), "model-2": (0.5244, 0.9345), "model-3": (0.5619, 0.9342)},
    "voc2012": {"model-1": (0.1965, 0.7367), "model-2": (0.0607, 0.6893), "model-3": (0.2203, 0.7539)},
}


def reference_for(study: str) -> Reference | None:
    """The published numbers that belong to a study's name; None if there are none.

    >>> reference_for("paper")["voc2012"]["model-3"]
    (0.2203, 0.7539)
    >>> reference_for("demo") is None
    True
    """
    return PAPER if study == "paper" else None
