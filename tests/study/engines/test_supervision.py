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
from segmi.study.engines.supervision import Loss, Order, supervise
from segmi.study.events import News
from segmi.study.expand import Run, expand
from segmi.study.schema import Study
from segmi.study.workshop import Job

KILLED = Loss("the process of the run was ended by SIGKILL", "what it printed")


class Script:
    """Tells of each run what is written for it, a list per try; keeps the orders it is given."""

    def __init__(self, *tries: list[News | Loss], jobs: int = 1) -> None:
        self.tries, self.jobs = list(tries), jobs
        self.orders: list[Order] = []
        self.going: list[tuple[Order, list[News | Loss]]] = []
        self.most = 0
        self.ended = False

    @property
    def has_room(self) -> bool:
        return len(self.going) < self.jobs

    @property
    def is_busy(self) -> bool:
        return bool(self.going)

    def begin(self, order: Order) -> None:
        self.orders.append(order)
        self.going.append((order, self.tries.pop(0)))
        self.most = max(self.most, len(self.going))

    def listen(self) -> list[tuple[Order, News | Loss]]:
        order, told = self.going.pop(0)
        return [(order, each) for each in told]

    def stop(self) -> None:
        self.going = [(order, [News("interrupted")]) for order, _ in self.going]

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def two(study_of: Callable[..., Study]) -> list[Run]:
    return expand(study_of("seeds=[0, 1]"))


def done(crew: Script, runs: list[Run], root: Path, *, retries: int = 0, overwrite: bool = False) -> list[tuple]:
    told: list[tuple] = []
    job = Job(root, {}, overwrite=overwrite)
    supervise(crew, job, runs, lambda run, news: told.append((run.seed, news.kind, news.text)), retries=retries)
    assert crew.ended
    return told


def test_a_loss_is_one_runs_failure_with_what_the_process_printed(two: list[Run], tmp_path: Path) -> None:
    crew = Script([News("started"), KILLED], [News("started"), News("finished")])
    told = done(crew, two, tmp_path)
    assert [(seed, kind) for seed, kind, _ in told] == [(0, "started"), (0, "failed"), (1, "started"), (1, "finished")]
    failure = RunFolder(two[0].folder(tmp_path)).failure()
    assert failure is not None
    assert (failure["type"], failure["exit_code"]) == ("LostWorker", 4)
    assert failure["message"] == KILLED.reason
    assert "what it printed" in failure["traceback"]
    assert "run the same command again" in failure["remedy"]


def test_a_lost_run_is_taken_up_again_and_every_try_is_told_and_counted(two: list[Run], tmp_path: Path) -> None:
    crew = Script([KILLED], [News("started"), KILLED], [News("started"), News("finished")])
    told = done(crew, two[:1], tmp_path, retries=2, overwrite=True)
    assert [text for _, kind, text in told if kind == "note"] == [
        f"{KILLED.reason}; taken up again ({count} of 2)" for count in (1, 2)
    ]
    assert told[-1][1] == "finished"
    # What had begun anew when it was lost goes on; the lock of the lost process may take a moment to be free.
    assert [order.overwrite for order in crew.orders] == [True, True, False]
    assert [order.patience > 0 for order in crew.orders] == [False, True, True]
    assert [loss["reason"] for loss in RunFolder(two[0].folder(tmp_path)).crashes()] == [KILLED.reason] * 2


def test_a_run_fails_when_it_was_lost_too_often(two: list[Run], tmp_path: Path) -> None:
    told = done(Script([KILLED], [KILLED]), two[:1], tmp_path, retries=1)
    assert [kind for _, kind, _ in told] == ["note", "failed"]
    assert "ended by SIGKILL, in each of 2 tries" in told[-1][2]


def test_a_process_that_somebody_else_stops_is_a_loss(two: list[Run], tmp_path: Path) -> None:
    told = done(Script([News("interrupted")]), two[:1], tmp_path)
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
    crew = Script([News("finished")], [News("finished")], jobs=2)
    done(crew, two, tmp_path)
    assert crew.most == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_begins_no_run_and_stops_those_that_go_on(two: list[Run], tmp_path: Path, number: int) -> None:
    class Signaled(Script):
        def listen(self) -> list[tuple[Order, News | Loss]]:
            if len(self.orders) == 1 and self.going[0][1] != [News("interrupted")]:
                os.kill(os.getpid(), number)
                return [(self.orders[0], News("train", 1, 2))]
            return super().listen()

    crew = Signaled([], [News("finished")])
    with pytest.raises(Interrupted, match="the checkpoints of the runs that were going on are written") as caught:
        done(crew, two, tmp_path, retries=3)
    assert caught.value.exit_code == 128 + number
    assert len(crew.orders) == 1
    assert crew.ended
