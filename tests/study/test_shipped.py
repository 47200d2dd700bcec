"""Shipped studies: each is valid, and a smaller version runs up to its report."""

from __future__ import annotations

from pathlib import Path

import pytest

from segmi.report import write_report
from segmi.study import DataRoots, expand
from segmi.study.run import run_study
from segmi.study.strict_yaml import parse_file
from segmi.study.study_file import apply_overrides, load_study
from segmi.study.validation import validated

FOLDER = Path(__file__).parents[2] / "studies"
SCENES = "datasets={street-scenes: {train: 8, val: 2, height: 40, width: 48}}"
SMALL = (
    SCENES, "processing.resize=36", "processing.crop=32", "training.steps=2", "training.batch_size=2",
    "training.holdout=0.25", "training.precision=fp32", "samples=0",
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.yaml")))
def test_shipped_study_is_valid(name: str) -> None:
    assert expand(load_study(FOLDER / name))


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
