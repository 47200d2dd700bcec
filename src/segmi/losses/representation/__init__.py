"""Losses on features of single networks."""

# ruff: noqa: F403, I001 — the order of imports sets the order of `LOSSES`
from segmi.losses import exports
from segmi.losses.representation.pixel_contrast import *
from segmi.losses.representation.information_bottleneck import *

exports.set_all(globals())
