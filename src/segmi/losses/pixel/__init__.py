"""Losses on pixels: cross-entropies, overlap losses and regularizers of the prediction."""

# ruff: noqa: F403, I001 — the order of imports sets the order of `LOSSES`
from segmi.losses import exports
from segmi.losses.pixel.cross_entropy import *
from segmi.losses.pixel.binary_cross_entropy import *
from segmi.losses.pixel.weighted_cross_entropy import *
from segmi.losses.pixel.focal import *
from segmi.losses.pixel.dice import *
from segmi.losses.pixel.lovasz_softmax import *
from segmi.losses.pixel.label_smoothing import *
from segmi.losses.pixel.confidence_penalty import *
from segmi.losses.pixel.affinity_fields import *

exports.set_all(globals())
