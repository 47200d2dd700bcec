"""Initial weights from other runs or bundles, and averages as networks: validation and execution."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from segmi.deploy import load
from segmi.errors import UsageError
from segmi.records import RunFolder
from segmi.study import DataRoots, Study
from segmi.study.events import StudyEvent
from segmi.study.run import run_study
from segmi.study.strict_yaml import dump, parse
from segmi.study.study_file import apply_overrides
from segmi.study.validation import validated

TAUGHT = """methods.taught={networks: {student: {architecture: unet, width: 2},
 teacher: {architecture: unet, width: 2}}, frozen: [teacher], weights_from: {teacher: {method: model-1}},
 reported: student, loss: {cross_entropy: {}, distillation: {}}}"""
AVERAGED = """methods.averaged={networks: {unet: {architecture: unet, width: 2}}, reported: unet,
 averages: {mean: {of: unet, decay: 0.9}}, loss: {cross_entropy: {}, distillation: {}}}"""


def study_of(text: str, *overrides: str) -> Study:
    return validated(apply_overrides(parse(text), overrides), roots=DataRoots())


def state(folder: Path, network: str) -> dict[str, torch.Tensor]:
    return load(folder / "bundles" / network).state_dict()


def test_teacher_is_run_of_same_seed_and_unchanged(tmp_path: Path, tiny_text: str) -> None:
    study = study_of(tiny_text, TAUGHT, AVERAGED, "seeds=[0, 1]", "training.steps=3")
    assert study.methods["taught"].weights_from["teacher"].network == "unet"
    assert study.methods["averaged"].networks["mean"] == study.methods["averaged"].networks["unet"]
    assert study.methods["averaged"].frozen == ["mean"]
    assert validated(parse(dump(study.plain())), roots=DataRoots()) == study, "written out, it reads back"
    only = ["*/taught/seed1"]
    with pytest.raises(
        UsageError, match=r"1 of 1 runs start from the weights of runs that are not finished:\n.*taught/seed1"
    ):
        run_study(study, tmp_path, only=only).raise_if_incomplete()
    outcome = run_study(study, tmp_path)
    outcome.raise_if_incomplete()
    assert len(outcome.finished) == 6
    cell = tmp_path / "tiny/street-scenes"
    for seed in ("seed0", "seed1"):
        known, kept = state(cell / "model-1" / seed, "unet"), state(cell / "taught" / seed, "teacher")
        assert all(torch.equal(value, kept[name]) for name, value in known.items())
        own, mean = state(cell / "averaged" / seed, "unet"), state(cell / "averaged" / seed, "mean")
        assert not torch.equal(own["module.head.weight"], mean["module.head.weight"])
    scores = [RunFolder(cell / "model-1/seed1").result()["networks"]["unet"]["scores"],  # type: ignore[index]
              RunFolder(cell / "taught/seed1").result()["networks"]["teacher"]["scores"]]  # type: ignore[index] # fmt: skip
    assert scores[0] == scores[1]
    assert run_study(study, tmp_path, only=only).skipped == ["street-scenes/taught/seed1"]
    bundle = cell / "model-1/seed0/bundles/unet"
    again = study_of(
        tiny_text, TAUGHT.replace("{method: model-1}", f"{{bundle: '{bundle}'}}"), "name=again", "training.steps=1"
    )
    run_study(again, tmp_path, only=["*/taught/*"]).raise_if_incomplete()
    kept = state(tmp_path / "again/street-scenes/taught/seed0", "teacher")
    assert all(torch.equal(value, kept[name]) for name, value in state(cell / "model-1/seed0", "unet").items())


def test_trials_take_the_weights_of_a_run_with_their_seed(tmp_path: Path, tiny_text: str) -> None:
    rate = "training.learning_rate={grid: [1e-3, 1e-2]}"
    study = study_of(tiny_text, TAUGHT, rate, "training.steps=1")
    outcome = run_study(study, tmp_path, only=["*/taught/*"])
    cell = tmp_path / "tiny/street-scenes"
    # Trials of the teacher, the teacher with their seed, trials of the student; the student itself has another seed.
    done = [key.removeprefix("street-scenes/") for key in outcome.finished]
    assert done[:3] == ["model-1+trial0/seed1000", "model-1+trial1/seed1000", "model-1/seed1000"]
    assert sorted(done[3:]) == ["taught+trial0/seed1000", "taught+trial1/seed1000"]
    assert outcome.waiting == ["street-scenes/taught/seed0"]
    known = state(cell / "model-1/seed1000", "unet")
    kept = state(cell / "taught+trial1/seed1000", "teacher")
    assert all(torch.equal(value, kept[name]) for name, value in known.items())
    outcome = run_study(study, tmp_path)
    assert sorted(outcome.finished) == ["street-scenes/model-1/seed0", "street-scenes/taught/seed0"]
    outcome.raise_if_incomplete()


def test_overwrite_uses_weights_of_new_run(tmp_path: Path, tiny_text: str) -> None:
    study = study_of(tiny_text, TAUGHT, "training.steps=1")
    methods = {name: study.methods[name] for name in ("taught", "model-1")}  # the teacher is the last method
    turned = study.model_copy(update={"methods": methods})
    run_study(turned, tmp_path).raise_if_incomplete()
    heard: list[StudyEvent] = []
    run_study(turned, tmp_path, overwrite=True, listener=heard.append)
    task = [event.run.method for event in heard if event.kind == "started"]
    assert task == ["model-1", "taught"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("methods.taught.weights_from.teacher={method: model-7}", "teacher.method: unknown method 'model-7'"),
        ("methods.taught.weights_from.teacher={method: taught}", "taught would wait for itself"),
        ("methods.taught.weights_from.teacher={method: model-1, network: net}", "unknown network 'net'"),
        ("methods.taught.weights_from.teacher={}", "expected either bundle or method; keep one of them"),
        ("methods.taught.weights_from.teacher={bundle: nowhere}", "nowhere is not a bundle"),
        ("methods.taught.weights_from={tacher: {method: model-1}}", "unknown network 'tacher'.*did you mean 'teacher'"),
        ("methods.taught.networks.teacher.width=3", r"weights of another network \(width 2, here 3\)"),
        ("methods.averaged.averages.mean.of=net", "unknown network 'net'"),
        ("methods.averaged.averages.mean.decay=1.5", "expected less than or equal to 1"),
        ("methods.averaged.networks.mean={architecture: unet, width: 3}", "the average of unet, but has other options"),
        ("methods.averaged.frozen=[unet]", "unet is frozen"),
        ("methods.averaged.weights_from={mean: {method: model-1}}", "mean starts from the weights of unet"),
        ("methods.model-1.loss={distillation: {}}", "expected a frozen network"),
        ("methods.model-1.loss={pixel_contrast: {layers: {unet: botleneck}}}", "did you mean 'bottleneck'"),
    ],
)
def test_mistakes_are_reported_before_runs_start(check, tiny_text: str, override: str, message: str) -> None:  # type: ignore[no-untyped-def]
    import re

    text = check(tiny_text, TAUGHT, AVERAGED, override)
    assert re.search(message, text), text


def test_teacher_with_other_classes_is_refused(tmp_path: Path, tiny_text: str) -> None:
    run_study(study_of(tiny_text, "training.steps=1"), tmp_path).raise_if_incomplete()
    bundle = tmp_path / "tiny/street-scenes/model-1/seed0/bundles/unet"
    objects = "datasets={object-scenes: {train: 8, val: 2, height: 40, width: 48}}"
    other = study_of(tiny_text, TAUGHT.replace("{method: model-1}", f"{{bundle: '{bundle}'}}"), objects, "name=other")
    outcome = run_study(other, tmp_path, only=["*/taught/*"])
    (failure,) = outcome.failed.values()
    assert "teacher has 3, 21 and 21" in failure["message"]
