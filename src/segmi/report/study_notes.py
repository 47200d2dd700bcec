"""Notes of a report: protocol, searches, budget, machine, failures, and the notes below the table of differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segmi.errors import DataError
from segmi.records.study_records import Selection, read_selection
from segmi.report.describe import duration, number_range, read_config
from segmi.report.protocol import describe_protocol
from segmi.statistics import LEVEL, Comparison, StudyRuns, least_p
from segmi.statistics.paired_tests import MARGIN, POWER


def study_notes(study: StudyRuns) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return sections of (name, text) entries."""
    sections = [
        ("Protocol", describe_protocol(study)),
        ("Search for settings", _searches(study)),
        ("Budget", _budget(study)),
        ("Machine and versions", _machine(study)),
    ]
    return [(title, entries) for title, entries in sections if entries]


def failures(study: StudyRuns) -> list[tuple[str, str, str]]:
    """Return (run, message, traceback) of every failed run."""
    entries = []
    for key, state in study.states.items():
        record = study.runs[key].failure() if state == "failed" else None
        if record is not None:
            message = f"{record.get('type', 'error')}: {record.get('message', '')}"
            remedy = f" Fix: {record['remedy']}." if record.get("remedy") else ""
            run = f"{key.dataset}/{key.method}/seed{key.seed}"
            entries.append((run, message + remedy, str(record.get("traceback") or "")))
    return entries


def _searches(study: StudyRuns) -> list[tuple[str, str]]:
    entries = []
    for dataset in study.plan.datasets:
        for method, label in study.plan.methods.items():
            try:
                selection = read_selection(study.folder / dataset / method)
                text = _describe_selection(selection) if selection is not None else ""
            except DataError as error:
                text = error.message
            if text:
                entries.append((f"{label} on {study.title(dataset)}", text))
    return entries


def _describe_selection(selection: Selection) -> str:
    spaces = "; ".join(f"{name} from {_space(spec)}" for name, spec in selection.searched.items())
    trials = selection.trials
    if selection.winner is None:
        return f"{spaces}: none of {len(trials)} trials has a score"
    chosen = ", ".join(f"{name} {_short(value)}" for name, value in selection.values.items())
    scores = ["none" if trial.score is None else f"{trial.score:.4f}" for trial in trials]
    shown = ", ".join("diverged" if trial.failure else score for trial, score in zip(trials, scores, strict=True))
    images = sum(trial.images or 0 for trial in trials)
    rungs = f": {text}" if (text := selection.describe_rungs()) else ""
    seconds = sum(trial.wall_seconds or 0 for trial in trials)
    return (
        f"{chosen}, selected by trial {selection.winner} of {len(trials)}{rungs}, numbered from 0 ({spaces}). "
        f"mIoU of the trials on {selection.measured_on}: {shown}. "
        f"Total cost: {selection.steps:,} steps, {images:,} images seen, {duration(seconds)}"
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _space(spec: Mapping[str, Any]) -> str:
    if "grid" in spec:
        return ", ".join(map(_short, spec["grid"]))
    kind = "log_uniform" if "log_uniform" in spec else "uniform"
    return f"{' to '.join(map(_short, spec[kind]))} ({kind.replace('_', '-')})"


def _budget(study: StudyRuns) -> list[tuple[str, str]]:
    entries = []
    for method, label in study.plan.methods.items():
        results = [result for key, result in study.results.items() if key.method == method]
        trainings = [result["training"] for result in results if result.get("training")]
        seconds = [t["wall_seconds"] for t in trainings if isinstance(t.get("wall_seconds"), int | float)]
        parts = []
        for key, name in (("steps", "steps"), ("images", "images seen"), ("epochs", "epochs")):
            values = [value for t in trainings if (value := t.get(key)) is not None]
            shown = number_range(round(v, 1) if isinstance(v, float) else v for v in values)
            parts += [f"{shown} {name}"] if values else []
        parts += [f"{duration(sum(seconds) / len(seconds))} of training per run"] if seconds else []
        parts += _usage([result["usage"] for result in results if result.get("usage")])
        if parts:
            entries.append((label, ", ".join(parts)))
    if any((read_config(run).get("training") or {}).get("minutes") for run in study.runs.values()):
        entries.append(("Not reproducible", "the budget is a time; repeated runs end at other steps"))
    total = sum(float((r.get("training") or {}).get("wall_seconds") or 0) for r in study.results.values())
    return [*entries, ("All finished runs", duration(total))] if entries else []


def _usage(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the largest peak memory and the mean energy of runs; only values known for all of them."""

    def known(name: str) -> list[float]:
        values = [one[name] for one in records if one.get(name) is not None]
        return values if len(values) == len(records) else []

    texts = []
    for key, name in (("peak_memory_bytes", "main"), ("peak_device_memory_bytes", "GPU")):
        if values := known(key):
            texts.append(f"at most {max(values) / 2**30:.2f} GiB of {name} memory")
    for key, name in (("processor_joules", "processor"), ("gpu_joules", "GPU")):
        if values := known(key):
            texts.append(f"{sum(values) / len(values) / 1e3:.3g} kJ of {name} energy per run")
    return texts


def _machine(study: StudyRuns) -> list[tuple[str, str]]:
    entries: dict[str, list[str]] = {}
    for key, result in study.results.items():
        for name, value in (study.runs[key].environment() or result.get("environment") or {}).items():
            if isinstance(value, Mapping | list | tuple):
                parts = (f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else map(str, value)
                value = ", ".join(parts)
            texts = entries.setdefault(name, [])
            if name != "schema_version" and value not in (None, "", False) and str(value) not in texts:
                texts.append(str(value))
    return [(name, "; ".join(values)) for name, values in entries.items() if values]


def notes_on_differences(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the notes below the table of differences: unit, tests, and seeds that are left out."""
    tests = sum(one.p_holm is not None for one in comparisons)
    seeds = sorted({one.difference.n for one in comparisons})
    notes = [
        "The unit is the seed: the run of a method is compared with the run of the baseline with the same seed, on the "
        "same images. New images are a separate question."
    ]
    if any(n < 2 for n in seeds):
        notes.append(
            "One seed gives no p value: a single difference has no spread, so the effect of the method cannot be "
            "separated from the effect of the seed. Add seeds and run the study again; finished runs are kept."
        )
    if tests:
        notes += _test_notes(tests, [n for n in seeds if n > 1])
    left_out = [
        f"{pair.dataset}/{pair.method} without " + ", ".join(f"seed {seed} ({why})" for seed, why in missing.items())
        for pair in (one.pairing for one in comparisons)
        if (missing := pair.left_out)
    ]
    only = f"Only seeds that finished in both methods are compared: {'; '.join(left_out)}."
    return [*notes, only] if left_out else notes


def _test_notes(tests: int, seeds: Sequence[int]) -> list[str]:
    family = f"adjusted over the {tests} comparisons of this table" if tests > 1 else "one comparison, not adjusted"
    blunt = [n for n in seeds if least_p(n) >= LEVEL]
    too_few = f" With {blunt[-1]} seeds it is above {LEVEL:g}, so the test is not conclusive." if blunt else ""
    return [
        f"paired t: two-sided test of the differences of the seeds. Holm: p value {family}. Better and worse require "
        f"Holm's p below {LEVEL:g}; not distinguishable does not mean equal.",
        f"sign flip: exact test without assumption of a normal distribution. least: its smallest possible p.{too_few}",
        "P(improvement): probability that the method scores higher than the baseline for another seed, with its "
        f"{100 * (1 - LEVEL):g} % interval, for normal differences.",
        "effect: mean difference in standard deviations of the differences of the seeds (Cohen's d_z with Hedges' "
        "correction), from three seeds on.",
        f"detectable: the smallest true difference that a repetition with as many new seeds finds with probability "
        f"{POWER:g} at the level {LEVEL:g}/{tests} (Holm's first step), including the uncertainty of the standard "
        "deviation.",
        f"equivalent: p value of two one-sided tests of a difference within ± {MARGIN:g}, not adjusted. Only a small "
        "value supports that the methods are equally good.",
    ]
