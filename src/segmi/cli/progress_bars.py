"""Progress on stderr of a study or of many files: bars on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from segmi.cli.output import say, settings

if TYPE_CHECKING:
    from segmi.study.events import StudyEvent

SECONDS_BETWEEN_LINES = 10.0
SHOWN = 8  # the largest number of runs named in one line


def duration(seconds: float | None) -> str:
    """Return a duration in words.

    Example:
        >>> duration(42), duration(150), duration(7300), duration(None)
        ('42 s', '2 min 30 s', '2 h 1 min', '…')
    """
    if seconds is None:
        return "…"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def bar(done: int, of: int, width: int = 24) -> str:
    """Return a text bar.

    Example:
        >>> bar(1, 4, width=8), bar(3, 3, width=8)
        ('━━┄┄┄┄┄┄', '━━━━━━━━')
    """
    full = width * done // of if of else width
    return "━" * full + "┄" * (width - full)


def counting(verb: str = "read", unit: str = "images") -> Any:
    """Return a callback for (done, in total) that shows the progress on stderr, by default of images."""
    began = last = time.monotonic()

    def listener(done: int, of: int) -> None:
        nonlocal last
        now, terminal = time.monotonic(), sys.stderr.isatty()
        # 5 times per second on a terminal; the last image is always shown
        if settings.quiet or (now - last <= (0.2 if terminal else SECONDS_BETWEEN_LINES) and done != of):
            return
        last = now
        if not terminal:
            say(f"{verb} {done}/{of} {unit}")
            return
        left = f"{duration((now - began) / done * (of - done))} left" if done != of else f"in {duration(now - began)}"
        # \033[K clears the rest of a longer previous line
        print(f"\r{verb} {bar(done, of)} {done}/{of} {unit}, {left}\033[K", end="\n" if done == of else "",
              file=sys.stderr, flush=True)  # fmt: skip

    return listener


def _measurements(event: StudyEvent) -> list[str]:
    """Return the loss and the speed of an event of training, if it has them."""
    loss = [f"loss {event.loss:.4f}"] if event.loss is not None else []
    return loss + ([f"{event.rate:.1f} images/s"] if event.rate else [])


def describe_event(event: StudyEvent) -> str:
    """Return an event as one line."""
    head = f"{_head(event.ended, event.total)}{event.run.key}"
    if event.kind == "train":
        left = [f"{duration(event.run_seconds_left)} left"] if event.run_seconds_left is not None else []
        known = event.total > 1 and event.study_seconds_left is not None
        total = f" ({duration(event.study_seconds_left)} for all)" if known else ""
        # with a budget in minutes, the number of steps is unknown before the first one
        step = f"step {event.done}/{event.of}" if event.of else "first step"
        return ", ".join([f"{head}: {step}", *_measurements(event), *left]) + total
    words = {
        "note": event.text,
        "skipped": "already finished",
        "started": f"starts ({event.text})" if event.text else "starts",
        "compile": event.text,
        "finished": "finished",
        "failed": f"FAILED: {event.text}",
        "busy": f"skipped: {event.text}",
        "interrupted": "stopped after writing a checkpoint",
    }
    return f"{head}: {words.get(event.kind) or activity(event)}"


def activity(event: StudyEvent) -> str:
    """Return the current activity of a run, from its latest event other than a note.

    A complete count is not shown, since the run then does something else.
    """
    counted = f" {event.done}/{event.of}" if event.done < event.of else ""
    return {
        "prepare": f"decoding{counted} images into the cache" if counted else "preparing",
        "compile": "compiling",
        "train": f"training{counted}",
        "validate": "validating",
        "evaluate": f"evaluating{counted and counted + ' images'}",
        "store": "writing results",
    }.get(event.kind, "preparing")


def describe_together(latest: Sequence[StudyEvent], ended: int) -> str:
    """Return one line about several runs: the activity of each, and the number of runs that have ended."""
    shown = [f"{event.run.key} {activity(event)}" for event in latest[:SHOWN]]
    more = f", and {len(latest) - SHOWN} more" if len(latest) > SHOWN else ""
    seconds = latest[-1].study_seconds_left
    left = f" ({duration(seconds)} for all)" if seconds is not None else ""
    return f"{_head(ended, latest[0].total)}{', '.join(shown)}{more}{left}"


def _head(ended: int, total: int) -> str:
    return f"[{ended}/{total} done] " if total > 1 else ""


class StudyProgress:
    """Display of the progress of a study, used as a context manager and as the listener."""

    def __init__(self) -> None:
        self._bars: Any = None  # of rich, only on a terminal
        self._lines: dict[str, float] = {}  # times of the latest lines in seconds, by kind if there is only one run
        self._study: Any = None  # bar of the study
        self._rows: dict[str, Any] = {}  # bars of the runs in progress, by key
        self._latest: dict[str, StudyEvent] = {}  # the latest event of each run in progress

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not settings.quiet:
            self._open_bars()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, event: StudyEvent) -> None:
        """Show an event; without a terminal, the frequent kinds at most every ten seconds.

        The kinds of a single run have separate intervals, so that a long validation right after a step is shown.
        """
        if settings.quiet:
            return
        from segmi.study.events import ENDS, FREQUENT

        frequent = event.kind in FREQUENT
        latest = self._latest.pop(event.run.key, event)  # added again, so that the latest event is the last one
        if event.kind not in ENDS:
            self._latest[event.run.key] = latest if event.kind == "note" else event
        if self._bars is not None:
            self._step_bars(event)
            if not frequent:
                self._bars.console.print(describe_event(event), markup=False, highlight=False)
            return
        interval, now = event.kind if event.total == 1 else "all", time.monotonic()
        if not frequent or now - self._lines.get(interval, -SECONDS_BETWEEN_LINES) >= SECONDS_BETWEEN_LINES:
            if frequent:
                self._lines[interval] = now
            together = frequent and len(self._latest) > 1
            say(describe_together(list(self._latest.values()), event.ended) if together else describe_event(event))

    def _open_bars(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[status]}"),
            TextColumn("{task.fields[where]}", style="dim"), console=Console(stderr=True), refresh_per_second=4,
        )  # fmt: skip
        self._study = self._bars.add_task("study", total=None, status="", where="")
        self._bars.start()

    def _step_bars(self, event: StudyEvent) -> None:
        """Update the bar of the study and the bar of the run, which pulses if there is no count."""
        from segmi.study.events import ENDS

        left = f", {duration(event.study_seconds_left)} left" if event.study_seconds_left is not None else ""
        status = f"{event.ended}/{event.total} runs{left}"
        self._bars.update(self._study, completed=event.ended, total=event.total, status=status)
        key = event.run.key
        if event.kind in ENDS:
            if key in self._rows:
                self._bars.remove_task(self._rows.pop(key))
            return
        if key not in self._rows:
            self._rows[key] = self._bars.add_task(key, total=None, status="preparing", where="")
        if event.kind == "started":
            self._bars.update(self._rows[key], where=event.text)
        if event.kind == "note":
            return
        seconds = [f"{duration(event.run_seconds_left)} left"] if event.kind == "train" and event.done else []
        status = ", ".join([activity(event), *_measurements(event), *seconds])
        row = next(task for task in self._bars.tasks if task.id == self._rows[key])
        if event.done < event.of:
            self._bars.update(row.id, completed=event.done, total=event.of, status=status)
        else:
            row.total = row.finished_time = None  # `update` ignores None
            self._bars.update(row.id, completed=0, status=status)
