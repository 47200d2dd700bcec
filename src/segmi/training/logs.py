"""``metrics.csv`` of a run, and what goes to its trackers."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from segmi.errors import Interrupted
from segmi.records.atomic import atomic_write
from segmi.training.trackers import Trackers


class Logs:
    """Context that writes what a run measures.

    Args:
        folder: the run folder; gets ``metrics.csv``, and what the trackers keep there.
        trackers: their names, see `segmi.training.trackers`.
        first_step: the step the run continues from; TensorBoard hides entries of a previous session after it.
        writes: whether this process is the one that writes.
    """

    def __init__(
        self, folder: Path, trackers: Sequence[str] = ("tensorboard",), *, first_step: int = 0, writes: bool = True
    ) -> None:
        self.folder, self.names = folder, trackers
        self.first_step, self.writes = first_step, writes

    def __enter__(self) -> Self:
        if self.writes:
            self._trackers = Trackers(self.names, self.folder, self.first_step)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.writes:
            self._trackers.close(failed=error is not None and not isinstance(error, Interrupted | KeyboardInterrupt))

    def losses(self, step: int, values: Mapping[str, float], learning_rate: float) -> None:
        """The loss and its terms at one step."""
        if not self.writes:
            return
        self._trackers.log({**{f"train/{name}": value for name, value in values.items()}, "lr": learning_rate}, step)

    def row(self, row: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
        """A row of the history: its held-out scores and diagnostics to the trackers, all rows to ``metrics.csv``.

        The file is rewritten whole, so that an interrupted run leaves neither a gap nor a row twice.
        """
        if not self.writes:
            return
        shown = {
            name: value
            for name, value in row.items()
            if name.startswith(("holdout/", "train/")) and not name.startswith("train/loss")
        }
        if shown:
            self._trackers.log(shown, row["step"])
        columns = list(dict.fromkeys(name for entry in history for name in entry))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        atomic_write(self.folder / "metrics.csv", text.getvalue())
