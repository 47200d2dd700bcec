"""Searches by successive halving: budgets of the rungs, promoted trials, interruption, and the recorded cost."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from segmi.errors import Diverged, SegmiError
from segmi.records import RunFolder, write_confusion
from segmi.records.run_folder import trial_name
from segmi.records.study_records import read_selection
from segmi.report import write_report
from segmi.study import DataRoots, Study
from segmi.study.run import run_study
from segmi.study.run_config import Run
from segmi.study.search import Space, rung_sizes
from segmi.study.status import study_status
from segmi.study.strict_yaml import dump, parse
from segmi.study.study_file import apply_overrides
from segmi.study.trials import shortened
from segmi.study.validation import validated

RUNGS = (
    "training.learning_rate={log_uniform: [1e-4, 1e-1], trials: 9}",
    "search_rungs=[0.1, 0.3]",
    "training.steps=60",
)
TWO = "methods.model-2={networks: {unet: {architecture: unet, width: 2}}, loss: {rmi_loss: {}}}"
CELL = Path("tiny/street-scenes/model-1")


def study_of(text: str, *overrides: str) -> Study:
    return validated(apply_overrides(parse(text), overrides), roots=DataRoots())


def trial(number: int, method: str = "model-1") -> str:
    return f"street-scenes/{trial_name(method, number)}/seed1000"


class Work:
    """Replacement for training. Short runs are better with high learning rates, long runs with low ones."""

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}
        self.steps: dict[str, int | None] = {}
        self.failing: dict[str, BaseException] = {}

    def __call__(self, run: Run, folder: RunFolder, context: Any, **rest: Any) -> None:
        rate, steps = run.config.training.learning_rate, run.config.training.steps
        self.rates[run.key], self.steps[run.key] = rate, steps
        if not (folder.path / "config.yaml").exists():
            (folder.path / "config.yaml").write_text(dump(run.config.plain()))
        if run.key in self.failing:
            raise self.failing[run.key]
        write_confusion(folder.confusion_path("unet", "full"), [[[1]]], ["a"], ["a"])
        folder.write_result(
            {
                "networks": {"unet": {"scores": {"full": {"mIoU": rate if steps == 6 else 1 - rate}}}},
                "reported_network": "unet", "protocol": "full",
                "dataset": {"name": run.dataset, "title": "Street scenes", "classes": ["a"], "palette": [[0, 0, 0]]},
                "training": {"steps": steps, "images": 2 * (steps or 0), "wall_seconds": 1.5},
            }
        )  # fmt: skip


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    work = Work()
    monkeypatch.setattr("segmi.study.execute.execute", work)
    return work


def test_best_trials_start_again_with_more_steps(work: Work, tiny_text: str, tmp_path: Path) -> None:
    outcome = run_study(study_of(tiny_text, *RUNGS, "seeds=[0, 1]"), tmp_path)
    outcome.raise_if_incomplete()
    first, second = [trial(n) for n in range(9)], [trial(n) for n in range(9, 12)]
    assert [work.steps[key] for key in first + second] == [6] * 9 + [18] * 3
    best = sorted((work.rates[key] for key in first), reverse=True)[:3]
    assert [work.rates[key] for key in second] == best
    # The last rung decides, although a score of the first one may be higher: there, the lowest rate is best.
    selection = read_selection(tmp_path / CELL)
    assert selection is not None
    assert (selection.winner, selection.values) == (11, {"training.learning_rate": best[-1]})
    assert (work.rates["street-scenes/model-1/seed1"], work.steps["street-scenes/model-1/seed1"]) == (best[-1], 60)
    assert selection.steps == 9 * 6 + 3 * 18
    assert outcome.searches == {"street-scenes/model-1": selection}


def test_all_methods_spend_the_same_steps(work: Work, tiny_text: str, tmp_path: Path) -> None:
    work.failing[trial(0)] = Diverged("no number")
    outcome = run_study(study_of(tiny_text, *RUNGS, TWO), tmp_path)
    trials = {m: [work.steps[trial(n, m)] for n in range(12)] for m in ("model-1", "model-2")}
    assert trials["model-1"] == trials["model-2"]
    assert {cell: s.steps for cell, s in outcome.searches.items()} == {
        "street-scenes/model-1": 102, "street-scenes/model-2": 108,  # the diverged trial has no record of its steps
    }  # fmt: skip
    assert work.rates[trial(0)] not in {work.rates[trial(n)] for n in range(9, 12)}


def test_killed_search_continues_exactly(work: Work, tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text, *RUNGS)
    run_study(study, tmp_path / "straight")
    for stop in (4, 8, 10):
        work.failing = {trial(stop): KeyboardInterrupt()}
        with pytest.raises(SegmiError):
            run_study(study, tmp_path / "stopped")
    work.failing = {}
    run_study(study, tmp_path / "stopped")
    one, other = ((tmp_path / name / CELL / "selection.json").read_bytes() for name in ("straight", "stopped"))
    assert one == other


def test_other_rungs_are_another_search(work: Work, tiny_text: str, tmp_path: Path) -> None:
    run_study(study_of(tiny_text, *RUNGS), tmp_path)
    with pytest.raises(SegmiError, match=r"training\.steps was 6, is now 12"):
        run_study(study_of(tiny_text, *RUNGS, "search_rungs=[0.2, 0.6]"), tmp_path)


def test_report_and_status_list_all_rungs(work: Work, tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text, *RUNGS)
    assert len(study_status(study, tmp_path)) == 9 + 3 + 1
    run_study(study, tmp_path)
    page = (write_report(tmp_path / "tiny") / "report.md").read_text().replace("\\", "")
    assert "by trial 11 of 12: 9 with 10 % of the budget, then 3 with 30 %, numbered from 0" in page
    assert "108 steps" in page


def test_later_trials_of_the_first_rung_use_scores_of_that_rung_only(
    work: Work, tiny_text: str, tmp_path: Path
) -> None:
    many = RUNGS[0].replace("9", "13")
    run_study(study_of(tiny_text, many, *RUNGS[1:]), tmp_path)
    assert [steps for steps in work.steps.values() if steps != 60] == [6] * 13 + [18] * 4
    assert max(work.rates[trial(n)] for n in range(10, 13)) > 0.02  # samples near the best rate of the first rung


@pytest.mark.parametrize(
    ("trials", "rungs", "sizes"),
    [(9, [0.1, 0.3, 0.9], [9, 3, 1]), (8, [0.25], [8]), (6, [0.2, 0.4, 0.8], [6, 3, 1]), (2, [0.01, 1.0], [2, 1])],
)
def test_rungs_cost_the_same(trials: int, rungs: list[float], sizes: list[int]) -> None:
    rate = Space(path=("training", "learning_rate"), log_uniform=(1e-4, 1e-2), trials=trials)
    assert rung_sizes([rate], rungs) == sizes
    assert all(a <= b for b, a in itertools.pairwise(sizes))


def test_budgets_warm_up_and_sequences_are_shortened() -> None:
    parts = [{"name": "LinearLR", "steps": 50}, {"name": "PolynomialLR", "power": 0.9}]
    short = shortened({"epochs": 7, "warmup_steps": 20, "schedule": parts}, 0.1)
    assert short == {"epochs": 1, "warmup_steps": 2, "schedule": [{**parts[0], "steps": 5}, parts[1]]}
    assert shortened({"minutes": 3.0, "schedule": "constant"}, 0.5) == {"minutes": 1.5}
    assert parts[0]["steps"] == 50


@pytest.mark.parametrize(
    ("rungs", "message"),
    [
        ("[0.3, 0.1]", "search_rungs: expected increasing fractions, got [0.3, 0.1]"),
        ("[0.3, 0.3]", "search_rungs: expected increasing fractions"),
        ("[0.0]", "search_rungs.0: expected"),
        ("[0.5, 2]", "search_rungs.1: expected"),
        ("[]", "search_rungs: expected"),
    ],
)
def test_invalid_rungs_are_refused(check: Any, tiny_text: str, rungs: str, message: str) -> None:
    assert message in check(tiny_text, RUNGS[0], f"search_rungs={rungs}")
