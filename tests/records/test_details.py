from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segmi.errors import DataError
from segmi.records import DetailsRecord, read_details, write_details
from segmi.records.details import FIELDS


def sums() -> dict[str, np.ndarray]:
    return {
        "pixels": np.array([10, 30]), "confidence": np.array([2.0, 27.0]), "correct": np.array([4, 24]),
        "boundary": np.array([[3, 0], [4, 0]]), "objects": np.array([[1, 3], [0, 1]]),
        "object_iou": np.array([[0.5, 1.5], [0.0, 0.5]]),
    }  # fmt: skip


def test_what_is_read_is_what_was_written_and_gives_the_numbers_by_hand(tmp_path: Path) -> None:
    record = read_details(write_details(tmp_path / "unet.full.npz", sums()))
    assert all((getattr(record, name) == sums()[name]).all() for name in FIELDS)
    assert record.calibration_error() == pytest.approx((2 + 3) / 40)
    assert record.boundary_iou()[0] == 0.75
    assert np.isnan(record.boundary_iou()[1])
    assert record.object_iou_by_size().tolist() == [0.5, 0.5]


def test_the_sum_of_two_is_that_of_their_images() -> None:
    both = DetailsRecord(**sums()) + DetailsRecord(**sums())
    assert both.pixels.tolist() == [20, 60]
    assert both.calibration_error() == DetailsRecord(**sums()).calibration_error()


def test_equal_sums_give_equal_bytes(tmp_path: Path) -> None:
    one, other = (write_details(tmp_path / name, sums()).read_bytes() for name in ("a.npz", "b.npz"))
    assert one == other


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("pixels", None, "got none of pixels"),
        ("boundary", np.zeros((2, 3)), "expected B bins"),
        ("confidence", np.array([np.nan, 1]), "expected finite numbers"),
        ("objects", np.array([["a", "b"]] * 2), "expected finite numbers"),
    ],
)
def test_sums_that_do_not_fit_are_refused(name: str, value: np.ndarray | None, told: str, tmp_path: Path) -> None:
    spoiled = {key: array for key, array in (sums() | {name: value}).items() if array is not None}
    with pytest.raises(ValueError, match=told):
        write_details(tmp_path / "x.npz", spoiled)
    np.savez(tmp_path / "y.npz", schema_version=1, **spoiled)
    with pytest.raises(DataError, match=r"y\.npz is damaged"):
        read_details(tmp_path / "y.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + b"\0" * 50])
def test_files_that_are_no_details(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        read_details(path)


def test_absent_and_newer_ones_say_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no details at"):
        read_details(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", schema_version=99, **sums())
    with pytest.raises(DataError, match="schema version 99"):
        read_details(tmp_path / "y.npz")
