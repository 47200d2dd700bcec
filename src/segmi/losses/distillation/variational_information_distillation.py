"""Variational information distillation: features from which the teacher's features can be told."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmi.losses.base import Invariance, Outputs, Term
from segmi.losses.distillation.taught import Taught
from segmi.losses.feature_grid import cells, valid_cells
from segmi.losses.heads import Layers, applied, feature, head_of, heads_by_network, projection
from segmi.losses.targets import upcast
from segmi.types import IGNORE_INDEX, Batch, Output

FLOOR = 1e-5
"""The least variance: a channel that is predicted perfectly would bring it to 0, and its logarithm to -∞."""


def gaussian_negative_log_likelihood(truth: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """What is left open of a channel once its mean and variance are predicted, up to the constant ½ log 2π.

    ``ℓ = ½ (t - μ)² / σ² + ½ log σ²``

    With its expectation, ``I(t; s) ≥ H(t) - E ℓ - ½ log 2π``: the variational bound of Barber and Agakov with a
    Gaussian in which channels are independent.

    Shapes:
        truth, mean: N×D×h×w; variance: D, above 0; the result is N×D×h×w.

    Unit and sign: nats; of any sign, since it is a density's logarithm.

    Raises:
        ValueError: shapes that do not match.

    Source: Ahn, Hu, Damianou, Lawrence and Dai, *Variational Information Distillation for Knowledge Transfer*, CVPR
        2019 (read in its abstract); the floor, the initial variance and three convolutions as in the code released with
        Tian, Krishnan and Isola, ICLR 2020.

    Example:
        >>> gaussian_negative_log_likelihood(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), torch.ones(1))
        tensor([[[[0.5000]]]])
    """
    if truth.shape != mean.shape or tuple(variance.shape) != (truth.shape[1],):
        raise ValueError(
            f"expected a truth and a mean of one shape and a variance per channel, got {tuple(truth.shape)}, "
            f"{tuple(mean.shape)} and {tuple(variance.shape)}; project the student's features to the teacher's channels"
        )
    spread = variance.view(1, -1, 1, 1)
    return (truth - mean).square() / (2 * spread) + spread.log() / 2


class VariationalInformationDistillation(Taught):
    """A network's features are drawn to tell those of a teacher: a lower bound on their mutual information, maximized.

    ``L = 1/(D |V|) Σ_{u∈V} Σ_c [(t_cu - μ_c(s_u))² / 2σ_c² + ½ log σ_c²]``, ``σ_c² = softplus(a_c) + 10⁻⁵``

    μ is a head of three 1×1 convolutions, made and optimized along with the network; V are the cells of the teacher's
    map whose middle pixel is not ignored. Maps of another size are brought to the teacher's by bilinear interpolation.

    Assumptions: the teacher's features, given the student's, are Gaussian with channels independent of each other; what
    is not, loosens the bound. Invariances: of the best value over heads, one-to-one maps of the student's features that
    μ can undo. Degenerate solutions: σ falls to its floor where a channel is constant; such channels then rule the sum.
    With a linear μ at its best the value is ½ mean log diag M + ½, the diagonal surrogate of region mutual information
    between features. Cost: a convolution per layer, the teacher's forward pass.

    Args:
        layers: a layer of the network that learns and one of the teacher, by network.
        name: the name of the terms.
        weight: their factor in the sum that is minimized; 1 as published.
        initial_variance: σ² at the beginning, for every channel.
        frozen: the networks that teach.
        ignore_index: the label of ignored pixels.

    Unit and sign: nats per channel and cell, minimized; of any sign. 0, attached to the graph, where no cell is valid.

    Raises:
        ValueError: layers of no teacher or of nobody who learns, features that are no maps.

    Source: see `gaussian_negative_log_likelihood`.

    Example:
        >>> outputs = {m: Output(torch.zeros(1, 2, 4, 4), {"body": torch.ones(1, 8, 2, 2)}) for m in ("a", "t")}
        >>> batch = Batch(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8))
        >>> loss = VariationalInformationDistillation(layers={"a": "body", "t": "body"}, frozen=["t"])
        >>> loss.prepare(outputs, seed=0)
        >>> list(loss(outputs, batch))
        ['variational_information_distillation/a']
    """

    family = "distillation"
    requires = ("teacher", "features")
    invariances: tuple[Invariance, ...] = (
        "logit shift",
        "prediction permutation",
        "class permutation",
        "pixel permutation",
    )

    def __init__(
        self,
        *,
        layers: Layers,
        name: str = "variational_information_distillation",
        weight: float = 1.0,
        initial_variance: float = 5.0,
        frozen: Sequence[str] = (),
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        if not initial_variance > FLOOR:
            raise ValueError(
                f"initial_variance: expected more than {FLOOR}, the least there can be, got {initial_variance!r}"
            )
        self.named, self.initial_variance = dict(layers), float(initial_variance)
        self.heads, self.spreads = nn.ModuleDict(), nn.ParameterDict()

    def layers(self) -> dict[str, list[str]]:
        """The layer of each network."""
        return {network: [layer] for network, layer in self.named.items()}

    def prepare(self, outputs: Outputs, seed: int) -> None:
        """A head for every network that learns."""
        heads: dict[str, nn.Module] = {}
        self.spreads = nn.ParameterDict()
        for student, (teacher, *_) in self._pairs(outputs).items():
            wide, own = (self._features(name, outputs[name]).shape[1] for name in (teacher, student))
            heads[student] = projection([own, wide, wide, wide], seed)
            # softplus undone, so that the variance begins as it was asked to
            start = math.log(math.expm1(self.initial_variance - FLOOR))
            self.spreads[student.replace(".", "·")] = nn.Parameter(torch.full((wide,), start))
        self.heads = heads_by_network(heads)

    def taught(self, student: str, learned: Output, teacher: str, taught: Output, batch: Batch) -> dict[str, Term]:
        """What is left open of one teacher's features."""
        truth, seen = upcast(self._features(teacher, taught)).detach(), self._features(student, learned)
        found = cells(learned.logits, batch.labels, truth, self.ignore_index)
        mean = applied(head_of(self.heads, student), seen)
        if mean.shape[-2:] != truth.shape[-2:]:
            mean = F.interpolate(mean, truth.shape[-2:], mode="bilinear", align_corners=False)
        variance = F.softplus(self.spreads[student.replace(".", "·")]) + FLOOR
        surprise = gaussian_negative_log_likelihood(truth.to(mean.dtype), mean, variance).mean(1)
        total = torch.where(found.valid, surprise, 0.0).sum()
        return {"": Term(total + found.invalid + 0 * learned.logits.sum(), found.valid.sum().to(total.dtype))}

    def counted(self, student: Output, teacher: Output, batch: Batch) -> dict[str, Tensor]:
        """The valid cells of the teacher's map."""
        layer = next(layer for network, layer in self.named.items() if network in self.frozen)
        return {"": valid_cells(batch.labels, teacher.features[layer], self.ignore_index)}

    def _features(self, network: str, output: Output) -> Tensor:
        return feature(output.features, network, self.named[network])

    def _pairs(self, outputs: Outputs) -> dict[str, list[str]]:
        return super()._pairs({network: output for network, output in outputs.items() if network in self.named})
