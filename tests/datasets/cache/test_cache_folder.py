"""Where the cache is, and its removal."""

from __future__ import annotations

from pathlib import Path

import pytest

from segmi.datasets import open_dataset
from segmi.datasets.cache import IMAGES, cache_folder, clear, entries, entry_key, prepare
from segmi.records import run_lock


def test_option_before_variable_before_user_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGMI_CACHE", str(tmp_path / "variable"))
    assert cache_folder(tmp_path / "given") == tmp_path / "given" / "images"
    assert cache_folder() == tmp_path / "variable" / "images"
    assert cache_folder("none") is None
    monkeypatch.setenv("SEGMI_CACHE", "none")
    assert cache_folder() is None
    assert cache_folder(tmp_path) == tmp_path / "images"
    monkeypatch.delenv("SEGMI_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "segmi" / "images"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "segmi" / "images"
    assert cache_folder("~/x") == tmp_path / "x" / "images"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "segmi" / "images"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local" / "segmi" / "Cache" / "images"


@pytest.fixture
def filled(make, tmp_path) -> Path:
    root = tmp_path / "cache"
    for name in ("camvid", "folder"):
        dataset = open_dataset(name, make(name))
        samples = dataset.split("train")
        key = entry_key(dataset, "train", samples, IMAGES, resize=6)
        assert key is not None
        prepare(root, dataset, samples, key)
    return root


def test_entries_and_their_removal(filled):
    assert [(entry.dataset, entry.images, entry.resize) for entry in entries(filled)] == [
        ("camvid", 2, 6),
        ("folder", 5, 6),
    ]
    removed, left = clear(filled, "camvid")
    assert [entry.dataset for entry in removed] == ["camvid"]
    assert left == []
    assert [entry.dataset for entry in entries(filled)] == ["folder"]
    assert entries(filled / "nowhere") == []
    assert clear(filled / "nowhere") == ([], [])


def test_entries_being_built_are_not_removed(filled):
    slot = entries(filled)[0].folder.parent
    with run_lock(slot):
        removed, left = clear(filled)
    assert [entry.dataset for entry in removed] == ["folder"]
    assert len(left) == 1
    assert f"{slot} is being built by process " in left[0]


def test_clear_removes_files_of_killed_builders(filled):
    slot = entries(filled)[0].folder.parent
    (slot / ".segmi-partial-999999999-0-ab").mkdir()
    clear(filled)
    assert list(filled.iterdir()) == []


def test_damage_is_reported(filled):
    (entries(filled)[0].folder / "manifest.json").write_text("{")
    damaged, sound = entries(filled)
    assert (damaged.dataset, damaged.split, damaged.damage) == ("camvid", "train", "manifest.json is damaged")
    assert sound.damage is None
    assert damaged.as_dict()["folder"] == str(damaged.folder)
