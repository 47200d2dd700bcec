"""Losses between networks: mutual learning of peers, and distillation from frozen teachers."""

# ruff: noqa: F403, I001 — the order of imports sets the order of `LOSSES`
from segmi.losses import exports
from segmi.losses.distillation.mutual_learning import *
from segmi.losses.distillation.ensemble_teacher import *
from segmi.losses.distillation.jensen_shannon import *
from segmi.losses.distillation.distillation import *
from segmi.losses.distillation.variational_information_distillation import *
from segmi.losses.distillation.contrastive_distillation import *
from segmi.losses.distillation.channel_wise_distillation import *
from segmi.losses.distillation.dist import *
from segmi.losses.distillation.shuffled_teacher import *

exports.set_all(globals())
