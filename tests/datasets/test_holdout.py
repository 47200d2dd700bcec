from __future__ import annotations

from pathlib import Path

import pytest

from segmi.datasets.holdout import draw_subset, hold_out
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


def test_a_subset_has_whole_groups_and_differs_by_seed():
    everything = samples({f"city{i}": 10 for i in range(10)})
    drawn = {seed: draw_subset(everything, 0.8, seed) for seed in range(5)}
    for part in drawn.values():
        assert len(part) == 80
        assert part == [sample for sample in everything if sample in part]
        assert all(sum(sample.group == f"city{i}" for sample in part) in (0, 10) for i in range(10))
    assert len({tuple(part) for part in drawn.values()}) > 1
    assert draw_subset(everything, 0.8, 3) == drawn[3]


def test_a_subset_of_few_groups_is_a_contiguous_part_of_each():
    everything = samples({"a": 20, "b": 10})
    parts = [draw_subset(everything, 0.6, seed) for seed in range(8)]
    for part in parts:
        for group, count in (("a", 12), ("b", 6)):
            numbers = [int(sample.name.split("-")[1]) for sample in part if sample.group == group]
            assert numbers == list(range(numbers[0], numbers[0] + count))
    assert len({part[0] for part in parts}) > 1


def test_a_subset_of_unequal_groups_is_the_nearest():
    everything = samples({"a": 50, "b": 2, "c": 2, "d": 2, "e": 2})
    assert {len(draw_subset(everything, 0.5, seed)) for seed in range(20)} == {8, 50, 52, 54}
    assert draw_subset(samples({"a": 1}), 0.1, 0) == samples({"a": 1})
