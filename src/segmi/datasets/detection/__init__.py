"""A folder that nobody has described: what is in it, as a proposal for its data-set file."""

from segmi.datasets.detection.proposal import Proposal, propose

__all__ = ["Proposal", "propose"]
