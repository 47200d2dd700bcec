"""Losses on the dependence of predictions and labels over a whole batch."""

# ruff: noqa: F403, I001 — the order of imports sets the order of `LOSSES`
from segmi.losses import exports
from segmi.losses.label_information.soft_confusion import *
from segmi.losses.label_information.determinant_information import *
from segmi.losses.label_information.conditional_information import *
from segmi.losses.label_information.normalized_conditional_information import *
from segmi.losses.label_information.probability_corrected import *

exports.set_all(globals())
