from __future__ import annotations

import inspect

from segmi.datasets.processing import Processing
from segmi.study.presets import PROTOCOLS, layered, preset
from segmi.training import evaluate
from segmi.training.config import TrainingOptions


def test_presets_set_only_what_the_signatures_know() -> None:
    known = {
        "processing": set(inspect.signature(Processing).parameters),
        "training": set(inspect.signature(TrainingOptions).parameters) | {"holdout"},
        "evaluation": set(inspect.signature(evaluate).parameters) | {"split"},
    }
    for protocol, sections in PROTOCOLS.items():
        assert set(sections) == set(known)
        for section, options in sections.items():
            assert set(options) <= known[section], protocol


def test_both_protocols_set_the_same_things_where_they_differ() -> None:
    assert set(PROTOCOLS["paper"]["training"]) == set(PROTOCOLS["controlled"]["training"])


def test_a_preset_cannot_be_changed_by_accident() -> None:
    preset("paper", "training")["holdout"] = 1
    assert preset("paper", "training")["holdout"] == 0.0
    assert preset(["no"], "training") == preset("no", "training") == {}


def test_layers() -> None:
    assert layered({"a": 1}, 5, None, {"a": 2}) == {"a": 2}
