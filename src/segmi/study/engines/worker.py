"""What a process of the pool does: runs, one at a time, until it is told to stop or the study's process is gone."""

from __future__ import annotations

import faulthandler
import logging
import os
import queue
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from segmi.errors import EnvironmentProblem, Interrupted
from segmi.study.events import FREQUENT, News
from segmi.study.workshop import Job, Workshop, stoppable

SECONDS_BETWEEN_NEWS: Final = 0.2


def serve(connection: Connection, job: Job, threads: int, output: Path) -> None:
    """Do the runs that come over ``connection`` as (run, overwrite, patience) and tell of them.

    Args:
        connection: to the study's process; None on it, or its end, ends a run after its checkpoint.
        job: what the runs have in common.
        threads: those that a run computes with.
        output: the file for what the libraries of this process print, the last words of a crash included.
    """
    _leave_the_terminal(output)
    import torch

    torch.set_num_threads(threads)
    orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, orders), daemon=True).start()
    teller = _Teller(connection)
    logging.getLogger("segmi").addHandler(_Notes(teller))
    shop = Workshop(job)
    while True:
        run, overwrite, patience = orders.get()
        output.write_text("")
        try:
            with stoppable():
                shop.do(run, teller, overwrite=overwrite, patience=patience)
        except Interrupted as interrupted:
            teller(News("interrupted", text=str(interrupted)))
            return
        except EnvironmentProblem as problem:
            teller(News("failed", text=str(problem)))


class _Teller:
    """Sends news; of the frequent kinds not more than a few per second."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._last = connection, 0.0

    def __call__(self, news: News) -> None:
        now = time.monotonic()
        if news.kind in FREQUENT and news.done < news.of and now - self._last < SECONDS_BETWEEN_NEWS:
            return
        self._last = now
        try:
            self._connection.send(news)
        except OSError:  # the study's process is gone; `_listen` sees it as well and ends this one
            return


class _Notes(logging.Handler):
    """Warnings of segmi as notes of the run."""

    def __init__(self, teller: _Teller) -> None:
        super().__init__(logging.WARNING)
        self._teller = teller

    def emit(self, record: logging.LogRecord) -> None:
        self._teller(News("note", text=record.getMessage()))


def _listen(connection: Connection, orders: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            order = connection.recv()
        except (EOFError, OSError):
            order = None
        if order is None:  # between runs this ends the process, in one it is what Ctrl-C is in the study's process
            os.kill(os.getpid(), signal.SIGTERM)
            return
        orders.put(order)


def _leave_the_terminal(output: Path) -> None:
    """Ctrl-C is for the study's process, which passes it on once; what libraries print would tear its table."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    faulthandler.enable()
