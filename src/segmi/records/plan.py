"""What a study set out to do, so that a report can name the runs that are missing and keep the study's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from segmi.records.jsonfile import damaged, read_record, write_record
from segmi.records.run import RunFolder, RunKey, is_folder_name

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
        baseline: the method that the others are compared with; the first if it is None or no method of the study.
        treatments: what each method is apart from its network, where several methods are one on several networks.
        networks: the network of each method, in words.
        baselines: what single methods are compared with in the place of the study's baseline.
    """

    study: str
    datasets: Mapping[str, str]
    methods: Mapping[str, str]
    seeds: Sequence[int]
    protocol: str | None = None
    command: str | None = None
    baseline: str | None = None
    treatments: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    baselines: Mapping[str, str] = field(default_factory=dict)

    def grid(self) -> list[RunKey]:
        """Every run of the grid."""
        return [RunKey(self.study, d, m, s) for d in self.datasets for m in self.methods for s in self.seeds]

    def compared_with(self, method: str) -> str | None:
        """The method that another is measured against; None for a baseline, or where its network has none.

        That is the one that it names itself, else the baseline, or, where methods share treatments, the method of the
        baseline's treatment on the same network.

        Example:
            >>> methods = {"ce-unet": "", "mi-unet": "", "ce-fpn": "", "mi-fpn": ""}
            >>> treatments = {name: name[:2] for name in methods}
            >>> networks = {name: name[3:] for name in methods}
            >>> plan = Plan("s", {}, methods, [0], treatments=treatments, networks=networks)
            >>> [plan.compared_with(name) for name in methods]
            [None, 'ce-unet', None, 'ce-fpn']
        """
        if not self.methods:
            return None
        if self.baselines.get(method) in self.methods:
            return self.baselines[method]
        named = self.baseline
        baseline = named if named is not None and named in self.methods else next(iter(self.methods))
        wanted = self.treatment_of(baseline)
        if self.treatment_of(method) == wanted:
            return None
        alike = [
            m for m in self.methods if (self.treatment_of(m), self.network_of(m)) == (wanted, self.network_of(method))
        ]
        return alike[0] if alike else None

    def treatment_of(self, method: str) -> str:
        """What a method is apart from its network: its own name unless the study says that several share one."""
        return self.treatments.get(method, method)

    def network_of(self, method: str) -> str:
        """The network that a method is compared on; empty where the study does not cross methods with networks."""
        return self.networks.get(method, "") if self.crossed else ""

    @property
    def crossed(self) -> bool:
        """Whether some treatment stands on several networks."""
        return len({self.treatment_of(method) for method in self.methods}) < len(self.methods)


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
    known = {name: record[name] for name in Plan.__dataclass_fields__ if name in record}
    if (wrong := _wrong(known)) is not None:
        raise damaged(path, wrong)
    try:
        return Plan(**known)
    except TypeError as error:
        raise damaged(path, str(error)) from error


def _wrong(record: dict[str, Any]) -> str | None:
    """What no plan can hold, since names become paths; None if nothing."""
    for part in ("datasets", "methods", "treatments", "networks"):
        value = record.get(part, {})
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value.values()):
            return f"{part} should be names and titles"
    for name in (*record.get("datasets", {}), *record.get("methods", {})):
        if not is_folder_name(name):
            return f"{name!r} cannot name a folder"
    seeds = record.get("seeds", [])
    if not isinstance(seeds, list) or not all(type(seed) is int and seed >= 0 for seed in seeds):
        return "seeds should be whole numbers"
    return None


def guess_plan(study: str, runs: Sequence[RunFolder]) -> Plan:
    """The smallest grid that holds all runs of a study that left no plan."""
    keys = [run.key for run in runs]
    datasets = {key.dataset: key.dataset for key in keys}
    methods = {key.method: key.method for key in sorted(keys, key=lambda key: key.method)}
    return Plan(study, datasets, methods, sorted({key.seed for key in keys}))
