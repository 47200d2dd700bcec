"""Time and memory of every loss relative to cross-entropy, for `segmi list losses` and ``docs/losses/costs.md``.

Value and gradient for one network's logits; all losses take turns in one process, so that changes of the machine's
speed affect them alike; times are medians over the rounds. Memory is what autograd keeps between value and gradient,
each storage once, with the logits and, for losses on features, the features: 64 channels at a quarter of the side.
Forward passes that a loss requires (of a teacher, of second views, noise in a layer) are not included; the steps of
``benchmarks/catalog_training.py`` include them.
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
from catalog_cases import OPTIONS, set_class_counts
from surroundings import machine

from losses import object_labels
from segmi.losses import LOSSES, Loss, Objective, PerNetwork
from segmi.losses.build import COSTS_FILE
from segmi.types import Batch, Output, Views

ROOT = Path(__file__).resolve().parents[1]
CSV, PAGE = ROOT / "src" / "segmi" / "losses" / COSTS_FILE, ROOT / "docs" / "losses" / "costs.md"
LAYER, CHANNELS, STRIDE = "body", 64, 4
"""Layer, channels and stride of the features of both networks."""


class Inputs(NamedTuple):
    """Inputs of the losses: logits and features of a network, with gradients, and of its peer or teacher; labels."""

    logits: Tensor
    features: Tensor
    peer: Tensor
    peer_features: Tensor
    labels: Tensor

    def outputs(self) -> dict[str, Output]:
        return {
            "net": Output(self.logits, {LAYER: self.features}),
            "peer": Output(self.peer, {LAYER: self.peer_features}),
        }

    def with_gradient(self) -> Inputs:
        return self._replace(
            logits=self.logits.clone().requires_grad_(), features=self.features.clone().requires_grad_()
        )


def random_inputs(images: int, classes: int, side: int) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    logits, peer = (torch.randn(images, classes, side, side, generator=generator) for _ in range(2))
    small = side // STRIDE
    features, peer_features = (torch.randn(images, CHANNELS, small, small, generator=generator) for _ in range(2))
    return Inputs(logits, features, peer, peer_features, object_labels(images, classes, side))


def build(name: str, given: Inputs) -> Objective:
    """Build a loss for a network with a frozen peer or teacher."""
    kind = LOSSES[name]
    options = dict(OPTIONS.get(name, {}))
    if "features" in kind.requires:
        options["layers"] = {"net": LAYER, "peer": LAYER} if "teacher" in kind.requires else {"net": LAYER}
    loss: Any = kind(**options)
    set_class_counts(loss, torch.arange(1, given.logits.shape[1] + 1))
    if isinstance(loss, Loss):
        return PerNetwork(loss, name, frozen=("peer",))
    loss.frozen = ("peer",)
    loss.prepare(given.outputs(), seed=0)
    return loss


def total(objective: Objective, given: Inputs) -> Tensor:
    batch = Batch(given.logits.detach()[:, :3], given.labels)
    outputs = given.outputs()
    if "two views" in objective.requires:
        labels, (net, peer) = given.labels, (given.logits, given.peer)
        visible = torch.ones_like(labels, dtype=torch.bool)
        batch = Batch(batch.images, torch.full_like(labels, 255).repeat(2, 1, 1),
                      views=Views(visible, torch.zeros(len(labels), dtype=torch.bool)))  # fmt: skip
        outputs = {"net": Output(torch.cat([net, peer])), "peer": Output(torch.cat([peer, peer]))}
    terms = objective(outputs, batch)
    return torch.stack([term.weight * term.value for term in terms.values()]).sum()


def saved_bytes(objective: Objective, given: Inputs) -> int:
    """Return the bytes that autograd keeps for the gradient, without the parameters of the loss."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    fresh = given.with_gradient()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = total(objective, fresh)
    inputs = [fresh.logits, *([fresh.features] if objective.layers() else [])]
    del result
    for tensor in inputs:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    own = {parameter.untyped_storage().data_ptr() for parameter in objective.parameters()}
    return sum(size for pointer, size in storages.items() if pointer not in own)


def page(lines: list[str]) -> str:
    """Return the documentation page of the lines of the CSV file."""
    setting, _, *rows = lines
    table = "\n".join(f"| `{name}` | {time} | {memory} |" for name, time, memory in (row.split(",") for row in rows))
    return f"""# Cost of the losses

Generated by [benchmarks/catalog.py](../../benchmarks/catalog.py): {setting.removeprefix("# ")}.

Multiples of the cross-entropy's time (forward and backward) and memory (kept by autograd between the two, including the
logits). Forward passes of teachers and of second views are not included.

| loss | time | memory |
|---|---|---|
{table}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke test: tiny sizes, one round, no file")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    images, classes, side = (2, 5, 24) if given.quick else (4, 19, 160)
    inputs = random_inputs(images, classes, side)
    losses = {name: build(name, inputs) for name in LOSSES}
    seconds: dict[str, list[float]] = {name: [] for name in losses}
    for round_ in range((1 if given.quick else given.rounds) + 1):  # the first round compiles kernels and is not timed
        for name, objective in losses.items():
            fresh = inputs.with_gradient()
            begin = time.perf_counter()
            total(objective, fresh).backward()
            if round_:
                seconds[name].append(time.perf_counter() - begin)
    times = {name: statistics.median(values) for name, values in seconds.items()}
    memory = {name: saved_bytes(objective, inputs) for name, objective in losses.items()}
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
        CSV.write_text("\n".join(lines) + "\n", encoding="utf-8")
        PAGE.write_text(page(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
