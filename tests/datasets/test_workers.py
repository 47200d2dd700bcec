"""Worker processes: errors of items are kept, crashed and stalled workers are reported."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from functools import partial
from typing import Any

import pytest

from segmi.datasets import workers
from segmi.errors import DataError, RunError


def read(item: Any) -> list[Any]:
    """The items of a dataset whose items are returned by ``item``."""
    return list(workers.read_by_workers(defaultdict(item), 1, sampler=range(2), batch_size=None))  # type: ignore[arg-type]


def refuse() -> None:
    raise DataError("a.png: expected an image, got an empty file", "download or copy the file again")


def test_a_crashed_worker():
    with pytest.raises(RunError, match="a data loader worker crashed or stalled") as caught:
        read(partial(os._exit, 3))
    assert "continue from the checkpoint" in caught.value.remedy


def test_a_stalled_worker(monkeypatch):
    monkeypatch.setattr(workers, "STALLED_SECONDS", 10)
    begin = time.monotonic()
    with pytest.raises(RunError, match="a data loader worker crashed or stalled"):
        read(partial(time.sleep, 1000))
    assert time.monotonic() - begin < 120


def test_the_error_of_an_item_is_kept():
    refusing = workers._WithErrors({0: 1})
    assert refusing[0] == 1
    result = workers._WithErrors(defaultdict(refuse))[0]
    assert str(result.error).startswith("a.png: expected an image, got an empty file")
    assert "Traceback" not in str(result.error)
