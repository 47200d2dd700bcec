"""The folder of a run: ``<study>/<dataset>/<method>/seed<k>/``, its path being its key; readers and writers.

==================================  ===================================================================
``config.yaml``                     the resolved configuration of this run
``environment.json``                machine, versions, thread count
``origin.json``                     code and images that it was begun with
``metrics.csv``                     one row per validation: step, train/…, holdout/…
``number_format.json``              in which numbers and memory layout the run computes, and why
``profile.json``                    what took how long, where that was asked for
``usage.json``                      time, peak of memory and energy of every session, as far as they can be read
``trackers.json``                   under which names other trackers keep the run
``failure.json``                    why the run failed, if it did
``losses.json``                     how often the process of the run was lost, and how; only if it was
``result.json``                     what came out; written last, and what makes the run finished
``confusion/<network>.<protocol>.npz``  per-image confusion counts
``details/<network>.<protocol>.npz``    sums from which reliability, boundary IoU and IoU by object size are read
``samples/<image>.<layer>.png``   images for the figures; layers: image, truth, each network, how sure it is
``bundles/<network>/``               the trained networks
``checkpoints/``, ``tensorboard/``  what training keeps for itself
==================================  ===================================================================
"""

from __future__ import annotations

import csv
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from segmi.errors import DataError, SegmiError, UsageError
from segmi.records.confusion import ConfusionRecord, read_confusion
from segmi.records.damage import what_is_wrong
from segmi.records.details import DetailsRecord, read_details
from segmi.records.jsonfile import SCHEMA_VERSION, damaged, read_record, write_record
from segmi.records.samples import SamplePaths, find_samples
from segmi.records.selection import is_trial

State = Literal["finished", "failed", "unfinished", "missing"]

_ARTIFACT_FOLDERS = ("confusion", "details", "samples", "bundles")


class RunKey(NamedTuple):
    """What tells a run from every other: the last four parts of its path."""

    study: str
    dataset: str
    method: str
    seed: int


def is_folder_name(name: str) -> bool:
    """Whether a name can be a part of a run's path.

    >>> is_folder_name("camvid"), is_folder_name("../camvid")
    (True, False)
    """
    return bool(re.fullmatch(r"[\w.+-]+", name)) and not name.startswith(".")


@dataclass(frozen=True)
class RunFolder:
    """One run on disk.

    Args:
        path: ``…/<study>/<dataset>/<method>/seed<k>``; need not exist.

    Raises:
        UsageError: the path is none of a run.

    Example:
        >>> RunFolder.of("runs", RunKey("demo", "street-scenes", "model-1", 0)).key.method
        'model-1'
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if len(self.path.absolute().parts) < 5 or not re.fullmatch(r"seed\d+", self.path.name):
            raise UsageError(
                f"{self.path} is not the folder of a run, expected …/<study>/<dataset>/<method>/seed<k>",
                "give the folder that holds the studies, or one study's folder",
            )

    @classmethod
    def of(cls, root: str | Path, key: RunKey) -> RunFolder:
        """The folder of a run under the folder that holds the studies."""
        for part in key[:3]:
            if not is_folder_name(part):
                raise UsageError(
                    f"{part!r} cannot name a folder: expected letters, digits, '.', '_', '+' and '-'", "rename it"
                )
        return cls(Path(root, key.study, key.dataset, key.method, f"seed{key.seed}"))

    @property
    def key(self) -> RunKey:
        """Study, dataset, method, seed."""
        study, dataset, method, seed = self.path.absolute().parts[-4:]
        return RunKey(study, dataset, method, int(seed.removeprefix("seed")))

    def confusion_path(self, network: str, protocol: str) -> Path:
        """Where a network's per-image confusion counts lie."""
        return self.path / "confusion" / f"{network}.{protocol}.npz"

    def state(self) -> State:
        """``finished`` if the result is readable and its artifacts are there; a failure counts until then.

        A result that is damaged or whose artifacts are missing counts as unfinished: the run is to be taken up again.
        """
        if not self.path.is_dir():
            return "missing"
        try:
            result = self.result()
        except DataError:
            result = None
        if result is not None and not self.missing_artifacts(result):
            return "finished"
        return "failed" if (self.path / "failure.json").exists() else "unfinished"

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.state() == "finished"

    def result(self) -> dict[str, Any] | None:
        """The result; None if there is none yet.

        Raises:
            DataError: it is damaged, or written by a newer segmi.
        """
        result = read_record(self.path / "result.json")
        if result is not None and (wrong := what_is_wrong(result)) is not None:
            raise damaged(self.path / "result.json", wrong)
        return result

    def failure(self) -> dict[str, Any] | None:
        """Why the run failed; None if it did not. A damaged record is still a failure."""
        try:
            return read_record(self.path / "failure.json")
        except DataError as error:
            return {"schema_version": SCHEMA_VERSION, "type": "unknown", "message": error.message, "remedy": None}

    def environment(self) -> dict[str, Any]:
        """Machine and versions; empty if not recorded."""
        try:
            return read_record(self.path / "environment.json") or {}
        except DataError:
            return {}

    def config(self) -> dict[str, Any]:
        """The resolved configuration; empty if not recorded.

        Raises:
            DataError: it is no YAML mapping, or written by a newer segmi.
        """
        from segmi.records.configuration import read_configuration

        return read_configuration(self.path / "config.yaml")

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.csv``: numbers as floats, empty cells left out; no rows if there is no file.

        Raises:
            DataError: it is no table.
        """
        path = self.path / "metrics.csv"
        try:
            with path.open(newline="", encoding="utf-8") as file:
                return [
                    {k: _number(v) for k, v in row.items() if k and v not in ("", None)} for row in csv.DictReader(file)
                ]
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError, csv.Error, TypeError) as error:
            raise damaged(path, str(error)) from error

    def profile(self) -> dict[str, Any] | None:
        """What took how long; None if it was not measured.

        Raises:
            DataError: it is damaged.
        """
        return read_record(self.path / "profile.json")

    def confusion(self, network: str, protocol: str) -> ConfusionRecord:
        """Per-image confusion counts of a network under an evaluation protocol.

        Raises:
            DataError: missing or damaged.
        """
        return read_confusion(self.confusion_path(network, protocol))

    def details_path(self, network: str, protocol: str) -> Path:
        """Where the details of a network's predictions lie, where they were asked for."""
        return self.path / "details" / f"{network}.{protocol}.npz"

    def details(self, network: str, protocol: str) -> DetailsRecord:
        """The details of a network's predictions under an evaluation protocol.

        Raises:
            DataError: missing, as they are in runs that were scored without them, or damaged.
        """
        return read_details(self.details_path(network, protocol))

    def samples(self, networks: Sequence[str]) -> list[SamplePaths]:
        """The images kept for the figures."""
        return find_samples(self.path / "samples", networks)

    def missing_artifacts(self, result: Mapping[str, Any]) -> list[str]:
        """What the result promises and the folder does not hold (or not at its size), relative to the folder."""
        sizes = result.get("artifacts")
        if isinstance(sizes, Mapping):
            return [name for name, size in sizes.items() if _size(self.path / name) != size]
        promised = [
            self.confusion_path(network, protocol)
            for network, entry in result["networks"].items()
            for protocol in entry.get("scores", {})
        ]
        return [str(path.relative_to(self.path)) for path in promised if not path.is_file()]

    def write_result(self, result: Mapping[str, Any]) -> Path:
        """Write the result, last of all; what lies in the folders of artifacts becomes part of what it promises.

        NaN becomes null. A failure of an earlier attempt is removed.
        """
        artifacts = {
            file.relative_to(self.path).as_posix(): file.stat().st_size
            for folder in _ARTIFACT_FOLDERS
            for file in sorted((self.path / folder).rglob("*"))
            if file.is_file()
        }
        path = write_record(self.path / "result.json", {**result, "artifacts": artifacts})
        (self.path / "failure.json").unlink(missing_ok=True)
        return path

    def write_environment(self, environment: Mapping[str, Any]) -> Path:
        """Write machine and versions."""
        return write_record(self.path / "environment.json", environment)

    def write_failure(self, error: BaseException) -> Path:
        """Write why the run failed, with its traceback."""
        record = {
            "type": type(error).__name__,
            "message": error.message if isinstance(error, SegmiError) else str(error),
            "remedy": error.remedy if isinstance(error, SegmiError) else None,
            "exit_code": getattr(error, "exit_code", 4),
            "traceback": "".join(traceback.format_exception(error)),
        }
        return write_record(self.path / "failure.json", record)

    def losses(self) -> list[dict[str, Any]]:
        """When and how the process of the run was lost, one entry for each time; a damaged record is none."""
        try:
            found = (read_record(self.path / "losses.json") or {}).get("losses")
        except DataError:
            return []
        return found if isinstance(found, list) else []

    def write_loss(self, reason: str) -> Path:
        """Add to the record of losses, which outlives failures and results."""
        self.path.mkdir(parents=True, exist_ok=True)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return write_record(self.path / "losses.json", {"losses": [*self.losses(), {"time": now, "reason": reason}]})


def find_runs(root: str | Path) -> list[RunFolder]:
    """All run folders under the folder of the studies, one study's folder, or anything between, sorted by key.

    The trials of searches are none of them: they are told of by the `Selection` that they led to.

    Raises:
        UsageError: the folder does not exist.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "demo/street-scenes/model-1/seed0").mkdir(parents=True)
        >>> [tuple(run.key) for run in find_runs(root)] == [tuple(run.key) for run in find_runs(root / "demo")]
        True
    """
    root = Path(root)
    if not root.is_dir():
        raise UsageError(f"no folder {root}", "give the folder that a study wrote its runs into (by default runs/)")
    runs = (RunFolder(path) for path in _seed_folders(root, depth=4))
    return sorted((run for run in runs if not is_trial(run.key.method)), key=lambda run: run.key)


def _seed_folders(folder: Path, depth: int) -> Iterator[Path]:
    if re.fullmatch(r"seed\d+", folder.name) and len(folder.absolute().parts) > 4:
        yield folder
    elif depth:
        for child in folder.iterdir():
            if child.is_dir() and not child.name.startswith("."):
                yield from _seed_folders(child, depth - 1)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
