"""Parallel loops in PyTorch's OpenMP threads, or in Python threads where these are not available."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections import Counter

import pytest
import torch

from segmi.losses.compiled import runtime
from segmi.losses.compiled.runtime import openmp, parallel_for


@pytest.fixture(params=["openmp", "pool"])
def two_threads(request, monkeypatch):
    if request.param == "openmp" and openmp() is None:
        pytest.skip("PyTorch has no OpenMP runtime with GOMP_parallel here")
    if request.param == "pool":
        monkeypatch.setattr(runtime, "openmp", lambda: None)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield request.param
    torch.set_num_threads(before)


def test_each_item_is_processed_once_by_two_threads(two_threads):
    done: list[tuple[int, int]] = []

    def run(number: int) -> None:
        time.sleep(0.002)
        done.append((number, threading.get_ident()))

    parallel_for(run, range(40))
    assert sorted(number for number, _ in done) == list(range(40))
    assert len(Counter(thread for _, thread in done)) == 2


def test_a_failure_is_raised_and_stops_the_loop(two_threads):
    started = []

    def run(number: int) -> None:
        started.append(number)
        if number == 1:
            raise IndexError("row 7")
        time.sleep(0.01)

    with pytest.raises(IndexError, match="row 7"):
        parallel_for(run, range(100))
    assert len(started) < 10
    parallel_for(started.append, range(100, 103))
    assert sorted(started[-3:]) == [100, 101, 102]


def test_no_items(two_threads):
    parallel_for(lambda _: 1 / 0, [])


def test_concurrent_calls(two_threads):
    sums = [0] * 3

    def call(which: int) -> None:
        results: list[int] = []
        parallel_for(results.append, range(50))
        sums[which] = sum(results)

    callers = [threading.Thread(target=call, args=(which,)) for which in range(3)]
    for each in callers:
        each.start()
    for each in callers:
        each.join(30)
    assert sums == [1225] * 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_works_without_the_threads_of_its_parent(two_threads):
    parallel_for(lambda _: time.sleep(0.001), range(8))  # starts the threads

    def child() -> None:
        parallel_for(lambda _: time.sleep(0.001), range(8))

    forked = multiprocessing.get_context("fork").Process(target=child)
    forked.start()
    forked.join(30)
    assert forked.exitcode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the runtime is only searched on Linux")
def test_the_runtime_of_pytorch_is_found(two_threads):
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
def test_choice_of_the_runtime(names, expected):
    maps = "\n".join(f"7f00-7f01 r-xp 00000000 00:00 {n}    {name}" for n, name in enumerate(names))
    assert runtime._openmp_path(maps, "/site/torch") == expected
