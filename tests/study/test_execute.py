"""Real runs: their records, and that an interruption does not change their result."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from segmi.deploy import load
from segmi.errors import UsageError
from segmi.records import RunFolder
from segmi.report import write_report
from segmi.study import DataRoots, Study
from segmi.study.run import run_study
from segmi.study.strict_yaml import parse
from segmi.study.study_file import apply_overrides
from segmi.study.validation import validated

MUTUAL = """methods.model-3={label: Model 3, networks: {unet: {architecture: unet, width: 2},
 peer: {architecture: unet, width: 3}}, loss: {cross_entropy: {}, mutual_learning: {}}, reported: unet}"""


class Killed(BaseException):
    """Ends a run without cleanup, as SIGKILL does."""


def study_of(text: str, *overrides: str) -> Study:
    return validated(apply_overrides(parse(text), overrides), roots=DataRoots())


def weights(folder: Path) -> dict[str, str]:
    return {
        path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("bundles/*/model.safetensors"))
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Path:
    """Return the folder of a study that ran without interruption."""
    root = tmp_path_factory.mktemp("whole")
    outcome = run_study(study_of(tiny_text, MUTUAL), root)
    assert not outcome.failed
    write_report(root / "tiny")
    return root / "tiny"


def test_run_writes_records_for_report(whole: Path) -> None:
    folder = RunFolder(whole / "street-scenes/model-3/seed0")
    result = folder.result()
    assert folder.finished
    assert result is not None
    assert result["reported_network"] == "unet"
    assert result["dataset"]["title"] == "Street scenes"
    assert set(result["networks"]) == {"unet", "peer"}
    assert result["networks"]["unet"]["parameters"] < result["networks"]["peer"]["parameters"]
    assert result["training"]["steps"] == 6
    assert result["training"]["selection"] == "holdout_mIoU"
    assert result["environment"]["threads"] >= 1
    assert result["usage"]["sessions"] == 1
    assert result["usage"]["seconds"] > 0
    assert folder.confusion("peer", "full").counts.shape == (3, 11, 11)
    (image,) = folder.samples(["unet", "peer"])
    assert set(image.predictions) == {"unet", "peer"}
    assert set(weights(folder.path)) == {"unet", "peer"}
    assert folder.metrics()


def test_constant_baseline_predicts_most_frequent_train_class(whole: Path) -> None:
    folder = RunFolder(whole / "street-scenes/model-1/seed0")
    result = folder.result()
    assert result is not None
    truth = folder.confusion("unet", "full").pooled().sum(1)
    constant = result["baseline_constant"]
    assert constant["pixel_accuracy"] in [pytest.approx(share) for share in truth / truth.sum()]
    assert sum(iou > 0 for iou in constant["IoU"] if iou is not None) == 1


def test_networks_of_same_name_have_equal_initial_weights(tiny_text: str) -> None:
    from segmi.study.components import build_components
    from segmi.study.run_config import expand

    first, second = (build_components(run.config, 11)[0] for run in expand(study_of(tiny_text, MUTUAL)))
    assert all((a == b).all() for a, b in zip(first.parameters(), second.networks["unet"].parameters(), strict=True))


@pytest.mark.parametrize("steps", [[1], [3, 5], [2, 2, 4]])
def test_interrupted_run_has_same_result(whole: Path, tiny_text: str, tmp_path: Path, steps: list[int]) -> None:
    study = study_of(tiny_text, MUTUAL)
    for step in steps:

        def stop(event: Any, step: int = step) -> None:
            if event.kind == "train" and event.done == step:
                raise Killed

        with pytest.raises(Killed):
            run_study(study, tmp_path, listener=stop)
    run_study(study, tmp_path)
    report = write_report(tmp_path / "tiny")
    assert (report / "table1.csv").read_bytes() == (whole / "report/table1.csv").read_bytes()
    for method in ("model-1", "model-3"):
        run = Path("street-scenes", method, "seed0")
        assert weights(tmp_path / "tiny" / run) == weights(whole / run)
        assert (tmp_path / "tiny" / run / "metrics.csv").read_bytes() == (whole / run / "metrics.csv").read_bytes()


def test_resume_with_other_threads_is_bit_identical(tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text, "training.precision=fp32", "training.select_by=last")

    def stop(event: Any) -> None:
        if event.kind == "train" and event.done == 3:
            raise Killed

    before = torch.get_num_threads()
    try:
        for threads, name, listener in [(2, "two", None), (1, "one", None), (2, "changed", stop), (1, "changed", None)]:
            torch.set_num_threads(threads)
            with pytest.raises(Killed) if listener else nullcontext():
                run_study(study, tmp_path / name, listener=listener)
    finally:
        torch.set_num_threads(before)
    run = Path("tiny/street-scenes/model-1/seed0")
    assert weights(tmp_path / "one" / run) != weights(tmp_path / "two" / run)  # or there is nothing to be kept
    assert weights(tmp_path / "changed" / run) == weights(tmp_path / "two" / run)
    confusion = run / "confusion/unet.full.npz"
    assert (tmp_path / "changed" / confusion).read_bytes() == (tmp_path / "two" / confusion).read_bytes()


def test_fine_tuning_starts_from_bundle(whole: Path, tiny_text: str, tmp_path: Path) -> None:
    bundle = whole / "street-scenes/model-1/seed0/bundles/unet"
    study = study_of(tiny_text, "training.learning_rate=1e-12", "training.steps=1", "training.select_by=last")
    run_study(study, tmp_path, init_from=bundle)
    tuned = load(tmp_path / "tiny/street-scenes/model-1/seed0/bundles/unet")
    for before, after in zip(load(bundle).parameters(), tuned.parameters(), strict=True):
        assert (before - after).abs().max() < 1e-6
    outcome = run_study(
        study_of(tiny_text, "methods.model-1.networks.unet.width=5", "name=other"), tmp_path, init_from=bundle
    )
    (failure,) = outcome.failed.values()
    assert failure["type"] == UsageError.__name__
    assert "start from a bundle of the same architecture and width" in failure["remedy"]


def test_paper_protocol_runs(tiny_text: str, tmp_path: Path) -> None:
    text = "protocol: paper\n" + tiny_text.replace("  holdout: 0.25\n", "")
    assert not run_study(study_of(text, "evaluation.passes=2", "training.steps=2"), tmp_path).failed
    result = RunFolder(tmp_path / "tiny/street-scenes/model-1/seed0").result()
    assert result is not None
    assert list(result["networks"]["unet"]["scores"]) == ["paper"]
    assert result["training"]["selection"] == "train_loss"


def test_second_protocol_scores_same_networks(tiny_text: str, tmp_path: Path) -> None:
    study = study_of(tiny_text, "evaluation.also=paper", "evaluation.passes=1", "evaluation.window=36")
    run_study(study, tmp_path).raise_if_incomplete()
    folder = RunFolder(tmp_path / "tiny/street-scenes/model-1/seed0")
    result = folder.result()
    assert result is not None
    scores = result["networks"]["unet"]["scores"]
    assert list(scores) == ["full", "paper"]
    assert scores["paper"] != scores["full"]
    assert result["protocol"] == "full"
    assert folder.confusion("unet", "paper").pooled().sum() <= 3 * 32 * 32
    assert "unet, paper" in (write_report(tmp_path / "tiny") / "table_networks.md").read_text()


def test_one_logit_for_two_classes(tiny_text: str, tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    for number in range(6):
        for kind, pixels in (
            ("images", np.random.default_rng(number).integers(0, 255, (40, 40, 3))),
            ("masks", np.eye(40)),
        ):
            path = tmp_path / "data" / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    data = "datasets={mine: {type: folder, classes: [back, line]}}"
    roots = DataRoots({"mine": tmp_path / "data"})
    predicted = {}
    for threshold in ("0.5", "0.01", "0.99"):
        study = validated(
            apply_overrides(
                parse(tiny_text),
                [data, "methods.model-1.networks.unet.one_logit=true", "training.steps=2",
                 "methods.model-1.loss={binary_cross_entropy: {}}", f"evaluation.threshold={threshold}"],
            ),
            roots=roots,
        )  # fmt: skip
        outcome = run_study(study, tmp_path / threshold, roots=roots)
        assert not outcome.failed, outcome.failed
        counts = RunFolder(tmp_path / threshold / "tiny/mine/model-1/seed0").confusion("unet", "full").counts
        assert counts.shape[1:] == (2, 2)
        predicted[threshold] = counts.sum((0, 1))
    assert predicted["0.01"][0] == 0
    assert predicted["0.99"][1] == 0
