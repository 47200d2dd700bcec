from __future__ import annotations

from pathlib import Path

import pytest

from segmi.datasets.holdout import hold_out
from segmi.datasets.reader import Sample
from segmi.errors import UsageError


def samples(groups: dict[str, int]) -> list[Sample]:
    return [Sample(Path("i"), Path("m"), f"{g}-{i:03d}", g) for g, count in groups.items() for i in range(count)]


def test_with_many_groups_whole_groups_are_held_out():
    everything = samples({f"city{i}": 10 for i in range(10)})
    kept, held = hold_out(everything, 0.2, seed=0)
    assert len(held) == 20
    assert not {s.group for s in kept} & {s.group for s in held}
    assert sorted(kept + held) == sorted(everything)
    assert {s.group for s in hold_out(everything, 0.2, seed=1)[1]} != {s.group for s in held}
    assert hold_out(everything, 0.2, seed=0)[1] == held


def test_with_few_groups_the_end_of_each_is_held_out():
    kept, held = hold_out(samples({"a": 20, "b": 10}), 0.1)
    assert [s.name for s in held] == ["a-018", "a-019", "b-009"]
    assert len(kept) == 27


def test_ungrouped_images_are_held_out_individually():
    _, held = hold_out(samples({f"p{i}": 1 for i in range(50)}), 0.1)
    assert len(held) == 5


def test_at_least_one_image_is_held_out_and_one_remains():
    kept, held = hold_out(samples({"a": 2}), 0.01)
    assert (len(kept), len(held)) == (1, 1)


@pytest.mark.parametrize(("count", "fraction"), [(1, 0.5), (0, 0.5), (10, 0.0), (10, 1.0)])
def test_invalid_arguments(count, fraction):
    with pytest.raises(UsageError):
        hold_out(samples({"a": count}), fraction)
