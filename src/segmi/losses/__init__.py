"""Losses to minimize, computed from logits and labels: one file per loss.

Use a loss as ``loss(logits, labels)`` in any training loop, or train a cohort of networks with `build_objective`.

All losses raise ``TypeError`` for logits that are not floating point and labels that are not integer, ``ValueError``
for shapes that do not match, invalid options and, on the CPU, labels that are neither a class nor ``ignore_index``. On
other devices such labels give NaN, and NaN logits give NaN everywhere.
"""

# ruff: noqa: F403 — the subpackages list their public names
from segmi.losses.base import CallableLoss, Diagnostic, Loss, Objective, Outputs, PerNetwork, PixelLoss, Term
from segmi.losses.build import LOSSES, build_objective, known_losses
from segmi.losses.class_counts import ClassCounts
from segmi.losses.distillation import *
from segmi.losses.distillation import __all__ as _distillation
from segmi.losses.label_information import *
from segmi.losses.label_information import __all__ as _label_information
from segmi.losses.pixel import *
from segmi.losses.pixel import __all__ as _pixel
from segmi.losses.representation import *
from segmi.losses.representation import __all__ as _representation
from segmi.losses.rmi import *
from segmi.losses.rmi import __all__ as _rmi
from segmi.losses.unsupervised import *
from segmi.losses.unsupervised import __all__ as _unsupervised
from segmi.losses.weighted_sum import WeightedSum

__all__ = [
    *_distillation, *_label_information, *_pixel, *_representation, *_rmi, *_unsupervised, "LOSSES", "CallableLoss",
    "ClassCounts", "Diagnostic", "Loss", "Objective", "Outputs", "PerNetwork", "PixelLoss", "Term", "WeightedSum",
    "build_objective", "known_losses",
]  # fmt: skip
