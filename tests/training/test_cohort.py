from __future__ import annotations

import pytest
import torch

from segmi.errors import UsageError
from segmi.training import Cohort


def test_forward_returns_all_networks(make_cohort):
    outputs = make_cohort(2)(torch.rand(2, 3, 8, 8))
    assert list(outputs) == ["net0", "net1"]
    assert outputs["net1"].logits.shape == (2, 3, 8, 8)


def test_frozen_networks_stay_in_evaluation_mode_without_gradient(make_cohort):
    cohort = make_cohort(2, frozen=("net1",)).train()
    assert cohort.networks["net0"].training
    assert not cohort.networks["net1"].training
    outputs = cohort(torch.rand(2, 3, 8, 8))
    assert outputs["net0"].logits.requires_grad
    assert not outputs["net1"].logits.requires_grad


def test_stride_is_the_least_common_multiple(make_cohort):
    cohort = make_cohort(2)
    cohort.networks["net1"].stride = 3
    assert cohort.stride == 6


def test_invalid_cohorts_are_refused(make_cohort):
    with pytest.raises(UsageError, match="at least one network"):
        Cohort({})
    with pytest.raises(UsageError, match="every network of the cohort is frozen"):
        make_cohort(1, frozen=("net0",))
    with pytest.raises(UsageError, match="unknown frozen network 'net7'"):
        make_cohort(1, frozen=("net7",))
