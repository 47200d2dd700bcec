"""Channel-wise distillation: the teacher's distribution of each class over the pixels of an image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segmi.information import kl_divergence_of_logs
from segmi.losses.base import Invariance, Outputs, Term
from segmi.losses.distillation._network_objectives import LogitTeacherObjective, check_peers
from segmi.losses.option_checks import check_positive
from segmi.losses.targets import is_valid, read_targets, upcast
from segmi.types import IGNORE_INDEX, Batch, Labels, Logits

__all__ = ["ChannelWiseDistillation", "channel_wise_distillation"]

# logit of ignored pixels: probability 0, and finite, so that an image without valid pixels has a value
_MASKED = -1e30


def channel_wise_distillation(
    logits: Logits,
    teacher: Logits,
    labels: Labels,
    *,
    temperature: float = 4.0,
    ignore_index: int | None = IGNORE_INDEX,
) -> Tensor:
    """Return the mean divergence of the spatial distribution of each class from the teacher's.

    ``L = T² 1/(N C) Σ_n Σ_c KL(softmax_{u∈V_n}(t_nc / T) ‖ softmax_{u∈V_n}(z_nc / T))``

    The softmax is over the valid pixels of an image, for each class; it compares where classes are, not which one a
    pixel has.

    Args:
        logits, teacher: N×C×H×W, of the network that learns and of its teacher, which gets no gradient.
        labels: N×H×W integers; only ``ignore_index`` is used.
        temperature: T, above 0; 4 as published.
    Unit and sign: nats per channel and image, at least 0, minimized; 0, attached to the graph, if no pixel is valid.
    Source: Shu, Liu, Gao, Yan and Shen, *Channel-wise Knowledge Distillation for Dense Prediction*, ICCV 2021; T = 4
        and weight 3 in the released command for logits.
    Example:
        >>> import torch
        >>> z = torch.randn(1, 3, 4, 4)
        >>> channel_wise_distillation(z + 5, z, torch.zeros(1, 4, 4, dtype=torch.long)).abs() < 1e-5
        tensor(True)
    """
    return channel_wise_distillation_term(logits, teacher, labels, temperature, ignore_index).value


def channel_wise_distillation_term(
    logits: Logits, teacher: Logits, labels: Labels, temperature: float, ignore_index: int | None
) -> Term:
    """Return `channel_wise_distillation` as the sum over channels and images and their number."""
    check_positive(temperature=temperature)
    check_peers(logits, [teacher])
    targets = read_targets(logits, labels, ignore_index)
    invalid = targets.invalid + read_targets(teacher, labels, ignore_index).invalid
    ignored = ~targets.valid[:, None]
    # N×C×(H·W) log-distributions over the pixels of an image
    log_q, log_t = (
        (upcast(one) / temperature).masked_fill(ignored, _MASKED).flatten(2).log_softmax(2)
        for one in (logits, teacher.detach())
    )
    # N×C, summed over the pixels
    divergence = kl_divergence_of_logs(log_t.to(log_q.dtype), log_q, dim=2)
    return Term(temperature**2 * divergence.sum() + invalid, _channels(logits, targets.valid).to(log_q.dtype))


def _channels(logits: Tensor, valid: Tensor) -> Tensor:
    # the number of channels of all images with a valid pixel
    return logits.shape[1] * valid.flatten(1).any(1).sum()


class ChannelWiseDistillation(LogitTeacherObjective):
    """`channel_wise_distillation` of every trained network, averaged over the frozen networks.

    Use: a teacher whose location of each class is imitated; a control of `distillation`.
    Assumes: nothing about the classes; it does not use the mutual information of label and prediction.
    Invariances: a constant added to one channel of an image, even if it changes the predicted classes.
    Degenerate solutions: by this invariance classes may be biased arbitrarily; add a cross-entropy.
    Cost: the forward pass of the teacher.
    Args: see `channel_wise_distillation` and `TeacherObjective`; the published ``weight`` is 3.
    """

    invariances: tuple[Invariance, ...] = ("prediction permutation", "class permutation")

    def __init__(
        self, *, name: str = "channel_wise_distillation", weight: float = 1.0, temperature: float = 4.0,
        frozen: Sequence[str] = (), ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__(name=name, weight=weight, temperature=temperature, frozen=frozen, ignore_index=ignore_index)

    def logit_term(self, logits: Logits, teacher: Logits, labels: Labels) -> Term:
        """Return `channel_wise_distillation` as a term."""
        return channel_wise_distillation_term(logits, teacher, labels, self.temperature, self.ignore_index)

    def teacher_denominators(self, outputs: Outputs, student: str, teacher: str, batch: Batch) -> dict[str, Tensor]:
        """Return the number of channels of all images with a valid pixel."""
        logits = outputs[student].logits
        return {"": _channels(logits, is_valid(batch.labels, self.ignore_index)).to(upcast(logits).dtype)}
