from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segmi.errors import DataError, EnvironmentProblem, UsageError
from segmi.study import DataRoots, expand
from segmi.study.strict_yaml import dump, parse
from segmi.study.study_file import apply_overrides, load_study
from segmi.study.validation import validated

REPOSITORY = Path(__file__).parents[2]

MUTUAL = """methods={both: {networks: {a: {architecture: unet, width: 2}, b: {architecture: unet, width: 2}},
 loss: {cross_entropy: {}, mutual_learning: {}}, reported: a}}"""


def test_valid_study_gets_every_default(tiny_text: str) -> None:
    study = validated(parse(tiny_text), roots=DataRoots())
    method = study.methods["model-1"]
    assert study.baseline == "model-1"
    assert study.evaluation["protocol"] == "full"
    assert study.evaluation["split"] == "val"
    assert method.reported == "unet"
    assert method.training is not None
    assert method.training["optimizer"] == "Adam"
    assert method.training["select_by"] == "holdout_mIoU"
    assert method.training["select_network"] == "unet"
    assert method.processing is not None
    assert method.processing["resize_mode"] == "exact"


def test_paper_preset_can_be_overridden(tiny_text: str) -> None:
    text = tiny_text.replace("holdout: 0.25", "drop_last: false")
    study = validated(parse("protocol: paper\n" + text))
    training = study.methods["model-1"].training
    assert training is not None
    assert (training["select_by"], training["holdout"], training["drop_last"]) == ("train_loss", 0.0, False)
    assert (study.evaluation["protocol"], study.evaluation["passes"]) == ("paper", 5)
    changed = validated(parse("protocol: paper\nevaluation: {passes: 2}\n" + text))
    assert changed.evaluation["passes"] == 2


def test_folds_of_a_dataset_are_read(tiny_text: str) -> None:
    study = validated(apply_overrides(parse(tiny_text), ["datasets.street-scenes.fold=2/3"]))
    assert study.datasets["street-scenes"]["fold"] == "2/3"
    assert validated(parse(dump(study.plain()))).datasets == study.datasets
    with pytest.raises(UsageError, match=r"datasets.street-scenes.fold: expected a fold such as 2/5, got '4/3'"):
        validated(apply_overrides(parse(tiny_text), ["datasets.street-scenes.fold=4/3"]))


def test_method_overrides_study(tiny_text: str) -> None:
    own = tiny_text + "    training: {learning_rate: 1e-4}\n    processing: {flip: 0.5}\n"
    method = validated(parse(own)).methods["model-1"]
    assert method.training is not None
    assert method.processing is not None
    assert method.training["learning_rate"] == 1e-4
    assert method.training["steps"] == 6
    assert method.processing["flip"] == 0.5
    assert method.processing["crop"] == 32


@pytest.mark.parametrize("name", ["demo", "camvid", "paper"])
def test_shipped_studies_are_valid_and_round_trip(name: str) -> None:
    study = load_study(REPOSITORY / "studies" / f"{name}.yaml")
    again = validated(parse(dump(study.plain())))
    assert again == study
    assert [run.config for run in expand(again)] == [run.config for run in expand(study)]


def test_controlled_studies_have_equal_budgets() -> None:
    for name in ("demo", "camvid"):
        study = load_study(REPOSITORY / "studies" / f"{name}.yaml")
        budgets = {
            (m.training["steps"], m.training["batch_size"], m.training["learning_rate"])
            for m in study.methods.values()
            if m.training
        }
        assert len(budgets) == 1


def test_paper_study_has_published_hyperparameters() -> None:
    study = load_study(REPOSITORY / "studies" / "paper.yaml")
    options = {
        name: (m.training["epochs"], m.training["learning_rate"], m.training["batch_size"], m.training["optimizer"])
        for name, m in study.methods.items()
        if m.training
    }
    assert options == {
        "model-1": (200, 1e-3, 8, "Adam"),
        "model-2": (200, 1e-4, 2, "Adam"),
        "model-3": (200, 1e-4, 10, "Adam"),
    }
    published = {
        "bce_weight": 0.5, "radius": 3, "variant": "published", "probability": "sigmoid", "pooling": "none",
        "stride": 1,
        "legacy_interpolation": False, "ignored": None, "class_reduction": None, "alpha": 5e-4, "weight": 1.0,
    }  # fmt: skip
    options = study.methods["model-2"].loss["rmi_loss"]
    assert {name: options[name] for name in published} == published
    # The published variant has no ridge, and the kernel does not change any number.
    assert options.keys() - published.keys() == {"relative_ridge", "kernel"}
    assert study.methods["model-3"].networks["deeplabv3"]["encoder_weights"] == "coco"


CASES: list[tuple[str, list[str], str]] = [
    ("unknown key", ["sede=[0]"], "sede: unknown key 'sede', did you mean 'seeds'? Known:"),
    ("unknown section key", ["training.stpes=5"], "training.stpes: unknown key 'stpes', did you mean 'steps'?"),
    ("unknown processing key", ["processing.corp=5"], "processing.corp: unknown key 'corp', did you mean 'crop'?"),
    ("unknown method key", ["methods.model-1.los=5"], "unknown key 'los', did you mean 'loss'?"),
    ("wrong type", ["training.steps=many"], "training.steps: expected a valid integer, got 'many' (text)"),
    ("wrong type in method", ["methods.model-1.training={steps: 1.5}"], "methods.model-1.training.steps: expected"),
    ("section no mapping", ["training=5"], "training: expected a mapping, got 5 (a whole number)"),
    ("method no mapping", ["methods.model-1=5"], "methods.model-1: expected a mapping with networks and loss, got"),
    ("unknown protocol", ["protocol=papr"], "protocol: expected 'controlled' or 'paper', got 'papr' (text)"),
    ("no name", ["name=null"], "name: expected a valid string, got nothing"),
    ("bad name", ["name=../up"], "name: expected a name of letters, digits, '-', '_' and '.'"),
    ("no datasets", ["datasets={}"], "datasets: expected at least one entry"),
    ("no methods", ["methods={}"], "methods: expected at least one entry"),
    ("unknown dataset", ["datasets={camvd: {}}"], "datasets.camvd: unknown dataset 'camvd', did you mean 'camvid'?"),
    ("unknown type", ["datasets={x: {type: fodler}}"], "datasets.x.type: unknown dataset 'fodler', did you mean"),
    ("dataset option", ["datasets.street-scenes.trian=5"], "unknown key 'trian', did you mean 'train'?"),
    ("a root", ["datasets={camvid: {root: /data}}"], "datasets.camvid.root: a study file names no folders of one"),
    (
        "unknown architecture",
        ["methods.model-1.networks.unet.architecture=unett"],
        "methods.model-1.networks.unet.architecture: unknown architecture 'unett', did you mean",
    ),
    (
        "unknown encoder",
        ["methods.model-1.networks.unet={architecture: smp_unet, encoder: resnet19}"],
        "unknown encoder 'resnet19'; did you mean 'resnet1",
    ),
    (
        "option of another architecture",
        ["methods.model-1.networks.unet.encoder=resnet18", "methods.model-1.networks.unet.deepth=5"],
        "unknown option of unet 'deepth'",
    ),
    ("no architecture", ["methods.model-1.networks.unet={}"], "networks.unet.architecture: is missing"),
    (
        "unknown loss",
        ["methods.model-1.loss={cros_entropy: {}}"],
        "loss.cros_entropy: unknown loss 'cros_entropy', did you mean 'cross_entropy'?",
    ),
    (
        "loss option",
        ["methods.model-1.loss={rmi_loss: {raduis: 3}}"],
        "loss.rmi_loss.raduis: unknown key 'raduis', did you mean 'radius'?",
    ),
    ("loss value", ["methods.model-1.loss={rmi_loss: {radius: 0}}"], "methods.model-1.loss.rmi_loss"),
    ("loss type", ["methods.model-1.loss={rmi_loss: {radius: x}}"], "radius: expected a valid integer"),
    ("one peer", ["methods.model-1.loss={mutual_learning: {}}"], "expected two or more networks"),
    ("optimizer", ["training.optimizer=Adm"], "training.optimizer: unknown optimizer 'Adm'; did you mean 'Adam'?"),
    ("optimizer option", ["training.optimizer_options={betta: 1}"], "training.optimizer_options: unknown option of"),
    ("schedule", ["training.schedule=CosineLR"], "training.schedule: unknown schedule 'CosineLR'"),
    ("options of no schedule", ["training.schedule_options={x: 1}"], "training.schedule: schedule constant takes no"),
    (
        "schedule option",
        ["training.schedule=PolynomialLR", "training.schedule_options={pwr: 1}"],
        "training.schedule_options: unknown option of schedule PolynomialLR",
    ),
    (
        "scheduler in a sequence",
        ["training.schedule=[{name: LinearLR, steps: 2}, {name: PolyLR}]"],
        "training.schedule: unknown schedule 'PolyLR'",
    ),
    ("long sequence", ["training.schedule=[{name: LinearLR, steps: 9}, {name: constant}]"], "starts after step 9"),
    ("long warm-up", ["training.warmup_steps=6"], "training.warmup_steps: schedule constant starts after step 6, but"),
    ("negative warm-up", ["training.warmup_steps=-1"], "training.warmup_steps: expected at least 0, got -1"),
    ("no warm-up", ["training.warmup_steps=few"], "training.warmup_steps: expected a valid integer, got 'few'"),
    (
        "baseline of one",
        ["methods.model-1.baseline=model-2"],
        "methods.model-1.baseline: unknown method 'model-2', did",
    ),
    ("its own baseline", ["methods.model-1.baseline=model-1"], "model-1 cannot be compared with itself; name another"),
    (
        "baseline and treatment",
        [
            "methods.model-2={treatment: a, baseline: model-1, networks: {unet: {architecture: unet}}, "
            "loss: {rmi_loss: {}}}"
        ],
        "methods with a treatment are compared by treatment; omit baseline or treatment",
    ),
    ("second protocol", ["evaluation.also=crops"], "evaluation.also: expected 'full' or 'paper', got 'crops' (text)"),
    (
        "both budgets",
        ["training.epochs=5"],
        "training.epochs: expected a budget in steps, epochs, images or minutes, got steps = 6",
    ),
    (
        "no budget",
        ["training.steps=null"],
        "training.steps: expected a budget in steps, epochs, images or minutes, got none",
    ),
    ("endless", ["training.steps=null", "training.minutes=.inf"], "training.minutes: expected a finite number, got"),
    ("no steps", ["training.steps=0"], "training.steps: expected more than 0, got 0"),
    ("no rate", ["training.learning_rate=0"], "training.learning_rate: expected more than 0, got 0"),
    ("holdout", ["training.holdout=1.5"], "training.holdout: expected less than 1, got 1.5"),
    ("nothing held out", ["training.holdout=0"], "training.holdout: select_by holdout_mIoU needs images held out"),
    ("select by", ["training.select_by=luck"], "training.select_by: expected 'holdout_mIoU', 'train_loss' or 'last'"),
    ("reported", ["methods.model-1.reported=unte"], "methods.model-1.reported: unknown network 'unte', did you mean"),
    ("frozen", ["methods.model-1.frozen=[unte]"], "methods.model-1.frozen.0: unknown network 'unte'"),
    ("all frozen", ["methods.model-1.frozen=[unet]"], "methods.model-1.frozen: every network is frozen"),
    ("network to select by", ["training.select_network=x"], "unknown network 'x'"),
    (
        "reported missing",
        [MUTUAL, "methods.both.reported=null"],
        "methods.both.reported: is missing; choose one of a, b",
    ),
    ("network name", ["methods.model-1.networks={a/b: {architecture: unet}}"], "expected a name of letters"),
    ("crop and resize", ["processing.crop=64"], "processing.crop (64) is larger than processing.resize (36)"),
    ("crop and stride", ["processing.crop=30"], "processing.crop: 30 is not a multiple of 16, the stride of unet"),
    ("flip", ["processing.flip=2"], "processing.flip must be a probability between 0 and 1, got 2"),
    ("seeds", ["seeds=[0, 1, 0]"], "seeds: duplicate seeds 0; remove the copies"),
    ("no seeds", ["seeds=[]"], "seeds: expected at least one entry"),
    ("negative seed", ["seeds=[-1]"], "seeds.0: expected greater than or equal to 0, got -1"),
    ("baseline", ["baseline=model-2"], "baseline: unknown method 'model-2', did you mean 'model-1'?"),
    ("evaluation", ["evaluation.protocol=half"], "evaluation.protocol: expected 'full' or 'paper', got 'half'"),
    ("evaluation key", ["evaluation.pases=2"], "evaluation.pases: unknown key 'pases', did you mean 'passes'?"),
    ("samples", ["samples=-1"], "samples: expected greater than or equal to 0, got -1"),
]


@pytest.mark.parametrize(("overrides", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_problem_is_reported_with_its_path(check: Any, tiny_text: str, overrides: list[str], message: str) -> None:
    refusal = check(tiny_text, *overrides, kind=UsageError)
    assert message in refusal
    assert "nothing was started" in refusal
    assert "command line, " in refusal or "s.yaml:" in refusal


def test_problem_has_file_and_line(check: Any, tiny_text: str) -> None:
    line = tiny_text.splitlines().index("  steps: 6") + 1
    assert f"(s.yaml:{line})" in check(tiny_text.replace("steps: 6", "steps: six"))


def test_all_problems_are_reported_at_once(check: Any, tiny_text: str) -> None:
    refusal = check(
        tiny_text, "sede=1", "training.steps=x", "training.optimizer=Adm", "processing.crop=64", "seeds=[1, 1]",
        "methods.model-1.networks.unet.architecture=x", "methods.model-1.loss={y: {}}", "datasets={z: {}}",
    )  # fmt: skip
    assert "s.yaml has 8 problems, nothing was started" in refusal


@pytest.mark.parametrize("text", ["", "5", "[a]", "text"])
def test_file_without_study_is_refused(check: Any, text: str) -> None:
    assert "expected a study with name, datasets and methods" in check(text)


def test_missing_data_raises_data_error(check: Any, tiny_text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGMI_DATA", raising=False)
    refusal = check(tiny_text, "datasets={camvid: {}}", data=True, kind=DataError)
    assert "datasets.camvid: " in refusal
    assert "SEGMI_DATA" in refusal


def test_missing_data_is_reported_with_other_problems(
    check: Any, tiny_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEGMI_DATA", raising=False)
    refusal = check(tiny_text, "datasets={camvid: {}}", "seeds=[1, 1]", data=True, kind=UsageError)
    assert "2 problems" in refusal


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["evaluation.split=tst"], "unknown split of street-scenes 'tst'"),
        (["training.batch_size=20"], "training images of street-scenes do not fill a batch of 20"),
        (["methods.model-1.networks.unet.one_logit=true"], "street-scenes has 11 classes, one logit is for two"),
        (["datasets.street-scenes.train=1"], "expected at least 2 images to hold out a part of, got 1"),
        (
            ["methods.model-1.networks.unet={architecture: deeplabv3_mobilenet_v3_large}", "training.batch_size=1"],
            "cannot train on a batch of one image",
        ),
    ],
)
def test_study_that_does_not_fit_its_data_is_refused(
    check: Any, tiny_text: str, overrides: list[str], message: str
) -> None:
    assert message in check(tiny_text, *overrides, data=True)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1.5", "evaluation.threshold: threshold must be between 0 and 1, got 1.5"),
        ("many", "evaluation.threshold: "),
        (
            "0.3",
            "evaluation.threshold: a threshold of 0.3 needs binary networks with one logit, "
            "methods.model-1.networks.unet has one logit per class; set one_logit: true",
        ),
    ],
)
def test_threshold_is_a_probability_for_networks_with_one_logit(
    check: Any, tiny_text: str, value: str, message: str
) -> None:
    assert message in check(tiny_text, f"evaluation.threshold={value}")


def test_split_can_have_fewer_images_than_samples(tiny_text: str) -> None:
    document = apply_overrides(parse(tiny_text), ["samples=9"])
    assert validated(document, roots=DataRoots()).samples == 9


def test_missing_pretrained_weights_are_reported_before_start(
    check: Any, tiny_text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    network = "methods.model-1.networks.unet={architecture: deeplabv3_resnet50, encoder_weights: coco}"
    refusal = check(tiny_text, network, data=True, kind=EnvironmentProblem)
    assert "networks.unet.encoder_weights: the coco weights of deeplabv3_resnet50" in refusal
    assert "set encoder_weights to null" in refusal


def test_root_of_unknown_dataset_is_refused(tiny_text: str) -> None:
    with pytest.raises(UsageError, match=r"unknown dataset 'street-scene', did you mean 'street-scenes'\?"):
        validated(parse(tiny_text), roots=DataRoots({"street-scene": Path("/data")}))


CROSSED = """\
name: crossed
seeds: [0, 1]
baseline: ce-2
datasets: {street-scenes: {train: 8, val: 3, height: 40, width: 48}}
processing: {resize: 36, crop: 32}
training: {steps: 6, batch_size: 2, learning_rate: 1e-3, holdout: 0.25}
methods:
  ce-2: {treatment: ce, networks: {unet: {architecture: unet, width: 2}}, loss: {cross_entropy: {}}}
  bce-2: {treatment: bce, networks: {unet: {architecture: unet, width: 2}}, loss: {binary_cross_entropy: {}}}
  ce-4: {treatment: ce, networks: {unet: {architecture: unet, width: 4}}, loss: {cross_entropy: {}}}
  bce-4: {treatment: bce, networks: {unet: {architecture: unet, width: 4}}, loss: {binary_cross_entropy: {}}}
"""


def test_treatments_on_several_networks(check: Any) -> None:
    study = validated(parse(CROSSED))
    assert [method.treatment for method in study.methods.values()] == ["ce", "bce", "ce", "bce"]
    assert validated(parse(dump(study.plain()))) == study
    assert (
        "methods.bce-4.treatment: bce-2 already has the treatment 'bce' with unet, width 2; use another network or"
        in check(CROSSED, "methods.bce-4.networks.unet.width=2")
    )
    assert (
        "methods.bce-4.treatment: nothing to compare with: no method of the baseline's treatment 'ce' has the network "
        "unet, width 8; add one" in check(CROSSED, "methods.bce-4.networks.unet.width=8")
    )
