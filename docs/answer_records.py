"""Registered comparisons and packed records of the study of docs/answer.md, as `StudyRuns` and tested comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from segmi.errors import Diverged, UsageError
from segmi.records import Plan, RunFolder, find_runs
from segmi.records.study_records import TrialRecord, read_selection
from segmi.statistics import LEVEL, Difference, StudyRuns, describe_differences, detectable_factor, holm
from segmi.statistics.differences import verdict_of
from segmi.statistics.random_effects import FEWEST_DATASETS, pool
from segmi.statistics.study_runs import pairing, score_differences
from segmi.study.strict_yaml import parse_file
from segmi.study.study_file import read_study_file


@dataclass(frozen=True)
class Tested:
    """A registered comparison on one dataset, or its mean over datasets."""

    key: str  # name in the list of comparisons, such as ``P1``
    method: str
    baseline: str
    dataset: str  # empty for the mean over datasets
    difference: Difference  # mean NaN without a finished pair
    done: int  # finished pairs of runs, or datasets with all pairs
    planned: int
    diverged: int  # pairs that are left out because a run diverged
    p_holm: float | None  # adjusted over the registered family; None while runs are missing
    detectable: float | None
    tau: float | None = None  # of a mean: standard deviation of the expected differences between datasets

    @property
    def settled(self) -> bool:
        """Whether every planned run has finished or diverged."""
        return self.done + self.diverged == self.planned

    @property
    def conclusion(self) -> str:
        """The conclusion by the rule of the protocol; none while runs are missing."""
        if not self.settled:
            return "preliminary" if self.done else "no runs yet"
        equivalent = self.difference.p_equivalent is not None and self.difference.p_equivalent < LEVEL
        verdict = verdict_of(self.difference, self.p_holm)
        if verdict in ("better", "worse"):
            return f"{verdict}, by less than 1 point" if equivalent else verdict
        if equivalent:
            return "no difference larger than 1 point"
        return "not decided" if verdict == "not distinguishable" else verdict


@dataclass(frozen=True)
class Answer:
    """Everything that the page is written from."""

    registry: dict[str, Any]  # content of comparisons.yaml
    folder: Path  # its folder; paths of study files are relative to it
    records: Path

    @classmethod
    def read(cls, registry: Path, records: Path) -> Answer:
        """Read the list of comparisons."""
        return cls(parse_file(registry).data, registry.parent, records)

    @cached_property
    def primary(self) -> StudyRuns:
        """Runs of the primary comparisons."""
        return self._runs([self.registry["primary"]])

    @cached_property
    def repeated(self) -> StudyRuns:
        """Runs of the primary comparisons on another network."""
        return self._runs([self.registry["repeated"]])

    @cached_property
    def defects(self) -> StudyRuns:
        """Runs of the departures of the paper's code."""
        return self._runs([self.registry["defects"]])

    @cached_property
    def rivals(self) -> StudyRuns:
        """Runs of the rival explanations, and of the primary methods on the same datasets and seeds."""
        return self._runs([self.registry["rivals"], self.registry["primary"]])

    def progress(self) -> dict[str, tuple[int, int]]:
        """Return the number of finished and of registered runs by study; a run of two studies counts in the first."""
        numbers, counted = {}, set()
        for part in ("primary", "rivals", "repeated", "defects"):
            runs, plan = getattr(self, part), registered_plan(self.folder / self.registry[part])
            own = [runs.key(*key[1:]) for key in plan.grid() if part != "rivals" or key[1:] not in counted]
            numbers[plan.study] = (sum(key in runs.results for key in own), len(own))
            counted |= {key[1:] for key in own}
        return numbers

    @cached_property
    def primary_tests(self) -> list[Tested]:
        """All primary comparisons on all datasets: one family."""
        return self.family(self.primary, self._primary_cells(self.primary))

    @cached_property
    def repeated_tests(self) -> list[Tested]:
        """The same on the other network."""
        return self.family(self.repeated, self._primary_cells(self.repeated))

    @cached_property
    def defects_tests(self) -> list[Tested]:
        """Every departure of the paper's code against its baseline: one family."""
        runs = self.defects
        pairs = {method: runs.plan.compared_with(method) for method in runs.plan.methods}
        return self.family(
            runs, [(method, d, method, other) for method, other in pairs.items() if other for d in runs.plan.datasets]
        )

    @cached_property
    def means(self) -> list[Tested]:
        """The primary comparisons over datasets: one family."""
        return self._over_datasets(self.primary, self.primary_tests)

    def _primary_cells(self, runs: StudyRuns) -> list[tuple[str, str, str, str]]:
        comparisons = self.registry["comparisons"].items()
        return [(key, d, one["method"], one["baseline"]) for key, one in comparisons for d in runs.plan.datasets]

    def family(self, runs: StudyRuns, cells: Sequence[tuple[str, str, str, str]]) -> list[Tested]:
        """Test comparisons (key, dataset, method, baseline) as one family of the registered size.

        A comparison with missing runs counts with p = 1, so that no verdict is easier to reach while runs are missing.
        """
        pairs = [pairing(runs, dataset, method, other) for _, dataset, method, other in cells]
        tests = []
        for (key, *_), pair in zip(cells, pairs, strict=True):
            difference = describe_differences(score_differences(runs, pair))
            diverged = sum(
                any(_diverged(runs.runs[runs.key(pair.dataset, m, seed)]) for m in (pair.method, pair.baseline))
                for seed in pair.left_out
            )
            tests.append(Tested(
                key, pair.method, pair.baseline, pair.dataset, difference, len(pair.seeds), len(runs.plan.seeds),
                diverged, None, None,
            ))  # fmt: skip
        return adjusted(tests)

    def _over_datasets(self, runs: StudyRuns, tests: Sequence[Tested]) -> list[Tested]:
        means = []
        for key in dict.fromkeys(one.key for one in tests):
            own = [one for one in tests if one.key == key]
            values = [score_differences(runs, pairing(runs, t.dataset, t.method, t.baseline)) for t in own]
            known = [one for one, test in zip(values, own, strict=True) if test.difference.p is not None]
            enough = len(known) >= FEWEST_DATASETS
            mean, tau, _ = pool(known) if enough else (Difference(0, float("nan")), None, None)
            settled = sum(one.settled for one in own)
            means.append(Tested(key, own[0].method, own[0].baseline, "", mean, settled, len(own), 0, None, None, tau))
        return adjusted(means)

    def _runs(self, sources: Sequence[str]) -> StudyRuns:
        """Return the runs of the first study and of the methods of the others, each from the first that has it."""
        plans = [registered_plan(self.folder / source) for source in sources]
        methods = {name: label for plan in reversed(plans) for name, label in plan.methods.items()}
        plan = replace(plans[0], methods=methods)
        runs, states, results = {}, {}, {}
        for key in plan.grid():
            folders = [RunFolder.of(self.records, key._replace(study=one.study)) for one in plans]
            runs[key] = next((one for one in folders if one.finished), folders[0])
            states[key] = runs[key].state()
            if states[key] == "finished":
                results[key] = runs[key].result() or {}
        return StudyRuns(self.records / plan.study, plan, runs, states, results)

    def finished_runs(self, study: str) -> Iterator[tuple[RunFolder, dict[str, Any]]]:
        """Yield the finished runs of a study with their results, trials included."""
        if (self.records / study).is_dir():
            for run in find_runs(self.records / study, trials=True):
                if run.finished:
                    yield run, run.result() or {}

    def finished_trials(self, study: str) -> list[TrialRecord]:
        """Return the trials of the finished searches of a study, whose runs are not packed."""
        folders = sorted((self.records / study).glob("*/*"))
        return [trial for folder in folders if (found := read_selection(folder)) for trial in found.trials]


def adjusted(tests: Sequence[Tested]) -> list[Tested]:
    """Return the tests of a family with Holm's p and the detectable difference at Holm's first step."""
    family = len(tests)
    values = holm([one.difference.p if one.settled and one.difference.p is not None else 1.0 for one in tests])
    result = []
    for one, p in zip(tests, values, strict=True):
        known = one.settled and one.difference.p is not None
        sd, n = one.difference.sd, one.difference.n
        detectable = detectable_factor(n, LEVEL / family) * sd if sd and n > 1 else None
        result.append(replace(one, p_holm=p if known else None, detectable=detectable))
    return result


def registered_plan(path: Path) -> Plan:
    """Return the plan of a study file: the registered runs, independent of the files on disk."""
    data = read_study_file(path).data
    if not isinstance(data, dict) or not {"name", "datasets", "methods"} <= data.keys():
        raise UsageError(f"{path} is not a study", "name a study file with name, datasets and methods")
    methods = {name: str(method.get("label") or name) for name, method in data["methods"].items()}
    return Plan(
        data["name"], {name: name for name in data["datasets"]}, methods, data.get("seeds", [0]),
        baseline=data.get("baseline") or next(iter(methods)),
        baselines={name: method["baseline"] for name, method in data["methods"].items() if method.get("baseline")},
    )  # fmt: skip


def _diverged(run: RunFolder) -> bool:
    return run.state() == "failed" and (run.failure() or {}).get("type") == Diverged.__name__
