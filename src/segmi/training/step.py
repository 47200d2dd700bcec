"""One update: the terms of one or several batches, their weighted sum, and its gradient."""

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
    """The scalar that is minimized: Σ weight · numerator / denominator."""
    return torch.stack([term.weight * term.value for term in terms.values()]).sum()


def accumulate_gradient(
    forward: Forward,
    objective: Objective,
    batches: Sequence[Batch],
    backward: Callable[[Tensor], None],
    *,
    processes: ProcessGroup = SINGLE_PROCESS,
    of: str | None = None,
    unsynchronized: Callable[[bool], AbstractContextManager[object]] = lambda enabled: nullcontext(),
    profile: Profile = UNTIMED,
) -> dict[str, Term]:
    """Add the gradient of the objective on the joint batch, one part after the other.

    Averaging the losses of the parts is not the loss of the joint batch where ignored pixels are unevenly shared. So every
    numerator is divided by the denominator of all parts, those of the other processes included, which labels alone
    decide. Each network is run once per part, whatever the number of terms that look at it.

    Args:
        forward: the cohort.
        objective: what is minimized.
        batches: the parts of the joint batch that are this process's.
        backward: adds the gradient of a scalar, ``Tensor.backward`` or Fabric's. Of several processes, it averages.
        processes: those that have the other parts.
        of: the network whose terms alone are minimized; terms of no network are everybody's. None: all terms.
        unsynchronized: context in which ``backward`` leaves the other processes alone, if told so.
        profile: measures what takes how long.

    Returns:
        The terms of this process's parts over the denominators of the joint batch, detached, with their diagnostics: their
        sum over the processes is what the joint batch has.
    """
    joint: dict[str, Tensor] | None = None
    parts: list[dict[str, Term]] = []
    for index, batch in enumerate(batches):
        with unsynchronized(index < len(batches) - 1):
            with profile.part("forward"):
                outputs = _in_fp32(forward(batch.images))
            with profile.part("objective"):
                if joint is None and (len(batches) > 1 or processes.world_size > 1):
                    joint = _joint_denominators(objective, outputs, batches, processes)
                terms = _those_of(of, objective(outputs, batch))
                if joint is not None:
                    terms = {name: term._replace(denominator=joint[name]) for name, term in terms.items()}
                loss = weighted_sum(terms)
            with profile.part("backward"):
                backward(loss * processes.world_size if processes.world_size > 1 else loss)
        parts.append({name: term._replace(numerator=term.numerator.detach()) for name, term in terms.items()})
    return {
        name: term._replace(
            numerator=torch.stack([part[name].numerator for part in parts]).sum(),
            diagnostics=_summed([part[name].diagnostics for part in parts]),
        )
        for name, term in parts[0].items()
    }


def _those_of(network: str | None, terms: Mapping[str, Term]) -> dict[str, Term]:
    if network is None:
        return dict(terms)
    chosen = {name: term for name, term in terms.items() if "/" not in name or name.endswith(f"/{network}")}
    if not chosen:
        raise UsageError(
            f"the objective has no term for {network}, whose turn it is to learn",
            "give it an objective, freeze it, or set step_order: simultaneous",
        )
    return chosen


def _summed(parts: Sequence[Mapping[str, Diagnostic]]) -> dict[str, Diagnostic]:
    return {
        name: Diagnostic(*(torch.stack(same).sum(0) for same in zip(*(part[name] for part in parts), strict=True)))
        for name in parts[0]
    }


def _in_fp32(outputs: Mapping[str, Output]) -> dict[str, Output]:
    # No objective ever sees half precision: a logarithm of a determinant in bf16 is noise.
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
            for name, denominator in objective.denominators(_blank(outputs, batch), batch).items():
                totals[name] = totals.get(name, torch.zeros_like(denominator)) + denominator
        if processes.world_size == 1:
            return totals
        # counts of pixels pass 2^24, where float32 ends counting
        together = processes.sum(torch.stack([total.double() for total in totals.values()]))
    return {name: total.to(totals[name].dtype) for name, total in zip(totals, together, strict=True)}


def _blank(outputs: Mapping[str, Output], batch: Batch) -> dict[str, Output]:
    """Outputs of the right shape that take no memory and no forward pass."""
    return {
        name: Output(
            output.logits.new_zeros(()).expand(len(batch), output.logits.shape[1], *batch.labels.shape[-2:]),
            {
                layer: value.new_zeros(()).expand(len(batch), *value.shape[1:])
                for layer, value in output.features.items()
            },
        )
        for name, output in outputs.items()
    }
