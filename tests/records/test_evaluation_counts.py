"""Counts on disk: exact, without pickle, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segmi.errors import DataError
from segmi.records import DetailsRecord, read_confusion, read_details, write_confusion, write_details
from segmi.records.evaluation_counts import FIELDS


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


def test_counts_beyond_32_bits_and_no_counts(tmp_path: Path) -> None:
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


def sums() -> dict[str, np.ndarray]:
    return {
        "pixels": np.array([10, 30]), "confidence": np.array([2.0, 27.0]), "correct": np.array([4, 24]),
        "boundary": np.array([[3, 0], [4, 0]]), "objects": np.array([[1, 3], [0, 1]]),
        "object_iou": np.array([[0.5, 1.5], [0.0, 0.5]]),
    }  # fmt: skip


def test_round_trip_of_details(tmp_path: Path) -> None:
    record = read_details(write_details(tmp_path / "unet.full.npz", sums()))
    assert all((getattr(record, name) == sums()[name]).all() for name in FIELDS)
    assert record.calibration_error() == pytest.approx((2 + 3) / 40)
    assert record.boundary_iou()[0] == 0.75
    assert np.isnan(record.boundary_iou()[1])


def test_records_are_added() -> None:
    both = DetailsRecord(**sums()) + DetailsRecord(**sums())
    assert both.pixels.tolist() == [20, 60]
    assert both.calibration_error() == DetailsRecord(**sums()).calibration_error()


def test_equal_sums_give_equal_bytes(tmp_path: Path) -> None:
    one, other = (write_details(tmp_path / name, sums()).read_bytes() for name in ("a.npz", "b.npz"))
    assert one == other


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pixels", None, "missing: pixels"),
        ("boundary", np.zeros((2, 3)), "expected B bins"),
        ("confidence", np.array([np.nan, 1]), "expected finite numbers"),
        ("objects", np.array([["a", "b"]] * 2), "expected finite numbers"),
    ],
)
def test_sums_that_do_not_fit_are_refused(name: str, value: np.ndarray | None, message: str, tmp_path: Path) -> None:
    spoiled = {key: array for key, array in (sums() | {name: value}).items() if array is not None}
    with pytest.raises(ValueError, match=message):
        write_details(tmp_path / "x.npz", spoiled)
    np.savez(tmp_path / "y.npz", schema_version=1, **spoiled)
    with pytest.raises(DataError, match=r"y\.npz is damaged"):
        read_details(tmp_path / "y.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + b"\0" * 50])
def test_files_that_are_not_details(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        read_details(path)


def test_missing_and_newer_details(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no details at"):
        read_details(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", schema_version=99, **sums())
    with pytest.raises(DataError, match="schema version 99"):
        read_details(tmp_path / "y.npz")
