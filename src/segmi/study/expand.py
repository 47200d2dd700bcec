"""A study as its runs: dataset × method × seed, each with the folder that is its key and everything it depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from segmi.errors import UsageError
from segmi.study.schema import Study

SCHEMA_VERSION: Final = 1

NOT_COMPARED: Final = (
    "training.workers", "training.checkpoint_every", "training.log_every", "training.logger", "label", "treatment",
    "baseline",
)  # fmt: skip
"""What may change between two sessions of a run without changing its numbers."""

HELD_OUT: Final = "held-out"
"""Stands for the split that is scored in the configuration of a trial: the images of train that are held out."""


class _Missing:
    def __repr__(self) -> str:
        return "missing"


MISSING: Final = _Missing()
"""Stands for a key that one of two configurations does not have."""


@dataclass(frozen=True)
class Run:
    """One training with its evaluation.

    Args:
        study: the study's name.
        dataset: the dataset's name in the study.
        method: the method's name.
        seed: keys every random choice.
        config: everything the run depends on, as plain data; stored with it and compared on resume.
    """

    study: str
    dataset: str
    method: str
    seed: int
    config: dict[str, Any]

    @property
    def key(self) -> str:
        """``dataset/method/seed0``."""
        return f"{self.dataset}/{self.method}/seed{self.seed}"

    def folder(self, root: Path) -> Path:
        """Where the run lies under the folder of all runs."""
        return root / self.study / self.dataset / self.method / f"seed{self.seed}"


def expand(study: Study, only: Sequence[str] = ()) -> list[Run]:
    """The runs of a study in the order in which they are done.

    Args:
        study: a validated study.
        only: patterns on the key of a run, such as ``camvid/*``; all runs if empty.

    Raises:
        UsageError: a pattern that no run matches.
    """
    runs = [
        Run(study.name, dataset, method, seed, run_config(study, dataset, method, seed))
        for dataset in study.datasets
        for method in study.methods
        for seed in study.seeds
    ]
    for pattern in only:
        if not any(fnmatchcase(run.key, pattern) for run in runs):
            raise UsageError(
                f"no run matches --only {pattern!r}", f"the runs are: {', '.join(run.key for run in runs)}"
            )
    return [run for run in runs if not only or any(fnmatchcase(run.key, pattern) for pattern in only)]


def run_config(study: Study, dataset: str, method: str, seed: int) -> dict[str, Any]:
    """Everything that one run depends on, as plain data."""
    return {
        "schema_version": SCHEMA_VERSION,
        "study": study.name,
        "protocol": study.protocol,
        "dataset": dataset,
        "dataset_options": study.datasets[dataset],
        "method": method,
        "seed": seed,
        **study.methods[method].model_dump(mode="json"),
        "evaluation": study.evaluation,
        "samples": study.samples,
    }


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The dotted keys whose values differ between two configurations, with both values; workers and labels aside.

    Example:
        >>> changed_keys({"seed": 0, "training": {"steps": 5}}, {"seed": 0, "training": {"steps": 6}})
        {'training.steps': (5, 6)}
    """
    before, after = _flat(old), _flat(new)
    keys = [*before, *(key for key in after if key not in before)]
    return {
        key: (before.get(key, MISSING), after.get(key, MISSING))
        for key in keys
        if key not in NOT_COMPARED and before.get(key, MISSING) != after.get(key, MISSING)
    }


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
