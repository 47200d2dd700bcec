"""Losses on predictions alone, for images with and without labels."""

# ruff: noqa: F403, I001 — the order of imports sets the order of `LOSSES`
from segmi.losses import exports
from segmi.losses.unsupervised.information_maximization import *
from segmi.losses.unsupervised.marginal_prior import *
from segmi.losses.unsupervised.entropy_minimization import *
from segmi.losses.unsupervised.invariant_information import *
from segmi.losses.unsupervised.local_invariant_information import *

exports.set_all(globals())
