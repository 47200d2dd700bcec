"""Channel-wise distillation: where a teacher sees each class, as a distribution over the pixels of an image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segmi.information import kl_divergence_of_logs
from segmi.losses.base import Invariance, Term
from segmi.losses.distillation.mutual_learning import check_peers
from segmi.losses.distillation.taught import Taught
from segmi.losses.targets import read_targets, upcast
from segmi.types import IGNORE_INDEX, Batch, Labels, Logits, Output

_NOWHERE = -1e30
"""The logit of an ignored pixel: no probability, and finite, so that an image of them alone has a value."""


def channel_wise_distillation(
    logits: Logits, teacher: Logits, labels: Labels, *, temperature: float = 4.0, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """How far the places of every class are from where the teacher has them.

    ``L = T² 1/(N C) Σ_n Σ_c KL(softmax_{u∈V_n}(t_nc / T) ‖ softmax_{u∈V_n}(z_nc / T))``

    The softmax runs over the valid pixels of an image, class by class; it compares where, and not what.

    Args:
        logits: of the network that learns.
        teacher: of the one that teaches; no gradient reaches it.
        labels: only tell which pixels are ignored.
        temperature: T, above 0; 4 as published.
        ignore_index: the label of ignored pixels.

    Shapes:
        logits, teacher: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: nats per channel and image, at least 0, minimized; 0, attached to the graph, where no image has a
        valid pixel.

    Raises:
        TypeError, ValueError: as `segmi.losses.distillation`.

    Source: Shu, Liu, Gao, Yan and Shen, *Channel-wise Knowledge Distillation for Dense Prediction*, ICCV 2021; T = 4
        and weight 3 in the released command for logits.

    Example:
        >>> import torch
        >>> seen = torch.randn(1, 3, 4, 4)
        >>> channel_wise_distillation(seen + 5, seen, torch.zeros(1, 4, 4, dtype=torch.long)).abs() < 1e-5
        tensor(True)
    """
    return channel_wise_distillation_term(
        logits, teacher, labels, temperature=temperature, ignore_index=ignore_index
    ).value


def channel_wise_distillation_term(
    logits: Logits, teacher: Logits, labels: Labels, *, temperature: float = 4.0, ignore_index: int = IGNORE_INDEX
) -> Term:
    """`channel_wise_distillation` as the sum over channels and images and their number."""
    if not temperature > 0:
        raise ValueError(f"temperature: expected a number above 0, got {temperature!r}; 4 is published")
    check_peers(logits, [teacher])
    targets = read_targets(logits, labels, ignore_index)
    invalid = targets.invalid + read_targets(teacher, labels, ignore_index).invalid
    ignored = ~targets.valid[:, None]
    log_q, log_t = (
        (upcast(one) / temperature).masked_fill(ignored, _NOWHERE).flatten(2).log_softmax(2)
        for one in (logits, teacher.detach())
    )
    divergence = kl_divergence_of_logs(log_t.to(log_q.dtype), log_q, dim=2)
    return Term(temperature**2 * divergence.sum() + invalid, _channels(logits, targets.valid).to(log_q.dtype))


def _channels(logits: Tensor, valid: Tensor) -> Tensor:
    """How many channels of images with a valid pixel there are."""
    return logits.shape[1] * valid.flatten(1).any(1).sum()


class ChannelWiseDistillation(Taught):
    """`channel_wise_distillation` of every network that learns from those that are frozen, on average over them.

    Assumes: nothing of what the classes are; it knows no mutual information between label and prediction.
    Invariances: a constant added to one channel of one image, whatever it does to the classes that are predicted.
    Degenerate solutions: by that invariance classes may be biased at will, so it needs a cross-entropy beside it.
    Cost: the teacher's forward pass.

    Args:
        name: the name of the terms.
        weight: their factor in the sum that is minimized; 3 as published.
        temperature: T, above 0.
        frozen: the networks that teach.
        ignore_index: the label of ignored pixels.

    Example:
        >>> import torch
        >>> outputs = {name: Output(torch.zeros(1, 2, 4, 4)) for name in ("a", "t")}
        >>> batch = Batch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8))
        >>> list(ChannelWiseDistillation(frozen=["t"])(outputs, batch))
        ['channel_wise_distillation/a']
    """

    family = "distillation"
    requires = ("teacher",)
    invariances: tuple[Invariance, ...] = ("prediction permutation", "class permutation")

    def __init__(
        self,
        *,
        name: str = "channel_wise_distillation",
        weight: float = 1.0,
        temperature: float = 4.0,
        frozen: Sequence[str] = (),
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        if not temperature > 0:
            raise ValueError(f"temperature: expected a number above 0, got {temperature!r}; 4 is published")
        self.temperature = temperature

    def taught(self, student: str, learned: Output, teacher: str, taught: Output, batch: Batch) -> dict[str, Term]:
        """The divergence from one teacher."""
        return {
            "": channel_wise_distillation_term(
                learned.logits, taught.logits, batch.labels, temperature=self.temperature,
                ignore_index=self.ignore_index,
            )
        }  # fmt: skip

    def counted(self, student: Output, teacher: Output, batch: Batch) -> dict[str, Tensor]:
        """The channels of images with a valid pixel."""
        valid = batch.labels != self.ignore_index
        return {"": _channels(student.logits, valid).to(upcast(student.logits).dtype)}
