"""Which pictures the objectives of this folder look at."""

from __future__ import annotations

from typing import get_args

from segmi.objectives._region_knobs import check_choice
from segmi.objectives.contract import Need, Rows


def needs_of(on: Rows) -> tuple[Need, ...]:
    """What a choice of pictures asks for; refuses what is none."""
    check_choice("on", on, get_args(Rows))
    return () if on == "labelled" else ("unlabelled pictures",)
