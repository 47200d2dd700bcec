from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest

from segmi.study.binding import arguments, bind
from segmi.study.problems import Problems
from segmi.study.strict_yaml import Document


def target(
    built: object, *, size: int = 3, rate: float = 0.5, mode: Literal["a", "b"] = "a",
    pair: tuple[float, float] = (1.0, 1.0), names: Sequence[str] = (), limit: int | None = None,
    callback: Any = None,
) -> None:  # fmt: skip
    """Function whose options are checked."""


def open_ended(*, size: int = 3, **options: Any) -> None:
    """Function with arbitrary keyword arguments."""


def bound(options: Any, function: Any = target, **more: Any) -> tuple[dict[str, Any], list[str]]:
    problems = Problems(Document({}, "s.yaml"))
    result = bind(function, options, ("training",), problems, leave_out=("built", "callback"), **more)
    return result, [str(problem) for problem in problems.found]


def test_defaults_come_from_the_signature() -> None:
    result, problems = bound({"size": 5})
    assert not problems
    assert result == {"size": 5, "rate": 0.5, "mode": "a", "pair": [1.0, 1.0], "names": [], "limit": None}


def test_none_means_no_options() -> None:
    assert bound(None)[0]["size"] == 3


def test_integers_are_valid_floats_and_lists_valid_tuples() -> None:
    result, problems = bound({"rate": 1, "pair": [1, 2], "names": ["x"]})
    assert not problems
    assert arguments(target, result, ("built", "callback"))["pair"] == (1.0, 2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "5"}, "training.size: expected a valid integer, got '5' (text)"),
        ({"size": True}, "training.size: expected a valid integer, got True (true or false)"),
        ({"size": 1.5}, "training.size: expected a valid integer, got 1.5 (a number)"),
        ({"size": None}, "training.size: expected a valid integer, got nothing"),
        ({"limit": "many"}, "training.limit: expected a valid integer, got 'many' (text)"),
        ({"mode": "c"}, "training.mode: expected 'a' or 'b', got 'c' (text)"),
        ({"pair": [1]}, "training.pair.1: is missing"),
        ({"pair": [1, "x"]}, "training.pair.1: expected a valid number, got 'x' (text)"),
        ({"sise": 5}, "training.sise: unknown key 'sise', did you mean 'size'? Known: limit, mode, names"),
        ({"built": 5}, "training.built: unknown key 'built'"),
        ([1], "training: expected options by name, got [1] (a list)"),
    ],
)
def test_invalid_options_are_reported(options: Any, message: str) -> None:
    _, problems = bound(options)
    assert len(problems) == 1
    assert message in problems[0]


def test_all_invalid_options_are_reported_at_once() -> None:
    assert len(bound({"size": "x", "mode": "c", "other": 1})[1]) == 3


def test_extra_options_are_accepted() -> None:
    result, problems = bound({"holdout": 0.5}, extra={"holdout": (float, 0.0)})
    assert not problems
    assert result["holdout"] == 0.5


def test_keyword_arguments_accept_any_option() -> None:
    result, problems = bound({"depth": 4}, open_ended)
    assert not problems
    assert result == {"size": 3, "depth": 4}
    assert arguments(open_ended, result) == {"size": 3, "depth": 4}
