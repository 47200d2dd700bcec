"""Budgets of methods must be equal unless the study has ``allow_unequal``."""

from __future__ import annotations

from typing import Any

import pytest

from segmi.study.strict_yaml import dump, parse
from segmi.study.study_file import apply_overrides
from segmi.study.validation import validated

TWO = "methods.model-2={networks: {unet: {architecture: unet, width: 2}}, loss: {rmi_loss: {}}, training: {steps: 5}}"


def test_different_budgets_are_refused(check: Any, tiny_text: str) -> None:
    refusal = check(tiny_text, TWO)
    assert "methods: the budgets differ (model-1: 6 steps; model-2: 5 steps)" in refusal
    assert "allow_unequal: true" in refusal


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ("{steps: null, epochs: 6}", "model-2: 6 epochs"),
        ("{steps: null, images: 1200}", "model-2: 1,200 images"),
        ("{steps: null, minutes: 0.5}", "model-2: 0.5 minutes"),
    ],
)
def test_budgets_in_different_units_are_refused(check: Any, tiny_text: str, training: str, expected: str) -> None:
    assert expected in check(tiny_text, TWO, f"methods.model-2.training={training}")


def test_equal_images_allow_different_numbers_of_steps(tiny_text: str) -> None:
    own = ["training.steps=null", "training.images=12", TWO, "methods.model-2.training={batch_size: 1}"]
    study = validated(apply_overrides(parse(tiny_text), own))
    assert [m.training["images"] for m in study.methods.values() if m.training] == [12, 12]


def test_allow_unequal_permits_different_budgets(tiny_text: str) -> None:
    study = validated(apply_overrides(parse(tiny_text), [TWO, "allow_unequal=true"]))
    assert study.allow_unequal
    assert validated(parse(dump(study.plain()))) == study
