"""Who does which run, with a crew that is a list of what it tells."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from segmi.errors import Interrupted
from segmi.records import RunFolder, run_lock
from segmi.study.engines import supervision
from segmi.study.engines.supervision import Crash, Task, supervise
from segmi.study.events import Event
from segmi.study.executor import Job
from segmi.study.run_config import Run, expand
from segmi.study.schema import Study

KILLED = Crash("the process of the run was ended by SIGKILL", "what it printed")


class Script:
    """Tells of each run what is written for it, a list per try; keeps the orders it is given."""

    def __init__(self, *tries: list[Event | Crash], jobs: int = 1) -> None:
        self.tries, self.jobs = list(tries), jobs
        self.tasks: list[Task] = []
        self.going: list[tuple[Task, list[Event | Crash]]] = []
        self.most = 0
        self.ended = False

    @property
    def has_room(self) -> bool:
        return len(self.going) < self.jobs

    @property
    def is_busy(self) -> bool:
        return bool(self.going)

    def begin(self, task: Task) -> None:
        self.tasks.append(task)
        self.going.append((task, self.tries.pop(0)))
        self.most = max(self.most, len(self.going))

    def poll(self) -> list[tuple[Task, Event | Crash]]:
        task, told = self.going.pop(0)
        return [(task, each) for each in told]

    def stop(self) -> None:
        self.going = [(task, [Event("interrupted")]) for task, _ in self.going]

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def two(study_of: Callable[..., Study]) -> list[Run]:
    return expand(study_of("seeds=[0, 1]"))


def done(workers: Script, runs: list[Run], root: Path, *, retries: int = 0, overwrite: bool = False) -> list[tuple]:
    told: list[tuple] = []
    job = Job(root, {}, overwrite=overwrite)
    supervise(workers, job, runs, lambda run, event: told.append((run.seed, event.kind, event.text)), retries=retries)
    assert workers.ended
    return told


def test_a_loss_is_one_runs_failure_with_what_the_process_printed(two: list[Run], tmp_path: Path) -> None:
    workers = Script([Event("started"), KILLED], [Event("started"), Event("finished")])
    told = done(workers, two, tmp_path)
    assert [(seed, kind) for seed, kind, _ in told] == [(0, "started"), (0, "failed"), (1, "started"), (1, "finished")]
    failure = RunFolder(two[0].folder(tmp_path)).failure()
    assert failure is not None
    assert (failure["type"], failure["exit_code"]) == ("WorkerCrashed", 4)
    assert failure["message"] == KILLED.reason
    assert "what it printed" in failure["traceback"]
    assert "run the same command again" in failure["remedy"]


def test_a_lost_run_is_taken_up_again_and_every_try_is_told_and_counted(two: list[Run], tmp_path: Path) -> None:
    workers = Script([KILLED], [Event("started"), KILLED], [Event("started"), Event("finished")])
    told = done(workers, two[:1], tmp_path, retries=2, overwrite=True)
    assert [text for _, kind, text in told if kind == "note"] == [
        f"{KILLED.reason}; retry {count} of 2" for count in (1, 2)
    ]
    assert told[-1][1] == "finished"
    # What had begun anew when it was lost goes on; the lock of the lost process may take a moment to be free.
    assert [task.overwrite for task in workers.tasks] == [True, True, False]
    assert [task.patience > 0 for task in workers.tasks] == [False, True, True]
    assert [loss["reason"] for loss in RunFolder(two[0].folder(tmp_path)).crashes()] == [KILLED.reason] * 2


def test_a_run_fails_when_it_was_lost_too_often(two: list[Run], tmp_path: Path) -> None:
    told = done(Script([KILLED], [KILLED]), two[:1], tmp_path, retries=1)
    assert [kind for _, kind, _ in told] == ["note", "failed"]
    assert "ended by SIGKILL, in each of 2 tries" in told[-1][2]


def test_a_process_that_somebody_else_stops_is_a_loss(two: list[Run], tmp_path: Path) -> None:
    told = done(Script([Event("interrupted")]), two[:1], tmp_path)
    assert "the process of the run was ended by a signal" in told[-1][2]


def test_a_loss_while_another_process_holds_the_run_leaves_it_alone(
    two: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "LOCK_PATIENCE", 0.0)
    with run_lock(two[0].folder(tmp_path)):
        told = done(Script([KILLED]), two[:1], tmp_path)
    assert told[-1][1] == "busy"
    assert RunFolder(two[0].folder(tmp_path)).failure() is None


def test_as_many_runs_at_a_time_as_there_is_room_for(two: list[Run], tmp_path: Path) -> None:
    workers = Script([Event("finished")], [Event("finished")], jobs=2)
    done(workers, two, tmp_path)
    assert workers.most == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_begins_no_run_and_stops_those_that_go_on(two: list[Run], tmp_path: Path, number: int) -> None:
    class Signaled(Script):
        def poll(self) -> list[tuple[Task, Event | Crash]]:
            if len(self.tasks) == 1 and self.going[0][1] != [Event("interrupted")]:
                os.kill(os.getpid(), number)
                return [(self.tasks[0], Event("train", 1, 2))]
            return super().poll()

    workers = Signaled([], [Event("finished")])
    with pytest.raises(Interrupted, match="the checkpoints of the running runs are written") as caught:
        done(workers, two, tmp_path, retries=3)
    assert caught.value.exit_code == 128 + number
    assert len(workers.tasks) == 1
    assert workers.ended
