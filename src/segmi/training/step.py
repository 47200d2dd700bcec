"""Gradient of one optimizer step: the terms of one or several batches, and their weighted sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from segmi.errors import UsageError
from segmi.losses.base import Diagnostic, Objective, Term
from segmi.training.distributed import SINGLE_PROCESS, ProcessGroup
from segmi.training.profile import UNTIMED, Profile
from segmi.types import Batch, Images, Output

Forward = Callable[[Images], Mapping[str, Output]]


def weighted_sum(terms: Mapping[str, Term]) -> Tensor:
    """Return the scalar to minimize: Σ weight · numerator / denominator."""
    return torch.stack([term.weight * term.value for term in terms.values()]).sum()


def accumulate_gradient(
    forward: Forward,
    objective: Objective,
    batches: Sequence[Batch],
    backward: Callable[[Tensor], None],
    *,
    processes: ProcessGroup = SINGLE_PROCESS,
    network: str | None = None,
    no_sync: Callable[[bool], AbstractContextManager[object]] = lambda enabled: nullcontext(),
    profile: Profile = UNTIMED,
) -> dict[str, Term]:
    """Accumulate the gradient of the objective on the joint batch, part by part.

    The mean of the losses of the parts is not the loss of the joint batch if the parts have different numbers of
    ignored pixels. Each numerator is therefore divided by the denominator over all parts and processes, which depends
    on the labels only. Each network runs once per part.

    Args:
        batches: this process's parts of the joint batch.
        backward: accumulates the gradient of a scalar, averaged over the processes.
        network: minimize only terms of this network and terms without a network. None: all terms.
        no_sync: context manager; if its argument is true, ``backward`` does not synchronize the processes.

    Returns:
        The detached terms with their diagnostics: numerators of this process, denominators of the joint batch. Their
        sum over the processes is the value of the joint batch.
    """
    joint: dict[str, Tensor] | None = None
    parts: list[dict[str, Term]] = []
    for index, batch in enumerate(batches):
        with no_sync(index < len(batches) - 1):
            with profile.part("forward"):
                outputs = _to_fp32(forward(batch.images))
            with profile.part("objective"):
                # The denominators of all parts are needed before the first backward pass.
                if joint is None and (len(batches) > 1 or processes.world_size > 1):
                    joint = _joint_denominators(objective, outputs, batches, processes)
                terms = _select_terms(network, objective(outputs, batch))
                if joint is not None:
                    terms = {name: term._replace(denominator=joint[name]) for name, term in terms.items()}
                loss = weighted_sum(terms)
            with profile.part("backward"):
                # DDP averages the gradients over the processes, but the terms add up.
                backward(loss * processes.world_size if processes.world_size > 1 else loss)
        parts.append({name: term._replace(numerator=term.numerator.detach()) for name, term in terms.items()})
    return {
        name: term._replace(
            numerator=torch.stack([part[name].numerator for part in parts]).sum(),
            diagnostics=_sum_diagnostics([part[name].diagnostics for part in parts]),
        )
        for name, term in parts[0].items()
    }


def _select_terms(network: str | None, terms: Mapping[str, Term]) -> dict[str, Term]:
    if network is None:
        return dict(terms)
    # Terms are named "loss/network"; terms without a network belong to the whole cohort.
    selected = {name: term for name, term in terms.items() if "/" not in name or name.endswith(f"/{network}")}
    if not selected:
        problem = f"the objective has no term for the network {network}"
        raise UsageError(problem, "add a loss for it, freeze it, or set step_order: simultaneous")
    return selected


def _sum_diagnostics(parts: Sequence[Mapping[str, Diagnostic]]) -> dict[str, Diagnostic]:
    return {
        name: Diagnostic(*(torch.stack(same).sum(0) for same in zip(*(part[name] for part in parts), strict=True)))
        for name in parts[0]
    }


def _to_fp32(outputs: Mapping[str, Output]) -> dict[str, Output]:
    # In bf16, the logarithm of a determinant would be noise.
    return {
        name: Output(output.logits.float(), {layer: value.float() for layer, value in output.features.items()})
        for name, output in outputs.items()
    }


def _joint_denominators(
    objective: Objective, outputs: Mapping[str, Output], batches: Sequence[Batch], processes: ProcessGroup
) -> dict[str, Tensor]:
    totals: dict[str, Tensor] = {}
    with torch.no_grad():
        for batch in batches:
            for name, denominator in objective.denominators(_empty_outputs(outputs, batch), batch).items():
                totals[name] = totals.get(name, torch.zeros_like(denominator)) + denominator
        if processes.world_size == 1:
            return totals
        # In float64, since float32 cannot represent all pixel counts above 2^24.
        joint = processes.sum(torch.stack([total.double() for total in totals.values()]))
    return {name: total.to(totals[name].dtype) for name, total in zip(totals, joint, strict=True)}


def _empty_outputs(outputs: Mapping[str, Output], batch: Batch) -> dict[str, Output]:
    """Return outputs with the shapes for ``batch``, without memory or a forward pass."""
    # Expanded scalars: each has the shape N×C×H×W, but a single element in memory.
    return {
        name: Output(
            output.logits.new_zeros(()).expand(len(batch), output.logits.shape[1], *batch.labels.shape[-2:]),
            {k: value.new_zeros(()).expand(len(batch), *value.shape[1:]) for k, value in output.features.items()},
        )
        for name, output in outputs.items()
    }
