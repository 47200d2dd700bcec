"""Study files that extend others: merged and replaced values, and their locations."""

from __future__ import annotations

from pathlib import Path

import pytest

from segmi.errors import UsageError
from segmi.study.strict_yaml import parse
from segmi.study.study_file import load_study, merge, read_study_file


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_study_extends_another(tmp_path: Path, tiny_text: str) -> None:
    write(tmp_path, "tiny.yaml", tiny_text)
    own = write(tmp_path, "long.yaml", "extends: tiny.yaml\nname: long\ntraining:\n  steps: 9\nseeds: [0, 1]\n")
    study = load_study(own)
    training = study.methods["model-1"].training
    assert training is not None
    assert (study.name, study.seeds, training["steps"], training["batch_size"]) == ("long", [0, 1], 9, 2)
    assert "extends" not in study.plain()


def test_problems_name_their_file(tmp_path: Path, tiny_text: str) -> None:
    write(tmp_path, "tiny.yaml", tiny_text.replace("batch_size: 2", "batch_size: two"))
    own = write(tmp_path, "long.yaml", "extends: tiny.yaml\ntraining:\n  steps: many\n")
    with pytest.raises(UsageError) as caught:
        load_study(own)
    line = tiny_text.splitlines().index("  batch_size: 2") + 1
    assert f"got 'two' (text)  ({tmp_path}/tiny.yaml:{line})" in str(caught.value)
    assert f"got 'many' (text)  ({tmp_path}/long.yaml:3)" in str(caught.value)


def test_study_extends_files_in_other_folders(tmp_path: Path, tiny_text: str) -> None:
    write(tmp_path, "tiny.yaml", tiny_text)
    write(tmp_path, "b/middle.yaml", "extends: ../tiny.yaml\ntraining: {steps: 9}\n")
    own = write(tmp_path, "c/own.yaml", "extends: ../b/middle.yaml\nsamples: 0\n")
    document = read_study_file(own)
    assert (document.data["training"]["steps"], document.data["samples"]) == (9, 0)
    assert document.where(("training", "steps")).endswith("middle.yaml:2")
    assert document.where(("name",)).endswith("tiny.yaml:1")
    assert document.where(("samples",)) == f"{own}:2"


def test_null_removes_named_entries_and_resets_options() -> None:
    base = parse("{datasets: {camvid: {}}, methods: {a: {loss: {cross_entropy: {}}}}, training: {steps: 5, epochs: 7}}")
    own = parse(
        "{datasets: {camvid: null, ade20k: null}, methods: {a: {loss: {cross_entropy: null, rmi_loss: {}}}},"
        " training: {steps: null}}"
    )
    assert merge(base, own).data == {
        "datasets": {"ade20k": None},
        "methods": {"a": {"loss": {"rmi_loss": {}}}},
        "training": {"steps": None, "epochs": 7},
    }


def test_search_is_replaced_not_merged() -> None:
    base, own = (
        "{training: {learning_rate: {grid: [1, 2]}}}",
        "{training: {learning_rate: {uniform: [1, 2], trials: 3}}}",
    )
    assert merge(parse(base), parse(own)).data == parse(own).data
    assert merge(parse(own), parse(base)).data == parse(base).data


def test_invalid_extends_is_refused(tmp_path: Path) -> None:
    for text, message in (
        ("extends: other.yaml", "there is no study file"),
        ("extends: [a]", "expects the path of a study file, relative to this one, got ['a']"),
        (f"extends: {tmp_path}/x.yaml", "expects the path of a study file, relative to this one"),
        ("extends: x.yaml", "extends itself: x.yaml extends x.yaml"),
        ("extends: empty.yaml", "empty.yaml is not a study"),
    ):
        write(tmp_path, "empty.yaml", "")
        own = write(tmp_path, "x.yaml", text)
        with pytest.raises(UsageError) as caught:
            read_study_file(own)
        assert message in str(caught.value)


def test_circular_extends_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "extends: b.yaml")
    write(tmp_path, "b.yaml", "extends: a.yaml")
    with pytest.raises(UsageError, match=r"extends itself: a\.yaml extends b\.yaml extends a\.yaml"):
        read_study_file(tmp_path / "a.yaml")
