"""Tasks of the processes in `test_distributed.py`, which also calls them in a single process.

Run as ``python joint_run.py FOLDER TASK``: it writes its result to ``FOLDER/<rank>.pt``, or its error to
``FOLDER/<rank>.error``.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from conftest import PROCESSING, Drawing, Squares, Tiny, tiny_objective
from segmi.datasets.loader import epoch_order
from segmi.datasets.reader import Sample
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.errors import SegmiError
from segmi.metrics.diagnostics import PredictionDiagnostics
from segmi.training import Cohort, evaluate, fit, training_configs
from segmi.training.distributed import SINGLE_PROCESS, connect
from segmi.types import Output

CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "cross-entropy": (1, {"cross_entropy": {}}),
    "region": (1, {"rmi_loss": {}}),
    "present-pairs": (1, {"region_mutual_information": {"variant": "corrected"}, "binary_cross_entropy": {}}),
    "coupled": (
        1,
        {"cross_entropy": {}, "soft_confusion": {"momentum": 0.5}, "determinant_information": {"weight": 0.1}},
    ),
    "heads": (
        2,
        {
            "cross_entropy": {},
            "variational_information_distillation": {"layers": {"net0": "layers.1", "taught": "layers.1"}},
            "contrastive_distillation": {"layers": {"net0": "layers.1", "taught": "layers.0"}, "dimensions": 6},
            "pixel_contrast": {"layers": {"net0": "layers.1"}, "dimensions": 6, "across": "image", "weight": 0.1},
        },
    ),
    "mutual": (2, {"cross_entropy": {}, "mutual_learning": {"weight": 0.5}}),
}
"""Number of networks, the last of which is a teacher in the case with heads, and the losses."""


UNKNOWN = frozenset(epoch_order(10, 0, 0)[2:4].tolist())
"""Images of the second process in the first batch of four."""


@dataclass(frozen=True)
class Veiled(Drawing):
    """Drawing whose index determines how much is ignored: from nothing to nearly all, and all for two."""

    def draw(self) -> np.ndarray:
        image = super().draw()
        if self.kind == "mask":
            image[: 20 if self.index in UNKNOWN else 2 * (self.index % 10)] = 3
        return image


class VeiledSquares(Squares):
    def split(self, name: str) -> list[Sample]:
        first, count = (0, 10) if name == "train" else (100, 5)
        return [
            Sample(Veiled(i, "image"), Veiled(i, "mask"), f"{name}-{i}", f"clip{i % 2}")
            for i in range(first, first + count)
        ]


class Plain(nn.Module):
    """Network without batch statistics and dropout."""

    stride = 2

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 3, 1))

    def forward(self, images: torch.Tensor) -> Output:
        return Output(self.layers(images))


def images(split: str) -> SegmentationDataset:
    squares = VeiledSquares()
    return SegmentationDataset(squares, squares.split(split), PROCESSING)


def train(
    folder: Path, network: type[nn.Module], networks: int, objective: dict[str, Any], *,
    holdout: SegmentationDataset | None = None, **settings: Any,
) -> Any:  # fmt: skip
    frozen = ["taught"] if "contrastive_distillation" in objective else []
    names = [*(f"net{i}" for i in range(networks - len(frozen))), *frozen]
    cohort = Cohort({name: network(i) for i, name in enumerate(names)}, frozen)
    options = {
        "steps": 6, "batch_size": 4, "select_by": "last", "device": "cpu", "precision": "fp32", "validate_every": 1,
        "optimizer": "SGD", "learning_rate": 0.1, **settings,
    }  # fmt: skip
    built = tiny_objective(cohort, **objective)
    outcome = fit(cohort, built, images("train"), folder=folder, holdout=holdout, **training_configs(options))
    weights = {**cohort.state_dict(), **built.state_dict(prefix="objective.")}
    return {"weights": {name: value.clone() for name, value in weights.items()}, "history": outcome.history}


def curves(folder: Path, **settings: Any) -> dict[str, Any]:
    """Train all cases, with and without accumulation, and evaluate."""
    result = {}
    for name, (networks, objective) in CASES.items():
        for accumulate in (1, 2)[: 1 if name == "coupled" else 2]:
            key = f"{name}-{accumulate}"
            result[key] = train(folder / key, Plain, networks, objective, accumulate=accumulate, drop_last=False,
                               clip_norm=0.5 if accumulate == 2 else None, **settings)  # fmt: skip
    result["normed"] = train(folder / "normed", Tiny, 1, {"cross_entropy": {}}, holdout=images("val"), **settings)
    processes = connect("cpu", settings["devices"]) if settings else SINGLE_PROCESS
    cohort = Cohort({"net": Plain(3)})
    for protocol in ("full", "paper"):
        for count in (5, 1):  # neither is divisible by two; with one image, a process has none
            chosen, diagnostics = images("val"), PredictionDiagnostics(3)
            chosen.samples = chosen.samples[:count]
            matrix = evaluate(cohort, chosen, protocol=protocol, passes=2, batch_size=2, device="cpu",
                              processes=processes, diagnostics=diagnostics)["net"]  # fmt: skip
            result[f"{protocol}-{count}"] = {
                "counts": matrix.counts(), "names": matrix.names, "groups": matrix.groups,
                "diagnostics": diagnostics.values(),
            }  # fmt: skip
    return result


def whole(folder: Path, **settings: Any) -> dict[str, Any]:
    """Train with batch norm, dropout, a schedule and validation, which a resumed run has to restore."""
    return train(
        folder / "run", Tiny, 1, {"cross_entropy": {}}, steps=12, validate_every=5, checkpoint_every=4,
        optimizer="Adam", schedule="CosineAnnealingLR", holdout=images("val"), select_by="holdout_mIoU",
        accumulate=2, **settings,
    )  # fmt: skip


def interrupted(folder: Path, **settings: Any) -> dict[str, Any]:
    """As `whole`, with a signal to the last process after seven steps."""
    return _signaled(folder, signal.SIGTERM, **settings)


def killed(folder: Path, **settings: Any) -> dict[str, Any]:
    """As `whole`, but the last process is killed after seven steps."""
    return _signaled(folder, signal.SIGKILL, **settings)


def failing(folder: Path, **settings: Any) -> dict[str, Any]:
    """As `whole`, but the last process cannot read an image."""
    return _signaled(folder, None, **settings)


def _signaled(folder: Path, number: int | None, **settings: Any) -> dict[str, Any]:
    from segmi.training import session

    update = session.Session.train_step

    def with_signal(self: Any, *arguments: Any) -> None:
        update(self, *arguments)
        if self.step == 7 and self.runtime.processes.rank == 1 and not (folder / "again").exists():
            if number is None:
                raise OSError("no image")
            os.kill(os.getpid(), number)

    session.Session.train_step = with_signal  # type: ignore[method-assign]
    return whole(folder, **settings)


def exploding(folder: Path, **settings: Any) -> dict[str, Any]:
    """Train until the loss is infinite."""
    return train(folder / "run", Plain, 1, {"cross_entropy": {}}, learning_rate=1e38, **settings)


if __name__ == "__main__":
    here, task = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    rank = os.environ.get("RANK") or os.environ["SLURM_PROCID"]
    nodes = int(os.environ.get("SLURM_NNODES", 1))
    try:
        torch.save(globals()[task](here, devices=2 // nodes, num_nodes=nodes), here / f"{rank}.pt")
    except SegmiError as error:
        (here / f"{rank}.error").write_text(f"{error.exit_code} {error}")
        sys.exit(error.exit_code)
