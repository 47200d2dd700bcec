from __future__ import annotations

from typing import Any

import pytest

from segmi.errors import UsageError
from segmi.study.strict_yaml import parse
from segmi.study.study_file import apply_overrides

TEXT = """\
training: {steps: 5, batch_size: 2}
seeds: [0]
methods: {model-1: {label: one, networks: {unet: {width: 8}}}}
datasets: {voc.2012: {}}
"""


def changed(*overrides: str) -> Any:
    return apply_overrides(parse(TEXT, "s.yaml"), overrides).data


def test_values_are_parsed_as_yaml() -> None:
    data = changed("training.learning_rate=1e-4", "seeds=[0, 1]", "methods.model-1.label=no", "training.steps=null")
    assert data["training"] == {"steps": None, "batch_size": 2, "learning_rate": 1e-4}
    assert data["seeds"] == [0, 1]
    assert data["methods"]["model-1"]["label"] == "no"


def test_missing_sections_are_created() -> None:
    data = changed("processing.crop=32", "methods.model-1.training.steps=7")
    assert data["processing"] == {"crop": 32}
    assert data["methods"]["model-1"]["training"] == {"steps": 7}


def test_last_override_wins_and_value_can_contain_equals_sign() -> None:
    assert changed("training.steps=6", "training.steps=7")["training"]["steps"] == 7
    assert changed("methods.model-1.label=a=b")["methods"]["model-1"]["label"] == "a=b"


def test_list_items_and_names_with_dots() -> None:
    assert changed("seeds.0=3")["seeds"] == [3]
    assert changed("datasets.voc.2012.year=1")["datasets"] == {"voc.2012": {"year": 1}}


def test_methods_and_datasets_can_be_added() -> None:
    assert changed("datasets.camvid={}")["datasets"] == {"voc.2012": {}, "camvid": {}}


def test_overridden_value_is_located_on_command_line() -> None:
    document = apply_overrides(parse(TEXT, "s.yaml"), ["training={steps: 3}"])
    assert document.where(("training", "steps")) == "command line, training={steps: 3}"
    assert document.where(("seeds",)) == "s.yaml:2"


def test_section_created_by_override_is_located_on_command_line() -> None:
    document = apply_overrides(parse(TEXT, "s.yaml"), ["procesing.resize=3", "training.clip_norm=1"])
    assert document.where(("procesing",)) == "command line, procesing.resize=3"
    assert document.where(("training",)) == "s.yaml:1"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("methods.model1.label=x", "methods has no 'model1'; did you mean 'model-1'?"),
        ("methods.model-1.networks.unte.width=2", "methods.model-1.networks has no 'unte'; did you mean 'unet'?"),
        ("datasets.voc2012.year=1", "datasets has no 'voc2012'; did you mean 'voc.2012'?"),
        ("training.steps.x=1", "training.steps is 5, which has no fields"),
        ("seeds.1=1", "seeds is a list of 1; use an index from 0 to 0"),
        ("seeds.x=1", "seeds is a list of 1"),
        ("training.steps", "expected path.to.field=value"),
        ("=5", "expected path.to.field=value"),
        ("training..steps=5", "the path 'training..steps' has an empty part"),
        ("training.steps=[", "is not valid YAML"),
        ("training.steps=!!python/name:os.system", "only plain values are read"),
        ("training.steps=&a 5", "the anchor &a"),
    ],
)
def test_invalid_overrides_are_refused(override: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        changed(override)
    assert message in str(caught.value)
    assert "Fix: write path.to.field=value" in str(caught.value)


def test_all_invalid_overrides_are_reported_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        changed("nonsense", "seeds.9=1", "methods.model2.label=x")
    assert all(part in str(caught.value) for part in ("nonsense", "seeds.9=1", "methods.model2.label=x"))
