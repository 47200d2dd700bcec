"""docs/answer.md follows from its records: rules on made-up records with known numbers, and the committed page."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segmi.errors import Diverged, UsageError
from segmi.records import RunFolder, RunKey, reported_score, write_confusion, write_details
from segmi.records.pack import pack_runs
from segmi.records.study_records import Selection, TrialRecord, write_selection
from segmi.study import load_study
from segmi.study.run import run_study
from segmi.study.run_config import changed_keys

DOCS = Path(__file__).resolve().parents[1] / "docs"
sys.path.insert(0, str(DOCS))

import rerun_answer  # type: ignore[import-not-found]  # noqa: E402
import write_answer  # type: ignore[import-not-found]  # noqa: E402
from answer_records import Answer, registered_plan  # type: ignore[import-not-found]  # noqa: E402
from answer_tables import claim_text, readings  # type: ignore[import-not-found]  # noqa: E402
from answer_text import counts, recommendation, sentences  # type: ignore[import-not-found]  # noqa: E402

DATASETS = ("streets", "objects", "cells")
SEEDS = range(5)
STUDY = """\
name: answer
seeds: [0, 1, 2, 3, 4]
baseline: cross-entropy
datasets: {streets: {}, objects: {}, cells: {}}
methods:
  cross-entropy: {label: Cross-entropy}
  binary: {label: Binary cross-entropy}
  region: {label: RMI}
  mutual: {label: Deep mutual learning}
"""
RIVALS = """\
extends: answer.yaml
name: answer-rivals
datasets: {cells: null}
methods:
  mutual: null
  one-pixel: {label: One pixel, baseline: binary}
  shuffled: {label: Shuffled, baseline: binary}
  smooth: {label: Smooth}
"""
UNET = "extends: answer.yaml\nname: answer-unet\ndatasets: {cells: null}\n"
DEFECTS = """\
name: answer-defects
seeds: [0, 1, 2, 3, 4]
baseline: model
datasets: {cells: {}}
methods:
  model: {label: Model}
  as-run: {label: Model as run}
"""
REGISTRY = """\
primary: answer.yaml
rivals: answer-rivals.yaml
repeated: answer-unet.yaml
defects: answer-defects.yaml
comparisons:
  P1: {method: region, baseline: binary}
  P2: {method: region, baseline: cross-entropy}
  P5: {method: mutual, baseline: cross-entropy}
sentences: [[P1, P2], [P5]]
questions:
  Q2: {text: "Is it space?", method: region, rivals: {one-pixel: the neighbors, shuffled: the order (of pixels)}}
  Q6: {text: "Is it the peer?", method: mutual, rivals: {smooth: the peer}}
plain:
  Q9: {text: "Something else?", pairs: [[smooth, cross-entropy]]}
claims:
  - {text: RMI is worse., model: model-2, published: [cityscapes], comparison: P2, expected: worse, datasets: [streets]}
scale: {command: segmi study run answer-gpu, cost: a day}
"""
# Means by method: RMI gains two points, one pixel has the gain too, shuffled does not; mutual learning is equal.
MEANS = {
    "cross-entropy": 0.5,
    "binary": 0.5,
    "region": 0.52,
    "mutual": 0.5,
    "one-pixel": 0.52,
    "shuffled": 0.5,
    "as-run": 0.45,
}


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    for name, text in (
        ("answer", STUDY),
        ("answer-rivals", RIVALS),
        ("answer-unet", UNET),
        ("answer-defects", DEFECTS),
        ("registry", REGISTRY),
    ):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path / "registry.yaml"


@pytest.fixture
def made(tmp_path: Path, registry: Path) -> Callable[..., Answer]:
    """Write runs whose pairs differ by the difference of the means, ± 0.001 by seed."""

    def make(skip: Callable[[RunKey], bool] = lambda key: False, details: bool = False, **means: float) -> Answer:
        for study in ("answer", "answer-rivals", "answer-unet", "answer-defects"):
            plan = registered_plan(tmp_path / f"{study}.yaml")
            for key in plan.grid():
                if not skip(key):
                    rng = np.random.default_rng([key.seed, *f"{key.dataset}/{key.method}".encode()])
                    shared = 0.03 * key.seed + 0.1 * DATASETS.index(key.dataset)
                    score = {**MEANS, **means}.get(key.method, 0.5) + shared + 0.001 * rng.standard_normal()
                    write_run(RunFolder.of(tmp_path / "records", key), float(score), details=details)
        return Answer.read(registry, tmp_path / "records")

    return make


def write_run(run: RunFolder, score: float, *, details: bool = False) -> None:
    objects = np.full((2, 11), 4)
    sums: dict[str, Any] = {
        "pixels": np.array([0, 9]), "confidence": np.array([0, 8.0]), "correct": np.array([0, 7]),
        "boundary": np.array([[50, 50], [100, 100]]), "objects": objects, "object_iou": objects * score,
    }  # fmt: skip
    if details:
        write_confusion(run.confusion_path("net", "full"), np.ones((2, 2, 2), int), ["a", "b"], ["a", "b"])
        write_details(run.details_path("net", "full"), sums)
    run.path.mkdir(parents=True, exist_ok=True)
    scores = {"mIoU": score, "IoU": [score, score], "mean_accuracy": score + 0.1, "pixel_accuracy": 0.9}
    run.write_result(
        {
            "networks": {"net": {"scores": {"full": scores}}}, "reported_network": "net", "protocol": "full",
            "dataset": {"name": run.key.dataset, "title": run.key.dataset, "classes": ["a", "b"]},
            "diagnostics": {"full": {"mutual_information/net": score, "region_information/net/a": -score,
                                     "region_information/net/b": -score, "mutual_information/peer": 0.0}},
            "training": {"steps": 6, "wall_seconds": 30.0, "precision": {"threads": 2}},
            "usage": {"seconds": 60.0, "processor_joules": None},
            "environment": {"cpu": "CPU", "packages": {"torch": "2.0"}},
        }
    )  # fmt: skip


def conclusions(tests: list[Any]) -> dict[tuple[str, str], str]:
    return {(one.key, one.dataset): one.conclusion for one in tests}


def test_conclusions_follow_from_the_tests(made: Callable[..., Answer]) -> None:
    answer = made()
    found = conclusions([*answer.primary_tests, *answer.means])
    equal = "no difference larger than 1 point"
    for dataset in (*DATASETS, ""):
        assert [found[key, dataset] for key in ("P1", "P2", "P5")] == ["better", "better", equal]
    first = answer.primary_tests[0]
    assert (first.done, first.planned, first.diverged) == (5, 5, 0)
    assert first.difference.mean == pytest.approx(0.02, abs=0.002)
    # One family of nine comparisons: the smallest p is multiplied by nine.
    smallest = min(answer.primary_tests, key=lambda one: one.difference.p)
    assert smallest.p_holm == pytest.approx(9 * smallest.difference.p)
    texts = {(one.rival, one.gain.dataset): one.text for one in readings(answer)}
    assert texts["one-pixel", "streets"] == "not needed"
    assert texts["shuffled", "objects"] == "needed"
    assert texts["smooth", "streets"] == "no gain to explain"
    region, mutual, reason = sentences(answer, readings(answer))
    assert region.startswith("On average over 3 datasets, RMI improves on binary cross-entropy (+")
    assert "Deep mutual learning differs by less than one point from cross-entropy" in mutual
    assert mutual.endswith(
        "of all 9 comparisons on single datasets, 6 are better, 0 are worse and 3 differ by less than one point."
    )
    assert reason.endswith(
        "the gain remains with one pixel (streets, objects); it is lost with shuffled (streets, objects)."
    )
    assert recommendation(answer).startswith("RMI, the largest mean gain over cross-entropy (+")


def test_a_small_gain_is_called_small(made: Callable[..., Answer]) -> None:
    answer = made(region=0.505)
    assert {one.conclusion for one in answer.means if one.method == "region"} == {"better, by less than 1 point"}


def test_worse_methods_are_not_recommended(made: Callable[..., Answer]) -> None:
    answer = made(region=0.47, mutual=0.46)
    assert {one.conclusion for one in answer.means} == {"worse"}
    assert recommendation(answer) == "Cross-entropy: no other method is better on average over the datasets."
    assert {one.text for one in readings(answer)} == {"no gain to explain"}
    assert claim_text([one for one in answer.primary_tests if one.key == "P2"], "worse").startswith("held: held in 3")
    assert claim_text([one for one in answer.primary_tests if one.key == "P2"], "better").startswith("did not hold")


def test_missing_runs_give_no_conclusion(made: Callable[..., Answer]) -> None:
    answer = made(skip=lambda key: key.dataset == "cells" or (key.method, key.seed) == ("region", 4))
    found = conclusions([*answer.primary_tests, *answer.means])
    assert found["P1", "streets"] == "preliminary"
    assert found["P1", "cells"] == "no runs yet"
    assert found["P5", "streets"] == "no difference larger than 1 point"
    assert {found[key, ""] for key in ("P1", "P2", "P5")} <= {"preliminary", "no runs yet"}
    # The registered family counts, not the finished part of it.
    known = [one for one in answer.primary_tests if one.p_holm is not None]
    assert [one.key for one in known] == ["P5", "P5"]
    assert min(known, key=lambda one: one.difference.p).p_holm == min(
        1.0, 9 * min(one.difference.p for one in known if one.difference.p is not None)
    )
    assert recommendation(answer).startswith("No recommendation yet")
    assert counts(answer.primary, answer.primary_tests).endswith("7 have missing runs and no conclusion")
    assert sentences(answer, [])[0] == (
        "On average over 3 datasets, RMI has no conclusion yet against binary cross-entropy and cross-entropy "
        "(0 of 3 datasets complete)."
    )
    page = write_answer.render(answer.folder / "registry.yaml", answer.records)["answer.md"]
    assert "**Preliminary: 38 of 60 runs of `answer`" in page
    assert "better" not in re.sub(r"is better|better than|0 are better", "", page.partition("## Primary")[0])


def test_without_records_the_page_claims_nothing(registry: Path, tmp_path: Path) -> None:
    files = write_answer.render(registry, tmp_path / "records")
    assert list(files) == ["answer.md", "answer/tables.md"]
    assert "0 of 60 runs of `answer`" in files["answer.md"]
    assert "no runs yet" in files["answer.md"]


def test_a_diverged_pair_is_left_out_and_counted(made: Callable[..., Answer], tmp_path: Path) -> None:
    lost = RunKey("answer", "streets", "region", 2)
    run = RunFolder.of(tmp_path / "records", lost)
    run.path.mkdir(parents=True)
    run.write_failure(Diverged("the loss is NaN"))
    answer = made(skip=lambda key: key == lost)
    one = answer.primary_tests[0]
    assert (one.dataset, one.done, one.diverged, one.conclusion) == ("streets", 4, 1, "better")


def test_the_page_has_every_part(made: Callable[..., Answer], tmp_path: Path) -> None:
    answer = made(details=True)
    pack_runs(answer.records, tmp_path / "packed")
    answer = Answer.read(answer.folder / "registry.yaml", tmp_path / "packed")
    files = write_answer.render(answer.folder / "registry.yaml", answer.records)
    assert files == write_answer.render(answer.folder / "registry.yaml", answer.records)
    page, tables = (files[name].replace("\\", "") for name in ("answer.md", "answer/tables.md"))
    assert "Preliminary" not in page
    assert files["answer/forest.svg"].startswith("<?xml")
    row = next(line for line in tables.splitlines() if line.startswith("| RMI − Binary cross-entropy | streets |"))
    assert re.fullmatch(r"\| RMI − Binary cross-entropy \| streets \| 5 of 5 \| \+[12].*\| \*\*better\*\* \|", row), row
    # Measures: the mIoU itself, and its negative.
    assert "| streets | I(label; predicted label) | 35 | 7 | 1.00 | 1.00 |" in tables
    assert "| streets | region information, mean over classes | 35 | 7 | −1.00 | −1.00 |" in tables
    assert re.search(r"\| RMI − Binary cross-entropy \| \*\*\+[12]\.\d\d better\*\* \|", page)
    assert re.search(r"\| Model as run − Model \| \*\*−[45]\.\d\d worse\*\* \|", page)
    assert "| Q2 | One pixel | the neighbors | **" in page
    assert "| I(label; predicted label) | 1.00 | 1.00 | 1.00 |" in page
    # 60 runs of a minute on two threads at 15 W.
    assert "| answer | 60 of 60 | 0 | 1 h 00 min | about 0.03 kWh |" in page
    assert "−6.87" in page  # Model 2 against Model 1 on Cityscapes, as published


def test_finished_searches_count_in_the_cost(made: Callable[..., Answer]) -> None:
    answer = made()
    method = next(iter(answer.primary.plan.methods))
    trials = [TrialRecord(number, {}, 0.5, steps=3, wall_seconds=900.0) for number in range(4)]
    write_selection(answer.records / "answer" / "streets" / method, Selection({}, 9, "net", 0, {}, {}, trials))
    page = write_answer.render(answer.folder / "registry.yaml", answer.records)["answer.md"]
    # an hour more
    assert "| answer | 60 of 60 | 4 | 2 h 00 min | about 0.06 kWh |" in page


def test_the_slice_is_compared_with_the_intervals(
    made: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rerun_answer, "DATASET", "streets")
    monkeypatch.setattr(rerun_answer, "METHODS", ("region", "binary"))
    answer = made()
    keys = [answer.primary.key("streets", method, seed) for method in ("region", "binary") for seed in (0, 1)]
    for key in keys:  # the recorded scores themselves
        write_run(RunFolder.of(tmp_path / "slice", key), reported_score(answer.primary.results[key], "mIoU"))
    assert rerun_answer.check(answer, tmp_path / "slice") == 0
    assert capsys.readouterr().out.count(", in ") == 5
    write_run(RunFolder.of(tmp_path / "slice", keys[0]), 0.9)  # one seed is far above the others
    assert rerun_answer.check(answer, tmp_path / "slice") == 1
    assert "region, seed 0: 0.9000, OUTSIDE of " in capsys.readouterr().out


def test_the_slice_trains_with_the_recorded_settings(
    made: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerun_answer, "METHODS", ("region", "binary"))
    monkeypatch.setattr(rerun_answer, "DATASET", "streets")
    answer, calls = made(skip=lambda key: True), []
    with pytest.raises(UsageError, match="there are no records of answer/streets/region"):
        rerun_answer.rerun(answer, tmp_path / "slice")
    for method in ("region", "binary"):
        folder = answer.records / "answer/streets" / method
        folder.mkdir(parents=True)
        (folder / "selection.json").write_text("{}")
    monkeypatch.setattr(rerun_answer, "main", lambda words: calls.append(words) or 0)
    assert rerun_answer.rerun(answer, tmp_path / "slice") == 0
    assert (tmp_path / "slice/answer/streets/binary/selection.json").read_text() == "{}"
    assert calls[0][3:9] == [
        'datasets={"streets": {}}',
        "seeds=[0, 1]",
        "training.threads=1",
        "--only",
        "streets/region/*",
        "--only",
    ]


REAL = """\
name: answer
seeds: [0, 1, 2]
datasets:
  street-scenes: {train: 8, val: 3, height: 40, width: 48}
processing: {resize: 36, crop: 32}
training: {steps: 6, batch_size: 2, holdout: 0.25, precision: fp32, threads: 1,
           learning_rate: {grid: [1e-3, 1e-2]}}
search_rungs: [0.5, 1.0]
samples: 0
methods:
  region:
    networks: {unet: {architecture: unet, width: 2}}
    loss: {rmi_loss: {kernel: torch}}
  binary:
    networks: {unet: {architecture: unet, width: 2}}
    loss: {binary_cross_entropy: {}}
"""


@pytest.mark.slow
def test_a_real_slice_repeats_its_records_exactly(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerun_answer, "METHODS", ("region", "binary"))
    monkeypatch.setattr(rerun_answer, "DATASET", "street-scenes")
    (tmp_path / "answer.yaml").write_text(REAL)
    run_study(load_study(tmp_path / "answer.yaml"), tmp_path / "runs").raise_if_incomplete()
    pack_runs(tmp_path / "runs", tmp_path / "records")
    answer = Answer.read(registry, tmp_path / "records")
    assert rerun_answer.rerun(answer, tmp_path / "slice") == 0
    assert not list((tmp_path / "slice").glob("answer/*/*+trial*"))  # the recorded settings are used
    rows = rerun_answer.compare(answer, tmp_path / "slice")
    recorded = [reported_score(r, "mIoU") for key, r in answer.primary.results.items() if key.seed in (0, 1)]
    assert [value for _, value, _ in rows[:4]] == recorded


@pytest.mark.skipif(not write_answer.RECORDS.is_dir(), reason="no records of the study are committed yet")
def test_committed_page_follows_from_committed_records() -> None:
    for name, text in write_answer.render().items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, "run `make answer-report` and commit docs/answer"


def test_committed_comparisons_fit_the_registered_studies() -> None:
    answer = Answer.read(write_answer.REGISTRY, write_answer.RECORDS)
    if not all((answer.folder / answer.registry[part]).is_file() for part in ("primary", "rivals", "repeated")):
        pytest.skip("not all registered studies are committed yet")
    named = [one[side] for one in answer.registry["comparisons"].values() for side in ("method", "baseline")]
    named += [rival for one in answer.registry["questions"].values() for rival in one["rivals"]]
    named += [name for one in answer.registry["plain"].values() for pair in one["pairs"] for name in pair]
    assert not set(named) - set(answer.rivals.plan.methods)


def test_the_command_at_scale_is_valid() -> None:
    words = shlex.split(Answer.read(write_answer.REGISTRY, write_answer.RECORDS).registry["scale"]["command"])
    assert words[:4] == ["segmi", "study", "run", "answer-gpu"]
    study = load_study(words[3], [word for word in words[4:] if "=" in word])
    assert list(study.datasets) == ["cityscapes", "voc2012"]
    assert {(m.training or {})["steps"] for m in study.methods.values()} == {40000}


def test_the_larger_stage_differs_in_scale_only() -> None:
    one, other = (load_study(name).plain() for name in ("answer", "answer-gpu"))
    changed = changed_keys(one, other)
    names = ("steps", "warmup_steps", "validate_every", "precision", "threads")  # workers are not compared
    assert set(changed) == {"name", "processing.crop", *(f"training.{name}" for name in names)}
    assert changed["training.steps"] == (375, 3000)


def test_the_page_is_written_before_the_first_run(registry: Path, tmp_path: Path) -> None:
    page = write_answer.render(registry, tmp_path / "records")["answer.md"]
    assert "There is no conclusion about the reason of a gain yet" in page
    # Of the 60 runs of the rivals, 30 are runs of the primary study too and count there.
    assert "0 of 60 runs of `answer`, 0 of 30 runs of `answer-rivals`" in page
