"""Values of trials: all combinations of grids, evenly spread over ranges, then concentrated near high scores."""

from __future__ import annotations

import math
import statistics

import pytest

from segmi.study.search import Space
from segmi.study.trials import SPREAD, depends_on_scores, suggest

RATE = Space(path=("training", "learning_rate"), log_uniform=(1e-5, 1e-1), trials=20)
WIDTH = Space(path=("networks", "unet", "width"), grid=(2, 4, 8))
FLIP = Space(path=("processing", "flip"), uniform=(0.0, 1.0), trials=20)


def test_grids_try_every_combination() -> None:
    batch = Space(path=("training", "batch_size"), grid=(1, 2))
    tried = [tuple(suggest([WIDTH, batch], number, [], 0).values()) for number in range(6)]
    assert tried == [(2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2)]
    assert not depends_on_scores([WIDTH, batch], 100)


@pytest.mark.parametrize("seed", [0, 1, 1000])
def test_first_trials_cover_the_range(seed: int) -> None:
    """Eight points of a scrambled Sobol sequence cover at least seven eighths of the range."""
    places = [(math.log10(suggest([RATE], n, [], seed)["training.learning_rate"]) + 5) / 4 for n in range(8)]
    assert all(0 <= path <= 1 for path in places)
    assert len({int(8 * path) for path in places}) >= 7


def test_first_trials_depend_on_number_and_seed_only() -> None:
    first = suggest([RATE, WIDTH, FLIP], 3, [], 5)
    assert first == suggest([RATE, WIDTH, FLIP], 3, [({}, 0.9)], 5)
    assert first != suggest([RATE, WIDTH, FLIP], 3, [], 6)
    assert first != suggest([RATE, WIDTH, FLIP], 4, [], 5)
    assert first["networks.unet.width"] in (2, 4, 8)


def test_later_trials_concentrate_near_high_scores() -> None:
    """The best rate is 1e-3, the best width 8; three trials of each of six searches end without a score."""
    early, late, wide = [], [], []
    for seed in range(6):
        tried: list[tuple[dict[str, float], float | None]] = []
        for number in range(24):
            values = suggest([RATE, WIDTH], number, tried, seed)
            away = abs(math.log10(values["training.learning_rate"]) + 3)
            score = 0.5 - 0.1 * away + 0.02 * values["networks.unet.width"]
            tried.append((values, None if number in (2, 5) else math.nan if number == 7 else score))
            (late if depends_on_scores([RATE, WIDTH], number) else early).append(away)
            wide += [values["networks.unet.width"] == 8] if number >= SPREAD else []
        assert suggest([RATE, WIDTH], 23, tried[:23], seed) == tried[23][0]
    assert statistics.mean(late) < 0.85 * statistics.mean(early)
    assert sum(wide) > len(wide) / 2  # a third by chance


def test_trial_is_suggested_without_scores() -> None:
    tried = [(suggest([RATE], number, [], 1), None) for number in range(SPREAD)]
    assert 1e-5 <= suggest([RATE], SPREAD, tried, 1)["training.learning_rate"] <= 1e-1
