"""``segmi data prepare``, ``info`` and ``clear``."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from segmi.cli import main

SCENES = ["street-scenes", "train=3", "val=2", "height=24", "width=32"]


@pytest.fixture
def cache(tmp_path: Path) -> list[str]:
    return ["--cache", str(tmp_path / "cache")]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Any:
    """What a command prints as JSON."""

    def run(*arguments: str, code: int = 0) -> Any:
        assert main([*arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return run


def test_prepare_info_clear(cache: list[str], told: Any, tmp_path: Path) -> None:
    built = told("data", "prepare", *SCENES, "--resize", "16", *cache)
    holds = [(entry["split"], entry["columns"], entry["images"]) for entry in built["entries"]]
    assert holds == [("train", ["images", "masks"], 3), ("val", ["images", "masks"], 2), ("val", ["labels"], 2)]
    folder = tmp_path / "cache" / "images"
    assert built["folder"] == str(folder)
    assert built["bytes"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    again = told("data", "prepare", *SCENES, "--resize", "16", "--split", "train", "--labels", *cache)
    assert [entry["columns"] for entry in again["entries"]] == [["images", "masks"], ["labels"]]
    assert again["entries"][0] == built["entries"][0]
    found = told("data", "info", "--verify", *cache)
    assert len(found["entries"]) == 4
    assert all(entry["damage"] is None for entry in found["entries"])
    assert told("data", "clear", "camvid", *cache)["removed"] == []
    assert len(told("data", "clear", "street-scenes", *cache)["removed"]) == 4
    assert told("data", "info", *cache)["entries"] == []
    assert list(folder.iterdir()) == []


def test_tables_for_people(cache: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "prepare", *SCENES, "--resize", "none", "--split", "val", *cache]) == 0
    captured = capsys.readouterr()
    assert "2/2 images" in captured.err
    assert "original" in captured.out
    assert " ok" in captured.out
    assert main(["data", "info", *cache]) == 0
    assert ": 1 entry, " in capsys.readouterr().out
    assert main(["data", "clear", "street-scene", *cache]) == 0
    assert re.match(r"no entries of street-scene in .*; it holds street-scenes\n", capsys.readouterr().out)
    assert main(["data", "clear", *cache]) == 0
    assert "removed 1 " in capsys.readouterr().out


def test_room_for_all_is_looked_for_before_anything_is_built(
    cache: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images, labels = 4 * 16 * 16, 24 * 32
    needed = 5 * images + 2 * labels
    for free, code in ((needed - 1, 5), (needed, 0)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: shutil._ntuple_diskusage(free, 0, free))
        assert main(["data", "prepare", *SCENES, "--resize", "16", *cache]) == code
        assert (tmp_path / "cache").exists() == (code == 0)
        said = capsys.readouterr().err
        assert ("expected 7 kB of disk space for 5 prepared images of street-scenes, train, val, got 7 kB" in said) == (
            code == 5
        )
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 0))
    assert main(["data", "prepare", *SCENES, "--resize", "16", *cache]) == 0, "all is there already"


def test_damage_is_told(cache: list[str], told: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (entry,) = told("data", "prepare", *SCENES, "--split", "train", *cache)["entries"]
    path = Path(entry["folder"]) / "images.bin"
    data = bytearray(path.read_bytes())
    data[3] ^= 4
    path.write_bytes(data)
    assert told("data", "info", *cache)["entries"][0]["damage"] is None
    assert main(["data", "info", "--verify", *cache]) == 3
    captured = capsys.readouterr()
    assert "damaged" in captured.out
    assert "images.bin: expected the checksum of the manifest" in captured.err
    path.unlink()
    assert main(["data", "info", *cache]) == 3
    assert "images.bin: expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "--cache", "none"], "expected a cache folder, got none"),
        (["prepare", *SCENES, "--resize", "big"], "expected a number of pixels or none, got 'big'"),
        (["prepare", *SCENES, "--resize", "0"], "must be a positive number of pixels, got 0"),
        (["prepare", *SCENES, "--resize-mode", "longer"], "expected exact or shorter, got 'longer'"),
    ],
)
def test_what_cannot_be_meant(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *arguments]) == 2
    assert message in capsys.readouterr().err
