"""What a run costs beside its own work, by engine: `make bench`.

A study of trivial runs, one at a time, on each engine in turn; the images are in memory or in a cache that is warm. A
run's cost is the time from the beginning of one run to that of the next: the first of a process apart, which imports
PyTorch and opens the data, the median of the others. What Ray and the pool cost more than the process itself is their
overhead.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).parent))
from surroundings import machine

from segmi.study.engines import Engine, InProcess, Pool, Ray
from segmi.study.events import Event
from segmi.study.run import run_study
from segmi.study.schema import Study
from segmi.study.strict_yaml import parse
from segmi.study.validation import validated

STUDY = """\
name: trivial
seeds: {seeds}
datasets:
  street-scenes: {{train: 4, val: 1, height: 40, width: 48}}
processing: {{resize: 36, crop: 32}}
training: {{steps: 1, batch_size: 2, holdout: 0.25, precision: fp32}}
samples: 0
methods:
  one: {{networks: {{unet: {{architecture: unet, width: 2}}}}, loss: {{cross_entropy: {{}}}}}}
"""
FULL, QUICK = 20, 3


class Cost(NamedTuple):
    """Seconds: until the first run begins, of the first run, of one of the others, after the last one."""

    before: float
    first: float
    other: float
    after: float


def cost(study: Study, engine: Engine) -> Cost:
    """What a study costs on an engine."""
    begun: list[float] = []
    ended: list[float] = []

    def listen(event: Event) -> None:
        begun.extend([time.perf_counter()] if event.kind == "started" else [])
        ended.extend([time.perf_counter()] if event.kind == "finished" else [])

    with tempfile.TemporaryDirectory() as root:
        start = time.perf_counter()
        outcome = run_study(study, Path(root), engine=engine, listener=listen)
        end = time.perf_counter()
    if len(outcome.finished) != len(study.seeds):
        raise SystemExit(f"{engine.name}: expected {len(study.seeds)} finished runs, got {len(outcome.finished)}")
    steps = [later - sooner for sooner, later in zip(begun, [*begun[1:], ended[-1]], strict=True)]
    return Cost(begun[0] - start, steps[0], statistics.median(steps[1:]), end - ended[-1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few runs, to see that it works")
    runs = QUICK if parser.parse_args().quick else FULL
    torch.set_num_threads(1)
    study = validated(parse(STUDY.format(seeds=list(range(runs)))))
    run_study(study, Path(tempfile.mkdtemp()), only=["*/seed0"])  # what this process does once is nobody's cost
    costs = {engine.name: cost(study, engine) for engine in (InProcess(), Pool(1), Ray(jobs=1))}
    print("# The engines: what a run costs beside its own work\n")
    print(f"{datetime.date.today()}, {machine()}, {runs} runs, one at a time.\n")
    print("| engine | before the first run | first run | each other | its overhead | after the last |")
    print("|---|---|---|---|---|---|")
    for name, each in costs.items():
        over = each.other - costs["in-process"].other
        print(
            f"| {name} | {each.before:.1f} s | {each.first:.2f} s | {1000 * each.other:.0f} ms | "
            f"{1000 * over:+.0f} ms | {each.after:.1f} s |"
        )


if __name__ == "__main__":
    main()
