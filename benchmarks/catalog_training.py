"""Every loss trains: nothing overflows, its own term gets better, and what a step of it costs.

A U-Net of a few channels is trained on generated street scenes for 200 steps, from the same weights and on the same
crops each time: with cross-entropy alone, and with a loss beside it, or in its place where it is such a loss
itself. Then the loss's own term, weight included, is computed for both networks in evaluation mode on the same
crops of the training images in batches of the trained size, and the mean over the batches is compared; the last
column tells how many of them agree with it. Where it has heads, those that were trained along are taken; the network of
cross-entropy gets heads of the same initial weights, which learn for as many steps, with the same optimizer, on the
same crops, while the network stays as it is. A teacher is twice as wide and was trained on cross-entropy; peers are two
networks. One seed: this tells what a loss does to its own term, not what it is good for.

A step is everything between two batches: forward, loss, backward and optimizer of all the networks that the
loss needs, with the images that it asks for, beside a step of one network with cross-entropy. All losses
take turns in one process; the median over the rounds. Memory: how far that process's rises during a step.
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
from catalog_cases import TEACHER, Case, case, looks_at_unlabeled, own_value, tell_class_counts
from surroundings import machine, status

from segmi.datasets import open_dataset
from segmi.datasets.loader import Unlabeled, training_batches
from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.losses import LOSSES, Objective
from segmi.models import SegmentationNetwork
from segmi.study.resolve import build_network
from segmi.training import Budget, Cohort, LoggingConfig, OptimizationConfig, RuntimeConfig, fit
from segmi.training.cohort import register_feature_hooks
from segmi.training.lr_schedulers import build_schedule
from segmi.training.optimizers import build_optimizer
from segmi.training.precision import ResolvedPrecision
from segmi.training.session import Runtime, Session
from segmi.types import Batch

CPU: Final = torch.device("cpu")
WEIGHTS: Final[dict[str, float]] = {
    "determinant_information": 0.1,  # more is more than cross-entropy stands beside
    # whose slope is so small that with less of it cross-entropy alone is trained
    "normalized_conditional_information": 10.0,
    "region_shuffled_labels": 100.0,  # of which there is nothing to learn but chance
}
"""Where 1 is not meant."""

ORDERS: Final = {"region_shuffled_labels": 16}
"""In how many orders of the pixels a term is computed: in a single one, chance is larger than what there is to gain."""

LAYER: Final = "decoders.1"
"""A map of 12 × 12 for a crop of 48."""

BATCH: Final = 4
LEARNING_RATE: Final = 1e-2
"""At half of it every network is so far from where it leads after 200 steps that cross-entropy, the faster one, has
the better term of some losses as well."""

SCHEDULE: Final = ("PolynomialLR", {"power": 0.9})
"""Falls to 0, or else chance in the last steps is as large as what some losses do."""


class Size(NamedTuple):
    """Of the networks and images: those that are trained, and those whose steps are measured."""

    width: int
    crop: int
    step_width: int
    step_crop: int


SIZE: Final = Size(width=4, crop=48, step_width=16, step_crop=128)
QUICK: Final = Size(width=2, crop=32, step_width=2, step_crop=32)


class Scenes:
    """Generated street scenes, half of them with labels."""

    def __init__(self, crop: int, seed: int = 0) -> None:
        dataset = open_dataset("street-scenes", None, train=32, val=4, height=crop * 4 // 3, width=2 * crop)
        samples, processing = dataset.split("train"), Processing(resize=None, crop=crop)
        self.crop, self.classes = crop, len(dataset.info.classes)
        self.train = SegmentationDataset(dataset, samples[:16], processing, seed=seed)
        self.unlabeled = SegmentationDataset(dataset, samples[16:], processing, seed=seed)

    def batches(self, objective: Objective, count: int) -> list[Batch]:
        """The first batches of the training stream, with what the loss asks for."""
        joining = (
            Unlabeled(self.unlabeled, BATCH, "two views" in objective.requires)
            if looks_at_unlabeled(objective)
            else None
        )
        return list(training_batches(self.train, batch_size=BATCH, first=0, last=count, unlabeled=joining))


def network(name: str, width: int, classes: int, seed: int = 0) -> SegmentationNetwork:
    """A U-Net whose initial weights its name and the seed decide; a teacher is twice as wide."""
    wide = 2 * width if name == TEACHER else width
    return build_network({"architecture": "unet", "width": wide}, name, classes, seed)


class Trainer:
    """Trains, and keeps what cross-entropy alone has made of every network.

    Args:
        scenes: the images.
        width: of the networks.
        steps: of every training.
        seed: of the weights, and of everything that is drawn.
    """

    def __init__(self, scenes: Scenes, width: int, steps: int, seed: int) -> None:
        self.scenes, self.width, self.steps, self.seed = scenes, width, steps, seed
        self.plain: dict[str, SegmentationNetwork] = {}

    def by_cross_entropy(self, name: str) -> SegmentationNetwork:
        """A network as cross-entropy alone leaves it."""
        if name not in self.plain:
            made = self._untrained(name)
            alone = Case((name,), False, {"cross_entropy": {}})
            self._fit(Cohort({name: made}), alone.objective())
            self.plain[name] = made
        return self.plain[name]

    def own_terms(self, name: str) -> tuple[list[float], list[float]]:
        """A loss's own term in every batch, as cross-entropy alone leaves it and as training on it does.

        Raises:
            RunError: a loss was not finite.
        """
        chosen = case(name, layer=LAYER, weights=WEIGHTS)
        before = self._cohort(chosen, self.by_cross_entropy)
        heads = chosen.objective(name)
        self._fit_heads(before, heads, name)
        after = self._cohort(chosen, self._untrained)
        trained = chosen.objective()
        self._fit(after, trained)
        after.hook_layers(trained.layers())
        drawn = [chosen.with_options(seed=order).objective(name) for order in range(ORDERS.get(name, 0))]
        return self._values(name, before, drawn or [heads]), self._values(name, after, drawn or [trained])

    def _untrained(self, name: str) -> SegmentationNetwork:
        return network(name, self.width, self.scenes.classes, self.seed)

    def _cohort(self, chosen: Case, learning: Callable[[str], SegmentationNetwork]) -> Cohort:
        networks = {one: learning(one) for one in chosen.networks}
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
        """Let the heads of a loss learn on networks that stay as they are."""
        tell_class_counts(objective, self.scenes.train.class_counts())
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
        """The own term of four crops of every image, batch by batch, the mean over the losses."""
        batches = self.scenes.batches(losses[0], 4 * len(self.scenes.train) // BATCH)
        for module in (cohort, *losses):
            module.eval()
        found = []
        with torch.no_grad():
            for batch in batches:
                outputs = cohort(batch.images)
                found.append(statistics.fmean(float(own_value(name, one(outputs, batch))) for one in losses))
        return found


def own_terms_section(names: list[str], trainer: Trainer) -> bool:
    """Prints a row for every loss; whether each got better."""
    print(f"## Own terms after {trainer.steps} steps\n")
    print("| loss | trained | after cross-entropy alone | after training on it | better | in batches |")
    print("|---|---|---:|---:|---|---:|", flush=True)
    good = True
    for name in names:
        chosen = case(name, layer=LAYER, weights=WEIGHTS)
        how = "beside cross-entropy" if name in list(chosen.specification)[1:] else "in its place"
        if name == "cross_entropy":
            value = statistics.fmean(trainer.own_terms(name)[1])
            print(f"| `{name}` | {how} | {value:.4f} | {value:.4f} | – | – |", flush=True)
            continue
        befores, afters = trainer.own_terms(name)
        before, after = statistics.fmean(befores), statistics.fmean(afters)
        share = f"{sum(b > a for b, a in zip(befores, afters, strict=True))} of {len(afters)}"
        better = after < before
        good = good and better
        print(f"| `{name}` | {how} | {before:.4f} | {after:.4f} | {'yes' if better else 'no'} | {share} |", flush=True)
    return good


def step_of(name: str, scenes: Scenes, width: int) -> Callable[[], None]:
    """A step on the same images again and again, so that no reading is in its time."""
    chosen = case(name, layer=LAYER, weights=WEIGHTS)
    networks = {one: network(one, width, scenes.classes) for one in chosen.everybody}
    cohort = Cohort(networks, frozen=[TEACHER] if chosen.teaches else [])
    objective = chosen.objective()
    tell_class_counts(objective, scenes.train.class_counts())
    register_feature_hooks(cohort, objective, device=CPU, side=scenes.crop, seed=0)
    optimizer = build_optimizer([*cohort.parameters(), *objective.parameters()], "Adam", 1e-4)
    runtime = Runtime(device=CPU, precision=ResolvedPrecision("fp32", "channels_last"))
    session = Session(cohort, objective, optimizer, None, runtime=runtime, seed=0, clip_norm=None)
    data = itertools.repeat(scenes.batches(objective, 1)[0])

    def step() -> None:
        session.train_step(data, 1)
        session.fetch_metrics()

    return step


def rise(step: Callable[[], None]) -> int:
    """How many bytes the memory of this process rises by during a step."""
    gc.collect()
    with suppress(OSError, AttributeError):  # else what is freed and kept at hand is used again, and seen nowhere
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is in use
    before = status("VmRSS")
    step()
    return status("VmHWM") - before


def steps_section(names: list[str], scenes: Scenes, width: int, rounds: int) -> None:
    """Prints time and memory of a step of every loss in multiples of cross-entropy's."""
    first = "cross_entropy"
    steps = {name: step_of(name, scenes, width) for name in dict.fromkeys([first, *names])}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if number:  # the first one compiles and is not counted
                seconds[name].append(time.perf_counter() - began)
    times = {name: statistics.median(found) for name, found in seconds.items()}
    memory = {name: statistics.median(rise(step) for _ in range(3)) for name, step in steps.items()}
    print(f"## A step of {BATCH} × {scenes.crop}², U-Net of width {width}\n")
    print("| loss | time | × cross-entropy | memory, × cross-entropy |\n|---|---:|---:|---:|")
    for name, value in times.items():
        ratios = value / times[first], memory[name] / memory[first]
        print(f"| `{name}` | {1e3 * value:.0f} ms | {ratios[0]:.2f} | {ratios[1]:.2f} |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny networks, few steps, one round")
    parser.add_argument("--steps", type=int, help="of every training; 200, or 10 with --quick")
    parser.add_argument("--rounds", type=int, help="timed rounds of steps; 5, or 1 with --quick")
    parser.add_argument("--only", nargs="+", choices=list(LOSSES), help="these losses alone")
    parser.add_argument("--seed", type=int, default=0, help="of the trainings")
    parser.add_argument("--part", choices=["terms", "steps"], help="this part alone")
    given = parser.parse_args()
    size, names = QUICK if given.quick else SIZE, given.only or list(LOSSES)
    steps, rounds = given.steps or (10 if given.quick else 200), given.rounds or (1 if given.quick else 5)
    torch.set_num_threads(1)
    print("# The catalog in training\n")
    print(f"{datetime.date.today()}, {machine()}, PyTorch {torch.__version__}, float32.")
    print("Written by `python benchmarks/catalog_training.py`.\n")
    good = True
    if given.part != "steps":
        good = own_terms_section(names, Trainer(Scenes(size.crop, given.seed), size.width, steps, given.seed))
        print()
    if given.part != "terms":
        steps_section(names, Scenes(size.step_crop), size.step_width, rounds)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
