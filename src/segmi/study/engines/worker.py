"""Worker processes: do the tasks of the study's process, report events, and keep output out of the terminal."""

from __future__ import annotations

import faulthandler
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from segmi.errors import EnvironmentProblem, Interrupted
from segmi.records.process import request_stop
from segmi.study.engines.supervision import Task
from segmi.study.events import ENDS, FREQUENT, Emit, Event
from segmi.study.executor import Job, RunExecutor, stoppable

SECONDS_BETWEEN_EVENTS: Final = 0.2  # of the frequent kinds


def do_task(executor: RunExecutor, task: Task, emit: Emit) -> Event:
    """Do a run, emit its events, and return the last one, one of `ENDS`, which the caller sends after all others.

    Events of the frequent kinds are emitted at most a few times per second.
    """
    last, sent = Event("failed", text="the run reported no event"), 0.0

    def receive(event: Event) -> None:
        nonlocal last, sent
        now = time.monotonic()
        if event.kind in FREQUENT and event.done < event.of and now - sent < SECONDS_BETWEEN_EVENTS:
            return
        sent = now
        if event.kind in ENDS:
            last = event
        elif event.kind == "started":
            emit(replace(event, text=f"process {os.getpid()} on {socket.gethostname()}"))
        else:
            emit(event)

    warnings = _WarningEvents(receive)
    logging.getLogger("segmi").addHandler(warnings)
    try:
        with stoppable():
            executor.do(task.run, receive, overwrite=task.overwrite, patience=task.patience)
    except Interrupted as interrupted:
        return Event("interrupted", text=str(interrupted))
    except EnvironmentProblem as problem:
        return Event("failed", text=str(problem))
    finally:
        logging.getLogger("segmi").removeHandler(warnings)
    return last


def serve(connection: Connection, job: Job, threads: int, output: Path) -> None:
    """Do the tasks that arrive on ``connection`` one at a time, as a process of the pool.

    None in place of a task, or the end of the connection, ends a run after its checkpoint.
    """
    if hasattr(os, "setpgid"):  # Ctrl-C reaches the study's process only, which forwards it once
        os.setpgid(0, 0)
    import torch

    torch.set_num_threads(threads)
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive_tasks, args=(connection, tasks), daemon=True).start()
    executor = RunExecutor(job)

    def emit(event: Event) -> None:
        try:
            connection.send(event)
        except OSError:  # the study's process has ended; `_receive_tasks` then ends this one
            return

    while True:
        task = tasks.get()
        with output_to(output):
            last = do_task(executor, task, emit)
        emit(last)
        if last.kind == "interrupted":
            return


@contextmanager
def output_to(output: Path) -> Iterator[None]:
    """Redirect stdout and stderr of this process to a file, including its libraries and the trace of a crash."""
    with output.open("w", encoding="utf-8", errors="replace", buffering=1) as file:
        saved = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            faulthandler.enable(file)
            # The streams of Python too: in a console of Windows they do not write to the descriptors.
            with redirect_stdout(file), redirect_stderr(file):
                yield
        finally:
            for number, before in zip((1, 2), saved, strict=True):
                os.dup2(before, number)
                os.close(before)
            faulthandler.disable()


class _WarningEvents(logging.Handler):
    """Emits warnings of segmi as notes of the run."""

    def __init__(self, emit: Emit) -> None:
        super().__init__(logging.WARNING)
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        self._emit(Event("note", text=record.getMessage()))


def _receive_tasks(connection: Connection, tasks: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            task = None
        if task is None:  # stops a run after its checkpoint; between runs it ends this process
            request_stop()
            return
        tasks.put(task)
