"""Every estimator of mutual information on laws whose mutual information is known: bias and spread.

Laws: Gaussians of 2 to 10 nats in 1 to 16 dimensions, one of them with long tails; pairs of Gaussian images that are
independent of each other or share 2 nats per window, whose overlapping windows are no independent samples, as pixels
are not. An estimate that is trained gets so many steps of so many pairs, whatever the law: what it needs beyond that
it does not get here. Each is repeated with other samples and other first weights.
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
    """Samples of a known law: a draw gives x, y and the ids of what belongs together, or None."""

    title: str
    nats: float
    entropy: float
    samples: int
    draw: Callable[[int], tuple[Tensor, Tensor, Tensor | None]]


class Found(NamedTuple):
    """What an estimator gave over the repetitions, and the seconds one took."""

    mean: float
    spread: float
    seconds: float


def gaussian_case(nats: float, dimensions: int, samples: int, disguise: str = "none") -> Case:
    law = GaussianLaw.of(nats, dimensions, disguise=disguise)  # type: ignore[arg-type]  # a word of this file
    entropy = dimensions * 0.5 * math.log(2 * math.pi * math.e)
    if disguise == "cubic":  # h(y³) = h(y) + E log 3y²
        entropy += dimensions * (math.log(3) - math.log(2) - 0.5772156649015329)
    tails = ", long tails" if disguise == "cubic" else ""
    title = f"Gaussian, {nats:g} nats, {dimensions} dimension{'s' if dimensions > 1 else ''}{tails}"
    return Case(title, nats, entropy, samples, lambda seed: (*law.sample(samples, seed=seed), None))


def field_case(nats: float, length: float, side: int = 2, size: int = 47) -> Case:
    """All windows of one pair of images."""
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
    """``e^{-|u - v|²/2ℓ²}`` of the pixels of a window."""
    places = torch.cartesian_prod(*[torch.arange(side, dtype=torch.float64)] * 2)
    squared = (places[:, None] - places[None]).square().sum(-1)
    return torch.exp(-squared / (2 * length**2)) if length else torch.eye(side**2, dtype=torch.float64)


def of_covariance(x: Tensor, y: Tensor) -> float:
    joint = torch.cov(torch.cat([x, y], 1).double().T)
    return gaussian_mutual_information(joint, x.shape[1]).item()


DIRECT: Final[Mapping[str, Callable[[Tensor, Tensor], float]]] = {
    "Gaussian plug-in": of_covariance,
    "KSG, 3 neighbors": lambda x, y: ksg_mutual_information(x, y).item(),
}


def value(name: str, case: Case, seed: int, training: Mapping[str, Any]) -> float:
    x, y, groups = case.draw(seed)
    if name in DIRECT:
        return DIRECT[name](x, y)
    entropy = case.entropy if name == "barber_agakov" else None
    return estimate(x, y, name, entropy=entropy, groups=groups, seed=seed, **training).nats


def found(name: str, case: Case, repetitions: int, training: Mapping[str, Any]) -> Found:
    began = time.perf_counter()
    values = [value(name, case, seed, training) for seed in range(repetitions)]
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return Found(statistics.fmean(values), spread, (time.perf_counter() - began) / repetitions)


def measured(cases: list[Case], repetitions: int, training: Mapping[str, Any]) -> list[dict[str, Found]]:
    results = []
    for case in cases:
        results.append({name: found(name, case, repetitions, training) for name in (*DIRECT, *ESTIMATORS)})
        print(f"{case.title}, {case.samples} samples: done", file=sys.stderr, flush=True)
    return results


def table(cases: list[Case], results: list[dict[str, Found]]) -> str:
    """One line per estimator, one column per number of samples: bias ± spread."""
    head = "| estimator | " + " | ".join(f"{case.samples:,} samples" for case in cases) + " | seconds |"
    lines = [f"## {cases[0].title}", "", head, "|---|" + "---:|" * (len(cases) + 1)]
    for name in results[0]:
        cells = [
            f"{number(one[name].mean - case.nats, sign='+')} ± {number(one[name].spread)}"
            for case, one in zip(cases, results, strict=True)
        ]
        lines.append(f"| {shown(name)} | {' | '.join(cells)} | {results[-1][name].seconds:.1f} |")
    return "\n".join(lines)


def number(value: float, sign: str = "-") -> str:
    """Two decimals, or two digits of what is beyond all bounds."""
    return f"{value:{sign}.2f}" if abs(value) < 1000 else f"{value:{sign}.1e}"


def shown(name: str) -> str:
    return f"`{name}`" if name in ESTIMATORS else name


def draw_figure(groups: list[tuple[list[Case], list[dict[str, Found]]]], path: Path) -> None:
    """A panel per law: the estimates over the number of samples, the truth as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(groups), 5.4), dpi=110)
    panels = figure.subplots(1, len(groups), squeeze=False)[0]
    for panel, (cases, results) in zip(panels, groups, strict=True):
        truth = cases[0].nats
        panel.axhline(truth, color="black", linewidth=1, linestyle="--")
        for number, name in enumerate(results[0]):
            place = [case.samples * 1.035 ** (number - len(results[0]) / 2) for case in cases]
            mean = [one[name].mean for one in results]
            panel.errorbar(
                place, mean, [one[name].spread for one in results], label=name, linewidth=1.2,
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
    parser.add_argument("--quick", action="store_true", help="few samples, steps and laws, to see that it runs")
    parser.add_argument("--repetitions", type=int, default=3, help="of every estimate")
    parser.add_argument("--steps", type=int, default=200, help="steps of every estimate that is trained")
    parser.add_argument("--figure", type=Path, default=HERE / "estimators.png", help="where the plot goes")
    given = parser.parse_args()
    training = {"steps": given.steps, "hidden": 64, "embedding": 32, "learning_rate": 3e-3, "batch_size": 128}
    sizes, laws = (256, 2048, 8192), [(2.0, 1), (5.0, 4), (10.0, 16)]
    fields = [(0.0, 0.0), (0.0, 4.0), (2.0, 4.0)]
    if given.quick:
        training, sizes, laws, fields = {**training, "steps": 10}, (64, 128), laws[:1], fields[1:]
    print("# Estimators of mutual information, on laws where it is known\n")
    print(f"{datetime.date.today()}, PyTorch {torch.__version__}, {given.repetitions} repetitions.")
    print("Written by `python benchmarks/estimators.py" + (" --quick" if given.quick else "") + "`.\n")
    print("In nats: mean estimate minus truth ± standard deviation over the repetitions. What is trained takes")
    print(f"{training['steps']} steps of {training['batch_size']} pairs, a separable critic of two layers of")
    print(
        f"{training['hidden']}, and is read off samples of its own: a fifth of all, in batches as large, so the ceiling"
    )
    print(f"of `info_nce` is log {training['batch_size']} = {math.log(training['batch_size']):.2f}. The last column is")
    print("the time of one estimate with the most samples.\n")
    print(f"![Estimates over the number of samples]({given.figure.name})\n")
    groups = []
    for nats, dimensions in laws:
        cases = [gaussian_case(nats, dimensions, samples) for samples in sizes]
        groups.append((cases, measured(cases, given.repetitions, training)))
        print(table(*groups[-1]) + "\n", flush=True)
    tails = [gaussian_case(laws[0][0] if given.quick else 5.0, 1 if given.quick else 4, sizes[1], "cubic")]
    print(table(tails, measured(tails, given.repetitions, training)) + "\n", flush=True)
    for nats, length in fields:
        cases = [field_case(nats, length, size=12 if given.quick else 47)]
        print(table(cases, measured(cases, given.repetitions, training)) + "\n", flush=True)
    draw_figure(groups, given.figure)


if __name__ == "__main__":
    main()
