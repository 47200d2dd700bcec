from __future__ import annotations

import inspect
from dataclasses import fields

from segmi.study.components import NOT_OF_EVALUATION
from segmi.study.run_config import EvaluationSection, TrainingSection
from segmi.study.schema import PRESETS, with_preset
from segmi.study.validation import EVALUATION_FIELDS
from segmi.training import evaluate


def test_presets_set_only_options_of_the_signatures() -> None:
    known = {
        "training": set(inspect.signature(TrainingSection).parameters),
        "evaluation": set(inspect.signature(evaluate).parameters) | {"split"},
    }
    for protocol, sections in PRESETS.items():
        assert set(sections) == set(known)
        for section, options in sections.items():
            assert set(options) <= known[section], protocol


def test_both_protocols_set_the_same_training_options() -> None:
    assert set(PRESETS["paper"]["training"]) == set(PRESETS["controlled"]["training"])


def test_options_of_a_study_replace_the_preset_and_leave_it_unchanged() -> None:
    assert with_preset("paper", "training", {"holdout": 1})["holdout"] == 1
    assert with_preset("paper", "training", None)["holdout"] == 0.0
    assert with_preset(["no"], "training", 5) == with_preset("no", "training", {}) == {}


def test_the_evaluation_section_has_the_arguments_of_evaluate() -> None:
    arguments = set(inspect.signature(evaluate).parameters) - set(NOT_OF_EVALUATION)
    assert {field.name for field in fields(EvaluationSection)} == arguments | set(EVALUATION_FIELDS)
    section = EvaluationSection("full", 5, 8, None, None, 0.5, "val", "paper", True)
    assert set(section.arguments("paper")) == arguments
