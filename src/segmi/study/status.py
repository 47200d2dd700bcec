"""Where the runs of a study stand, read from their folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmi.errors import DataError
from segmi.records import RunFolder, lock_holder
from segmi.study.expand import Run, expand
from segmi.study.schema import Study


@dataclass(frozen=True)
class RunStatus:
    """One line of ``segmi study status``.

    Args:
        run: its key, ``dataset/method/seed0``.
        folder: where it lies.
        state: finished, running, failed, unfinished or missing.
        step: the last update in ``metrics.csv``; None before the first row.
        score: mIoU of the reported member when finished.
        detail: the failure, or who is running it.
    """

    run: str
    folder: str
    state: str
    step: int | None = None
    score: float | None = None
    detail: str = ""


def study_status(study: Study, root: Path) -> list[RunStatus]:
    """The state of every run of a study under the folder of all runs."""
    return [_status(run, RunFolder(run.folder(root))) for run in expand(study)]


def _status(run: Run, folder: RunFolder) -> RunStatus:
    state: str = folder.state()
    holder = lock_holder(folder.path) if state != "missing" else None
    detail, score = "", None
    if holder is not None and state != "finished":
        state, detail = "running", f"process {holder.get('pid')} on {holder.get('host')}"
    elif state == "failed":
        detail = str((folder.failure() or {}).get("message", ""))
    elif state == "finished":
        score = _score(folder.result() or {})
    return RunStatus(run.key, str(folder.path), state, _step(folder), score, detail)


def _score(result: dict[str, Any]) -> float | None:
    try:
        return result["members"][result["reported_member"]]["scores"][result["protocol"]]["mIoU"]
    except KeyError:
        return None


def _step(folder: RunFolder) -> int | None:
    try:
        rows = folder.metrics()
        return int(rows[-1]["step"]) if rows else None
    except (DataError, KeyError, ValueError):
        return None
