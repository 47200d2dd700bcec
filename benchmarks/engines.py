"""Overhead of a run on each engine: `make bench`.

Each engine runs a study of trivial runs, one at a time; the images are in memory or in a filled cache. The cost of a
run is the time from its start to the start of the next one: the first run of a process separately, because it imports
PyTorch and opens the data, and the median of the others. The overhead of an engine is the difference to the engine
``in-process``.
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
from segmi.study.events import StudyEvent
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
    """Seconds before the first run, of the first run, of each other run (median), and after the last run."""

    before: float
    first: float
    other: float
    after: float


def cost(study: Study, engine: Engine) -> Cost:
    """Run a study on an engine and return its cost."""
    started: list[float] = []
    finished: list[float] = []

    def listen(event: StudyEvent) -> None:
        started.extend([time.perf_counter()] if event.kind == "started" else [])
        finished.extend([time.perf_counter()] if event.kind == "finished" else [])

    with tempfile.TemporaryDirectory() as root:
        begin = time.perf_counter()
        outcome = run_study(study, Path(root), engine=engine, listener=listen)
        end = time.perf_counter()
    if len(outcome.finished) != len(study.seeds):
        raise SystemExit(f"{engine.name}: expected {len(study.seeds)} finished runs, got {len(outcome.finished)}")
    runs = [later - sooner for sooner, later in zip(started, [*started[1:], finished[-1]], strict=True)]
    return Cost(started[0] - begin, runs[0], statistics.median(runs[1:]), end - finished[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke test: few runs")
    runs = QUICK if parser.parse_args().quick else FULL
    torch.set_num_threads(1)
    study = validated(parse(STUDY.format(seeds=list(range(runs)))))
    run_study(study, Path(tempfile.mkdtemp()), only=["*/seed0"])  # warm-up: imports of this process are not measured
    costs = {engine.name: cost(study, engine) for engine in (InProcess(), Pool(1), Ray(jobs=1))}
    print("# Engines: overhead of a run\n")
    print(f"{datetime.date.today()}, {machine()}, {runs} runs, one at a time.\n")
    print("| engine | before the first run | first run | each other run | overhead | after the last run |")
    print("|---|---|---|---|---|---|")
    for name, each in costs.items():
        overhead = each.other - costs["in-process"].other
        print(
            f"| {name} | {each.before:.1f} s | {each.first:.2f} s | {1000 * each.other:.0f} ms | "
            f"{1000 * overhead:+.0f} ms | {each.after:.1f} s |"
        )


if __name__ == "__main__":
    main()
