from __future__ import annotations

from pathlib import Path

import pytest

from segmi.errors import UsageError
from segmi.study.dataset_context import DataRoots


def test_default_and_named_roots() -> None:
    roots = DataRoots.parse(["/data", "voc2012=/voc"])
    assert roots.of("voc2012") == Path("/voc")
    assert roots.of("camvid") == Path("/data")
    assert DataRoots().of("camvid") is None


def test_folder_name_can_contain_equals_sign(tmp_path: Path) -> None:
    odd = tmp_path / "a=b"
    odd.mkdir()
    assert DataRoots.parse([str(odd)]).of("camvid") == odd


def test_one_folder_serves_several_described_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cells", "leaves"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "segmi.toml").write_text("format = 1\n")
    roots = DataRoots.parse([str(tmp_path)])
    assert [roots.of("cells"), roots.of("leaves")] == [tmp_path / "cells", tmp_path / "leaves"]
    assert roots.of("camvid") == tmp_path
    monkeypatch.setenv("SEGMI_DATA", str(tmp_path))
    assert DataRoots().of("cells") == tmp_path / "cells"
    (tmp_path / "segmi.toml").write_text("format = 1\n")
    assert roots.of("cells") == tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/a", "/b"], "--root /b comes after --root /a"),
        (["x=/a", "x=/b"], "write --root NAME=DIR once per dataset"),
        (["=/a"], "is not valid"),
        (["x="], "is not valid"),
        ([""], "write --root NAME=DIR"),
    ],
)
def test_invalid_roots_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        DataRoots.parse(arguments)
    assert message in str(caught.value)
