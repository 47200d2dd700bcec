"""Assignment, retries and interruption of runs, with a scripted worker pool."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from segmi.errors import Interrupted
from segmi.records import RunFolder, run_lock
from segmi.study.engines import supervision
from segmi.study.engines.supervision import Crash, Task, supervise
from segmi.study.events import Clock, Event
from segmi.study.executor import Job
from segmi.study.run_config import Run, expand
from segmi.study.schema import Study

KILLED = Crash("the process of the run was ended by SIGKILL", "printed text")


class Script:
    """Worker pool that returns scripted events, one list per try of a run, and records its tasks."""

    def __init__(self, *tries: list[Event | Crash], jobs: int = 1) -> None:
        self.tries, self.room = list(tries), float(jobs)
        self.tasks: list[Task] = []
        self.running: list[tuple[Task, list[Event | Crash]]] = []
        self.most = 0
        self.ended = False

    def begin(self, task: Task) -> None:
        self.tasks.append(task)
        self.running.append((task, self.tries.pop(0)))
        self.most = max(self.most, len(self.running))

    def poll(self) -> list[tuple[Task, Event | Crash]]:
        task, events = self.running.pop(0)
        return [(task, each) for each in events]

    def stop(self) -> None:
        self.running = [(task, [Event("interrupted")]) for task, _ in self.running]

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def two(study_of: Callable[..., Study]) -> list[Run]:
    return expand(study_of("seeds=[0, 1]"))


def done(workers: Script, runs: list[Run], root: Path, *, retries: int = 0, overwrite: bool = False) -> list[tuple]:
    events: list[tuple] = []
    job = Job(root, {}, overwrite=overwrite)
    supervise(workers, job, runs, lambda run, event: events.append((run.seed, event.kind, event.text)), retries=retries)
    assert workers.ended
    return events


def test_crash_fails_one_run_with_output_of_process(two: list[Run], tmp_path: Path) -> None:
    workers = Script([Event("started"), KILLED], [Event("started"), Event("finished")])
    events = done(workers, two, tmp_path)
    assert [(seed, kind) for seed, kind, _ in events] == [
        (0, "started"),
        (0, "failed"),
        (1, "started"),
        (1, "finished"),
    ]
    failure = RunFolder(two[0].folder(tmp_path)).failure()
    assert failure is not None
    assert (failure["type"], failure["exit_code"]) == ("WorkerCrashed", 4)
    assert failure["message"] == KILLED.reason
    assert "printed text" in failure["traceback"]
    assert "run the same command again" in failure["remedy"]


def test_crashed_run_is_retried_and_tries_are_counted(two: list[Run], tmp_path: Path) -> None:
    workers = Script([KILLED], [Event("started"), KILLED], [Event("started"), Event("finished")])
    events = done(workers, two[:1], tmp_path, retries=2, overwrite=True)
    assert [text for _, kind, text in events if kind == "note"] == [
        f"{KILLED.reason}; retry {count} of 2" for count in (1, 2)
    ]
    assert events[-1][1] == "finished"
    # A restarted run continues after its crash; the lock of the crashed process may be free only after a moment.
    assert [task.overwrite for task in workers.tasks] == [True, True, False]
    assert [task.patience > 0 for task in workers.tasks] == [False, True, True]
    assert [loss["reason"] for loss in RunFolder(two[0].folder(tmp_path)).crashes()] == [KILLED.reason] * 2


def test_run_fails_after_too_many_crashes(two: list[Run], tmp_path: Path) -> None:
    events = done(Script([KILLED], [KILLED]), two[:1], tmp_path, retries=1)
    assert [kind for _, kind, _ in events] == ["note", "failed"]
    assert "ended by SIGKILL, in each of 2 tries" in events[-1][2]


def test_process_stopped_from_outside_is_a_crash(two: list[Run], tmp_path: Path) -> None:
    events = done(Script([Event("interrupted")]), two[:1], tmp_path)
    assert "the process of the run was ended by a signal" in events[-1][2]


def test_crashed_run_locked_by_another_process_is_busy(
    two: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "LOCK_PATIENCE", 0.0)
    with run_lock(two[0].folder(tmp_path)):
        events = done(Script([KILLED]), two[:1], tmp_path)
    assert events[-1][1] == "busy"
    assert RunFolder(two[0].folder(tmp_path)).failure() is None


def test_methods_are_measured_first_and_then_the_longest_run_starts(
    study_of: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "methods.long={networks: {unet: {architecture: unet, width: 4}}, loss: {cross_entropy: {}}}"
    cohort = (
        "methods.cohort={networks: {a: {architecture: unet, width: 4}, b: {architecture: unet, width: 4}}, "
        "reported: a, loss: {cross_entropy: {}}}"
    )
    runs = expand(study_of("seeds=[0, 1]", long, cohort))
    first = runs[0].method
    seconds, now = {first: 1.0, "long": 10.0, "cohort": 5.0}, [0.0]
    monkeypatch.setattr(supervision, "Clock", partial(Clock, now=lambda: now[0]))
    workers = Script(*[[Event("finished")]] * 6)
    poll = workers.poll

    def timed() -> list[tuple[Task, Event | Crash]]:
        results = poll()
        now[0] += seconds[results[0][0].run.method]
        return results

    monkeypatch.setattr(workers, "poll", timed)
    done(workers, runs, tmp_path)
    assert [task.run.key.split("/", 1)[1] for task in workers.tasks] == [
        "cohort/seed0", f"{first}/seed0", "long/seed0", "long/seed1", "cohort/seed1", f"{first}/seed1",
    ]  # fmt: skip


def test_number_of_concurrent_runs_is_limited(two: list[Run], tmp_path: Path) -> None:
    workers = Script([Event("finished")], [Event("finished")], jobs=2)
    done(workers, two, tmp_path)
    assert workers.most == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_starts_no_run_and_stops_running_ones(two: list[Run], tmp_path: Path, number: int) -> None:
    class Signaled(Script):
        def poll(self) -> list[tuple[Task, Event | Crash]]:
            if len(self.tasks) == 1 and self.running[0][1] != [Event("interrupted")]:
                os.kill(os.getpid(), number)
                return [(self.tasks[0], Event("train", 1, 2))]
            return super().poll()

    workers = Signaled([], [Event("finished")])
    with pytest.raises(Interrupted, match="the checkpoints of the running runs are written") as caught:
        done(workers, two, tmp_path, retries=3)
    assert caught.value.exit_code == 128 + number
    assert len(workers.tasks) == 1
    assert workers.ended
