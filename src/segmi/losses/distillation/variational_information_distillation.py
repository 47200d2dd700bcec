"""Variational information distillation: features that predict the features of a teacher."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmi.losses.base import Outputs, Term, module_name
from segmi.losses.distillation._network_objectives import FeatureTeacherObjective
from segmi.losses.features import (
    MIN_VARIANCE,
    Layers,
    apply_head,
    count_valid_positions,
    feature_targets,
    head_of,
    heads_by_network,
    projection_head,
    resize_like,
    start_of_variance,
)
from segmi.losses.targets import upcast
from segmi.types import IGNORE_INDEX, Batch

__all__ = ["VariationalInformationDistillation", "gaussian_negative_log_likelihood"]


def gaussian_negative_log_likelihood(truth: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Return the negative log-likelihood of features under independent Gaussians, without the constant ½ log 2π.

    ``ℓ = ½ (t - μ)² / σ² + ½ log σ²``

    ``I(t; s) ≥ H(t) - E ℓ - ½ log 2π``: the variational bound of Barber and Agakov for independent channels.

    Shapes: truth, mean: N×D×h×w; variance: D, above 0; the result is N×D×h×w.
    Unit and sign: nats, of either sign, as for any density.
    Raises: ValueError for shapes that do not match.
    Source: Ahn, Hu, Damianou, Lawrence and Dai, *Variational Information Distillation for Knowledge Transfer*, CVPR
        2019 (abstract); minimum and initial variance and three convolutions as in the code released with Tian, Krishnan
        and Isola, ICLR 2020.
    Example:
        >>> gaussian_negative_log_likelihood(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), torch.ones(1))
        tensor([[[[0.5000]]]])
    """
    if truth.shape != mean.shape or tuple(variance.shape) != (truth.shape[1],):
        raise ValueError(
            f"expected a truth and a mean of one shape and a variance per channel, got {tuple(truth.shape)}, "
            f"{tuple(mean.shape)} and {tuple(variance.shape)}. Fix: project the student's features to the teacher's "
            "channels"
        )
    spread = variance.view(1, -1, 1, 1)
    return (truth - mean).square() / (2 * spread) + spread.log() / 2


class VariationalInformationDistillation(FeatureTeacherObjective):
    """Maximizes a lower bound on the mutual information of a network's features and a teacher's.

    ``L = 1/(D |V|) Σ_{u∈V} Σ_c [(t_cu - μ_c(s_u))² / 2σ_c² + ½ log σ_c²]``, ``σ_c² = softplus(a_c) + 10⁻⁵``

    μ is a head of three 1×1 convolutions without bias that is trained with the network; V are the valid positions of
    the teacher's map. A map of another size is resized to the teacher's by bilinear interpolation.

    Use: a teacher's features, for example if its classes differ from the student's.
    Assumptions: the teacher's features given the student's are Gaussian with independent channels; otherwise the bound
    is loose. Invariances: at the optimum over heads, invertible maps of the student's features that μ can undo.
    Degenerate solutions: σ falls to its minimum for constant channels, which then dominate the sum. For an optimal
    linear μ the value is ½ mean log diag M + ½, the diagonal surrogate of region mutual information between features.
    Cost: a convolution per layer and the forward pass of the teacher.

    Args:
        layers: one layer of a trained network and one of the teacher, by network.
        initial_variance: initial σ² of all channels.
        name, weight, frozen, ignore_index: see `TeacherObjective`; the published weight is 1.
    Unit and sign: nats per channel and position, of either sign, minimized; 0, attached to the graph, if no position is
        valid.
    Raises: ValueError for no layer of a teacher or of a trained network, or features that are not maps.
    Source: see `gaussian_negative_log_likelihood`.
    Example:
        >>> from segmi.types import Output
        >>> outputs = {m: Output(torch.zeros(1, 2, 4, 4), {"body": torch.ones(1, 8, 2, 2)}) for m in ("a", "t")}
        >>> batch = Batch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8))
        >>> loss = VariationalInformationDistillation(layers={"a": "body", "t": "body"}, frozen=["t"])
        >>> loss.prepare(outputs, seed=0)
        >>> list(loss(outputs, batch))
        ['variational_information_distillation/a']
    """

    def __init__(
        self, *, layers: Layers, name: str = "variational_information_distillation", weight: float = 1.0,
        initial_variance: float = 5.0, frozen: Sequence[str] = (), ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__(layers=layers, name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        self.start = start_of_variance(initial_variance)
        self.heads, self.spreads = nn.ModuleDict(), nn.ParameterDict()

    def prepare(self, outputs: Outputs, seed: int) -> None:
        """Create a head for every trained network."""
        heads: dict[str, nn.Module] = {}
        self.spreads = nn.ParameterDict()
        for student, (teacher, *_) in self._pairs(outputs).items():
            wide, own = (self._features(outputs, name).shape[1] for name in (teacher, student))
            heads[student] = projection_head([own, wide, wide, wide], seed, bias=False)
            self.spreads[module_name(student)] = nn.Parameter(torch.full((wide,), self.start))
        self.heads = heads_by_network(heads)

    def teacher_terms(self, outputs: Outputs, student: str, teacher: str, batch: Batch) -> dict[str, Term]:
        """Return the negative log-likelihood of one teacher's features."""
        truth = upcast(self._features(outputs, teacher)).detach()
        own = self._features(outputs, student)
        targets = feature_targets(outputs[student].logits, batch.labels, truth, self.ignore_index)
        mean = resize_like(apply_head(head_of(self.heads, student), own), truth)
        # D variances, one per channel, shared by all positions
        variance = F.softplus(self.spreads[module_name(student)]) + MIN_VARIANCE
        likelihood = gaussian_negative_log_likelihood(truth.to(mean.dtype), mean, variance).mean(1)
        total = torch.where(targets.valid, likelihood, 0.0).sum()
        # 0 · logits attaches the term to the graph of the logits
        attached = total + targets.invalid + 0 * outputs[student].logits.sum()
        return {"": Term(attached, targets.valid.sum().to(total.dtype))}

    def teacher_denominators(self, outputs: Outputs, student: str, teacher: str, batch: Batch) -> dict[str, Tensor]:
        """Return the number of valid positions of the teacher's map."""
        return {"": count_valid_positions(batch.labels, self._features(outputs, teacher), self.ignore_index)}
