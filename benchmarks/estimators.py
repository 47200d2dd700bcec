"""Bias and standard deviation of every estimator of mutual information on distributions with a known value.

Distributions: Gaussians of 2 to 10 nats in 1 to 16 dimensions, one of them with long tails; pairs of Gaussian images
that are independent or share 2 nats per window. Overlapping windows of an image are not independent samples, like the
pixels of a segmentation. Trained estimators get the same number of steps and pairs on every distribution. Each estimate
is repeated with other samples and other initial weights.
"""

from __future__ import annotations

import argparse
import datetime
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from segmi.information import gaussian_mutual_information, ksg_mutual_information
from segmi.information.estimation import ESTIMATORS, estimate
from segmi.information.laws import GaussianFields, GaussianLaw, windows

HERE: Final = Path(__file__).resolve().parent


class Case(NamedTuple):
    """A known distribution; ``draw`` takes a seed and returns x, y and group ids of the samples, or None."""

    title: str
    nats: float
    entropy: float
    samples: int
    draw: Callable[[int], tuple[Tensor, Tensor, Tensor | None]]


class Summary(NamedTuple):
    """Mean and standard deviation of an estimator over the repetitions, and the seconds of one estimate."""

    mean: float
    spread: float
    seconds: float


def gaussian_case(nats: float, dimensions: int, samples: int, disguise: str = "none") -> Case:
    law = GaussianLaw.of(nats, dimensions, disguise=disguise)  # type: ignore[arg-type]  # callers pass literals
    entropy = dimensions * 0.5 * math.log(2 * math.pi * math.e)
    if disguise == "cubic":  # h(y³) = h(y) + E log 3y²
        entropy += dimensions * (math.log(3) - math.log(2) - 0.5772156649015329)
    tails = ", long tails" if disguise == "cubic" else ""
    title = f"Gaussian, {nats:g} nats, {dimensions} dimension{'s' if dimensions > 1 else ''}{tails}"
    return Case(title, nats, entropy, samples, lambda seed: (*law.sample(samples, seed=seed), None))


def field_case(nats: float, length: float, side: int = 2, size: int = 47) -> Case:
    """Return the case of all windows of one pair of images."""
    fields = GaussianFields(size, size, length=length, nats_per_pixel=nats / side**2)
    covariance = covariance_of_window(length, side)
    entropy = 0.5 * torch.logdet(2 * math.pi * math.e * covariance).item()

    def draw(seed: int) -> tuple[Tensor, Tensor, None]:
        x, y = fields.sample(1, seed=seed)
        return windows(x, side), windows(y, side), None

    smooth = f"smooth over {length:g} pixels" if length else "white"
    title = f"one pair of images, {smooth}, {nats:g} nats per {side}×{side} window"
    return Case(title, nats, entropy, (size - side + 1) ** 2, draw)


def covariance_of_window(length: float, side: int) -> Tensor:
    """Return the covariance ``e^{-|u - v|²/2ℓ²}`` of the pixels of a window."""
    positions = torch.cartesian_prod(*[torch.arange(side, dtype=torch.float64)] * 2)
    squared = (positions[:, None] - positions[None]).square().sum(-1)
    return torch.exp(-squared / (2 * length**2)) if length else torch.eye(side**2, dtype=torch.float64)


def gaussian_plug_in(x: Tensor, y: Tensor) -> float:
    joint = torch.cov(torch.cat([x, y], 1).double().T)
    return gaussian_mutual_information(joint, x.shape[1]).item()


DIRECT: Final[Mapping[str, Callable[[Tensor, Tensor], float]]] = {
    "Gaussian plug-in": gaussian_plug_in,
    "KSG, 3 neighbors": lambda x, y: ksg_mutual_information(x, y).item(),
}


def value(name: str, case: Case, seed: int, training: Mapping[str, Any]) -> float:
    x, y, groups = case.draw(seed)
    if name in DIRECT:
        return DIRECT[name](x, y)
    entropy = case.entropy if name == "barber_agakov" else None
    return estimate(x, y, name, entropy=entropy, groups=groups, seed=seed, **training).nats


def summarize(name: str, case: Case, repetitions: int, training: Mapping[str, Any]) -> Summary:
    begin = time.perf_counter()
    values = [value(name, case, seed, training) for seed in range(repetitions)]
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return Summary(statistics.fmean(values), spread, (time.perf_counter() - begin) / repetitions)


def measure(cases: list[Case], repetitions: int, training: Mapping[str, Any]) -> list[dict[str, Summary]]:
    results = []
    for case in cases:
        results.append({name: summarize(name, case, repetitions, training) for name in (*DIRECT, *ESTIMATORS)})
        print(f"{case.title}, {case.samples} samples: done", file=sys.stderr, flush=True)
    return results


def table(cases: list[Case], results: list[dict[str, Summary]]) -> str:
    """Return a table with a row per estimator and a column per number of samples: bias ± standard deviation."""
    head = "| estimator | " + " | ".join(f"{case.samples:,} samples" for case in cases) + " | seconds |"
    lines = [f"## {cases[0].title}", "", head, "|---|" + "---:|" * (len(cases) + 1)]
    for name in results[0]:
        cells = [
            f"{number(one[name].mean - case.nats, sign='+')} ± {number(one[name].spread)}"
            for case, one in zip(cases, results, strict=True)
        ]
        lines.append(f"| {label(name)} | {' | '.join(cells)} | {results[-1][name].seconds:.1f} |")
    return "\n".join(lines)


def number(value: float, sign: str = "-") -> str:
    """Return a value with two decimals, or in scientific notation from 1000 on."""
    return f"{value:{sign}.2f}" if abs(value) < 1000 else f"{value:{sign}.1e}"


def label(name: str) -> str:
    return f"`{name}`" if name in ESTIMATORS else name


def draw_figure(groups: list[tuple[list[Case], list[dict[str, Summary]]]], path: Path) -> None:
    """Draw a panel per distribution: estimates over the number of samples, and the true value as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(groups), 5.4), dpi=110)
    panels = figure.subplots(1, len(groups), squeeze=False)[0]
    for panel, (cases, results) in zip(panels, groups, strict=True):
        truth = cases[0].nats
        panel.axhline(truth, color="black", linewidth=1, linestyle="--")
        for number, name in enumerate(results[0]):
            position = [case.samples * 1.035 ** (number - len(results[0]) / 2) for case in cases]
            mean = [one[name].mean for one in results]
            panel.errorbar(
                position, mean, [one[name].spread for one in results], label=name, linewidth=1.2,
                marker="o^sDvP*X"[number % 8], markersize=4, color=f"C{number % 10}",
                linestyle="-" if number < 10 else ":",
            )  # fmt: skip
        panel.set(xscale="log", xlabel="samples", title=cases[0].title, ylim=(-0.3 * truth - 0.5, 2 * truth + 0.5))
        panel.title.set_fontsize(9)
        panel.set_xticks([case.samples for case in cases], [f"{case.samples:,}" for case in cases])
        panel.minorticks_off()
    panels[0].set_ylabel("estimate, nats")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=5, frameon=False, fontsize=8)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke test: few samples, steps and distributions")
    parser.add_argument("--repetitions", type=int, default=3, help="repetitions of each estimate")
    parser.add_argument("--steps", type=int, default=200, help="steps of trained estimators")
    parser.add_argument("--figure", type=Path, default=HERE / "estimators.png", help="path of the plot")
    given = parser.parse_args()
    training = {"steps": given.steps, "hidden": 64, "embedding": 32, "learning_rate": 3e-3, "batch_size": 128}
    sizes, laws = (256, 2048, 8192), [(2.0, 1), (5.0, 4), (10.0, 16)]
    fields = [(0.0, 0.0), (0.0, 4.0), (2.0, 4.0)]
    if given.quick:
        training, sizes, laws, fields = {**training, "steps": 10}, (64, 128), laws[:1], fields[1:]
    print("# Estimators of mutual information\n")
    print(f"{datetime.date.today()}, PyTorch {torch.__version__}, {given.repetitions} repetitions.")
    print("Written by `python benchmarks/estimators.py" + (" --quick" if given.quick else "") + "`.\n")
    pairs = training["batch_size"]
    print(
        "Mean estimate minus the true value ± standard deviation over the repetitions, in nats. Trained estimators take"
    )
    print(f"{training['steps']} steps of {pairs} pairs with a separable critic of two layers of {training['hidden']}")
    print("units, and are evaluated on a held-out fifth of the samples in batches of the same size, which bounds")
    print(f"`info_nce` by log {pairs} = {math.log(pairs):.2f}. The last column is the time of one estimate with the")
    print("largest number of samples.\n")
    print(f"![Estimates over the number of samples]({given.figure.name})\n")
    groups = []
    for nats, dimensions in laws:
        cases = [gaussian_case(nats, dimensions, samples) for samples in sizes]
        groups.append((cases, measure(cases, given.repetitions, training)))
        print(table(*groups[-1]) + "\n", flush=True)
    tails = [gaussian_case(laws[0][0] if given.quick else 5.0, 1 if given.quick else 4, sizes[1], "cubic")]
    print(table(tails, measure(tails, given.repetitions, training)) + "\n", flush=True)
    for nats, length in fields:
        cases = [field_case(nats, length, size=12 if given.quick else 47)]
        print(table(cases, measure(cases, given.repetitions, training)) + "\n", flush=True)
    draw_figure(groups, given.figure)


if __name__ == "__main__":
    main()
