"""Tables of docs/answer.md beside the comparisons: secondary outcomes, measures of information, and cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from answer_records import Answer, Tested
from answer_tables import INTERVAL, MEAN, interval, points, title, versus
from scipy import stats

from segmi.errors import DataError
from segmi.records import RunKey, reported_score
from segmi.report.describe import duration
from segmi.report.table import Cell, Row, Table
from segmi.statistics import PRIMARY, StudyRuns, describe_differences
from segmi.statistics.study_runs import pairing

MEASURES = {
    "mutual_information": "I(label; predicted label)",
    "mutual_information_share": "the same, share of H(label)",
    "barber_agakov_bound": "H(label) − cross-entropy",
    "soft_confusion_mutual_information": "I(label; sampled prediction)",
    "conditional_mutual_information": "I(image; prediction | label)",
    "region_information": "region information, mean over classes",
}
FURTHER = 0.99  # probability of the interval of a further run, which `make answer-slice` checks
WATTS = 15  # assumed power of a busy CPU core, for machines without energy counters


def secondary_table(answer: Answer, *, means: bool) -> Table:
    """Return differences in boundary IoU, IoU of small objects and mean accuracy of the primary comparisons.

    By dataset over seeds, or, with ``means``, of the means of the datasets.
    """
    runs, rows = answer.primary, []
    known = [(one, _differences(runs, one)) for one in answer.primary_tests]
    shown = [(one, [values for test, values in known if test.key == one.key]) for one in answer.means]
    for one, groups in shown if means else [(one, [values]) for one, values in known]:
        numbers: list[Cell] = []
        for columns in zip(*groups, strict=True):
            values = [column.mean() for column in columns if column.size] if means else columns[0]
            difference = describe_differences(values)
            numbers += [points(difference.mean), interval(*(difference.interval or (None, None)))]
        rows.append(Row((versus(runs, one), *(() if means else (title(runs, one.dataset),))), tuple(numbers)))
    columns = ("difference", INTERVAL)
    groups = (("boundary IoU", columns), ("small objects", columns), ("mean accuracy", columns))
    notes = (
        "In points; secondary outcomes without test or claim. boundary IoU: within 2 % of the image "
        "diagonal from an outline. small objects: mean IoU of connected regions below 32² pixels.",
    )
    labels = ("comparison",) if means else ("comparison", "dataset")
    return Table(f"Secondary outcomes{f', {MEAN}' if means else ''}.", labels, groups, rows, notes)


def scores_of(runs: StudyRuns, dataset: str, method: str) -> dict[int, float]:
    """Return the scores of the finished runs of a method by seed."""
    keys = [runs.key(dataset, method, seed) for seed in runs.plan.seeds]
    scores = {key.seed: reported_score(runs.results[key], PRIMARY) for key in keys if key in runs.results}
    return {seed: float(score) for seed, score in scores.items() if score is not None}


def further(values: Sequence[float], number: int = 1) -> tuple[float, float]:
    """Return the interval of the mean of further values of the same normal distribution, at `FURTHER`.

    Example:
        >>> low, high = further([0.5, 0.6, 0.7])
        >>> round(low, 3), round(high, 3)
        (-0.546, 1.746)
    """
    mean, sd, n = float(np.mean(values)), float(np.std(values, ddof=1)), len(values)
    if not sd:  # scipy returns NaN for a scale of 0
        return mean, mean
    low, high = stats.t.interval(FURTHER, n - 1, mean, sd * math.sqrt(1 / n + 1 / number))
    return float(low), float(high)


def scores_table(answer: Answer) -> Table:
    """Return the scores of every primary method on every dataset, with the interval of a further run."""
    runs, rows = answer.primary, []
    for dataset in runs.plan.datasets:
        for method, label in runs.plan.methods.items():
            values = list(scores_of(runs, dataset, method).values())
            if not values:
                continue
            limits = further(values) if len(values) > 2 else (None, None)
            sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
            count = Cell(f"{len(values)} of {len(runs.plan.seeds)}", is_text=True)
            numbers = (Cell(value=one) for one in (float(np.mean(values)), sd, *limits))
            rows.append(Row((title(runs, dataset), label), (count, *numbers)))
    groups = (("", ("seeds", "mean", "sd")), (f"a further run, {100 * FURTHER:g} %", ("from", "to")))
    return Table(f"{PRIMARY} over seeds.", ("dataset", "method"), groups, rows)


def correlation_matrix(table: Table) -> Table:
    """Return the correlations over all runs with a column per dataset."""
    names = list(dict.fromkeys(row.labels[0] for row in table.rows))
    found = {row.labels: row.cells[2] for row in table.rows}
    measures = dict.fromkeys(row.labels[1] for row in table.rows)
    rows = [Row((one,), tuple(found.get((name, one), Cell()) for name in names)) for one in measures]
    return Table(table.title, ("rank correlation with the mIoU",), (("", tuple(names)),), rows)


def correlation_table(answer: Answer) -> Table | None:
    """Return Spearman's correlation of the measures of information on val with the mIoU, over the runs of a dataset."""
    rows = []
    for dataset in answer.primary.plan.datasets:
        runs = {(key.method, key.seed): _measures(result) for key, result in _results(answer, dataset)}
        for measure, label in MEASURES.items():
            known = [
                (method, one[PRIMARY], one[measure]) for (method, _), one in runs.items()
                if math.isfinite(one[PRIMARY]) and math.isfinite(one.get(measure, math.nan))
            ]  # fmt: skip
            if len(known) < 4:
                continue
            methods, scores, values = (np.array(column) for column in zip(*known, strict=True))
            within = [_centered(column, methods) for column in (scores, values)]
            numbers = (_spearman(scores, values), _spearman(*within))
            count = (Cell(str(len(known)), is_text=True), Cell(str(len(set(methods))), is_text=True))
            rows.append(
                Row((title(answer.primary, dataset), label), (*count, *(Cell(value=v, digits=2) for v in numbers)))
            )
    if not rows:
        return None
    notes = (
        "Spearman's correlation with the mIoU on val over all finished runs with the main network. within methods: "
        "after subtraction of the mean of each method, so that only the seeds differ. The runs share the images.",
    )
    groups = (("", ("runs", "methods")), ("rank correlation", ("all runs", "within methods")))
    return Table("Q4, Q7: which measure of information ranks the runs?", ("dataset", "measure"), groups, rows, notes)


def cost_table(answer: Answer, studies: Mapping[str, int]) -> Table:
    """Return runs, time and energy by study, from the usage that the runs recorded."""
    rows = []
    for study, planned in studies.items():
        results, finished = list(answer.finished_runs(study)), answer.finished_trials(study)
        usages = [result.get("usage") or {} for _, result in results]
        searching = sum(trial.wall_seconds or 0 for trial in finished)
        seconds = searching + sum(float(usage.get("seconds") or 0) for usage in usages)
        joules = [usage.get("processor_joules") for usage in usages]
        measured = sum(joules) if joules and all(joules) and not finished else None
        threads = [((r.get("training") or {}).get("precision") or {}).get("threads") or 1 for _, r in results]
        assumed = sum(WATTS * t * float(u.get("seconds") or 0) for t, u in zip(threads, usages, strict=True))
        assumed += WATTS * max(threads, default=1) * searching
        trials = sum("+trial" in run.key.method for run, _ in results)
        energy = f"{measured / 3.6e6:.2f} kWh" if measured else f"about {assumed / 3.6e6:.2f} kWh"
        entries = (f"{len(results) - trials} of {planned}", str(trials + len(finished)), duration(seconds), energy)
        rows.append(Row((study,), tuple(Cell(text, is_text=True) for text in entries)))
    notes = (
        "time: processes from their start to the end of the evaluation, added up over runs, which may have run at the "
        "same time and beside other work; of finished searches, training and validation. energy: measured, or "
        f"(about) an assumed {WATTS} W per busy core on machines without energy counters.",
    )
    return Table("Cost.", ("study",), (("", ("runs", "trials", "time", "energy")),), rows, notes)


def _results(answer: Answer, dataset: str) -> Iterator[tuple[RunKey, dict[str, Any]]]:
    for runs in (answer.rivals, answer.primary):
        yield from ((key, result) for key, result in runs.results.items() if key.dataset == dataset)


def _measures(result: dict[str, Any]) -> dict[str, float]:
    """Return the mIoU and the measures of the reported network on the evaluated images."""
    score = reported_score(result, PRIMARY)
    values: dict[str, list[float]] = {PRIMARY: [math.nan if score is None else float(score)]}
    for name, value in ((result.get("diagnostics") or {}).get(result.get("protocol")) or {}).items():
        measure, network, *_ = f"{name}/".split("/")
        if network == result.get("reported_network") and value is not None and math.isfinite(value):
            values.setdefault(measure, []).append(float(value))  # region information has a value per class
    return {measure: float(np.mean(numbers)) for measure, numbers in values.items()}


def _centered(values: np.ndarray, methods: np.ndarray) -> np.ndarray:
    return np.array([value - values[methods == method].mean() for value, method in zip(values, methods, strict=True)])


def _spearman(one: np.ndarray, other: np.ndarray) -> float | None:
    spread = min(np.ptp(one), np.ptp(other)) > 1e-12
    return float(stats.spearmanr(one, other).statistic) if spread else None


def _differences(runs: StudyRuns, one: Tested) -> list[np.ndarray]:
    """Return the differences of the pairs in each secondary outcome, without unknown ones."""
    keys = pairing(runs, one.dataset, one.method, one.baseline).keys(runs)
    pairs = np.array([np.subtract(_outcomes(runs, key), _outcomes(runs, other)) for key, other in keys])
    return [column[np.isfinite(column)] for column in pairs.T] if len(pairs) else [np.empty(0)] * 3


def _outcomes(runs: StudyRuns, key: RunKey) -> tuple[float, float, float]:
    """Return boundary IoU, IoU of small objects and mean accuracy of the reported network; NaN if unknown."""
    result, run = runs.results[key], runs.runs[key]
    boundary = small = math.nan
    with suppress(DataError):
        details = run.details(str(result.get("reported_network")), str(result.get("protocol")))
        boundary, small = details.mean_boundary_iou(), details.mean_object_iou("small")
    accuracy = reported_score(result, "mean_accuracy")
    return boundary, small, math.nan if accuracy is None else float(accuracy)


def machines(answer: Answer, studies: Sequence[str]) -> list[str]:
    """Return the machines of the finished runs: processor, version of PyTorch and precision."""
    found = set()
    for study in studies:
        for run, result in answer.finished_runs(study):
            one = run.environment() or result.get("environment") or {}
            precision = ((result.get("training") or {}).get("precision") or {}).get("dtype")
            parts = (one.get("accelerator") or one.get("cpu"), f"PyTorch {(one.get('packages') or {}).get('torch')}")
            found.add(", ".join(filter(None, (*parts, precision))))
    return sorted(found)
