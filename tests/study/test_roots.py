from __future__ import annotations

from pathlib import Path

import pytest

from segmi.errors import UsageError
from segmi.study.roots import Roots


def test_one_folder_for_all_and_some_for_each() -> None:
    roots = Roots.parse(["/data", "voc2012=/voc"])
    assert roots.of("voc2012") == Path("/voc")
    assert roots.of("camvid") == Path("/data")
    assert Roots().of("camvid") is None


def test_a_folder_whose_name_holds_an_equals_sign(tmp_path: Path) -> None:
    odd = tmp_path / "a=b"
    odd.mkdir()
    assert Roots.parse([str(odd)]).of("camvid") == odd


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/a", "/b"], "--root /b comes after --root /a"),
        (["x=/a", "x=/b"], "write --root NAME=DIR once per dataset"),
        (["=/a"], "cannot be meant"),
        (["x="], "cannot be meant"),
        ([""], "write --root NAME=DIR"),
    ],
)
def test_what_cannot_be_meant(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Roots.parse(arguments)
    assert message in str(caught.value)
