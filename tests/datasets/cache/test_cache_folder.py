"""Where the cache is, and its removal."""

from __future__ import annotations

from pathlib import Path

import pytest

from segmi.datasets import open_dataset
from segmi.datasets.cache import IMAGES, cache_folder, clear, entries, entry_key, prepare
from segmi.records import run_lock


def test_the_option_wins_then_the_variable_then_the_users_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGMI_CACHE", str(tmp_path / "said"))
    assert cache_folder(tmp_path / "given") == tmp_path / "given" / "images"
    assert cache_folder() == tmp_path / "said" / "images"
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
        content = entry_key(dataset, "train", samples, IMAGES, resize=6)
        assert content is not None
        prepare(root, dataset, samples, content)
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


def test_what_is_being_built_is_left_alone(filled):
    slot = entries(filled)[0].folder.parent
    with run_lock(slot):
        removed, left = clear(filled)
    assert [entry.dataset for entry in removed] == ["folder"]
    assert len(left) == 1
    assert f"{slot} is being built by process " in left[0]


def test_clear_takes_what_killed_builders_left(filled):
    slot = entries(filled)[0].folder.parent
    (slot / ".segmi-partial-999999999-0-ab").mkdir()
    clear(filled)
    assert list(filled.iterdir()) == []


def test_damage_is_part_of_what_is_known(filled):
    (entries(filled)[0].folder / "manifest.json").write_text("{")
    damaged, sound = entries(filled)
    assert (damaged.dataset, damaged.split, damaged.damage) == ("camvid", "train", "manifest.json is damaged")
    assert sound.damage is None
    assert damaged.as_dict()["folder"] == str(damaged.folder)
