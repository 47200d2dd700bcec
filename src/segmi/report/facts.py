"""How a study was made, in words: protocol, searches, budgets, machine; and what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segmi.report.describe import duration, number_range, read_config
from segmi.report.protocol import protocol_in_words
from segmi.report.searches import describe_searches
from segmi.statistics import StudyRuns


def facts(study: StudyRuns) -> list[tuple[str, list[tuple[str, str]]]]:
    """Protocol, budgets and machine in words: sections of (name, value)."""
    sections = [
        ("Protocol", protocol_in_words(study)),
        ("Settings that were searched for", describe_searches(study)),
        ("Budget", _budget(study)),
        ("Machine and versions", _machine(study)),
    ]
    return [(title, entries) for title, entries in sections if entries]


def failures(study: StudyRuns) -> list[tuple[str, str, str]]:
    """(run, message, traceback) of every failed run."""
    found = []
    for key, state in study.states.items():
        record = study.runs[key].failure() if state == "failed" else None
        if record is not None:
            message = f"{record.get('type', 'error')}: {record.get('message', '')}"
            remedy = f" Fix: {record['remedy']}." if record.get("remedy") else ""
            run = f"{key.dataset}/{key.method}/seed{key.seed}"
            found.append((run, message + remedy, str(record.get("traceback") or "")))
    return found


def _budget(study: StudyRuns) -> list[tuple[str, str]]:
    entries = []
    for method, label in study.plan.methods.items():
        found = [r["training"] for k, r in study.results.items() if k.method == method and r.get("training")]
        seconds = [t["wall_seconds"] for t in found if isinstance(t.get("wall_seconds"), int | float)]
        parts = [
            f"{number_range(_tenths(t.get(key)) for t in found)} {name}"
            for key, name in (("steps", "steps"), ("images", "images seen"), ("epochs", "epochs"))
            if any(t.get(key) is not None for t in found)
        ]
        parts += [f"{duration(sum(seconds) / len(seconds))} of training per run"] if seconds else []
        parts += _usage([r["usage"] for k, r in study.results.items() if k.method == method and r.get("usage")])
        if parts:
            entries.append((label, ", ".join(parts)))
    if any((read_config(run).get("training") or {}).get("minutes") for run in study.runs.values()):
        entries.append(("Not reproducible", "the budget is a time; repeated, these runs end at other steps"))
    total = sum(float((r.get("training") or {}).get("wall_seconds") or 0) for r in study.results.values())
    return [*entries, ("All finished runs together", duration(total))] if entries else []


def _tenths(value: Any) -> Any:
    return round(value, 1) if isinstance(value, float) else value


def _usage(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The largest peak of memory and the mean energy of runs; nothing of what was not read for all of them."""

    def known(name: str) -> list[float]:
        values = [one[name] for one in found if one.get(name) is not None]
        return values if len(values) == len(found) else []

    words = [
        f"at most {max(values) / 2**30:.2f} GiB of {name} memory"
        for key, name in (("peak_memory_bytes", "main"), ("peak_device_memory_bytes", "GPU"))
        if (values := known(key))
    ]
    return words + [
        f"{sum(values) / len(values) / 1e3:.3g} kJ per run by the counters of the {name}"
        for key, name in (("processor_joules", "processor"), ("gpu_joules", "GPU"))
        if (values := known(key))
    ]


def _machine(study: StudyRuns) -> list[tuple[str, str]]:
    entries: dict[str, list[str]] = {}
    for key, result in study.results.items():
        environment = study.runs[key].environment() or result.get("environment") or {}
        for name, value in _flat(environment):
            if (
                name != "schema_version"
                and value not in (None, "", False)
                and str(value) not in entries.setdefault(name, [])
            ):
                entries[name].append(str(value))
    return [(name, "; ".join(values)) for name, values in entries.items() if values]


def _flat(data: Mapping[str, Any]) -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in data.items():
        if isinstance(value, Mapping):
            flat.append((name, ", ".join(f"{k} {v}" for k, v in value.items())))
        elif isinstance(value, list | tuple):
            flat.append((name, ", ".join(map(str, value))))
        else:
            flat.append((name, value))
    return flat
