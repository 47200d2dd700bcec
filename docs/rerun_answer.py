"""Repeat a slice of the study of docs/answer.md and check it against the printed intervals: `make answer-slice`.

The slice is two methods on the generated dataset with two seeds, with the settings that the recorded searches chose:
four runs of 375 steps, about ten minutes on two cores, without a download. A score or a mean difference outside of its
interval in docs/answer/tables.md is an error.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from answer_outcomes import further, scores_of
from answer_records import Answer
from write_answer import RECORDS, REGISTRY

from segmi.cli import main
from segmi.errors import UsageError
from segmi.records import RunFolder, reported_score
from segmi.statistics import PRIMARY
from segmi.study.study_file import read_study_file

DATASET, METHODS, SEEDS = "object-scenes", ("region-published", "binary"), (0, 1)


def rerun(answer: Answer, runs: Path) -> int:
    """Train the runs of the slice in a folder; returns the exit code of the command."""
    study = answer.primary.plan.study
    for method in METHODS:
        inside = Path(study, DATASET, method, "selection.json")
        if not (answer.records / inside).is_file():
            raise UsageError(f"there are no records of {study}/{DATASET}/{method}", "commit the records of that stage")
        (runs / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(answer.records / inside, runs / inside)
    only = [word for method in METHODS for word in ("--only", f"{DATASET}/{method}/*")]
    file = answer.folder / answer.registry["primary"]
    datasets = json.dumps({DATASET: read_study_file(file).data["datasets"][DATASET] or {}})
    settings = [f"datasets={datasets}", f"seeds={list(SEEDS)}", "training.threads=1"]
    return main(["study", "run", str(file), *settings, *only, "--runs", str(runs), "--engine", "pool", "--jobs", "2"])


def compare(answer: Answer, runs: Path) -> list[tuple[str, float, tuple[float, float]]]:
    """Return the new score of every run, and their mean difference, with the recorded interval."""
    known = {method: scores_of(answer.primary, DATASET, method) for method in METHODS}
    common = sorted(set.intersection(*(set(one) for one in known.values())))
    if len(common) < 3:
        raise UsageError(f"{len(common)} recorded pairs on {DATASET} give no interval", "record at least three seeds")
    rows, found = [], {}
    for method in METHODS:
        for seed in SEEDS:
            key = answer.primary.key(DATASET, method, seed)
            score = reported_score(RunFolder.of(runs, key).result() or {"networks": {}}, PRIMARY)
            if score is None:
                raise UsageError(f"{key.dataset}/{key.method}/seed{key.seed} is not finished", "run the slice again")
            found[method, seed] = float(score)
            rows.append((f"{method}, seed {seed}", float(score), further(list(known[method].values()))))
    mean = float(np.mean([found[METHODS[0], seed] - found[METHODS[1], seed] for seed in SEEDS]))
    differences = [known[METHODS[0]][seed] - known[METHODS[1]][seed] for seed in common]
    return [*rows, (f"{METHODS[0]} − {METHODS[1]}, mean of {len(SEEDS)}", mean, further(differences, len(SEEDS)))]


def check(answer: Answer, runs: Path) -> int:
    """Print the comparison; returns 0 if every number is inside of its interval, else 1."""
    outside = 0
    for label, value, (low, high) in compare(answer, runs):
        inside = low <= value <= high
        outside += not inside
        print(f"{label}: {value:.4f}, {'in' if inside else 'OUTSIDE of'} {low:.4f} to {high:.4f}")
    return int(outside > 0)


if __name__ == "__main__":
    ANSWER, FOLDER = Answer.read(REGISTRY, RECORDS), Path(sys.argv[1] if len(sys.argv) > 1 else "runs/answer-slice")
    sys.exit(rerun(ANSWER, FOLDER) or check(ANSWER, FOLDER))
