"""Losses to minimize, computed from logits and labels: one file per loss.

Use a loss as ``loss(logits, labels)`` in any training loop, or train a cohort of networks with `build_objective`.

All losses raise ``TypeError`` for other objects than tensors, logits that are not floating point, and labels that are
not integer or are on another device, and ``ValueError`` for shapes that do not match, invalid options and, on the CPU,
labels that are neither a class nor ``ignore_index``. On other devices such labels give NaN, and NaN logits give NaN
everywhere.
"""

# ruff: noqa: F403 — type checkers treat names of star imports as public
from segmi.losses import exports
from segmi.losses.base import *
from segmi.losses.build import *
from segmi.losses.class_counts import *
from segmi.losses.distillation import *
from segmi.losses.label_information import *
from segmi.losses.mmsegmentation import *
from segmi.losses.pixel import *
from segmi.losses.representation import *
from segmi.losses.rmi import *
from segmi.losses.unsupervised import *
from segmi.losses.weighted_sum import *

exports.set_all(globals())
