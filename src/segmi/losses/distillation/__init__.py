"""Losses between networks: mutual learning of peers, and distillation from frozen teachers."""

from segmi.losses.distillation.channel_wise_distillation import ChannelWiseDistillation, channel_wise_distillation
from segmi.losses.distillation.contrastive_distillation import ContrastiveDistillation, info_nce_per_pair
from segmi.losses.distillation.dist import DIST, dist
from segmi.losses.distillation.distillation import Distillation, distillation
from segmi.losses.distillation.ensemble_teacher import EnsembleTeacher, ensemble_teacher
from segmi.losses.distillation.jensen_shannon import JensenShannon, jensen_shannon
from segmi.losses.distillation.mutual_learning import MutualLearning, mutual_learning
from segmi.losses.distillation.shuffled_teacher import ShuffledTeacher, shuffled_teacher
from segmi.losses.distillation.variational_information_distillation import (
    VariationalInformationDistillation,
    gaussian_negative_log_likelihood,
)

__all__ = [
    "DIST", "ChannelWiseDistillation", "ContrastiveDistillation", "Distillation", "EnsembleTeacher", "JensenShannon",
    "MutualLearning", "ShuffledTeacher", "VariationalInformationDistillation", "channel_wise_distillation", "dist",
    "distillation", "ensemble_teacher", "gaussian_negative_log_likelihood", "info_nce_per_pair", "jensen_shannon",
    "mutual_learning", "shuffled_teacher",
]  # fmt: skip
