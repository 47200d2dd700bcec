"""Shipped studies: each is valid, and a smaller version runs up to its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segmi.cli import main
from segmi.errors import UsageError
from segmi.report import write_report
from segmi.study import DataRoots, expand
from segmi.study.run import run_study
from segmi.study.shipped import find_study, shipped_studies
from segmi.study.strict_yaml import parse_file
from segmi.study.study_file import apply_overrides, load_study
from segmi.study.validation import validated

FOLDER = Path(__file__).parents[2] / "studies"
NAMES = ["architectures", "camvid", "demo", "distillation", "label-noise", "paper", "paper-defects"]
SCENES = "datasets={street-scenes: {train: 8, val: 2, height: 40, width: 48}}"
SMALL = (
    SCENES, "processing.resize=36", "processing.crop=32", "training.steps=2", "training.batch_size=2",
    "training.holdout=0.25", "training.precision=fp32", "samples=0",
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.yaml")))
def test_shipped_study_is_valid(name: str) -> None:
    assert expand(load_study(FOLDER / name))


def test_shipped_studies_have_names() -> None:
    assert set(NAMES) <= set(shipped_studies())
    assert load_study("demo") == load_study(FOLDER / "demo.yaml")
    with pytest.raises(UsageError, match="unknown study 'dmo'") as error:
        load_study("dmo")
    assert "did you mean 'demo'?" in str(error.value.remedy)


def test_a_file_takes_precedence_over_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo").write_text("")
    assert find_study("demo") == Path("demo")


def test_the_list_has_sentence_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "studies", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in rows} == set(shipped_studies())
    assert all(row["about"].endswith((".", "?")) and row["cost"] for row in rows)


def test_a_new_study_of_a_dataset_and_of_a_folder_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", "new", "street.yaml", "--data", "street-scenes"]) == 0
    assert len(expand(load_study("street.yaml"))) == 9
    Path("my cells").mkdir()
    Path("my cells/classes.txt").write_text("background\ncell\n")
    assert main(["study", "new", "cells.yaml", "--data", "my cells"]) == 0
    assert load_study("cells.yaml").datasets["my-cells"]["type"] == "folder"
    assert "segmi study check cells.yaml --root 'my cells'" in Path("cells.yaml").read_text()
    assert main(["study", "new", "cells.yaml", "--data", "my cells"]) == 2
    assert "cells.yaml exists" in capsys.readouterr().err


def test_every_ablation_is_compared_with_its_baseline() -> None:
    study = load_study(FOLDER / "paper-defects.yaml")
    for name, method in study.methods.items():
        model = "-".join(name.split("-")[:2])
        if name.startswith("model-") and name != model:
            assert method.baseline == model
            other = study.methods[model]
            assert any(
                getattr(method, part) != getattr(other, part) for part in ("networks", "loss", "processing")
            ) or (method.training != other.training)


def test_every_architecture_has_every_treatment() -> None:
    methods = load_study(FOLDER / "architectures.yaml").methods.values()
    networks = {method.networks["network"]["architecture"] for method in methods}
    assert networks == {"smp_unet", "smp_unetplusplus", "smp_deeplabv3plus", "smp_fpn", "smp_segformer"}
    cells = {(method.treatment, method.networks["network"]["architecture"]) for method in methods}
    assert len(cells) == len(methods) == 4 * len(networks)


def test_distillation_trains_one_network_with_frozen_teacher() -> None:
    study = load_study(FOLDER / "distillation.yaml")
    for name, method in study.methods.items():
        if name != "teacher":
            assert method.networks["student"] == study.methods["alone"].networks["student"]
            assert method.reported == "student"
        for source in method.weights_from.values():
            assert (source.method, source.network) == ("teacher", "teacher")
    assert len({str({**method.training, "step_order": None}) for method in study.methods.values()}) <= 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "overrides", "tables"),
    [
        (
            "architectures.yaml",
            ["seeds=[0, 1]", "training.learning_rate={grid: [1e-3, 1e-2]}"],
            ["table1.md", "interaction_networks.md"],
        ),
        ("distillation.yaml", ["seeds=[0, 1]"], ["table1.md", "statistics.md"]),
        ("paper-defects.yaml", ["seeds=[0, 1]", "evaluation.passes=1"], ["table1.md", "statistics.md"]),
    ],
)
def test_small_version_runs_up_to_report(tmp_path: Path, name: str, overrides: list[str], tables: list[str]) -> None:
    study = validated(apply_overrides(parse_file(FOLDER / name), [*SMALL, *overrides]), roots=DataRoots())
    run_study(study, tmp_path).raise_if_incomplete()
    report = write_report(tmp_path / study.name)
    for table in tables:
        assert (report / table).read_text().count("|") > 20
    if name == "paper-defects.yaml":
        assert "Model 3, divergence on ignored pixels − Model 3" in (report / "statistics.md").read_text()
        assert "paper" in (report / "table_networks.md").read_text()
