from __future__ import annotations

import json
from pathlib import Path

import pytest

from segmi.errors import DataError
from segmi.records import read_ensemble, write_ensemble


def bundle(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.json").write_text("{}")
    return folder


def test_bundles_are_found_in_order_after_the_folder_has_moved(tmp_path: Path) -> None:
    bundles = [bundle(tmp_path / "runs" / name / "bundles" / "network") for name in ("b", "a")]
    file = write_ensemble(tmp_path / "runs", bundles, {"kind": "folds"})
    assert json.loads(file.read_text()) == {
        "schema_version": 1, "bundles": ["b/bundles/network", "a/bundles/network"], "kind": "folds",
    }  # fmt: skip
    moved = (tmp_path / "runs").rename(tmp_path / "moved")
    assert read_ensemble(moved) == [moved / "b/bundles/network", moved / "a/bundles/network"]
    assert read_ensemble(tmp_path) is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "expected a list of bundles, got []"),
        ("a", "expected a list of bundles, got 'a'"),
        (["../outside"], "is outside its folder"),
        (["missing"], "which is not a bundle"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, names: object, message: str) -> None:
    bundle(tmp_path / "outside")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/ensemble.json").write_text(json.dumps({"schema_version": 1, "bundles": names}))
    with pytest.raises(DataError) as error:
        read_ensemble(tmp_path / "runs")
    assert message in str(error.value)
