"""Time and memory of every objective beside cross-entropy, written to where `segmi list objectives` reads them.

Value and gradient of one member's logits, all objectives in turn in one process, so that a change of the machine's pace
hits them alike; the median over the rounds. Memory: what autograd keeps between value and gradient, each storage once,
with the logits themselves. What an objective asks of the networks (teachers, second views) is not in it.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from objectives import machine, object_labels
from segmi.arrays import Batch, Output, Views
from segmi.objectives import OBJECTIVES, Loss, Objective, PerMember, TakesClassCounts
from segmi.objectives.costs import FILE

PLACE = Path(__file__).resolve().parents[1] / "src" / "segmi" / "objectives" / FILE
OPTIONS: dict[str, dict[str, Any]] = {"region_matched_bound": {"target": -1.0}}
"""What those need that have no default for everything."""


def measurable(name: str, classes: int) -> Objective | None:
    """The objective, if logits, labels and the logits of a frozen peer are all that it needs."""
    if "features" in OBJECTIVES[name].needs:
        return None
    made: Any = OBJECTIVES[name](**OPTIONS.get(name, {}))
    for part in made.modules():
        if isinstance(part, TakesClassCounts):
            part.take_class_counts(torch.arange(1, classes + 1))
    if isinstance(made, Loss):
        return PerMember(made, name, frozen=("peer",))
    made.frozen = ("peer",)
    return made


def total(objective: Objective, logits: Tensor, peer: Tensor, labels: Tensor) -> Tensor:
    batch = Batch(logits.detach()[:, :3], labels)
    net, other = logits, peer
    if "two views" in objective.needs:
        seen = torch.ones_like(labels, dtype=torch.bool)
        batch = Batch(batch.images, torch.full_like(labels, 255).repeat(2, 1, 1),
                      views=Views(seen, torch.zeros(len(labels), dtype=torch.bool)))  # fmt: skip
        net, other = torch.cat([logits, peer]), torch.cat([peer, peer])
    terms = objective({"net": Output(net), "peer": Output(other)}, batch)
    return torch.stack([term.weight * term.value for term in terms.values()]).sum()


def kept(value: Callable[[Tensor], Tensor], logits: Tensor) -> int:
    """Bytes that wait for the gradient."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    leaf = logits.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = value(leaf)
    del result
    storages[leaf.untyped_storage().data_ptr()] = leaf.untyped_storage().nbytes()
    return sum(storages.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round; keeps nothing")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    pictures, classes, side = (2, 5, 24) if given.quick else (4, 19, 160)
    labels = object_labels(pictures, classes, side)
    generator = torch.Generator().manual_seed(0)
    logits, peer = (torch.randn(pictures, classes, side, side, generator=generator) for _ in range(2))
    values: dict[str, Callable[[Tensor], Tensor]] = {}
    for name in OBJECTIVES:
        objective = measurable(name, classes)
        if objective is not None:
            values[name] = partial(total, objective, peer=peer, labels=labels)
    seconds: dict[str, list[float]] = {name: [] for name in values}
    for round_ in range((1 if given.quick else given.rounds) + 1):  # the first one compiles and is not counted
        for name, value in values.items():
            leaf = logits.clone().requires_grad_()
            began = time.perf_counter()
            value(leaf).backward()
            if round_:
                seconds[name].append(time.perf_counter() - began)
    times = {name: statistics.median(found) for name, found in seconds.items()}
    memory = {name: kept(value, logits) for name, value in values.items()}
    lines = [
        f"# {datetime.date.today()}, {machine('cpu')}, PyTorch {torch.__version__}, {pictures} x {classes} x {side} x "
        f"{side} logits in float32, labels as in VOC",
        "objective,time,memory",
        *(
            f"{name},{times[name] / times['cross_entropy']:.1f},{memory[name] / memory['cross_entropy']:.1f}"
            for name in values
        ),
    ]
    print("\n".join(lines))
    if not given.quick:
        PLACE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
