"""Comparison with results of the packages benchmark-mi 0.1.3 (module bmi) and torch-mist 0.2.17.

Both need NumPy < 2, so their results are stored here. The results of benchmark-mi come from
``mutual_information()`` of ``SplitStudentT`` and ``AdditiveUniformSampler``, from ``CCAMutualInformationEstimator``,
and from ``KSGEnsembleFirstEstimator`` with ``standardize=False, metric_x="chebyshev"``; JAX 0.4.30. The results of
torch-mist are ``log_ratio(x, y).mean()`` in evaluation mode, with a ``SeparableCritic`` of identities and
``neg_samples=-1`` (all other pairs), or 0 (all) for ``InfoNCE``.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segmi.information import bounds, gaussian_mutual_information, ksg_mutual_information
from segmi.information.laws import StudentLaw, UniformNoiseLaw


def samples() -> tuple[torch.Tensor, torch.Tensor]:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(500, 2))
    y = 0.8 * x + 0.6 * draw.normal(size=(500, 2))
    return torch.from_numpy(x), torch.from_numpy(y)


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (StudentLaw([0.0], degrees=3), 0.042411410650570414),
        (StudentLaw([0.6], degrees=3), 0.2655549619647801),
        (StudentLaw([0.5, 0.5], degrees=5), 0.3384400233587064),
        (UniformNoiseLaw(0.1), 1.7094379663467407),  # in single precision there
        (UniformNoiseLaw(0.5), 0.5),
        (UniformNoiseLaw(2.0), 0.125),
    ],
)
def test_laws_equal_the_other_library(law, expected: float):
    assert law.mutual_information == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("dimensions", "neighbors", "expected"),
    [
        (1, 3, 0.5383208313636825), (1, 10, 0.496540293963438),
        (2, 3, 0.9588693581109595), (2, 10, 0.8488502610967963),
    ],
)  # fmt: skip
def test_ksg_equals_the_other_library(dimensions: int, neighbors: int, expected: float):
    x, y = (v[:, :dimensions] for v in samples())
    assert ksg_mutual_information(x, y, neighbors=neighbors).item() == pytest.approx(expected, rel=1e-10)


def test_canonical_correlations_equal_the_other_library():
    joint = torch.cov(torch.cat(samples(), 1).T)
    assert gaussian_mutual_information(joint, 2).item() == pytest.approx(1.0255449161949792, abs=1e-5)


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (bounds.nguyen_wainwright_jordan, -140.87147226194742),
        (bounds.donsker_varadhan, -3.0544931527230155),  # MINE there
        (bounds.smile, 0.4895398991791719),  # cut off at 5
        (bounds.info_nce, -0.08110035617807729),
    ],
)
def test_bounds_equal_the_other_library(bound, expected: float):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(64, 2))
    y = 0.8 * x + 0.6 * draw.normal(size=(64, 2))
    scores = torch.from_numpy(2 * x) @ torch.from_numpy(y).T
    assert bound(scores).item() == pytest.approx(expected, rel=1e-10)
