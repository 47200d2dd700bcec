"""Work shared among threads: PyTorch's own where they can be had, Python's elsewhere."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections import Counter

import pytest
import torch

from segmi.losses.rmi.cpu import threads
from segmi.losses.rmi.cpu.threads import openmp, share


@pytest.fixture(params=["openmp", "pool"])
def two_threads(request, monkeypatch):
    if request.param == "openmp" and openmp() is None:
        pytest.skip("PyTorch has loaded no OpenMP runtime with GOMP_parallel here")
    if request.param == "pool":
        monkeypatch.setattr(threads, "openmp", lambda: None)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield request.param
    torch.set_num_threads(before)


def test_everything_is_done_once_and_by_both(two_threads):
    done: list[tuple[int, int]] = []

    def run(number: int) -> None:
        time.sleep(0.002)
        done.append((number, threading.get_ident()))

    share(run, range(40))
    assert sorted(number for number, _ in done) == list(range(40))
    assert len(Counter(thread for _, thread in done)) == 2


def test_a_failure_is_raised_and_nothing_new_begun(two_threads):
    begun = []

    def run(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise IndexError("row 7")
        time.sleep(0.01)

    with pytest.raises(IndexError, match="row 7"):
        share(run, range(100))
    assert len(begun) < 10
    share(begun.append, range(100, 103))
    assert sorted(begun[-3:]) == [100, 101, 102]


def test_nothing_to_do(two_threads):
    share(lambda _: 1 / 0, [])


def test_it_can_be_called_from_several_threads_at_once(two_threads):
    sums = [0] * 3

    def call(which: int) -> None:
        found: list[int] = []
        share(found.append, range(50))
        sums[which] = sum(found)

    callers = [threading.Thread(target=call, args=(which,)) for which in range(3)]
    for each in callers:
        each.start()
    for each in callers:
        each.join(30)
    assert sums == [1225] * 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_does_without_the_threads_of_its_parent(two_threads):
    share(lambda _: time.sleep(0.001), range(8))  # now there are threads

    def child() -> None:
        share(lambda _: time.sleep(0.001), range(8))

    forked = multiprocessing.get_context("fork").Process(target=child)
    forked.start()
    forked.join(30)
    assert forked.exitcode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the runtime is not looked for")
def test_the_runtime_is_pytorchs(two_threads):
    assert openmp() is not None or not torch.backends.openmp.is_available()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["/site/torch/lib/libgomp.so.1", "/site/sklearn.libs/libgomp-a34.so.1"], "/site/torch/lib/libgomp.so.1"),
        (["/env/lib/libiomp5.so"], "/env/lib/libiomp5.so"),
        (["/env/lib/libomp.so"], "/env/lib/libomp.so"),
        (["/env/lib/libgomp.so.1", "/env/lib/libomp.so"], None),
        (["/env/lib/libgomprime.so", "/env/lib/libc.so.6"], None),
        ([], None),
    ],
)
def test_which_runtime_it_is(names, expected):
    maps = "\n".join(f"7f00-7f01 r-xp 00000000 00:00 {n}    {name}" for n, name in enumerate(names))
    assert threads._runtime(maps, "/site/torch") == expected
