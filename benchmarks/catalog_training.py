"""Training with every loss: its own term improves compared with cross-entropy alone, and the cost of a step.

A small U-Net is trained on generated street scenes for 200 steps, from the same weights and on the same crops each
time: with cross-entropy alone, and with a loss added to it or instead of it (`catalog_cases.ALONE`). Then the loss's
own term, weight included, is computed for both networks in evaluation mode on the same crops of the training images in
batches of the training size. The table compares the means; its last column is the number of batches that agree. A loss
with heads keeps its trained heads; for the network of cross-entropy, heads of the same initial weights are trained for
as many steps with the same optimizer on the same crops, while the network is frozen. A teacher is twice as wide and
trained on cross-entropy; peers are two networks. With one seed, this shows the effect of a loss on its own term, not on
scores.

A step is everything between two batches: forward, loss, backward and optimizer of all networks that the loss requires,
with the images that it requires, relative to a step of one network with cross-entropy. All losses take turns in one
process; times are medians over the rounds, memory is the increase of the peak during a step.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import gc
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).parent))
from catalog_cases import TEACHER, Case, case, own_value, set_class_counts, uses_unlabeled
from surroundings import machine, status

from segmi.datasets import open_dataset
from segmi.datasets.loader import Unlabeled, training_batches
from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.losses import LOSSES, Objective
from segmi.models import SegmentationNetwork
from segmi.study.components import keyed_network
from segmi.training import Budget, Cohort, LoggingConfig, OptimizationConfig, RuntimeConfig, fit
from segmi.training.cohort import register_feature_hooks
from segmi.training.optimization import build_optimizer, build_schedule
from segmi.training.precision import ResolvedPrecision
from segmi.training.session import Runtime, Session
from segmi.types import Batch

CPU: Final = torch.device("cpu")
WEIGHTS: Final[dict[str, float]] = {
    "determinant_information": 0.1,  # with 1, it dominates cross-entropy
    "normalized_conditional_information": 10.0,  # with 1, its gradient is negligible
    "region_shuffled_labels": 100.0,  # only chance can be learned
}
"""Weights other than 1."""

ORDERS: Final = {"region_shuffled_labels": 16}
"""Number of random pixel orders in the average of a term: with one, chance exceeds the improvement."""

LAYER: Final = "decoders.1"
"""Its map has 12 × 12 positions for a crop of 48."""

BATCH: Final = 4
LEARNING_RATE: Final = 1e-2
"""With half of it, networks are so far from converged after 200 steps that cross-entropy, which trains faster, has the
better term of some losses."""

SCHEDULE: Final = ("PolynomialLR", {"power": 0.9})
"""Decays to 0; otherwise noise of the last steps is as large as the effect of some losses."""


class Size(NamedTuple):
    """Width of the network and side of the crops, in trainings and in timed steps."""

    width: int
    crop: int
    step_width: int
    step_crop: int


SIZE: Final = Size(width=4, crop=48, step_width=16, step_crop=128)
QUICK: Final = Size(width=2, crop=32, step_width=2, step_crop=32)


class Scenes:
    """Generated street scenes, half of them labeled."""

    def __init__(self, crop: int, seed: int = 0) -> None:
        dataset = open_dataset("street-scenes", None, train=32, val=4, height=crop * 4 // 3, width=2 * crop)
        samples, processing = dataset.split("train"), Processing(resize=None, crop=crop)
        self.crop, self.classes = crop, len(dataset.info.classes)
        self.train = SegmentationDataset(dataset, samples[:16], processing, seed=seed)
        self.unlabeled = SegmentationDataset(dataset, samples[16:], processing, seed=seed)

    def batches(self, objective: Objective, count: int) -> list[Batch]:
        """Return the first batches of training, with unlabeled images and views if the loss requires them."""
        views = "two views" in objective.requires
        unlabeled = Unlabeled(self.unlabeled, BATCH, views) if uses_unlabeled(objective) else None
        return list(training_batches(self.train, batch_size=BATCH, first=0, last=count, unlabeled=unlabeled))


def network(name: str, width: int, classes: int, seed: int = 0) -> SegmentationNetwork:
    """Build a U-Net whose initial weights depend on its name and the seed; a teacher is twice as wide."""
    wide = 2 * width if name == TEACHER else width
    return keyed_network({"architecture": "unet", "width": wide}, name, seed, classes=classes)


class Trainer:
    """Trains networks, and keeps those trained on cross-entropy alone."""

    def __init__(self, scenes: Scenes, width: int, steps: int, seed: int) -> None:
        self.scenes, self.width, self.steps, self.seed = scenes, width, steps, seed
        self.plain: dict[str, SegmentationNetwork] = {}

    def by_cross_entropy(self, name: str) -> SegmentationNetwork:
        """Return a network trained on cross-entropy alone."""
        if name not in self.plain:
            untrained = self._untrained(name)
            alone = Case((name,), False, {"cross_entropy": {}})
            self._fit(Cohort({name: untrained}), alone.objective())
            self.plain[name] = untrained
        return self.plain[name]

    def own_terms(self, name: str) -> tuple[list[float], list[float]]:
        """Return a loss's own term by batch, after training on cross-entropy alone and after training on the loss.

        Raises:
            RunError: a loss is NaN or infinite.
        """
        chosen = case(name, layer=LAYER, weights=WEIGHTS)
        before = self._cohort(chosen, self.by_cross_entropy)
        heads = chosen.objective(name)
        self._fit_heads(before, heads, name)
        after = self._cohort(chosen, self._untrained)
        trained = chosen.objective()
        self._fit(after, trained)
        after.hook_layers(trained.layers())
        averaged = [chosen.with_options(seed=order).objective(name) for order in range(ORDERS.get(name, 0))]
        return self._values(name, before, averaged or [heads]), self._values(name, after, averaged or [trained])

    def _untrained(self, name: str) -> SegmentationNetwork:
        return network(name, self.width, self.scenes.classes, self.seed)

    def _cohort(self, chosen: Case, build: Callable[[str], SegmentationNetwork]) -> Cohort:
        networks = {one: build(one) for one in chosen.networks}
        if not chosen.teaches:
            return Cohort(networks)
        return Cohort({**networks, TEACHER: self.by_cross_entropy(TEACHER)}, frozen=[TEACHER])

    def _fit(self, cohort: Cohort, objective: Objective) -> None:
        with tempfile.TemporaryDirectory() as folder:
            fit(
                cohort, objective, self.scenes.train, folder=Path(folder), unlabeled=self.scenes.unlabeled,
                seed=self.seed, budget=Budget(steps=self.steps),
                optimization=OptimizationConfig(
                    batch_size=BATCH, learning_rate=LEARNING_RATE, schedule=SCHEDULE[0], schedule_options=SCHEDULE[1]
                ),
                runtime=RuntimeConfig(device="cpu", precision="fp32", threads=1),
                logging=LoggingConfig(select_by="last", checkpoint_every=self.steps, logger=()),
            )  # fmt: skip

    def _fit_heads(self, cohort: Cohort, objective: Objective, name: str) -> None:
        """Train the heads of a loss on frozen networks."""
        set_class_counts(objective, self.scenes.train.class_counts())
        register_feature_hooks(cohort, objective, device=CPU, side=self.scenes.crop, seed=self.seed)
        cohort.eval()
        if not list(objective.parameters()):
            return
        optimizer = build_optimizer(objective.parameters(), "Adam", LEARNING_RATE)
        schedule = build_schedule(optimizer, SCHEDULE[0], self.steps, SCHEDULE[1])
        for batch in self.scenes.batches(objective, self.steps):
            with torch.no_grad():
                outputs = cohort(batch.images)
            optimizer.zero_grad()
            own_value(name, objective(outputs, batch)).backward()
            optimizer.step()
            schedule.step()

    def _values(self, name: str, cohort: Cohort, losses: list[Objective]) -> list[float]:
        """Return the own term on four crops of every image, by batch, averaged over the losses."""
        batches = self.scenes.batches(losses[0], 4 * len(self.scenes.train) // BATCH)
        for module in (cohort, *losses):
            module.eval()
        values = []
        with torch.no_grad():
            for batch in batches:
                outputs = cohort(batch.images)
                values.append(statistics.fmean(float(own_value(name, one(outputs, batch))) for one in losses))
        return values


def own_terms_section(names: list[str], trainer: Trainer) -> bool:
    """Print a row for every loss and return whether all improved."""
    print(f"## Own terms after {trainer.steps} steps\n")
    print("| loss | trained | after cross-entropy alone | after training on it | improved | batches |")
    print("|---|---|---:|---:|---|---:|", flush=True)
    all_improved = True
    for name in names:
        chosen = case(name, layer=LAYER, weights=WEIGHTS)
        role = "added to cross-entropy" if name in list(chosen.specification)[1:] else "instead of cross-entropy"
        if name == "cross_entropy":
            value = statistics.fmean(trainer.own_terms(name)[1])
            print(f"| `{name}` | {role} | {value:.4f} | {value:.4f} | – | – |", flush=True)
            continue
        befores, afters = trainer.own_terms(name)
        before, after = statistics.fmean(befores), statistics.fmean(afters)
        share = f"{sum(b > a for b, a in zip(befores, afters, strict=True))} of {len(afters)}"
        improved = after < before
        all_improved = all_improved and improved
        print(
            f"| `{name}` | {role} | {before:.4f} | {after:.4f} | {'yes' if improved else 'no'} | {share} |", flush=True
        )
    return all_improved


def step_of(name: str, scenes: Scenes, width: int) -> Callable[[], None]:
    """Return a function that does a step on the same images, so that reading is not measured."""
    chosen = case(name, layer=LAYER, weights=WEIGHTS)
    networks = {one: network(one, width, scenes.classes) for one in chosen.all_networks}
    cohort = Cohort(networks, frozen=[TEACHER] if chosen.teaches else [])
    objective = chosen.objective()
    set_class_counts(objective, scenes.train.class_counts())
    register_feature_hooks(cohort, objective, device=CPU, side=scenes.crop, seed=0)
    optimizer = build_optimizer([*cohort.parameters(), *objective.parameters()], "Adam", 1e-4)
    runtime = Runtime(device=CPU, precision=ResolvedPrecision("fp32", "channels_last"))
    session = Session(cohort, objective, optimizer, None, runtime=runtime, seed=0, clip_norm=None)
    data = itertools.repeat(scenes.batches(objective, 1)[0])

    def step() -> None:
        session.train_step(data, 1)
        session.fetch_metrics()

    return step


def memory_increase(step: Callable[[], None]) -> int:
    """Return by how many bytes the memory of this process rises during a step."""
    gc.collect()
    with suppress(OSError, AttributeError):  # otherwise memory that the allocator keeps is not counted
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, the peak, to the memory in use
    before = status("VmRSS")
    step()
    return status("VmHWM") - before


def steps_section(names: list[str], scenes: Scenes, width: int, rounds: int) -> None:
    """Print time and memory of a step with every loss, relative to cross-entropy."""
    first = "cross_entropy"
    steps = {name: step_of(name, scenes, width) for name in dict.fromkeys([first, *names])}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            begin = time.perf_counter()
            step()
            if number:  # the first round compiles kernels and is not timed
                seconds[name].append(time.perf_counter() - begin)
    times = {name: statistics.median(values) for name, values in seconds.items()}
    memory = {name: statistics.median(memory_increase(step) for _ in range(3)) for name, step in steps.items()}
    print(f"## A step of {BATCH} × {scenes.crop}², U-Net of width {width}\n")
    print("| loss | time | × cross-entropy | memory, × cross-entropy |\n|---|---:|---:|---:|")
    for name, value in times.items():
        ratios = value / times[first], memory[name] / memory[first]
        print(f"| `{name}` | {1e3 * value:.0f} ms | {ratios[0]:.2f} | {ratios[1]:.2f} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke test: tiny networks, few steps, one round")
    parser.add_argument("--steps", type=int, help="steps per training; 200, or 10 with --quick")
    parser.add_argument("--rounds", type=int, help="timed rounds of steps; 5, or 1 with --quick")
    parser.add_argument("--only", nargs="+", choices=list(LOSSES), help="only these losses")
    parser.add_argument("--seed", type=int, default=0, help="seed of the trainings")
    parser.add_argument("--part", choices=["terms", "steps"], help="only this part")
    given = parser.parse_args()
    size, names = QUICK if given.quick else SIZE, given.only or list(LOSSES)
    steps, rounds = given.steps or (10 if given.quick else 200), given.rounds or (1 if given.quick else 5)
    torch.set_num_threads(1)
    print("# Training with every loss\n")
    print(f"{datetime.date.today()}, {machine()}, PyTorch {torch.__version__}, float32.")
    print("Written by `python benchmarks/catalog_training.py`.\n")
    success = True
    if given.part != "steps":
        success = own_terms_section(names, Trainer(Scenes(size.crop, given.seed), size.width, steps, given.seed))
        print()
    if given.part != "terms":
        steps_section(names, Scenes(size.step_crop), size.step_width, rounds)
    return 0 if success else 1


if __name__ == "__main__":
    sys.exit(main())
