"""Losses on features of single networks."""

from segmi.losses.representation.information_bottleneck import InformationBottleneck, bottleneck_rate
from segmi.losses.representation.pixel_contrast import PixelContrast, supervised_contrastive

__all__ = ["InformationBottleneck", "PixelContrast", "bottleneck_rate", "supervised_contrastive"]
