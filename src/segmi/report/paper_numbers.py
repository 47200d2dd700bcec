"""Table 1 of the study that segmi implements: Gonçalves et al., RECPAD 2024."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

Reference: TypeAlias = Mapping[str, Mapping[str, tuple[float, float]]]
"""Numbers to show beside one's own: dataset → method → (IoU, Acc), as fractions."""

PAPER: Final[Reference] = {
    "cityscapes": {"model-1": (0.5931, 0.9388), "model-2": (0.5244, 0.9345), "model-3": (0.5619, 0.9342)},
    "voc2012": {"model-1": (0.1965, 0.7367), "model-2": (0.0607, 0.6893), "model-3": (0.2203, 0.7539)},
}


SOURCE: Final = "As published: Table 1 of Gonçalves et al., RECPAD 2024."


def reference_for(study: str, protocol: str | None) -> Reference | None:
    """The published numbers that stand beside one's own: those of the paper in studies under its protocol.

    >>> reference_for("paper", "paper")["voc2012"]["model-3"]
    (0.2203, 0.7539)
    >>> reference_for("shorter", "paper") is PAPER, reference_for("demo", "controlled") is None
    (True, True)
    """
    return PAPER if "paper" in (study, protocol) else None
