"""Searches in a study file: valid values and places, and messages for invalid ones."""

from __future__ import annotations

from typing import Any

import pytest

from segmi.study import Study
from segmi.study.search import number_of_trials
from segmi.study.strict_yaml import dump, parse
from segmi.study.study_file import apply_overrides
from segmi.study.validation import validated

RATE = "training.learning_rate={log_uniform: [1e-4, 1e-1], trials: 4}"
TWO = "methods.model-2={networks: {unet: {architecture: unet, width: 2}}, loss: {rmi_loss: {}}}"


def study_of(text: str, *overrides: str) -> Study:
    return validated(apply_overrides(parse(text), overrides))


def test_shared_search_applies_to_every_method(tiny_text: str) -> None:
    study = study_of(tiny_text, RATE, TWO)
    assert {name: [space.name for space in spaces] for name, spaces in study.searches.items()} == {
        "model-1": ["training.learning_rate"],
        "model-2": ["training.learning_rate"],
    }
    assert [number_of_trials(spaces) for spaces in study.searches.values()] == [4, 4]


def test_method_value_replaces_shared_search(tiny_text: str) -> None:
    own = "methods.model-2.training={learning_rate: {grid: [1e-3, 1e-2, 1e-1, 1]}}"
    study = study_of(tiny_text, RATE, TWO, own)
    assert study.searches["model-1"][0].log_uniform == (1e-4, 1e-1)
    assert study.searches["model-2"][0].grid == (1e-3, 1e-2, 1e-1, 1)
    fixed = study_of(tiny_text, RATE, TWO, "methods.model-2.training={learning_rate: 0.1}", "allow_unequal=true")
    assert list(fixed.searches) == ["model-1"]


@pytest.mark.parametrize(
    "overrides",
    [
        [RATE],
        ["methods.model-1.loss={rmi_loss: {radius: {grid: [1, 3]}, bce_weight: {uniform: [0, 1], trials: 3}}}"],
        ["methods.model-1.networks.unet.width={grid: [2, 3]}", "processing.flip={grid: [0.0, 0.5]}"],
        ["training.optimizer_options={weight_decay: {log_uniform: [1e-6, 1e-2], trials: 5}}"],
        ["processing.scale={grid: [[0.5, 2.0], [1.0, 1.0]]}", "training.clip_norm={grid: [null, 1.0]}"],
    ],
)
def test_shown_study_round_trips(tiny_text: str, overrides: list[str]) -> None:
    study = study_of(tiny_text, *overrides)
    assert study.searches
    assert validated(parse(dump(study.plain()))) == study


def test_numbers_of_trials(tiny_text: str) -> None:
    grids = ["training.learning_rate={grid: [1e-3, 1e-2, 1e-1]}", "training.batch_size={grid: [1, 2]}"]
    assert number_of_trials(study_of(tiny_text, *grids).searches["model-1"]) == 6
    assert number_of_trials(study_of(tiny_text, RATE, grids[1]).searches["model-1"]) == 4
    assert number_of_trials([]) == 0


CASES: list[tuple[list[str], str]] = [
    (["training.learning_rate={grid: []}"], "training.learning_rate.grid: expected a list of at least two different"),
    (["training.learning_rate={grid: [1, 1]}"], "a list of at least two different values, got [1, 1] (a list)"),
    (["training.learning_rate={grid: [1, 2], trials: 2}"], "unknown key of a search by grid 'trials'; Known: grid (a"),
    (["training.learning_rate={uniform: [2, 1], trials: 2}"], "the lowest and the highest value, [low, high],"),
    (["training.learning_rate={log_uniform: [0, 1], trials: 2}"], "[low, high] above 0, got [0, 1] (a list)"),
    (["training.learning_rate={uniform: [1, .inf], trials: 2}"], "training.learning_rate.uniform: expected the lowest"),
    (["training.learning_rate={uniform: [1, 2]}"], "training.learning_rate.trials: expected the number of trials"),
    (["training.learning_rate={uniform: [1, 2], trials: 1}"], "a whole number above 1, got 1 (a whole number)"),
    (["training.learning_rate={uniform: [1, 2], trails: 5}"], "unknown key of a search by uniform 'trails', did you"),
    (["training.learning_rate={uniform: [1, 2], grid: [1]}"], "one of grid, uniform, log_uniform, got grid and"),
    (["training.learning_rate={grid: [1e-3, fast]}"], "learning_rate: expected a valid number, got 'fast' (text)"),
    (["training.learning_rate={grid: [1e-3, 0]}"], "training.learning_rate: expected more than 0, got 0"),
    (["training.batch_size={uniform: [1, 4], trials: 2}"], "training.batch_size: expected a valid integer, got 1.0"),
    (["methods.model-1.loss={rmi_loss: {radius: {grid: [3, -1]}}}"], "loss rmi_loss: radius: expected"),
    (["training.steps={grid: [5, 6]}"], "steps cannot be searched for: it decides the cost or the score"),
    (["training.holdout={grid: [0.1, 0.2]}"], "holdout cannot be searched for"),
    (["methods.model-1.networks.unet={architecture: {grid: [unet, smp_fpn]}}"], "architecture cannot be searched for"),
    (["evaluation.batch_size={grid: [2, 4]}"], "evaluation.batch_size: expected a valid integer, got {'grid'"),
    ([RATE, "training.holdout=0", "training.select_by=last"], "is scored on images held out of train; set holdout"),
    ([RATE, "search_seed=0"], "search_seed: 0 is one of the seeds, so settings would be chosen with a reported seed"),
    (
        [RATE, "processing.flip={uniform: [0, 1], trials: 5}"],
        "its searches have different numbers of trials (processing.flip: 5, training.learning_rate: 4)",
    ),
    (
        [RATE, TWO, "methods.model-2.training={learning_rate: 0.1}"],
        "methods: the searches differ (model-1: 4 trials; model-2: no trials)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "message"), CASES, ids=[case[1][:60] for case in CASES])
def test_invalid_searches_are_refused(check: Any, tiny_text: str, overrides: list[str], message: str) -> None:
    refusal = check(tiny_text, *overrides)
    assert message in refusal
    assert refusal.count("\n  - ") == 1 + ("uniform: [1, 4]" in overrides[0])  # where both ends are wrong


def test_grid_works_without_optuna(check: Any, tiny_text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segmi.study.search.find_spec", lambda name: None)
    refusal = check(tiny_text, RATE)
    assert "samples its values with Optuna, which is not installed; pip install 'segmi[sweep]', or use grid" in refusal
    assert study_of(tiny_text, "training.learning_rate={grid: [1e-3, 1e-2]}").searches
