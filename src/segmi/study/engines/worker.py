"""What the processes do that do runs for another one: run, tell, and keep what is printed out of the terminal."""

from __future__ import annotations

import faulthandler
import logging
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from segmi.errors import EnvironmentProblem, Interrupted
from segmi.study.engines.supervision import Order
from segmi.study.events import ENDS, FREQUENT, News
from segmi.study.workshop import Job, Tell, Workshop, stoppable

SECONDS_BETWEEN_NEWS: Final = 0.2


def do_order(shop: Workshop, order: Order, tell: Tell) -> News:
    """Do a run and tell of it.

    Returns: the last news, one of `ENDS`, which alone are not told: whoever sends them may have to see to it that
        they come last.
    """
    last = News("failed", text="the run told nothing")

    def listen(news: News) -> None:
        nonlocal last
        if news.kind in ENDS:
            last = news
        elif news.kind == "started":
            tell(replace(news, text=f"process {os.getpid()} on {socket.gethostname()}"))
        else:
            tell(news)

    teller = _Seldom(listen)
    notes = _Notes(teller)
    logging.getLogger("segmi").addHandler(notes)
    try:
        with stoppable():
            shop.do(order.run, teller, overwrite=order.overwrite, patience=order.patience)
    except Interrupted as interrupted:
        return News("interrupted", text=str(interrupted))
    except EnvironmentProblem as problem:
        return News("failed", text=str(problem))
    finally:
        logging.getLogger("segmi").removeHandler(notes)
    return last


def serve(connection: Connection, job: Job, threads: int, output: Path) -> None:
    """A process of the pool: do the orders that come over ``connection``, one at a time.

    Args:
        connection: to the study's process; None on it, or its end, ends a run after its checkpoint.
        job: what the runs have in common.
        threads: those that a run computes with.
        output: the file for what the libraries of this process print, the last words of a crash included.
    """
    if hasattr(os, "setpgid"):  # Ctrl-C is for the study's process, which passes it on once
        os.setpgid(0, 0)
    import torch

    torch.set_num_threads(threads)
    orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, orders), daemon=True).start()
    shop = Workshop(job)

    def tell(news: News) -> None:
        try:
            connection.send(news)
        except OSError:  # the study's process is gone; `_listen` sees it as well and ends this one
            return

    while True:
        order = orders.get()
        with printing_into(output):
            last = do_order(shop, order, tell)
        tell(last)
        if last.kind == "interrupted":
            return


@contextmanager
def printing_into(output: Path) -> Iterator[None]:
    """What this process prints inside goes into a file, that of its libraries and the trace of a crash included."""
    output.write_text("")
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
    kept = [os.dup(number) for number in (1, 2)]
    try:
        for number in (1, 2):
            os.dup2(descriptor, number)
        faulthandler.enable(descriptor)
        yield
    finally:
        for number, before in zip((1, 2), kept, strict=True):
            os.dup2(before, number)
            os.close(before)
        faulthandler.disable()
        os.close(descriptor)


class _Seldom:
    """Passes news on; of the frequent kinds not more than a few per second."""

    def __init__(self, tell: Callable[[News], None]) -> None:
        self._tell, self._last = tell, 0.0

    def __call__(self, news: News) -> None:
        now = time.monotonic()
        if news.kind in FREQUENT and news.done < news.of and now - self._last < SECONDS_BETWEEN_NEWS:
            return
        self._last = now
        self._tell(news)


class _Notes(logging.Handler):
    """Warnings of segmi as notes of the run."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(News("note", text=record.getMessage()))


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
