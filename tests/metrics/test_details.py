"""Details against the definitions, pixel by pixel and object by object, and against scipy's morphology."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from segmi.metrics.boundary_iou import boundary, boundary_counts
from segmi.metrics.calibration import reliability_counts
from segmi.metrics.details import Details, Truth
from segmi.metrics.object_iou import SIZES, components, object_scores
from segmi.records import DetailsRecord
from segmi.types import IGNORE_INDEX

CLASSES = 3
EIGHT = np.ones((3, 3), int)


def maps(seed: int, height: int = 14, width: int = 17) -> tuple[np.ndarray, np.ndarray]:
    """A truth of blotches with some ignored, and a prediction that is wrong in places."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(CLASSES, height, width)), (0, 1.5, 1.5))
    truth = smooth.argmax(0).astype(np.uint8)
    prediction = (smooth + 0.1 * rng.normal(size=smooth.shape)).argmax(0).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.08] = IGNORE_INDEX
    return truth, prediction


def eroded(region: np.ndarray, distance: int) -> np.ndarray:
    """As the authors of boundary IoU do it: d erosions by 3×3 of the region with an empty frame around it."""
    return ndimage.binary_erosion(region, EIGHT, iterations=distance, border_value=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_boundary_is_region_minus_erosion(seed: int, distance: int) -> None:
    labels, _ = maps(seed)
    found = boundary(labels, distance)
    for c in np.unique(labels):
        region = labels == c
        np.testing.assert_array_equal(found & region, region & ~eroded(region, distance))


@pytest.mark.parametrize("seed", range(5))
def test_boundary_counts_by_the_published_procedure(seed: int) -> None:
    truth, prediction = maps(seed)
    filled = np.where(truth == IGNORE_INDEX, IGNORE_INDEX, prediction)
    found = boundary_counts(prediction, truth, boundary(truth, 2), 2, CLASSES)
    for c in range(CLASSES):
        t, p = truth == c, filled == c
        edges = t & ~eroded(t, 2), p & ~eroded(p, 2)
        assert found[:, c].tolist() == [(edges[0] & edges[1]).sum(), (edges[0] | edges[1]).sum()]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_components_equal_scipy(seed: int) -> None:
    labels, _ = maps(seed)
    found = components(labels)
    assert (found == 0).tolist() == (labels == IGNORE_INDEX).tolist()
    for c in range(CLASSES):
        expected, number = ndimage.label(labels == c, EIGHT)
        pairs = {(int(a), int(b)) for a, b in zip(found[labels == c], expected[labels == c], strict=True)}
        assert len(pairs) == len({a for a, _ in pairs}) == number


def slow_object_scores(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The definition, object by object."""
    counts, sums = np.zeros((CLASSES, SIZES), int), np.zeros((CLASSES, SIZES))
    for c in range(CLASSES):
        objects, number = ndimage.label(truth == c, EIGHT)
        regions, _ = ndimage.label((prediction == c) & (truth != IGNORE_INDEX), EIGHT)
        for k in range(1, number + 1):
            here = objects == k
            touching = np.isin(regions, np.setdiff1d(np.unique(regions[here]), [0]))
            others = (objects > 0) & ~here
            iou = (here & touching).sum() / ((here | touching) & ~others).sum()
            size = min(int(np.floor(np.log2(here.sum()) / 2 + 1e-12)), SIZES - 1)
            counts[c, size] += 1
            sums[c, size] += iou
    return counts, sums


@pytest.mark.parametrize("seed", range(8))
def test_object_scores_equal_the_definition(seed: int) -> None:
    truth, prediction = maps(seed, 24, 30)
    counts, sums = object_scores(prediction, truth, components(truth), CLASSES)
    expected_counts, expected_sums = slow_object_scores(prediction, truth)
    np.testing.assert_array_equal(counts, expected_counts)
    np.testing.assert_allclose(sums, expected_sums, atol=1e-5)


def test_reliability_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(500).astype(np.float32), rng.random(500) < 0.5
    counts, sums, right = reliability_counts(confidence, correct, bins=10)
    for b in range(10):
        inside = (np.floor(confidence * 10) == b) | ((b == 9) & (confidence == 1))
        assert counts[b] == inside.sum()
        assert right[b] == (inside & correct).sum()
        assert sums[b] == pytest.approx(confidence[inside].sum(), abs=1e-4)


def gathered(seeds: list[int]) -> Details:
    details = Details(CLASSES)
    for seed in seeds:
        truth, prediction = maps(seed)
        confidence = np.random.default_rng(seed).random(truth.shape).astype(np.float32)
        details.update(prediction, confidence, Truth.of(truth))
    return details


def test_sums_are_exact_in_any_order() -> None:
    whole = gathered([0, 1, 2, 3, 4]).arrays()
    for parts in ([[4, 2], [0, 3, 1]], [[1], [2, 3, 4, 0]]):
        merged = gathered(parts[0]).merge(gathered(parts[1])).arrays()
        assert all((merged[name] == whole[name]).all() for name in whole)


def test_predictions_at_ignored_pixels_do_not_matter() -> None:
    truth, prediction = maps(3)
    other = np.where(truth == IGNORE_INDEX, (prediction + 1) % CLASSES, prediction).astype(np.uint8)
    sure = np.full(truth.shape, 0.7, np.float32)
    found = []
    for one in (prediction, other):
        details = Details(CLASSES)
        details.update(one, sure, Truth.of(truth))
        found.append(details.arrays())
    assert all((found[0][name] == found[1][name]).all() for name in found[0])


def test_image_of_ignored_pixels() -> None:
    details = Details(CLASSES)
    details.update(np.zeros((5, 6)), np.ones((5, 6), np.float32), Truth.of(np.full((5, 6), IGNORE_INDEX)))
    assert not any(value.any() for value in details.arrays().values())
    assert np.isnan(DetailsRecord(**details.arrays()).calibration_error())


def test_shapes_and_classes_must_match() -> None:
    with pytest.raises(ValueError, match=r"of the truth's shape \(4, 4\), got \(4, 4\) and \(4, 5\)"):
        Details(2).update(np.zeros((4, 4)), np.ones((4, 5), np.float32), Truth.of(np.zeros((4, 4))))
    with pytest.raises(ValueError, match="details of 2 classes, got some of 3"):
        Details(2).merge(Details(3))
