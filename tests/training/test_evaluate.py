from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.errors import UsageError
from segmi.metrics import PredictionDiagnostics
from segmi.metrics.details import Details
from segmi.models import SegmentationNetwork, forward_padded
from segmi.records import DetailsRecord
from segmi.training import Cohort, evaluate, predict_labels
from segmi.types import Output


class ByColor(torch.nn.Module):
    """Classifies the squares by their color, so that its labels are right up to resizing."""

    stride = 4

    def __init__(self) -> None:
        super().__init__()
        self.colors = torch.nn.Parameter(torch.tensor([[30, 40, 50], [220, 60, 40], [40, 200, 90]]) / 255.0)
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> Output:
        self.sizes.append(tuple(images.shape[-2:]))
        return Output(-((images[:, None] - self.colors[None, :, :, None, None]) ** 2).sum(2) * 50)


@pytest.fixture
def whole(squares) -> SegmentationDataset:
    return SegmentationDataset(squares, squares.split("val"), Processing(resize=None, crop=16))


def test_full_protocol_scores_every_valid_pixel_at_the_original_size(squares, whole):
    network = ByColor()
    matrix = evaluate(Cohort({"net": network}), whole, device="cpu")["net"]
    truth = np.stack([squares.read_mask(sample) for sample in whole.samples])
    pooled = matrix.pooled().numpy()
    assert pooled.sum() == (truth != 255).sum()
    assert np.trace(pooled) == pooled.sum(), "colors determine the classes, unresized"
    assert set(network.sizes) == {(20, 24)}


def test_images_are_padded_to_the_stride_and_scored_at_label_size(squares):
    images = SegmentationDataset(squares, squares.split("val"), Processing(resize=18, crop=16))
    network = ByColor()
    matrix = evaluate(Cohort({"net": network}), images, device="cpu")["net"]
    assert set(network.sizes) == {(20, 20)}, "18 is padded to a multiple of 4"
    pooled = matrix.pooled().numpy()
    assert pooled.sum() == sum((squares.read_mask(s) != 255).sum() for s in images.samples)
    assert np.trace(pooled) / pooled.sum() > 0.9


def test_full_protocol_equals_a_plain_loop(squares, make_cohort):
    images = SegmentationDataset(squares, squares.split("val"), Processing(resize=18, crop=16))
    cohort = make_cohort().eval()
    expected = np.zeros((3, 3), np.int64)
    for index, sample in enumerate(images.samples):
        image = images[index].image[None].float() / 255
        with torch.no_grad():
            logits = cohort(image)["net0"].logits
        predicted = F.interpolate(logits, (20, 24), mode="bilinear").argmax(1)[0].numpy()
        truth = squares.read_mask(sample)
        np.add.at(expected, (truth[truth != 255], predicted[truth != 255]), 1)
    matrix = evaluate(cohort, images, device="cpu", batch_size=3)["net0"]
    assert (matrix.pooled().numpy() == expected).all()


def test_augmentation_scores_the_mean_of_the_probabilities(squares):
    images = SegmentationDataset(squares, squares.split("val"), Processing(resize=18, crop=16))
    torch.manual_seed(0)
    network = SegmentationNetwork(torch.nn.Conv2d(3, 3, 7, padding=3), classes=3)
    cohort = Cohort({"net0": network}).eval()
    with torch.no_grad():  # no class wins everywhere
        batch = torch.stack([images[index].image.float() / 255 for index in range(len(images))])
        network.module.bias -= network(batch).logits.mean((0, 2, 3))
    expected, plain = np.zeros((3, 3), np.int64), evaluate(cohort, images, device="cpu")["net0"].counts()
    seen = {"net0": []}
    for index, sample in enumerate(images.samples):
        image = images[index].image[None].float() / 255
        with torch.no_grad():
            logits = [forward_padded(network, image), forward_padded(network, image.flip(-1)).flip(-1)]
        resized = [F.interpolate(one, (20, 24), mode="bilinear").softmax(1) for one in logits]
        predicted = sum(resized).argmax(1)[0].numpy()
        seen["net0"].append((sum(resized).amax(1) / 2).numpy())
        truth = squares.read_mask(sample)
        np.add.at(expected, (truth[truth != 255], predicted[truth != 255]), 1)
    matrix = evaluate(cohort, images, device="cpu", batch_size=3, tta=("flips",))["net0"]
    assert (matrix.pooled().numpy() == expected).all()
    assert not torch.equal(matrix.counts(), plain)
    found = predict_labels(cohort, images, 1, tta=("flips",))["net0"]
    np.testing.assert_allclose(found.confidence, seen["net0"][1][0], atol=1e-5)


def test_evaluation_draws_nothing_and_leaves_the_mode(whole, make_cohort):
    cohort = make_cohort().train()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    evaluate(cohort, whole, device="cpu")
    assert torch.rand(1) == expected
    assert cohort.training


def test_paper_protocol_is_seeded_and_counts_every_pass(squares, make_cohort):
    counts = []
    for seed in (0, 0, 1):
        images = SegmentationDataset(squares, squares.split("val"), Processing(resize=18, crop=8), seed=seed)
        counts.append(evaluate(make_cohort(), images, protocol="paper", passes=5, device="cpu")["net0"].pooled())
    assert torch.equal(counts[0], counts[1])
    assert not torch.equal(counts[0], counts[2])
    assert 0 < counts[0].sum() <= 5 * 4 * 64


def test_predicted_labels_have_the_size_of_the_labels(squares, make_cohort):
    images = SegmentationDataset(squares, squares.split("val"), Processing(resize=18, crop=16))
    labels = predict_labels(make_cohort(2), images, 1)
    assert list(labels) == ["net0", "net1"]
    assert labels["net0"].labels.shape == labels["net0"].confidence.shape == (20, 24)
    assert labels["net0"].labels.dtype == np.uint8
    assert (labels["net0"].confidence > 1 / 3).all()
    assert (labels["net0"].confidence <= 1).all()


def test_details_of_a_network_that_is_always_right(squares, whole):
    """Every boundary and every object is predicted correctly, with confidence p."""
    details: dict[str, Details] = {}
    matrix = evaluate(Cohort({"net": ByColor()}), whole, device="cpu", details=details)["net"]
    record = DetailsRecord(**details["net"].arrays())
    assert record.pixels.sum() == record.correct.sum() == matrix.pooled().sum()
    seen = matrix.pooled().sum(0).numpy() > 0
    assert (record.boundary_iou()[seen] == 1).all()
    assert record.object_iou.sum() == record.objects.sum() > 0
    assert record.calibration_error() == pytest.approx(1 - record.confidence.sum() / record.pixels.sum())


def test_details_through_windows_are_those_of_the_whole_image(squares):
    images = SegmentationDataset(squares, squares.split("val"), Processing(resize=18, crop=16))
    found: list[dict[str, Details]] = [{}, {}]
    evaluate(Cohort({"net": ByColor()}), images, device="cpu", details=found[0])
    evaluate(Cohort({"net": ByColor()}), images, device="cpu", window=12, overlap=4, details=found[1])
    whole, windowed = (one["net"].arrays() for one in found)
    for name in ("boundary", "objects", "object_iou"):
        np.testing.assert_array_equal(windowed[name], whole[name])
    np.testing.assert_allclose(windowed["confidence"].sum(), whole["confidence"].sum(), rtol=1e-5)


@pytest.mark.parametrize(("resize", "every"), [(None, 1), (18, 1), (40, 3)])
def test_diagnostics_through_windows_are_those_of_the_whole_image(squares, resize, every):
    images = SegmentationDataset(squares, squares.split("val"), Processing(resize=resize, crop=16))
    other = ByColor()
    other.colors.data = 0.6 * other.colors.data + 0.4 * other.colors.data.roll(1, 0)
    found = [PredictionDiagnostics(3, every=every) for _ in range(2)]
    for diagnostics, windows in zip(found, ({}, {"window": 12, "overlap": 4, "batch_size": 2}), strict=True):
        evaluate(Cohort({"net": ByColor(), "other": other}), images, device="cpu", diagnostics=diagnostics, **windows)
    whole, windowed = (diagnostics.values() for diagnostics in found)
    assert whole["jensen_shannon_divergence"] > 1e-3
    assert windowed == pytest.approx(whole, rel=1e-5)


def test_nothing_to_evaluate(squares, make_cohort):
    with pytest.raises(UsageError, match="nothing to evaluate"):
        evaluate(make_cohort(), SegmentationDataset(squares, [], Processing()), device="cpu")
    with pytest.raises(UsageError, match="unknown evaluation protocol"):
        evaluate(
            make_cohort(),
            SegmentationDataset(squares, squares.split("val"), Processing()),
            protocol="half",
            device="cpu",
        )


@pytest.mark.parametrize("resize", [None, 18, 40])
def test_windows_see_what_the_whole_image_shows(squares, resize):
    """A network that looks at single pixels: windows change nothing, at whatever scale the labels are."""
    images = SegmentationDataset(squares, squares.split("val"), Processing(resize=resize, crop=16))
    network = ByColor()
    cohort = Cohort({"net": network, "other": ByColor()})
    whole = evaluate(cohort, images, device="cpu")
    network.sizes.clear()
    found = evaluate(cohort, images, window=12, overlap=4, batch_size=2, device="cpu")
    assert set(network.sizes) == {(12, 12)}
    for name in ("net", "other"):
        assert torch.equal(found[name].counts(), whole[name].counts())
        assert found[name].names == whole[name].names
    whole = predict_labels(cohort, images, 1)["net"]
    windowed = predict_labels(cohort, images, 1, window=12)["net"]
    np.testing.assert_array_equal(windowed.labels, whole.labels)
    np.testing.assert_allclose(windowed.confidence, whole.confidence, rtol=1e-5)


def test_a_window_larger_than_the_images_changes_nothing(squares, make_cohort):
    images = SegmentationDataset(squares, squares.split("val"), Processing(resize=18, crop=16))
    cohort = make_cohort()
    whole = evaluate(cohort, images, device="cpu")["net0"]
    assert torch.equal(evaluate(cohort, images, window=18, device="cpu")["net0"].counts(), whole.counts())
    smaller = evaluate(cohort, images, window=8, overlap=0, device="cpu")["net0"]
    assert smaller.pooled().sum() == whole.pooled().sum()
    assert not torch.equal(smaller.counts(), whole.counts()), "the padding at the borders of the windows shows"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"protocol": "paper", "window": 8},
            "windows do not go with the evaluation protocol paper(.|\n)*leave window out",
        ),
        ({"window": 8, "overlap": 9}, "overlap must be between 0 and the window's 8 pixels, got 9"),
        ({"overlap": 9}, "an overlap of 9 pixels needs a window"),
        ({"protocol": "paper", "tta": ("flips",)}, "augmentation does not go with the evaluation protocol paper"),
        ({"tta": ("rotations",)}, "unknown test-time augmentation 'rotations'"),
    ],
)
def test_invalid_windows_and_augmentations_are_refused(whole, make_cohort, options, text):
    with pytest.raises(UsageError, match=text):
        evaluate(make_cohort(), whole, device="cpu", **options)
