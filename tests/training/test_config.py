"""The configs of `fit` and their construction from one flat mapping."""

from __future__ import annotations

from dataclasses import fields

import pytest

from segmi.errors import UsageError
from segmi.training.config import TRAINING_CONFIGS, Budget, LoggingConfig, OptimizationConfig, training_configs


def test_flat_options_are_divided_among_the_configs() -> None:
    configs = training_configs({"epochs": 3, "learning_rate": 0.1, "threads": 2, "select_by": "last"})
    assert configs["budget"] == Budget(epochs=3)
    assert configs["optimization"] == OptimizationConfig(learning_rate=0.1)
    assert configs["runtime"].threads == 2
    assert configs["logging"] == LoggingConfig(select_by="last")


def test_each_option_belongs_to_one_config() -> None:
    names = [field.name for config in TRAINING_CONFIGS for field in fields(config)]
    assert len(names) == len(set(names))


def test_each_field_is_documented() -> None:
    for config in TRAINING_CONFIGS:
        for field in fields(config):
            assert f"\n        {field.name}: " in str(config.__doc__)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown training option 'learn_rate'"):
        training_configs({"steps": 3, "learn_rate": 0.1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "got none of them"),
        ({"steps": 3, "epochs": 1}, "got steps = 3 and epochs = 1"),
        ({"minutes": 0}, "more than 0, got minutes = 0"),
    ],
)
def test_a_budget_has_exactly_one_positive_unit(options: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Budget(**options)
