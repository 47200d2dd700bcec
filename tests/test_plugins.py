"""Losses, datasets and models of other packages: the example package, and packages that are broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segmi
from segmi import plugins
from segmi.cli import main
from segmi.datasets import dataset_class, dataset_names
from segmi.errors import EnvironmentProblem, UsageError
from segmi.losses import LOSSES, build_objective, known_losses
from segmi.models import build_network, list_models

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "plugin"
PACKAGE = "segmi-plugin-example 0.1.0"
LOSS, MODEL, DATASET = "generalized_cross_entropy", "dilated_net", "oxford-pets"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed example."""
    pytest.importorskip("hatchling", reason="builds the example without a network")
    folder = tmp_path_factory.mktemp("site")
    options = [
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--disable-pip-version-check",
        "--target",
        str(folder),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", *options, str(EXAMPLE)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(site))
    yield site
    _forget("segmi_plugin_example")


def _forget(package: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``add(package, group, name, value)``: install a package with an entry point."""
    monkeypatch.setattr(plugins, "_warned", set())
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(package: str, group: str, name: str, value: str) -> None:
        folder = tmp_path / f"{package}-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (folder / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")

    return write


def listed(kind: str, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    capsys.readouterr()
    assert main(["list", kind, "--json"]) == 0
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def test_lists_show_the_objects_of_the_example(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loss = listed("losses", capsys)[LOSS]
    assert (loss["family"], loss["options"]) == ("pixel", ["q=0.7"])
    assert "probability of the true class" in str(loss["about"])
    assert str(listed("datasets", capsys)[DATASET]["about"]).startswith("The Oxford-IIIT Pet dataset")
    assert listed("models", capsys)[MODEL]["library"] == PACKAGE
    assert plugins.used_plugins({"segmi.losses": [LOSS, "dice"]}) == {f"loss {LOSS}": PACKAGE}


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Twelve images in the layout of the Oxford-IIIT Pet dataset."""
    (tmp_path / "pets" / "images").mkdir(parents=True)
    trimaps = tmp_path / "pets" / "annotations" / "trimaps"
    trimaps.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(12):
        image, trimap = random.integers(0, 256, (40, 48, 3)), random.integers(1, 4, (40, 48))
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / "pets" / "images" / f"{number}.jpg")
        Image.fromarray(trimap.astype(np.uint8)).save(trimaps / f"{number}.png")
    for file, numbers in {"trainval": range(10), "test": range(10, 12)}.items():
        (trimaps.parent / f"{file}.txt").write_text("".join(f"{number} 1 1 1\n" for number in numbers))
    return tmp_path / "pets"


def test_training_uses_the_example_and_bundles_name_it(
    installed: Path, pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    common = [
        "train",
        "--data",
        DATASET,
        "--root",
        str(pets),
        "--steps",
        "2",
        "-b",
        "2",
        "--lr",
        "0.01",
        "--workers",
        "0",
    ]
    common += ["--loss", LOSS, "processing={resize: 36, crop: 32}"]
    assert main([*common, "--model", MODEL, "--width", "2", "-o", str(tmp_path / "theirs")]) == 0
    assert main([*common, "--model", "unet", "--width", "2", "-o", str(tmp_path / "unet")]) == 0
    capsys.readouterr()
    assert main(["show", str(tmp_path / "theirs"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["plugins"] == dict.fromkeys((f"model {MODEL}", f"loss {LOSS}", f"dataset {DATASET}"), PACKAGE)
    assert shown["training"]["loss"][LOSS]["q"] == 0.7
    assert segmi.load(tmp_path / "theirs").classes == 2

    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(installed)])
    _forget("segmi_plugin_example")
    assert segmi.load(tmp_path / "unet").classes == 2  # neither loss nor dataset is needed
    message = rf"the network 'dilated_net' of the package '{PACKAGE}', which is missing\n  Fix: install this package"
    with pytest.raises(EnvironmentProblem, match=message):
        segmi.load(tmp_path / "theirs")
    assert main(["show", str(tmp_path / "theirs")]) == 0
    assert f"model {MODEL} of {PACKAGE}" in capsys.readouterr().out


def test_studies_use_the_example(installed: Path, pets: Path, tmp_path: Path) -> None:
    network = "networks: {unet: {architecture: unet, width: 2}}"
    (tmp_path / "study.yaml").write_text(f"""name: plugins
datasets: {{{DATASET}: {{}}}}
processing: {{resize: 36, crop: 32}}
training: {{steps: 1, batch_size: 2, learning_rate: 0.01, workers: 0}}
baseline: pixels
seeds: [0]
methods:
  pixels: {{{network}, loss: {{cross_entropy: {{}}}}}}
  robust: {{{network}, loss: {{{LOSS}: {{q: 0.5}}}}}}
""")
    assert (
        main(["study", "run", str(tmp_path / "study.yaml"), "--root", str(pets), "--runs", str(tmp_path / "runs")]) == 0
    )
    results = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("result.json")]
    assert {result["method"] for result in results} == {"pixels", "robust"}


def test_the_tests_of_the_example_pass(site: Path) -> None:
    path = os.pathsep.join([str(site), str(Path(segmi.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=EXAMPLE, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


BROKEN = {
    "segmi.losses": ("losses", "loss", lambda: build_objective({"theirs": {}}, networks=["a"])),
    "segmi.datasets": ("datasets", "dataset", lambda: dataset_class("theirs")),
    "segmi.models": ("models", "model", lambda: build_network("theirs", classes=2)),
}


@pytest.mark.parametrize("group", BROKEN)
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (
            "their_missing_module:Thing",
            "cannot be imported (ModuleNotFoundError: No module named 'their_missing_module')",
        ),
        ("json:no_such_name", "cannot be imported (AttributeError"),
        ("sys:maxsize", "expected a"),
    ],
)
def test_a_broken_package_gives_a_warning_and_an_error_where_it_is_used(
    group: str, value: str, reason: str, add: Callable[..., None], capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    add("broken-package", group, "theirs", value)
    kind, singular, use = BROKEN[group]
    rows = listed(kind, capsys)
    assert "theirs" not in rows
    assert len(rows) > 5
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{singular} 'theirs' of the package broken-package 1.2: ")
    assert reason in record.getMessage()
    assert ". Fix: " in record.getMessage()
    listed(kind, capsys)
    assert len(caplog.records) == 1, "a warning appears once"
    with pytest.raises(EnvironmentProblem) as caught:
        use()
    assert reason in caught.value.message


def test_a_study_with_a_broken_loss_names_the_package(
    add: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    add("broken-package", "segmi.losses", "theirs", "their_missing_module:Thing")
    assert main(["train", "--data", "street-scenes", "--loss", "theirs", "--steps", "1", "--print-config"]) == 5
    assert "loss 'theirs' of the package broken-package 1.2: their_missing_module:Thing cannot be imported" in (
        capsys.readouterr().err
    )


def test_names_of_segmi_cannot_be_replaced(add: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    add("greedy-package", "segmi.losses", "dice", "segmi.losses:Focal")
    assert known_losses()["dice"] is LOSSES["dice"]
    assert caplog.messages == [
        "loss 'dice' of the package greedy-package 1.2 is ignored: segmi has one of the same name. "
        "Fix: rename the entry point"
    ]


def test_two_packages_of_the_same_name_give_a_warning(
    add: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    add("one-package", "segmi.losses", "theirs", "segmi.losses:Focal")
    add("other-package", "segmi.losses", "theirs", "segmi.losses:Dice")
    known_losses()
    (message,) = caplog.messages
    assert message.startswith("loss 'theirs' is added by several packages: ")


def test_other_packages_add_objects(add: Callable[..., None]) -> None:
    add("losses-package", "segmi.losses", "their-loss", "segmi.losses:Focal")
    add("datasets-package", "segmi.datasets", "their-data", "segmi.datasets:CamVid")
    add("models-package", "segmi.models", "their-net", "segmi.models.catalog:_unet")
    assert known_losses()["their-loss"] is LOSSES["focal"]
    build_objective({"their-loss": {}}, networks=["a"])
    assert dataset_class("their-data").__name__ == "CamVid"
    assert "their-data" in dataset_names()
    assert "their-net" in [row["name"] for row in list_models()]
    assert build_network("their-net", classes=2, width=2).stride == 16
    with pytest.raises(UsageError, match="did you mean 'width'"):
        build_network("their-net", classes=2, widht=2)
