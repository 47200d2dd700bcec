"""Detection of how a folder of images and masks is organized, as a proposal for its ``segmi.toml``."""

from segmi.datasets.detection.proposal import Proposal, propose

__all__ = ["Proposal", "propose"]
