"""Time and memory of every loss beside cross-entropy, written to where `segmi list losses` reads them.

Value and gradient of one network's logits, all losses in turn in one process, so that a change of the machine's pace
hits them alike; the median over the rounds. Memory: what autograd keeps between value and gradient, each storage once,
with the logits themselves, and with the features where a loss looks at some: 64 channels at a quarter of the
side. What a loss asks of the networks (a teacher's pass, second views, noise in a layer) is not in it; that is in
the steps of ``benchmarks/catalog_training.py``.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from catalog_cases import OPTIONS, tell_class_counts
from surroundings import machine

from losses import object_labels
from segmi.losses import LOSSES, Loss, Objective, PerNetwork
from segmi.losses.costs import FILE
from segmi.types import Batch, Output, Views

PLACE = Path(__file__).resolve().parents[1] / "src" / "segmi" / "losses" / FILE
LAYER, CHANNELS, SHRUNK = "body", 64, 4
"""The features that are looked at: of both networks, and how much smaller than the logits."""


class Inputs(NamedTuple):
    """What losses are computed from: the first two are a network's and want a gradient."""

    logits: Tensor
    features: Tensor
    peer: Tensor
    taught: Tensor
    labels: Tensor

    def outputs(self) -> dict[str, Output]:
        return {"net": Output(self.logits, {LAYER: self.features}), "peer": Output(self.peer, {LAYER: self.taught})}

    def fresh(self) -> Inputs:
        return self._replace(
            logits=self.logits.clone().requires_grad_(), features=self.features.clone().requires_grad_()
        )


def drawn(images: int, classes: int, side: int) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    logits, peer = (torch.randn(images, classes, side, side, generator=generator) for _ in range(2))
    small = side // SHRUNK
    features, taught = (torch.randn(images, CHANNELS, small, small, generator=generator) for _ in range(2))
    return Inputs(logits, features, peer, taught, object_labels(images, classes, side))


def prepared(name: str, given: Inputs) -> Objective:
    """The loss of one network that learns, beside one that does not and is a peer or a teacher."""
    kind = LOSSES[name]
    options = dict(OPTIONS.get(name, {}))
    if "features" in kind.requires:
        options["layers"] = {"net": LAYER, "peer": LAYER} if "teacher" in kind.requires else {"net": LAYER}
    made: Any = kind(**options)
    tell_class_counts(made, torch.arange(1, given.logits.shape[1] + 1))
    if isinstance(made, Loss):
        return PerNetwork(made, name, frozen=("peer",))
    made.frozen = ("peer",)
    made.prepare(given.outputs(), seed=0)
    return made


def total(objective: Objective, given: Inputs) -> Tensor:
    batch = Batch(given.logits.detach()[:, :3], given.labels)
    outputs = given.outputs()
    if "two views" in objective.requires:
        labels, (net, peer) = given.labels, (given.logits, given.peer)
        seen = torch.ones_like(labels, dtype=torch.bool)
        batch = Batch(batch.images, torch.full_like(labels, 255).repeat(2, 1, 1),
                      views=Views(seen, torch.zeros(len(labels), dtype=torch.bool)))  # fmt: skip
        outputs = {"net": Output(torch.cat([net, peer])), "peer": Output(torch.cat([peer, peer]))}
    terms = objective(outputs, batch)
    return torch.stack([term.weight * term.value for term in terms.values()]).sum()


def kept(objective: Objective, given: Inputs) -> int:
    """Bytes that wait for the gradient; the loss's own parameters, which are there anyway, left out."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    fresh = given.fresh()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = total(objective, fresh)
    looked_at = [fresh.logits, *([fresh.features] if objective.layers() else [])]
    del result
    for tensor in looked_at:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    own = {parameter.untyped_storage().data_ptr() for parameter in objective.parameters()}
    return sum(size for place, size in storages.items() if place not in own)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round; keeps nothing")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    images, classes, side = (2, 5, 24) if given.quick else (4, 19, 160)
    inputs = drawn(images, classes, side)
    losses = {name: prepared(name, inputs) for name in LOSSES}
    seconds: dict[str, list[float]] = {name: [] for name in losses}
    for round_ in range((1 if given.quick else given.rounds) + 1):  # the first one compiles and is not counted
        for name, objective in losses.items():
            fresh = inputs.fresh()
            began = time.perf_counter()
            total(objective, fresh).backward()
            if round_:
                seconds[name].append(time.perf_counter() - began)
    times = {name: statistics.median(found) for name, found in seconds.items()}
    memory = {name: kept(objective, inputs) for name, objective in losses.items()}
    lines = [
        f"# {datetime.date.today()}, {machine()}, PyTorch {torch.__version__}, {images} x {classes} x {side} x "
        f"{side} logits in float32, labels as in VOC",
        "loss,time,memory",
        *(
            f"{name},{times[name] / times['cross_entropy']:.1f},{memory[name] / memory['cross_entropy']:.1f}"
            for name in losses
        ),
    ]
    print("\n".join(lines))
    if not given.quick:
        PLACE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
