"""The answer in words, from differences that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from segmi.report.answer import answer
from segmi.statistics import collect


@pytest.fixture
def told(fabricate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """The statements of a study in which Models 2 and 3 gain so much on street scenes, seed by seed."""

    def tell(second: tuple[float, ...], third: tuple[float, ...]) -> Any:
        made = fabricate(seeds=tuple(range(len(second))))
        gains = {0: (0.0,) * len(second), 1: second, 2: third}
        monkeypatch.setattr(made, "miou", lambda d, m, s: 0.3 + (gains[m][s] if d == 0 else 0.0))
        return answer(collect(made.all())[0])

    return tell


def test_better_worse_and_neither(told: Callable[..., Any]) -> None:
    found = told((0.100, 0.101, 0.102), (-0.1, 0.1, 0.02))
    assert found.headline == (
        "Compared with Model 1: better: Model 2 on Street scenes. Nothing else could be told apart."
    )
    assert found.preliminary == ""
    first, second = dict(found.by_dataset())["Street scenes"]
    assert (first.kind, second.kind) == ("better", "same")
    assert first.details == "+0.101 mIoU, 95 % interval +0.099 to +0.103, 3 seeds"


def test_an_interval_that_leaves_out_0_alone_is_explained(told: Callable[..., Any]) -> None:
    # Mean 0.06, sd 0.02: t = 5.196 with 2 degrees of freedom, p = 0.035; Holm doubles it, two are tested.
    one = told((0.04, 0.06, 0.08), (-0.1, 0.1, 0.02)).statements[0]
    assert one.verdict == "not distinguishable"
    assert one.interval[0] > 0
    assert one.details == (
        "+0.060 mIoU, 95 % interval +0.010 to +0.110, 3 seeds; by itself the interval leaves out 0, "
        "among 2 comparisons p is 0.07 (Holm)"
    )


def test_one_seed_says_nothing(told: Callable[..., Any]) -> None:
    found = told((0.2,), (-0.2,))
    assert found.headline == "With one seed each, nothing can be said about the differences to Model 1: add seeds."
    assert {one.kind for one in found.statements} == {"none"}
