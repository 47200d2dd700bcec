"""Confusion counts on disk: exact, without pickle, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segmi.errors import DataError
from segmi.records import read_confusion, write_confusion


def test_round_trip_is_exact_and_deterministic(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 2**31, (5, 4, 4))
    names, groups = [f"päth/{i}" for i in range(5)], ["berlin"] * 5
    first = write_confusion(tmp_path / "a.npz", counts, names, groups).read_bytes()
    assert write_confusion(tmp_path / "b.npz", counts, names, groups).read_bytes() == first
    record = read_confusion(tmp_path / "a.npz")
    assert record.counts.dtype == np.int64
    assert np.array_equal(record.counts, counts)
    assert np.array_equal(record.pooled(), counts.sum(0))
    assert (list(record.names), list(record.groups)) == (names, groups)


def test_counts_beyond_32_bits_and_none_at_all(tmp_path: Path) -> None:
    big = np.array([[[2**40]]])
    assert read_confusion(write_confusion(tmp_path / "a.npz", big, ["x"], [""])).counts[0, 0, 0] == 2**40
    empty = read_confusion(write_confusion(tmp_path / "b.npz", np.zeros((0, 3, 3), int), [], []))
    assert empty.pooled().shape == (3, 3)


@pytest.mark.parametrize("counts", [np.ones((2, 2), int), np.ones((1, 2, 3), int), np.ones((2, 2, 2), int)])
def test_shapes_are_checked(tmp_path: Path, counts: np.ndarray) -> None:
    with pytest.raises(ValueError, match="N×C×C"):
        write_confusion(tmp_path / "a.npz", counts, ["x"], ["y"])


@pytest.mark.parametrize("counts", [np.full((1, 1, 1), 0.5), np.full((1, 1, 1), -1)])
def test_values_are_checked(tmp_path: Path, counts: np.ndarray) -> None:
    with pytest.raises(ValueError, match="non-negative integer"):
        write_confusion(tmp_path / "a.npz", counts, ["x"], ["y"])


def test_missing_damaged_and_dangerous_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no confusion counts at"):
        read_confusion(tmp_path / "none.npz")
    path = write_confusion(tmp_path / "a.npz", np.ones((3, 9, 9), int), ["x"] * 3, ["y"] * 3)
    whole = path.read_bytes()
    for content in (b"", b"nonsense", whole[: len(whole) // 2], whole[:200] + b"\x00\x01\x02" + whole[203:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="damaged"):
            read_confusion(path)
    pickled = np.empty(1, object)
    pickled[0] = print
    np.savez(path, schema_version=1, counts=pickled, names=["x"], groups=["y"])
    with pytest.raises(DataError, match="damaged"):
        read_confusion(path)
