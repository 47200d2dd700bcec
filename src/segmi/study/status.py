"""State of the runs of a study, read from their folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from segmi.errors import DataError
from segmi.records import RunFolder, lock_holder, reported_score
from segmi.records.run_folder import TRIAL_MARK, is_trial
from segmi.study.run_config import Run, expand
from segmi.study.run_queue import RunQueue
from segmi.study.schema import Study

# "diverged": the loss is NaN or infinite. "interrupted": continues with the next command. "pending": not started.
State: TypeAlias = Literal["finished", "running", "failed", "diverged", "interrupted", "pending"]


@dataclass(frozen=True)
class RunStatus:
    """One line of ``segmi study status``."""

    run: str  # key, ``dataset/method/seed0``, or ``dataset/method+trial0/seed1000`` of a trial
    folder: str
    state: State
    step: int | None = None  # last step in ``metrics.csv``
    score: float | None = None  # mIoU of the reported network of a finished run; of a trial, on held-out images
    detail: str = ""  # the process of a running run, the error of a failed one, and the number of crashes
    pid: int | None = None  # process id of a running run
    host: str | None = None
    seconds: float | None = None  # time since it started, by the clocks of both machines
    crashes: int = 0  # of its process


def study_status(study: Study, root: Path) -> list[RunStatus]:
    """Return the state of every trial and every run of a study under the folder of all runs."""
    return [run_status(run, RunFolder(run.folder(root))) for run in RunQueue(study, expand(study), root).all()]


def to_retry(rows: Sequence[RunStatus], wanted: Sequence[Run]) -> list[str]:
    """Return the keys of the wanted runs that failed or diverged, or that wait for a failed trial."""
    # A diverged trial has its result, and is not done again.
    failed = {row.run for row in rows if row.state in ("failed", "diverged")}
    failed_keys = [row.run.split("/") for row in rows if row.state == "failed"]
    awaited = {(dataset, method.partition(TRIAL_MARK)[0]) for dataset, method, _ in failed_keys if is_trial(method)}
    return [run.key for run in wanted if run.key in failed or (run.dataset, run.method) in awaited]


def run_status(run: Run, folder: RunFolder) -> RunStatus:
    """Return the state of one run."""
    on_disk = folder.state()
    crashes = len(folder.crashes()) if on_disk != "missing" else 0
    common: dict[str, Any] = {"run": run.key, "folder": str(folder.path), "step": _step(folder), "crashes": crashes}
    crashed = f"its process crashed {crashes} time{'s' if crashes > 1 else ''}" if crashes else ""
    if on_disk == "finished":
        score = reported_score(folder.result() or {"networks": {}}, "mIoU")
        return RunStatus(state="finished", score=score, detail=crashed, **common)
    holder = lock_holder(folder.path) if on_disk != "missing" else None
    if holder is not None:
        pid, host = holder.get("pid"), holder.get("host")
        detail, seconds = "; ".join(filter(None, (f"process {pid} on {host}", crashed))), _age(holder.get("started"))
        return RunStatus(state="running", detail=detail, pid=pid, host=host, seconds=seconds, **common)
    if on_disk == "failed":
        failure = folder.failure() or {}
        state: State = "diverged" if failure.get("type") == "Diverged" else "failed"
        return RunStatus(state=state, detail="; ".join(filter(None, (last_line(failure), crashed))), **common)
    return RunStatus(state="pending" if on_disk == "missing" else "interrupted", detail=crashed, **common)


def last_line(failure: dict[str, Any]) -> str:
    """Return type and message of a failure, as in the last line of its traceback."""
    message = str(failure.get("message") or "").strip().splitlines()
    kind = str(failure.get("type") or "failure")
    return f"{kind}: {message[0]}" if message else kind


def _age(started: Any) -> float | None:
    """Return the seconds since an ISO 8601 time; None if it cannot be read, 0 if it is in the future."""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds())
    except (TypeError, ValueError):
        return None


def _step(folder: RunFolder) -> int | None:
    try:
        rows = folder.metrics()
        return int(rows[-1]["step"]) if rows else None
    except (DataError, KeyError, ValueError, OverflowError, TypeError):
        return None
