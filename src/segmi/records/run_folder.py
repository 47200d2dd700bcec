"""Run folders ``<study>/<dataset>/<method>/seed<k>/``: the path is the key, docs/guides/run-files.md lists them."""

from __future__ import annotations

import csv
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from segmi.errors import DataError, SegmiError, UsageError
from segmi.records.evaluation_counts import ConfusionRecord, DetailsRecord, read_confusion, read_details
from segmi.records.example_images import SamplePaths, find_samples
from segmi.records.serialization import (
    SCHEMA_VERSION,
    damaged,
    read_configuration,
    read_record,
    result_problem,
    write_record,
)

State = Literal["finished", "failed", "unfinished", "missing"]

TRIAL_MARK: Final = "+trial"  # part of the folder name of a trial; method names cannot contain it
_ARTIFACT_FOLDERS = ("confusion", "details", "samples", "bundles")


class RunKey(NamedTuple):
    """Key of a run: the last four parts of its path."""

    study: str
    dataset: str
    method: str
    seed: int


def is_folder_name(name: str) -> bool:
    """Return whether a name can be a part of the path of a run."""
    return bool(re.fullmatch(r"[\w.+-]+", name)) and not name.startswith(".")


def is_reserved_name(name: str) -> bool:
    """Return whether Windows refuses a name for a folder.

    Example:
        >>> is_reserved_name("aux"), is_reserved_name("unet."), is_reserved_name("auxiliary")
        (True, True, False)
    """
    return name.endswith(".") or bool(re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE))


def trial_name(method: str, number: int) -> str:
    """Return the method part of the key of a trial."""
    return f"{method}{TRIAL_MARK}{number}"


def is_trial(method: str) -> bool:
    """Return whether the method part of a key belongs to a trial."""
    return TRIAL_MARK in method


@dataclass(frozen=True)
class RunFolder:
    """One run on disk; raises `UsageError` if the path is not a run folder.

    Example:
        >>> RunFolder.of("runs", RunKey("demo", "street-scenes", "model-1", 0)).key.method
        'model-1'
    """

    path: Path  # ``…/<study>/<dataset>/<method>/seed<k>``; it may be missing

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if len(self.path.absolute().parts) < 5 or not re.fullmatch(r"seed\d+", self.path.name):
            message = f"{self.path} is not the folder of a run, expected …/<study>/<dataset>/<method>/seed<k>"
            raise UsageError(message, "give the folder of the studies, or the folder of one study")

    @classmethod
    def of(cls, root: str | Path, key: RunKey) -> RunFolder:
        """Return the folder of a run under the folder of the studies."""
        for part in key[:3]:
            if not is_folder_name(part):
                expected = "expected letters, digits, '.', '_', '+' and '-'"
                raise UsageError(f"{part!r} cannot name a folder: {expected}", "rename it")
        return cls(Path(root, key.study, key.dataset, key.method, f"seed{key.seed}"))

    @property
    def key(self) -> RunKey:
        """Study, dataset, method, seed."""
        study, dataset, method, seed = self.path.absolute().parts[-4:]
        return RunKey(study, dataset, method, int(seed.removeprefix("seed")))

    def confusion_path(self, network: str, protocol: str) -> Path:
        """Return the path of the per-image confusion counts of a network."""
        return self.path / "confusion" / f"{network}.{protocol}.npz"

    def details_path(self, network: str, protocol: str) -> Path:
        """Return the path of the details of a network."""
        return self.path / "details" / f"{network}.{protocol}.npz"

    def state(self) -> State:
        """Return the state; ``finished`` requires a readable result with all its artifacts."""
        if not self.path.is_dir():
            return "missing"
        with suppress(DataError):
            result = self.result()
            if result is not None and not self.missing_artifacts(result):
                return "finished"
        return "failed" if (self.path / "failure.json").exists() else "unfinished"

    @property
    def finished(self) -> bool:
        """Whether the run is finished."""
        return self.state() == "finished"

    def result(self) -> dict[str, Any] | None:
        """Return the result; None before the run is finished. Raises `DataError` if it is damaged or newer."""
        result = read_record(self.path / "result.json")
        if result is not None and (problem := result_problem(result)) is not None:
            raise damaged(self.path / "result.json", problem)
        return result

    def failure(self) -> dict[str, Any] | None:
        """Return the error of a failed run; None if it did not fail. A damaged record is a failure too."""
        try:
            return read_record(self.path / "failure.json")
        except DataError as error:
            return {"schema_version": SCHEMA_VERSION, "type": "unknown", "message": error.message, "remedy": None}

    def environment(self) -> dict[str, Any]:
        """Return machine and versions; empty if not recorded."""
        with suppress(DataError):
            return read_record(self.path / "environment.json") or {}
        return {}

    def config(self) -> dict[str, Any]:
        """Return the resolved configuration; empty if not recorded. Raises `DataError` as `read_configuration`."""
        return read_configuration(self.path / "config.yaml")

    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows of ``metrics.csv``, numbers as floats, without empty cells; none if the file is missing."""
        path = self.path / "metrics.csv"
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            return [{k: _number(v) for k, v in row.items() if k and v not in ("", None)} for row in rows]
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError, csv.Error, TypeError) as error:
            raise damaged(path, str(error)) from error

    def profile(self) -> dict[str, Any] | None:
        """Return the time by part of the training; None if it was not measured."""
        return read_record(self.path / "profile.json")

    def confusion(self, network: str, protocol: str) -> ConfusionRecord:
        """Return the confusion counts of a network under an evaluation protocol; see `read_confusion`."""
        return read_confusion(self.confusion_path(network, protocol))

    def details(self, network: str, protocol: str) -> DetailsRecord:
        """Return the details of a network under an evaluation protocol; see `read_details`."""
        return read_details(self.details_path(network, protocol))

    def samples(self, networks: Sequence[str]) -> list[SamplePaths]:
        """Return the paths of the example images."""
        return find_samples(self.path / "samples", networks)

    def missing_artifacts(self, result: Mapping[str, Any]) -> list[str]:
        """Return the artifacts of a result that are missing or have another size, relative to the folder."""
        # Sizes detect truncated files without reading them.
        sizes = result.get("artifacts")
        if isinstance(sizes, Mapping):
            return [name for name, size in sizes.items() if _size(self.path / name) != size]
        networks = result["networks"].items()
        expected = [self.confusion_path(name, protocol) for name, one in networks for protocol in one.get("scores", {})]
        return [str(path.relative_to(self.path)) for path in expected if not path.is_file()]

    def write_result(self, result: Mapping[str, Any]) -> Path:
        """Write the result, which makes the run finished, and remove the failure of an earlier attempt.

        The result lists the sizes of all files in the artifact folders; NaN is stored as null.
        """
        files = (file for folder in _ARTIFACT_FOLDERS for file in sorted((self.path / folder).rglob("*")))
        artifacts = {f.relative_to(self.path).as_posix(): f.stat().st_size for f in files if f.is_file()}
        path = write_record(self.path / "result.json", {**result, "artifacts": artifacts})
        (self.path / "failure.json").unlink(missing_ok=True)
        return path

    def write_environment(self, environment: Mapping[str, Any]) -> Path:
        """Write machine and versions."""
        return write_record(self.path / "environment.json", environment)

    def write_failure(self, error: BaseException) -> Path:
        """Write the error of a failed run, with its traceback."""
        message, remedy = (error.message, error.remedy) if isinstance(error, SegmiError) else (str(error), None)
        trace, code = "".join(traceback.format_exception(error)), getattr(error, "exit_code", 4)
        record = {"type": type(error).__name__, "message": message, "remedy": remedy, "exit_code": code}
        return write_record(self.path / "failure.json", {**record, "traceback": trace})

    def crashes(self) -> list[dict[str, Any]]:
        """Return time and reason of every crash of the process of the run; empty if the record is damaged."""
        with suppress(DataError):
            entries = (read_record(self.path / "crashes.json") or {}).get("crashes")
            return entries if isinstance(entries, list) else []
        return []

    def record_crash(self, reason: str) -> Path:
        """Add a crash of the process of the run to ``crashes.json``, which is kept when the run finishes."""
        self.path.mkdir(parents=True, exist_ok=True)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return write_record(self.path / "crashes.json", {"crashes": [*self.crashes(), {"time": now, "reason": reason}]})


def reported_score(result: Mapping[str, Any], score: str) -> Any:
    """Return a score of the reported network under the protocol of Table 1; None if it is missing."""
    entry = result["networks"].get(result.get("reported_network")) or {}
    return (entry.get("scores", {}).get(result.get("protocol")) or {}).get(score)


def find_runs(root: str | Path, *, trials: bool = False) -> list[RunFolder]:
    """Return all run folders under a folder (of studies, one study, a dataset or a method), sorted by key.

    Trials of searches are excluded unless ``trials`` is set; a `Selection` describes them.
    Raises `UsageError` if the folder does not exist.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "demo/street-scenes/model-1/seed0").mkdir(parents=True)
        >>> [tuple(run.key) for run in find_runs(root)] == [tuple(run.key) for run in find_runs(root / "demo")]
        True
    """
    root = Path(root)
    if not root.is_dir():
        raise UsageError(f"no folder {root}", "give the folder with the runs of a study (by default runs/)")
    runs = (RunFolder(path) for path in _seed_folders(root, depth=4))
    return sorted((run for run in runs if trials or not is_trial(run.key.method)), key=lambda run: run.key)


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
