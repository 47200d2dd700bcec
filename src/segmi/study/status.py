"""Where the runs of a study stand, read from their folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from segmi.errors import DataError
from segmi.records import RunFolder, lock_holder
from segmi.records.trial_records import TRIAL_MARK, is_trial
from segmi.study.agenda import Agenda
from segmi.study.expand import Run, expand
from segmi.study.schema import Study

State: TypeAlias = Literal["finished", "running", "failed", "diverged", "interrupted", "pending"]


@dataclass(frozen=True)
class RunStatus:
    """One line of ``segmi study status``.

    Args:
        run: its key, ``dataset/method/seed0``, or ``dataset/method+trial0/seed1000`` of a trial.
        folder: where it lies.
        state: ``finished``; ``running``; ``failed``, or ``diverged`` if its loss is no number any more;
            ``interrupted``, to be continued; ``pending``, not begun.
        step: the last step in ``metrics.csv``; None before the first row.
        score: mIoU of the reported network when finished; of a trial on held-out images.
        detail: who is running it, or the last line of the traceback; how often its process was lost.
        pid: the process that is running it.
        host: the machine that it is running on.
        seconds: for how long, by the clocks of that machine and this one.
        losses: how often its process was lost.
    """

    run: str
    folder: str
    state: State
    step: int | None = None
    score: float | None = None
    detail: str = ""
    pid: int | None = None
    host: str | None = None
    seconds: float | None = None
    losses: int = 0


def study_status(study: Study, root: Path) -> list[RunStatus]:
    """The state of every trial and every run of a study under the folder of all runs."""
    return [run_status(run, RunFolder(run.folder(root))) for run in Agenda(study, expand(study), root).all()]


def to_retry(rows: Sequence[RunStatus], wanted: Sequence[Run]) -> list[str]:
    """The keys of the wanted runs that failed or diverged, or that wait for a trial that failed.

    A trial that diverged has told what it was to tell.
    """
    failed = {row.run for row in rows if row.state in ("failed", "diverged")}
    awaited = {(d, m.partition(TRIAL_MARK)[0]) for d, m, _ in (r.run.split("/") for r in rows if r.state == "failed")
               if is_trial(m)}  # fmt: skip
    return [run.key for run in wanted if run.key in failed or (run.dataset, run.method) in awaited]


def run_status(run: Run, folder: RunFolder) -> RunStatus:
    """The state of one run."""
    on_disk = folder.state()
    losses = len(folder.crashes()) if on_disk != "missing" else 0
    common: dict[str, Any] = {"run": run.key, "folder": str(folder.path), "step": _step(folder), "losses": losses}
    lost = f"its process was lost {losses} time{'s' if losses > 1 else ''}" if losses else ""
    if on_disk == "finished":
        return RunStatus(state="finished", score=_score(folder.result() or {}), detail=lost, **common)
    holder = lock_holder(folder.path) if on_disk != "missing" else None
    if holder is not None:
        return _running(holder, lost, common)
    if on_disk == "failed":
        failure = folder.failure() or {}
        state: State = "diverged" if failure.get("type") == "Diverged" else "failed"
        return RunStatus(state=state, detail=_joined(last_line(failure), lost), **common)
    return RunStatus(state="pending" if on_disk == "missing" else "interrupted", detail=lost, **common)


def _running(holder: dict[str, Any], lost: str, common: dict[str, Any]) -> RunStatus:
    pid, host, seconds = holder.get("pid"), holder.get("host"), _age(holder.get("started"))
    detail = _joined(f"process {pid} on {host}", lost)
    return RunStatus(state="running", detail=detail, pid=pid, host=host, seconds=seconds, **common)


def last_line(failure: dict[str, Any]) -> str:
    """What the last line of a failure's traceback says: its kind and its message, without the remedy.

    Example:
        >>> last_line({"type": "RunError", "message": "out of memory at step 7"})
        'RunError: out of memory at step 7'
    """
    message = str(failure.get("message") or "").strip().splitlines()
    kind = str(failure.get("type") or "failure")
    return f"{kind}: {message[0]}" if message else kind


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _age(started: Any) -> float | None:
    """Seconds since a time in ISO 8601; none of a time that cannot be read, 0 of one that is yet to come."""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds())
    except (TypeError, ValueError):
        return None


def _score(result: dict[str, Any]) -> float | None:
    try:
        return result["networks"][result["reported_network"]]["scores"][result["protocol"]]["mIoU"]
    except (KeyError, TypeError):
        return None


def _step(folder: RunFolder) -> int | None:
    try:
        rows = folder.metrics()
        return int(rows[-1]["step"]) if rows else None
    except (DataError, KeyError, ValueError, OverflowError, TypeError):
        return None
