"""Summary in words, from differences computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from segmi.report.summary import summarize_study
from segmi.statistics import collect


@pytest.fixture
def summarize(fabricate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Returns the summary of a study from the gains of Models 2 and 3 on street scenes by seed."""

    def of_gains(second: tuple[float, ...], third: tuple[float, ...]) -> Any:
        made = fabricate(seeds=tuple(range(len(second))))
        gains = {0: (0.0,) * len(second), 1: second, 2: third}
        monkeypatch.setattr(made, "miou", lambda d, m, s: 0.3 + (gains[m][s] if d == 0 else 0.0))
        return summarize_study(collect(made.all())[0])

    return of_gains


def test_better_and_not_distinguishable(summarize: Callable[..., Any]) -> None:
    summary = summarize((0.100, 0.101, 0.102), (-0.1, 0.1, 0.02))
    assert summary.headline == (
        "Better than Model 1: Model 2 on Street scenes. No other difference is distinguishable."
    )
    assert summary.preliminary == ""
    first, second = dict(summary.by_dataset())["Street scenes"]
    assert (first.kind, second.kind) == ("better", "same")
    assert first.details == "+0.101 mIoU, 95 % interval +0.099 to +0.103, 3 seeds"


def test_an_unadjusted_interval_that_excludes_0_is_explained(summarize: Callable[..., Any]) -> None:
    # Mean 0.06, sd 0.02: t = 5.196 with 2 degrees of freedom, p = 0.035; Holm doubles it, two are tested.
    one = summarize((0.04, 0.06, 0.08), (-0.1, 0.1, 0.02)).statements[0]
    assert one.verdict == "not distinguishable"
    assert one.interval[0] > 0
    assert one.details == (
        "+0.060 mIoU, 95 % interval +0.010 to +0.110, 3 seeds; the unadjusted interval excludes 0, but "
        "among 2 comparisons p = 0.07 (Holm)"
    )


def test_one_seed_gives_no_comparison(summarize: Callable[..., Any]) -> None:
    summary = summarize((0.2,), (-0.2,))
    assert summary.headline == "One seed: no statistical comparison with Model 1 is possible. Add seeds."
    assert {one.kind for one in summary.statements} == {"none"}
