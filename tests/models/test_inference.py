"""Labels, probabilities and the binary threshold, on whole logits and on tiles."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from segmi.errors import UsageError
from segmi.models import InferenceConfig, predict_labels
from segmi.models.inference import class_probabilities, confidences, predict_windows
from segmi.models.sliding_window import blended_tiles, resized_pieces
from segmi.types import Output

SIZES = [(40, 50), (61, 47), (130, 99), (21, 33), (40, 99), (1, 1)]


def tiles_of(logits):
    """Logits as tiles, from windows of the identity."""
    return blended_tiles(lambda images: images, logits, window=16, overlap=5)


def windowed(logits, size, threshold=0.5, **options):
    config = InferenceConfig(window=16, overlap=5, threshold=threshold)
    return predict_windows({"net": Output}, logits, size, config, **options)["net"]


@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize("size", SIZES)
def test_windows_predict_as_the_whole_image(channels, size):
    logits = torch.randn(channels, 40, 50)
    assert torch.equal(windowed(logits, size).labels, predict_labels(logits[None], size))


@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize("size", SIZES)
def test_probabilities_are_those_of_the_whole_image(channels, size):
    logits = torch.randn(channels, 40, 50)
    found = torch.full((max(channels, 2), *size), torch.nan)
    for tile in tiles_of(logits):
        for rows, columns, piece in resized_pieces(tile, (40, 50), size):
            found[:, rows, columns] = class_probabilities(piece[None])[0]
    whole = F.interpolate(logits[None], size=size, mode="bilinear")[0]
    expected = whole.softmax(0) if channels > 1 else torch.cat((1 - whole.sigmoid(), whole.sigmoid()))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_every_pixel_comes_once():
    seen = torch.zeros(61, 47, dtype=torch.int64)
    for tile in tiles_of(torch.randn(2, 40, 50)):
        for rows, columns, _ in resized_pieces(tile, (40, 50), (61, 47)):
            seen[rows, columns] += 1
    assert seen.unique().tolist() == [1]


def test_many_classes_need_a_wider_dtype():
    logits = torch.zeros(300, 4, 4)
    logits[299] = 1
    labels = windowed(logits, (6, 6)).labels
    assert labels.dtype == torch.int32
    assert labels.unique().tolist() == [299]
    assert predict_labels(logits[None], (6, 6)).unique().tolist() == [299]


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.8])
def test_one_logit_is_compared_with_the_threshold(threshold):
    logits = torch.randn(2, 1, 40, 50)
    expected = (logits.double().sigmoid() > threshold)[:, 0].to(torch.uint8)
    assert torch.equal(predict_labels(logits, threshold=threshold), expected)
    assert torch.equal(windowed(logits[0], (40, 50), threshold=threshold).labels, expected[:1])


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.8])
def test_confidence_is_the_probability_of_the_predicted_class(threshold):
    logits = torch.randn(1, 1, 40, 50)
    labels = predict_labels(logits, threshold=threshold)
    expected = class_probabilities(logits).gather(1, labels[:, None].long())[:, 0]
    torch.testing.assert_close(confidences(logits, threshold), expected)
    found = windowed(logits[0], (40, 50), threshold=threshold, confidence=True)
    torch.testing.assert_close(found.confidence, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("threshold", "channels", "text"),
    [
        (0.0, 1, r"threshold must be between 0 and 1, got 0.0"),
        (1.5, 1, r"threshold must be between 0 and 1, got 1.5"),
        (0.4, 3, r"a threshold of 0.4 needs a binary network with one logit, this one has 3 logits"),
    ],
)
def test_invalid_thresholds_are_refused(threshold, channels, text):
    with pytest.raises(UsageError, match=text):
        predict_labels(torch.zeros(1, channels, 2, 2), threshold=threshold)


def test_the_largest_logit_is_predicted():
    logits = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    expected = logits.argmax(1)
    assert torch.equal(predict_labels(logits).long(), expected)
    assert predict_labels(logits).dtype == torch.uint8
    assert torch.equal(predict_labels(torch.zeros(1, 4, 2, 2)), torch.zeros(1, 2, 2, dtype=torch.uint8))


def test_one_channel_predicts_as_two_do():
    z = torch.randn(2, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(predict_labels(z), predict_labels(torch.cat([torch.zeros_like(z), z], 1)))
    assert predict_labels(torch.zeros(1, 1, 1, 1)).item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_dtype_and_infinite_logits(dtype):
    logits = torch.tensor([-torch.inf, 3.0, torch.inf], dtype=dtype).view(1, 3, 1, 1)
    assert predict_labels(logits).item() == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 2, 5, 260])
def test_equal_logits_go_to_the_first_in_any_memory_format(dtype, channels):
    logits = torch.randint(-3, 3, (2, channels, 7, 9), generator=torch.Generator().manual_seed(0)).to(dtype)
    logits[0, 0, 0] = -torch.inf
    plain = logits.double().max(dim=1)
    expected = plain.indices if channels > 1 else plain.values > 0
    for one in (logits, logits.contiguous(memory_format=torch.channels_last)):
        assert torch.equal(predict_labels(one).long(), expected.long())


def test_many_classes_and_empty_batches():
    logits = torch.zeros(1, 300, 1, 1)
    logits[0, 299] = 1
    assert predict_labels(logits).item() == 299
    assert predict_labels(torch.zeros(0, 3, 4, 4)).shape == (0, 4, 4)


@pytest.mark.parametrize(
    ("logits", "error", "text"),
    [
        (torch.zeros(1, 3, 4), ValueError, r"N×C×H×W.*\(1, 3, 4\)"),
        (torch.zeros(1, 0, 4, 4), ValueError, "at least one channel"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.int64), TypeError, "expected floats, got torch.int64"),
        (torch.tensor([1.0, torch.nan]).view(1, 2, 1, 1), ValueError, "got NaN; the network has diverged"),
        (torch.tensor([torch.nan, 1.0]).view(1, 2, 1, 1), ValueError, "got NaN; the network has diverged"),
    ],
)
def test_invalid_logits_are_refused(logits, error, text):
    with pytest.raises(error, match=text):
        predict_labels(logits)
