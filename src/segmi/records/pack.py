"""Small form of finished runs, to keep and to move: everything that a report needs, without weights and images.

A packed run is a run folder with fewer files, so that reports, the status and further runs read it as any other.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from segmi.errors import DataError, Diverged, UsageError
from segmi.records.atomic import atomic_folder, atomic_write
from segmi.records.run_folder import TRIAL_MARK, RunFolder, find_runs
from segmi.records.serialization import write_record
from segmi.records.study_records import read_plan, write_plan

_FILES: Final = (
    "config.yaml", "environment.json", "origin.json", "precision.json", "metrics.csv", "usage.json", "crashes.json",
)  # fmt: skip
_FOLDERS: Final = ("confusion", "details")


class PackedRun(NamedTuple):
    """A run that was packed."""

    folder: Path
    size: int  # bytes


def pack_runs(runs: str | Path, output: str | Path) -> list[PackedRun]:
    """Copy the small form of all finished runs of a study, or of several, with the trials of searches that go on.

    ``selection.json`` replaces the trials of a finished search. Of a diverged run, the configuration and the error are
    copied, so that it is reported as diverged. Runs in ``output`` that are not in ``runs`` are kept, so that runs of
    several machines fit into one folder.

    Args:
        runs: the folder of one study, or of several.
        output: the folder of the packed studies, outside ``runs``.

    Returns: the packed runs.

    Raises:
        UsageError: no finished run, or the output is inside the runs.
        EnvironmentProblem: the output cannot be written.
    """
    source, target = Path(runs).absolute(), Path(output).absolute()
    if target == source or source in target.parents:
        raise UsageError(f"{output} is inside {runs}", "give another folder with --output")
    found = [run for run in find_runs(source, trials=True) if not _is_replaced(run)]
    folders = [run for run in found if run.finished]
    if not folders:
        raise UsageError(f"no finished run in {runs}", "run the study first: segmi study run FILE")
    packed = [_pack(run, RunFolder.of(target, run.key)) for run in folders]
    for run in found:
        if run.state() == "failed" and (failure := run.failure() or {}).get("type") == Diverged.__name__:
            _pack_failure(run, failure, RunFolder.of(target, run.key))
    for study in dict.fromkeys(run.path.parents[2] for run in folders):
        if (plan := read_plan(study)) is not None:
            words = [Path(word).name if Path(word).is_absolute() else word for word in (plan.command or "").split(" ")]
            write_plan(target / study.name, replace(plan, command=" ".join(words) or None))  # no paths of one machine
        for path in study.glob("*/*/selection.json"):
            atomic_write(target / study.name / path.relative_to(study), path.read_bytes())
    for run in find_runs(target, trials=True):
        if _is_replaced(run):
            shutil.rmtree(run.path.parent)
    return packed


def require_weights(run: Path) -> None:
    """Check that a finished run still has its weights.

    Raises:
        DataError: it is a packed run.
    """
    result = RunFolder(run).result()
    if result is not None and result.get("packed"):
        raise DataError(
            f"{run} is a packed run, which has no weights",
            f"run it here: segmi study run FILE --only '{'/'.join(run.parts[-3:])}' --overwrite",
        )


def _is_replaced(run: RunFolder) -> bool:
    """Return whether a run is a trial of a search that has ended."""
    method, mark, _ = run.key.method.partition(TRIAL_MARK)
    return bool(mark) and (run.path.parents[1] / method / "selection.json").exists()


def _pack(run: RunFolder, target: RunFolder) -> PackedRun:
    result: dict[str, Any] = run.result() or {}
    with atomic_folder(target.path, replace=True) as folder:
        for path in _packed_files(run.path):
            inside = folder / path.relative_to(run.path)
            inside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, inside)
        artifacts = result.get("artifacts") or {}
        kept = {name: size for name, size in artifacts.items() if name.partition("/")[0] in _FOLDERS}
        # Written last, as in a run: it marks the run as finished.
        write_record(folder / "result.json", {**result, "artifacts": kept, "packed": True}, indent=None)
    return PackedRun(target.path, sum(path.stat().st_size for path in target.path.rglob("*") if path.is_file()))


def _pack_failure(run: RunFolder, failure: dict[str, Any], target: RunFolder) -> None:
    if not target.finished:
        target.path.mkdir(parents=True, exist_ok=True)
        for name in (name for name in _FILES if (run.path / name).is_file()):
            atomic_write(target.path / name, (run.path / name).read_bytes())
        # The traceback has the paths of one machine.
        write_record(target.path / "failure.json", {**failure, "traceback": ""})


def _packed_files(run: Path) -> Iterator[Path]:
    yield from (run / name for name in _FILES if (run / name).is_file())
    for name in _FOLDERS:
        yield from (Path(folder, file) for folder, _, files in os.walk(run / name) for file in files)
