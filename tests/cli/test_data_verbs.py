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
def run_json(capsys: pytest.CaptureFixture[str]) -> Any:
    """The JSON output of a command."""

    def run(*arguments: str, code: int = 0) -> Any:
        assert main([*arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return run


def test_prepare_info_clear(cache: list[str], run_json: Any, tmp_path: Path) -> None:
    built = run_json("data", "prepare", *SCENES, "--resize", "16", *cache)
    holds = [(entry["split"], entry["columns"], entry["images"]) for entry in built["entries"]]
    assert holds == [("train", ["images", "masks"], 3), ("val", ["images", "masks"], 2), ("val", ["labels"], 2)]
    folder = tmp_path / "cache" / "images"
    assert built["folder"] == str(folder)
    assert built["bytes"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    again = run_json("data", "prepare", *SCENES, "--resize", "16", "--split", "train", "--labels", *cache)
    assert [entry["columns"] for entry in again["entries"]] == [["images", "masks"], ["labels"]]
    assert again["entries"][0] == built["entries"][0]
    cached = run_json("data", "info", "--verify", *cache)
    assert len(cached["entries"]) == 4
    assert all(entry["damage"] is None for entry in cached["entries"])
    assert run_json("data", "clear", "camvid", *cache)["removed"] == []
    assert len(run_json("data", "clear", "street-scenes", *cache)["removed"]) == 4
    assert run_json("data", "info", *cache)["entries"] == []
    assert list(folder.iterdir()) == []


def test_tables(cache: list[str], capsys: pytest.CaptureFixture[str]) -> None:
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


def test_disk_space_is_checked_before_building(
    cache: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images, labels = 4 * 16 * 16, 24 * 32
    needed = 5 * images + 2 * labels
    for free, code in ((needed - 1, 5), (needed, 0)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: shutil._ntuple_diskusage(free, 0, free))
        assert main(["data", "prepare", *SCENES, "--resize", "16", *cache]) == code
        assert (tmp_path / "cache").exists() == (code == 0)
        error = capsys.readouterr().err
        message = "expected 7 kB of disk space for 5 prepared images of street-scenes, train, val, got 7 kB"
        assert (message in error) == (code == 5)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 0))
    assert main(["data", "prepare", *SCENES, "--resize", "16", *cache]) == 0, "all is there already"


def test_damaged_entries(cache: list[str], run_json: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (entry,) = run_json("data", "prepare", *SCENES, "--split", "train", *cache)["entries"]
    path = Path(entry["folder"]) / "images.bin"
    data = bytearray(path.read_bytes())
    data[3] ^= 4
    path.write_bytes(data)
    assert run_json("data", "info", *cache)["entries"][0]["damage"] is None
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
def test_invalid_input(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *arguments]) == 2
    assert message in capsys.readouterr().err
