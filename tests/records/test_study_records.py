"""Recorded and guessed plans of a study."""

from __future__ import annotations

from pathlib import Path

import pytest

from segmi.errors import DataError
from segmi.records import Plan, RunFolder, RunKey, guess_plan, read_plan, write_plan


def test_round_trip_keeps_the_order(tmp_path: Path) -> None:
    plan = Plan("demo", {"z": "Z", "a": "A"}, {"m-2": "M 2", "m-1": "M 1"}, [1, 0], "paper", "segmi study run x.yaml")
    write_plan(tmp_path, plan)
    back = read_plan(tmp_path)
    assert back == plan
    assert back is not None
    assert [tuple(key) for key in back.grid()][:3] == [
        ("demo", "z", "m-2", 1),
        ("demo", "z", "m-2", 0),
        ("demo", "z", "m-1", 1),
    ]
    assert read_plan(tmp_path / "other") is None


@pytest.mark.parametrize("content", ["{", '{"schema_version": 1, "study": "x"}'])
def test_damage_is_explained(tmp_path: Path, content: str) -> None:
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(DataError, match=r"plan\.json is damaged"):
        read_plan(tmp_path)


def test_the_guessed_plan_is_the_smallest_grid(tmp_path: Path) -> None:
    runs = [RunFolder.of(tmp_path, RunKey("s", *key)) for key in (("a", "m", 0), ("b", "n", 1))]
    assert len(guess_plan("s", runs).grid()) == 8
