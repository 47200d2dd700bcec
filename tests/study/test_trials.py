"""Searches: the best trial, the records that are kept, and failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segmi.errors import Diverged, EnvironmentProblem, RunError, SegmiError, UsageError
from segmi.records import RunFolder, find_runs, run_lock, write_confusion
from segmi.records.run_folder import trial_name
from segmi.records.study_records import read_selection
from segmi.report import write_report
from segmi.study import DataRoots, Study
from segmi.study.engines import Pool
from segmi.study.run import run_study
from segmi.study.run_config import Run, expand
from segmi.study.status import study_status, to_retry
from segmi.study.strict_yaml import dump, parse
from segmi.study.study_file import apply_overrides
from segmi.study.validation import validated

GRID = "training.learning_rate={grid: [1e-3, 1e-2, 1e-1]}"
RATE = "training.learning_rate={log_uniform: [1e-4, 1e-1], trials: 13}"
TWO = "methods.model-2={networks: {unet: {architecture: unet, width: 2}}, loss: {rmi_loss: {}}}"
CELL = Path("tiny/street-scenes/model-1")


def study_of(text: str, *overrides: str) -> Study:
    return validated(apply_overrides(parse(text), overrides), roots=DataRoots())


class Work:
    """Replacement for training whose score is higher for learning rates closer to the best one."""

    def __init__(self, best: float) -> None:
        self.best = best
        self.done: list[str] = []
        self.rates: dict[str, float] = {}
        self.splits: dict[str, str] = {}
        self.failing: dict[str, BaseException] = {}

    def __call__(self, run: Run, folder: RunFolder, context: Any, **rest: Any) -> None:
        rate = run.config.training.learning_rate
        self.done.append(run.key)
        self.rates[run.key], self.splits[run.key] = rate, run.config.evaluation.split
        if not (folder.path / "config.yaml").exists():
            (folder.path / "config.yaml").write_text(dump(run.config.plain()))
        if run.key in self.failing:
            raise self.failing[run.key]
        write_confusion(folder.confusion_path("unet", "full"), [[[1]]], ["a"], ["a"])
        scores = {"full": {"mIoU": 1 / (1 + abs(rate - self.best))}}
        folder.write_result(
            {
                "networks": {"unet": {"scores": scores}}, "reported_network": "unet", "protocol": "full",
                "dataset": {"name": run.dataset, "title": "Street scenes", "classes": ["a"], "palette": [[0, 0, 0]]},
                "training": {"steps": 6, "images": 12, "wall_seconds": 1.5},
            }
        )  # fmt: skip

    @property
    def trials(self) -> list[str]:
        return [key for key in self.done if "+trial" in key]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    work = Work(best=1e-2)
    monkeypatch.setattr("segmi.study.execute.execute", work)
    return work


def trial(number: int, method: str = "model-1") -> str:
    return f"street-scenes/{trial_name(method, number)}/seed1000"


def test_best_trial_is_trained_with_all_seeds(work: Work, tiny_text: str, tmp_path: Path) -> None:
    outcome = run_study(study_of(tiny_text, GRID, "seeds=[0, 1]"), tmp_path)
    outcome.raise_if_incomplete()
    assert work.done == [*map(trial, range(3)), "street-scenes/model-1/seed0", "street-scenes/model-1/seed1"]
    assert list(work.rates.values()) == [1e-3, 1e-2, 1e-1, 1e-2, 1e-2]
    assert list(work.splits.values()) == ["held-out"] * 3 + ["val"] * 2
    found = read_selection(tmp_path / CELL)
    assert found is not None
    assert (found.winner, found.values, found.network) == (1, {"training.learning_rate": 1e-2}, "unet")
    assert [record.values["training.learning_rate"] for record in found.trials] == [1e-3, 1e-2, 1e-1]
    assert found.trials[1].score == 1.0
    assert {record.steps for record in found.trials} == {6}
    assert RunFolder(tmp_path / CELL / "seed1").config()["selected"] == {"training.learning_rate": 1e-2}


def test_every_method_and_dataset_has_its_own_search(work: Work, tiny_text: str, tmp_path: Path) -> None:
    own = "methods.model-2.training={learning_rate: {grid: [2e-2, 3e-2, 4e-2]}}"
    run_study(study_of(tiny_text, GRID, TWO, own), tmp_path)
    assert work.rates["street-scenes/model-1/seed0"] == 1e-2
    assert work.rates["street-scenes/model-2/seed0"] == 2e-2


def test_first_of_equal_trials_wins(work: Work, tiny_text: str, tmp_path: Path) -> None:
    run_study(study_of(tiny_text, "training.learning_rate={grid: [1.5e-2, 0.5e-2]}"), tmp_path)
    found = read_selection(tmp_path / CELL)
    assert found is not None
    assert (found.trials[0].score, found.winner) == (pytest.approx(found.trials[1].score), 0)


def test_finished_trials_and_selection_are_kept(work: Work, tiny_text: str, tmp_path: Path) -> None:
    import shutil

    study = study_of(tiny_text, GRID)
    run_study(study, tmp_path)
    first, record = list(work.done), (tmp_path / CELL / "selection.json").read_bytes()
    again = run_study(study, tmp_path)
    assert again.skipped == ["street-scenes/model-1/seed0"]
    for number in range(3):
        shutil.rmtree(tmp_path / "tiny/street-scenes" / trial_name("model-1", number))
    run_study(study, tmp_path)
    more = run_study(study_of(tiny_text, GRID, "seeds=[0, 1]"), tmp_path)
    assert more.finished == ["street-scenes/model-1/seed1"]
    assert work.done == [*first, "street-scenes/model-1/seed1"]
    assert (tmp_path / CELL / "selection.json").read_bytes() == record


def test_interrupted_search_has_same_result(work: Work, tiny_text: str, tmp_path: Path) -> None:
    """The last three of thirteen trials depend on the scores of earlier trials."""
    study = study_of(tiny_text, RATE)
    run_study(study, tmp_path / "straight")
    for stop in (trial(4), trial(10), trial(12)):
        work.failing = {stop: KeyboardInterrupt()}
        with pytest.raises(SegmiError):
            run_study(study, tmp_path / "stopped")
    work.failing = {}
    run_study(study, tmp_path / "stopped")
    one, other = ((tmp_path / name / CELL / "selection.json").read_bytes() for name in ("straight", "stopped"))
    assert one == other
    assert work.done.count(trial(3)) == 2
    assert len({work.rates[trial(number)] for number in range(13)}) == 13


def test_diverged_trial_is_not_a_failure(work: Work, tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text, GRID)
    work.failing[trial(1)] = Diverged("the loss is not finite at step 3", "lower the learning rate")
    run_study(study, tmp_path).raise_if_incomplete()
    found = read_selection(tmp_path / CELL)
    assert found is not None
    assert (found.winner, found.trials[1].score) == (0, None)
    assert found.trials[1].failure == "the loss is not finite at step 3"
    run_study(study, tmp_path)
    assert work.done.count(trial(1)) == 1


def test_failed_trial_keeps_runs_waiting(work: Work, tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text, GRID, "seeds=[0, 1]")
    work.failing[trial(1)] = RunError("out of memory", "use smaller batches")
    outcome = run_study(study, tmp_path)
    assert outcome.waiting == ["street-scenes/model-1/seed0", "street-scenes/model-1/seed1"]
    message = r"1 of 5 runs failed, 2 waiting for other runs:\n(.|\n)*trial1.*out of memory"
    with pytest.raises(SegmiError, match=message):
        outcome.raise_if_incomplete()
    again = to_retry(study_status(study, tmp_path), expand(study))
    assert again == outcome.waiting
    work.failing.clear()
    run_study(study, tmp_path, only=again).raise_if_incomplete()
    assert work.done.count(trial(0)) == 1
    assert work.rates["street-scenes/model-1/seed1"] == 1e-2


def test_runs_fail_if_all_trials_diverge(work: Work, tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text, GRID)
    work.failing = {trial(number): Diverged(f"not finite at step {number}") for number in range(3)}
    with pytest.raises(SegmiError, match=r"none of the 3 trials of (.*) has a score; the last"):
        run_study(study, tmp_path).raise_if_incomplete()
    assert {row.run: row.state for row in study_status(study, tmp_path)}["street-scenes/model-1/seed0"] == "failed"
    with pytest.raises(SegmiError, match="not finite at step 2"):
        run_study(study, tmp_path).raise_if_incomplete()


def test_runs_wait_for_trial_of_another_process(work: Work, tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text, GRID)
    with run_lock(tmp_path / "tiny" / trial(2)):
        outcome = run_study(study, tmp_path)
    with pytest.raises(EnvironmentProblem, match="1 of 4 runs belong to another process, 1 waiting for other runs"):
        outcome.raise_if_incomplete()
    assert not (tmp_path / CELL / "selection.json").exists()


@pytest.mark.parametrize("trials_there", [True, False])
def test_trials_of_another_configuration_are_refused(
    work: Work, tiny_text: str, tmp_path: Path, trials_there: bool
) -> None:
    import shutil

    run_study(study_of(tiny_text, GRID), tmp_path)
    before = (tmp_path / CELL / "selection.json").read_bytes()
    if not trials_there:
        for number in range(3):
            shutil.rmtree(tmp_path / "tiny/street-scenes" / trial_name("model-1", number))
        shutil.rmtree(tmp_path / CELL / "seed0")
        run_study(study_of(tiny_text, GRID, "training.batch_size=1"), tmp_path)  # no run depends on the selection
        assert (tmp_path / CELL / "selection.json").read_bytes() != before
        return
    with pytest.raises(UsageError, match=r"training\.batch_size was 2, is now 1"):
        run_study(study_of(tiny_text, GRID, "training.batch_size=1"), tmp_path)
    assert (tmp_path / CELL / "selection.json").read_bytes() == before
    assert len(work.done) == 4


def test_additional_trials_keep_existing_ones(work: Work, tiny_text: str, tmp_path: Path) -> None:
    few = "training.learning_rate={log_uniform: [1e-4, 1e-1], trials: 2}"
    run_study(study_of(tiny_text, few), tmp_path)
    before = dict(work.rates)
    with pytest.raises(UsageError, match=r"training\.learning_rate was"):  # the run is there, and another trial has won
        run_study(study_of(tiny_text, RATE), tmp_path)
    assert all(work.rates[trial(number)] == before[trial(number)] for number in range(2))
    assert len(work.trials) == 13


def test_overwrite_of_all_runs_restarts_search(work: Work, tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text, GRID, "seeds=[0, 1]")
    run_study(study, tmp_path)
    work.best = 1e-3
    run_study(study, tmp_path, overwrite=True, only=["*/seed1"])
    assert (len(work.trials), work.rates["street-scenes/model-1/seed1"]) == (3, 1e-2)
    run_study(study, tmp_path, overwrite=True)
    assert (len(work.trials), work.rates["street-scenes/model-1/seed1"]) == (6, 1e-3)
    found = read_selection(tmp_path / CELL)
    assert found is not None
    assert found.winner == 0


def test_only_runs_searches_of_selected_runs(work: Work, tiny_text: str, tmp_path: Path) -> None:
    run_study(study_of(tiny_text, GRID, TWO), tmp_path, only=["*/model-2/*"])
    assert work.done == [*(trial(number, "model-2") for number in range(3)), "street-scenes/model-2/seed0"]


def test_status_and_report_list_trials(work: Work, tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text, GRID)
    assert [row.state for row in study_status(study, tmp_path)] == ["pending"] * 4
    work.failing[trial(2)] = Diverged("no number")
    run_study(study, tmp_path)
    rows = study_status(study, tmp_path)
    assert [row.run for row in rows] == [*map(trial, range(3)), "street-scenes/model-1/seed0"]
    assert [row.state for row in rows] == ["finished", "finished", "diverged", "finished"]
    assert rows[1].score == 1.0
    assert [run.key.method for run in find_runs(tmp_path)] == ["model-1"]
    page = (write_report(tmp_path / "tiny") / "report.md").read_text().replace("\\", "")
    assert "Search for settings" in page
    assert "training.learning_rate 0.01, selected by trial 1 of 3" in page
    assert "0.9911, 1.0000, diverged" in page
    assert "12 steps, 24 images seen, 3 s" in page


def test_damaged_selection_is_reported(work: Work, tiny_text: str, tmp_path: Path) -> None:
    run_study(study_of(tiny_text, GRID), tmp_path)
    path = tmp_path / CELL / "selection.json"
    path.write_text(json.dumps({"schema_version": 1, "trials": []}))
    with pytest.raises(SegmiError, match=r"selection\.json is damaged: it is not a selection"):
        run_study(study_of(tiny_text, GRID), tmp_path)


@pytest.mark.slow
def test_real_trials_use_train_only(tiny_text: str, tmp_path: Path) -> None:
    """Trials are scored on held-out training images, and a pool selects the same values as one process."""
    search = "training.learning_rate={log_uniform: [1e-3, 1e-1], trials: 2}"
    study = study_of(tiny_text, search, "training.precision=fp32")
    run_study(study, tmp_path / "one").raise_if_incomplete()
    run_study(study, tmp_path / "pool", engine=Pool(jobs=2)).raise_if_incomplete()
    folder = RunFolder(tmp_path / "one/tiny" / trial(0))
    names = set(folder.confusion("unet", "full").names)
    train = {sample.name for sample in _dataset(study).split("train")}
    assert names < train
    assert len(names) == 2
    assert not names & set(RunFolder(tmp_path / "one" / CELL / "seed0").confusion("unet", "full").names)
    kept: Callable[[str], dict[str, Any]] = lambda name: _untimed(tmp_path / name / CELL / "selection.json")  # noqa: E731
    assert kept("one") == kept("pool")
    weights = [(tmp_path / n / CELL / "seed0/bundles/unet/model.safetensors").read_bytes() for n in ("one", "pool")]
    assert weights[0] == weights[1]


def _dataset(study: Study) -> Any:
    from segmi.study.components import open_data

    return open_data("street-scenes", study.datasets["street-scenes"], DataRoots())


def _untimed(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    return {**record, "trials": [{**one, "wall_seconds": None} for one in record["trials"]]}
