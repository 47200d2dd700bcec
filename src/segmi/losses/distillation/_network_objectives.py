"""The common parts of losses between networks: peer and teacher objectives, and the divergence of predictions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, overload

import torch
from torch import Tensor

from segmi.losses.base import Invariance, Objective, Outputs, Requirement, Term, term_name
from segmi.losses.features import feature_map
from segmi.losses.option_checks import check_positive
from segmi.losses.probabilities import log_probabilities
from segmi.losses.targets import check_logits, is_transformed, is_valid, plain, upcast
from segmi.types import IGNORE_INDEX, Batch, Labels, Logits


class _NetworkObjective(Objective):
    # Abstract base of all losses between networks
    family = "distillation"
    invariances: tuple[Invariance, ...] = (
        "logit shift", "prediction permutation", "class permutation", "pixel permutation",
    )  # fmt: skip

    def _valid_pixels(self, batch: Batch, logits: Logits) -> Tensor:
        return is_valid(batch.labels, self.ignore_index).sum().to(upcast(logits).dtype)


class PeerObjective(_NetworkObjective):
    """A loss of every trained network relative to all others: one term ``name/network`` each; abstract.

    Args: see `Objective`; the ``frozen`` networks are imitated but not trained.
    """

    requires = ("peers",)

    @abstractmethod
    def peer_term(self, own: Logits, others: Sequence[Logits], labels: Labels) -> Term:
        """Return the term of one network, given the logits of all others."""

    @overload
    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]: ...

    @overload
    def forward(self, outputs: Logits, batch: Sequence[Logits], labels: Labels) -> Tensor: ...

    def forward(
        self, outputs: Outputs | Logits, batch: Batch | Sequence[Logits], labels: Labels | None = None
    ) -> dict[str, Term] | Tensor:
        """Return one term per trained network; with logits, peers and labels, the loss of one network as a scalar."""
        if not isinstance(batch, Batch):
            return self._of_logits(outputs, batch, labels)
        terms = {}
        assert not isinstance(outputs, Tensor)
        for network in self._trained(outputs):
            others = [output.logits for other, output in outputs.items() if other != network]
            term = self.peer_term(outputs[network].logits, others, batch.labels)
            terms[f"{self.name}/{network}"] = term._replace(weight=self.weight)
        return terms

    def _of_logits(self, logits: Any, peers: Any, labels: Labels | None) -> Tensor:
        # the weighted loss of one network and its peers
        if labels is None:
            raise TypeError(
                f"{self.name}: expected outputs and a Batch, or logits, the logits of the peers and labels, got two "
                "arguments. Fix: pass labels as the third one"
            )
        others = [plain(peer) for peer in peers] if isinstance(peers, list | tuple) else peers
        return self.weight * self.peer_term(plain(logits), others, plain(labels)).value

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the number of valid pixels for every term."""
        return {
            f"{self.name}/{network}": self._valid_pixels(batch, outputs[network].logits)
            for network in self._trained(outputs)
        }

    def _trained(self, outputs: Outputs) -> list[str]:
        trained = [network for network in outputs if network not in self.frozen]
        if len(outputs) < 2 or not trained:
            raise ValueError(
                f"{self.name}: expected two or more networks, one of them not frozen, got {list(outputs)} with "
                f"{list(self.frozen)} frozen. Fix: add a network"
            )
        return trained


class TeacherObjective(_NetworkObjective):
    """A loss of every trained network relative to every frozen one, averaged over these teachers; abstract.

    The terms are called ``name/network``, or ``name.part/network`` for a loss of several parts.

    Args: see `Objective`; the ``frozen`` networks are the teachers.
    """

    requires: tuple[Requirement, ...] = ("teacher",)

    @abstractmethod
    def teacher_terms(self, outputs: Outputs, student: str, teacher: str, batch: Batch) -> Mapping[str, Term]:
        """Return the parts of the loss of one network relative to one teacher; a single part has the empty name."""

    def teacher_denominators(self, outputs: Outputs, student: str, teacher: str, batch: Batch) -> dict[str, Tensor]:
        """Return the denominators of the parts from labels, shapes and dtypes; default: the number of valid pixels."""
        return {"": self._valid_pixels(batch, outputs[student].logits)}

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, Term]:
        """Return the terms of all trained networks."""
        terms = {}
        for student, teachers in self._pairs(outputs).items():
            parts = [self.teacher_terms(outputs, student, teacher, batch) for teacher in teachers]
            for part, term in parts[0].items():
                # all teachers share labels and so denominators: the mean of ratios is the ratio of the mean numerator
                mean = torch.stack([other[part].numerator for other in parts]).mean()
                terms[term_name(self.name, part, student)] = term._replace(
                    numerator=mean, weight=self.weight * term.weight
                )
        return terms

    def denominators(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """Return the denominators of all terms."""
        return {
            term_name(self.name, part, student): count
            for student, teachers in self._pairs(outputs).items()
            for part, count in self.teacher_denominators(outputs, student, teachers[0], batch).items()
        }

    def _pairs(self, outputs: Outputs) -> dict[str, list[str]]:
        # the teachers of every trained network
        teachers = [network for network in outputs if network in self.frozen]
        students = [network for network in outputs if network not in self.frozen]
        if not teachers or not students:
            raise ValueError(
                f"{self.name}: expected a frozen network, the teacher, and a trained one, got {list(outputs)} with "
                f"{list(self.frozen)} frozen. Fix: name the teacher under frozen"
            )
        return dict.fromkeys(students, teachers)


class LogitTeacherObjective(TeacherObjective):
    """A loss with one term that compares logits softened by a temperature; abstract.

    Args: see `TeacherObjective`; ``temperature`` is T, above 0.
    """

    def __init__(
        self, *, name: str = "", weight: float = 1.0, temperature: float = 1.0, frozen: Sequence[str] = (),
        ignore_index: int | None = IGNORE_INDEX
    ) -> None:  # fmt: skip
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        check_positive(temperature=temperature)
        self.temperature = temperature

    @abstractmethod
    def logit_term(self, logits: Logits, teacher: Logits, labels: Labels) -> Term:
        """Return the term of the logits of one network relative to one teacher."""

    def teacher_terms(self, outputs: Outputs, student: str, teacher: str, batch: Batch) -> dict[str, Term]:
        """Return the only term."""
        return {"": self.logit_term(outputs[student].logits, outputs[teacher].logits, batch.labels)}


class FeatureTeacherObjective(TeacherObjective):
    """A loss on one layer of each network; networks without a layer take no part; abstract.

    Args: see `TeacherObjective`; ``layers`` has one layer of a trained network and one of a teacher, by network.
    """

    requires: tuple[Requirement, ...] = ("teacher", "features")

    def __init__(
        self, *, layers: Mapping[str, str], name: str, weight: float, frozen: Sequence[str], ignore_index: int | None
    ) -> None:
        super().__init__(name=name, weight=weight, frozen=frozen, ignore_index=ignore_index)
        self.layer_of = dict(layers)

    def layers(self) -> dict[str, list[str]]:
        """Return the layer of each network."""
        return {network: [layer] for network, layer in self.layer_of.items()}

    def _features(self, outputs: Outputs, network: str) -> Tensor:
        return feature_map(outputs[network].features, network, self.layer_of[network])

    def _pairs(self, outputs: Outputs) -> dict[str, list[str]]:
        return super()._pairs({network: output for network, output in outputs.items() if network in self.layer_of})


def softened_log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Return the logarithm of ``softmax(z / T)``, of both classes for a single channel."""
    z = upcast(logits)
    return log_probabilities(z if temperature == 1 else z / temperature)


def check_peers(logits: Tensor, peers: Sequence[Tensor]) -> None:
    """Check that there is a peer, and that all have the shape of the logits and are floating point."""
    check_logits("logits", logits)
    if isinstance(peers, Tensor):
        raise TypeError(
            "peers: expected a list of tensors, got a tensor. Fix: pass [peer], one tensor for each network"
        )
    if not len(peers):
        raise ValueError("peers: expected the logits of at least one other network, got none. Fix: add a network")
    for number, peer in enumerate(peers):
        check_logits(f"peers[{number}]", peer)
        if not peer.is_floating_point():
            raise TypeError(
                f"peers[{number}]: expected a floating-point tensor, got {peer.dtype}. Fix: pass the output of the "
                "network"
            )
        if peer.shape != logits.shape:
            raise ValueError(
                f"peers[{number}]: expected the shape of logits, {tuple(logits.shape)}, got {tuple(peer.shape)}. Fix: "
                "give all networks the same classes, and resize their logits to the labels"
            )


def summed_divergence(log_p: Tensor, log_q: Tensor, counted: Tensor) -> Tensor:
    """Return ``Σ_{u counted} KL(p_u ‖ q_u)`` in nats, with p a constant.

    Equal to `segmi.information.kl_divergence_of_logs`, masked and summed, but it only keeps ``log_p`` for the gradient,
    and on the CPU it allocates nothing as large as a batch.

    Shapes: log-probabilities N×C×H×W of one dtype, and counted N×H×W, bool, to a scalar.
    """
    if is_transformed():
        p = log_p.exp()
        return torch.where(counted.unsqueeze(1) & (p > 0), p * (log_p - log_q), 0.0).sum()
    total: Tensor = _SummedDivergence.apply(log_p, log_q, counted)
    return total


class _SummedDivergence(torch.autograd.Function):
    # The gradient is -p at counted pixels; backward is differentiable
    @staticmethod
    def forward(ctx: Any, log_p: Tensor, log_q: Tensor, counted: Tensor) -> Tensor:
        ctx.save_for_backward(log_p, counted)
        total = log_q.new_zeros(())
        # one image at a time on the CPU, where an image fits into the caches
        size = 1 if log_p.device.type == "cpu" else max(1, len(log_p))
        for target, own, valid in zip(log_p.split(size), log_q.split(size), counted.split(size), strict=True):
            p, ratio = target.exp(), target - own
            ratio.masked_fill_(p == 0, 0.0)  # both logarithms may be infinite there
            total += ratio.mul_(p).sum(1).masked_fill_(~valid, 0.0).sum()
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        log_p, counted = ctx.saved_tensors
        # d/d log q of Σ p (log p - log q) is -p
        scale = counted.unsqueeze(1) * -upstream[0]
        return None, log_p.exp() * scale if torch.is_grad_enabled() else log_p.exp().mul_(scale), None
