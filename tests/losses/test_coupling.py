"""Losses that couple the images of a batch do so over all processes that share it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

from segmi.losses import LOSSES, ClassCounts, Loss
from segmi.losses.coupling import coupled_term, gathered

PARTS = (slice(0, 1), slice(1, 4))
"""Of the batch: uneven, so that a mean of means is something else."""


def coupled() -> list[str]:
    kinds = ((name, kind) for name, kind in LOSSES.items() if issubclass(kind, Loss) or hasattr(kind, "between"))
    return [name for name, kind in kinds if kind.scope == "global"]


def computed(name: str, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    objective: Any = LOSSES[name]()
    for part in objective.modules():
        if isinstance(part, ClassCounts):
            part.set_counts(torch.arange(1, 6))
    # of losses on two views, another function of the same logits is the second one
    term = objective.term(leaf, labels) if isinstance(objective, Loss) else objective.between(leaf, leaf**2, labels)
    (slope,) = torch.autograd.grad(term.numerator, leaf)
    return term.numerator.detach(), term.denominator, slope


def process(rank: int, folder: str, logits: Tensor, labels: Tensor) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = {name: computed(name, logits[PARTS[rank]], labels[PARTS[rank]]) for name in coupled()}
    torch.save(found, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tensor, Tensor, list[dict[str, Any]]]:
    """A batch, and what each of two processes makes of its part."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(5, (4, 8, 8), generator=generator)
    labels[0, 2:] = 255
    labels[1:][labels[1:] == 4] = 3  # the first process alone has the last class
    logits = torch.randn(4, 5, 8, 8, generator=generator, dtype=torch.float64)
    folder = tmp_path_factory.mktemp("gloo")
    sys.modules.setdefault(__name__, sys.modules[process.__module__])
    mp.start_processes(process, (str(folder), logits, labels), nprocs=2, start_method="fork")
    return logits, labels, [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", coupled())
def test_processes_share_the_batch(together: tuple[Tensor, Tensor, list[dict[str, Any]]], name: str) -> None:
    logits, labels, parts = together
    numerator, denominator, slope = computed(name, logits, labels)
    torch.testing.assert_close(sum(part[name][0] for part in parts), numerator)
    assert sum(part[name][1] for part in parts) == denominator
    torch.testing.assert_close(torch.cat([part[name][2] for part in parts]), slope)
    alone = computed(name, logits[PARTS[1]], labels[PARTS[1]])
    assert not torch.allclose(alone[2], slope[PARTS[1]], rtol=1e-3)


def test_single_process_gathers_nothing() -> None:
    statistic = torch.ones(3, requires_grad=True)
    assert gathered(statistic) is statistic


def test_coupled_term_divides_by_the_global_count() -> None:
    value = torch.tensor(0.5, requires_grad=True)
    own, everywhere = torch.tensor(3.0), torch.tensor(12.0)
    term = coupled_term(value, own, everywhere, dtype=torch.float32)
    assert (term.numerator.item(), term.denominator.item()) == (1.5, 3.0)
    term.numerator.backward()
    assert value.grad == 12
