"""Methods that report an ensemble of their networks: files, resumption, searches and mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segmi.deploy import load, predict
from segmi.deploy.ensemble import Ensemble
from segmi.errors import Interrupted, UsageError
from segmi.records import RunFolder, read_confusion, read_ensemble
from segmi.report import write_report
from segmi.report.charts.score_charts import cost_chart
from segmi.report.learning_curves import histories
from segmi.statistics.study_runs import collect
from segmi.study import DataRoots, Study
from segmi.study.run import run_study
from segmi.study.run_config import expand
from segmi.study.single_run import train_study
from segmi.study.status import study_status
from segmi.study.strict_yaml import dump, parse
from segmi.study.study_file import apply_overrides
from segmi.study.validation import validated
from segmi.training import Callback, TrainingState

DUO = """methods.duo={networks: {unet: {architecture: unet, width: 2}, second: {architecture: unet, width: 2}},
 loss: {cross_entropy: {}}, ensembles: {both: [unet, second]}, reported: both}"""
LAST = ("training.select_by=last", "training.precision=fp32", "training.learning_rate=1e-2")
CELL = Path("tiny/street-scenes")


def study_of(text: str, *overrides: str) -> Study:
    return validated(apply_overrides(parse(text), overrides), roots=DataRoots())


def result_of(run: Path) -> dict[str, Any]:
    result = RunFolder(run).result()
    assert result is not None
    return dict(result)


class Stop(Callback):
    def step(self, state: TrainingState) -> None:
        if state.step == 5:
            raise KeyboardInterrupt


def test_ensemble_is_evaluated_reported_and_predicts(tmp_path: Path, tiny_text: str) -> None:
    study = study_of(tiny_text, DUO, *LAST)
    assert validated(parse(dump(study.plain())), roots=DataRoots()) == study, "written out, it reads back"
    run_study(study, tmp_path).raise_if_incomplete()
    run, alone = tmp_path / CELL / "duo/seed0", tmp_path / CELL / "model-1/seed0"
    result = result_of(run)
    assert list(result["networks"]) == ["unet", "second", "both"]
    entry, counts = result["networks"]["both"], [result["networks"][name]["parameters"] for name in ("unet", "second")]
    assert (entry["architecture"], entry["members"]) == ("ensemble of unet, second", ["unet", "second"])
    assert entry["parameters"] == sum(counts)
    # The networks are trained independently: one of them alone has the same weights.
    weights = load(alone / "bundles/unet").state_dict()
    assert all(torch.equal(weights[name], value) for name, value in load(run / "bundles/unet").state_dict().items())
    assert result["networks"]["unet"]["scores"] == result_of(alone)["networks"]["unet"]["scores"]
    assert not (run / "bundles/both").exists()
    assert read_ensemble(run) == [run / "bundles/unet", run / "bundles/second"]
    # The bundles together predict the scored label maps.
    ensemble = load(run)
    assert isinstance(ensemble, Ensemble)
    images = sorted((run / "samples").glob("*.image.png"))
    assert images
    for image in images:
        with Image.open(image) as photo:
            found = predict(ensemble, np.asarray(photo))
        palette = np.array(result["dataset"]["palette"], np.uint8)
        with Image.open(str(image).replace(".image.png", ".both.png")) as stored:
            shown = np.asarray(stored.convert("RGB"))
        assert (palette[found] == shown).all()
    confusion = read_confusion(RunFolder(run).confusion_path("both", "full"))
    assert list(confusion.names) == list(read_confusion(RunFolder(run).confusion_path("unet", "full")).names)
    assert RunFolder(run).details_path("both", "full").is_file()
    assert "mutual_information/both" in result["diagnostics"]["full"]
    status = study_status(study, tmp_path)
    assert {row.score for row in status if "/duo/" in row.run} == {entry["scores"]["full"]["mIoU"]}
    write_report(tmp_path / "tiny", tmp_path / "report")
    assert "both ●" in (tmp_path / "report/table_networks.csv").read_text()
    assert "ensemble of unet, second" in (tmp_path / "report/table1.md").read_text()
    (collected,) = collect(tmp_path / "tiny")
    chart = cost_chart(collected)
    assert chart is not None
    figures = [figure for choice, figure in chart.figures.items() if choice.startswith("parameters")]
    # Parameters of the networks count once, in millions.
    assert [trace["x"][0] for trace in figures[0]["data"]] == pytest.approx(
        [counts[0] / 1e6, sum(counts) / 1e6], rel=1e-3
    )
    (curve,) = [one for one in histories(collected, "street-scenes")["holdout/mIoU"][""] if one.method == "duo"]
    assert (curve.variant, len(curve.lines)) == ("", 1)
    assert curve.lines[0].values[-1] == float(RunFolder(run).metrics()[-1]["holdout/mIoU/both"])
    # Before the result exists, the configuration names the ensemble.
    (run / "result.json").unlink()
    (unfinished,) = collect(tmp_path / "tiny")
    (same,) = [one for one in histories(unfinished, "street-scenes")["holdout/mIoU"][""] if one.method == "duo"]
    assert (same.variant, same.lines) == ("", curve.lines)


def test_interrupted_run_has_the_same_result(tmp_path: Path, tiny_text: str) -> None:
    study = study_of(tiny_text, DUO, *LAST)
    only = ["*/duo/*"]
    run_study(study, tmp_path / "straight", only=only).raise_if_incomplete()
    with pytest.raises(Interrupted):
        run_study(study, tmp_path / "stopped", only=only, callbacks=[Stop()])
    run_study(study, tmp_path / "stopped", only=only).raise_if_incomplete()
    one, other = (result_of(tmp_path / name / CELL / "duo/seed0") for name in ("straight", "stopped"))
    assert one["networks"] == other["networks"]
    assert one["diagnostics"] == other["diagnostics"]
    run = tmp_path / "stopped" / CELL / "duo/seed0"
    networks = [f"methods.duo.{key}" for key in ("reported=unet", "ensembles={}")]
    run_study(study_of(tiny_text, DUO, *networks, *LAST), tmp_path / "stopped", only=only, overwrite=True)
    assert read_ensemble(run) is None, "the list of another run is removed"


def test_methods_without_ensembles_have_the_same_configuration(tiny_text: str) -> None:
    plain = {run.method: run.config.plain() for run in expand(study_of(tiny_text, DUO, *LAST))}
    assert "ensembles" not in plain["model-1"]
    assert plain["duo"]["ensembles"] == {"both": ["unet", "second"]}


def test_score_of_a_trial_is_of_the_ensemble(tmp_path: Path, tiny_text: str) -> None:
    search = "methods.duo.training={learning_rate: {grid: [1e-3, 1e-2]}, select_network: unet}"
    study = study_of(tiny_text, DUO, search, "training.precision=fp32", "training.steps=2", "allow_unequal=true")
    run_study(study, tmp_path, only=["*/duo/*"]).raise_if_incomplete()
    selection = json.loads((tmp_path / CELL / "duo/selection.json").read_text())
    assert selection["network"] == "both"
    for trial in selection["trials"]:
        (run,) = (tmp_path / CELL).glob(f"duo+trial{trial['number']}*/seed*")
        assert trial["score"] == result_of(run)["networks"]["both"]["scores"]["full"]["mIoU"]


def test_trained_ensemble_is_the_folder_of_its_run(tmp_path: Path, tiny_text: str) -> None:
    study = study_of(tiny_text, DUO, *LAST, "training.steps=1")
    trained = train_study(study.model_copy(update={"methods": {"duo": study.methods["duo"]}}), tmp_path)
    assert trained is not None
    assert trained.bundle == trained.run == tmp_path / CELL / "duo/seed0"
    assert isinstance(load(trained.bundle), Ensemble)


def test_weights_of_a_bundle_are_for_one_network(tmp_path: Path, tiny_text: str) -> None:
    with pytest.raises(UsageError, match=r"--init-from is for one network, duo reports the ensemble 'both'"):
        run_study(study_of(tiny_text, DUO, *LAST), tmp_path, init_from=tmp_path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.select_by=holdout_mIoU", r"reported is the ensemble 'both'; set training.select_network .* unet or"),
        ("methods.duo.training.select_network=both", "select_network: expected a network, got the ensemble 'both'"),
        ("methods.duo.frozen=[both]", "frozen.0: expected a network, got the ensemble 'both', which has no weights"),
        ("methods.duo.weights_from={both: {method: model-1}}", "weights_from.both: expected a network, got the ens"),
        ("methods.model-1.weights_from={unet: {method: duo}}", "network: expected a network, got the ensemble 'both'"),
        ("methods.duo.averages={mean: {of: both}}", "of: expected a network, got the ensemble 'both'"),
        ("methods.duo.loss={pixel_contrast: {layers: {both: bottleneck}}}", "unknown network under layers .* 'both'"),
        ("methods.duo.ensembles.both=[unet]", "at least two different networks for the ensemble 'both', got unet"),
        ("methods.duo.ensembles.both=[unet, scond]", "'both': 'scond'; did you mean 'second'"),
        ("methods.duo.ensembles={unet: [unet, second]}", "'unet' is the name of a network and of an ensemble"),
        ("methods.duo.ensembles={two: [both, unet], both: [unet, second]}", "of the ensemble 'two': 'both'"),
        ("methods.duo.ensembles.both=unet", r"expected a list, got 'unet' \(text\)"),
        ("methods.duo.reported=bth", "did you mean 'both'"),
        ("methods.duo.reported=null", "choose one of unet, second, both"),
    ],
)
def test_mistakes_are_reported_before_runs_start(check, tiny_text: str, override: str, message: str) -> None:  # type: ignore[no-untyped-def]
    text = check(tiny_text, DUO, *LAST, override)
    assert re.search(message, text), text
    assert "has 1 problem" in text or "averages" in override or "layers" in override, text


def test_ensemble_of_equal_networks_is_a_treatment_of_their_network(tmp_path: Path, tiny_text: str) -> None:
    study = study_of(
        tiny_text, DUO, *LAST, "methods.duo.treatment=ensemble", "methods.model-1.treatment=alone", "training.steps=1"
    )
    run_study(study, tmp_path).raise_if_incomplete()
    plan = json.loads((tmp_path / "tiny/plan.json").read_text())
    assert plan["networks"] == {"model-1": "unet, width 2", "duo": "unet, width 2"}
