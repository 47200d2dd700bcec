"""Which images the losses of this folder look at."""

from __future__ import annotations

from typing import get_args

from segmi.losses.base import ImageSubset, Requirement
from segmi.losses.options import check_choice


def required_by(applies_to: ImageSubset) -> tuple[Requirement, ...]:
    """What a choice of images asks for; refuses what is none."""
    check_choice("applies_to", applies_to, get_args(ImageSubset))
    return () if applies_to == "labeled" else ("unlabeled images",)
