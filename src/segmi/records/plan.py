"""What a study set out to do, so that a report can name the runs that are missing and keep the study's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from segmi.records.jsonfile import damaged, read_record, write_record
from segmi.records.run import RunFolder, RunKey

PLAN_NAME: Final = "plan.json"


@dataclass(frozen=True)
class Plan:
    """The grid of a study, in its own order.

    Args:
        study: its name.
        datasets: titles by name.
        methods: labels by name.
        seeds: the seeds of every cell.
        protocol: ``paper`` or ``controlled``.
        command: how to run it again.
    """

    study: str
    datasets: Mapping[str, str]
    methods: Mapping[str, str]
    seeds: Sequence[int]
    protocol: str | None = None
    command: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def grid(self) -> list[RunKey]:
        """Every run of the grid."""
        return [RunKey(self.study, d, m, s) for d in self.datasets for m in self.methods for s in self.seeds]


def write_plan(folder: str | Path, plan: Plan) -> Path:
    """Write the plan into the folder of its study.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "demo"
        >>> _ = write_plan(folder, Plan("demo", {"camvid": "CamVid"}, {"model-1": "Model 1"}, [0]))
        >>> read_plan(folder).grid()[0].dataset
        'camvid'
    """
    return write_record(Path(folder) / PLAN_NAME, asdict(plan))


def read_plan(folder: str | Path) -> Plan | None:
    """The plan in the folder of a study; None if it holds none.

    Raises:
        DataError: it is damaged.
    """
    path = Path(folder) / PLAN_NAME
    record = read_record(path)
    if record is None:
        return None
    try:
        return Plan(**{name: record[name] for name in Plan.__dataclass_fields__ if name in record})
    except TypeError as error:
        raise damaged(path, str(error)) from error


def guess_plan(study: str, runs: Sequence[RunFolder]) -> Plan:
    """The smallest grid that holds all runs of a study that left no plan."""
    keys = [run.key for run in runs]
    datasets = {key.dataset: key.dataset for key in keys}
    methods = {key.method: key.method for key in sorted(keys, key=lambda key: key.method)}
    return Plan(study, datasets, methods, sorted({key.seed for key in keys}))
