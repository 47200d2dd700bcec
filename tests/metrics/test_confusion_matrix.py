"""Confusion counts against scikit-learn, and their independence of batching, order and splitting."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from segmi.metrics import ConfusionMatrix, confusion_counts
from segmi.metrics.confusion_matrix import _count, _count_by_maps

INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64, torch.uint64]


def test_known_counts():
    labels = torch.tensor([[[0, 0, 1, 2, 255]], [[2, 2, 2, 2, 2]]])
    predictions = torch.tensor([[[0, 1, 1, 0, 2]], [[2, 2, 1, 2, 2]]])
    counts = confusion_counts(predictions, labels, 3)
    assert counts.tolist() == [[[1, 1, 0], [0, 1, 0], [1, 0, 0]], [[0, 0, 0], [0, 0, 0], [0, 1, 4]]]
    assert counts.dtype == torch.int64


@pytest.mark.parametrize(("classes", "used"), [(2, 2), (3, 1), (7, 7), (7, 4)])
def test_counts_equal_scikit_learn(random_maps, classes, used):
    predictions, labels = random_maps(0, 4, classes, used)
    for ours, p, t in zip(confusion_counts(predictions, labels, classes), predictions, labels, strict=True):
        valid = t != 255
        theirs = confusion_matrix(t[valid], p[valid], labels=list(range(classes)))
        assert ours.tolist() == theirs.tolist()


@settings(max_examples=50, deadline=None)
@given(
    data=st.data(), dtype=st.sampled_from([torch.uint8, torch.int64]), ignore_index=st.sampled_from([0, 2, 255, -100])
)
def test_compiled_counts_equal_pytorch(data, dtype, ignore_index):
    classes = data.draw(st.integers(1, 7))
    seed = data.draw(st.integers(0, 2**16))
    generator = torch.Generator().manual_seed(seed)
    height, width = data.draw(st.integers(0, 9)), data.draw(st.integers(1, 9))
    predictions, labels = torch.randint(0, classes, (2, height, width), generator=generator)
    if dtype == torch.int64 or ignore_index >= 0:
        labels[torch.rand(labels.shape, generator=generator) < 0.3] = ignore_index
    maps = predictions.to(dtype).t(), labels.to(dtype).t()  # not contiguous
    plain = _count_by_maps(*maps, classes, ignore_index, "here")
    assert torch.equal(_count(*maps, classes, ignore_index, "here"), plain)
    assert plain.sum() == (labels != ignore_index).sum()


@pytest.mark.parametrize("dtype", INTEGERS)
def test_any_integer_dtype(random_maps, dtype):
    predictions, labels = random_maps(1)
    expected = confusion_counts(predictions, labels, 5)
    ignore_index = 255 if dtype != torch.int8 else 127
    labels = labels.masked_fill(labels == 255, ignore_index).to(dtype)
    assert torch.equal(confusion_counts(predictions.to(dtype), labels, 5, ignore_index), expected)


@pytest.mark.parametrize("ignore_index", [-100, 255, 300])
def test_any_ignore_value(random_maps, ignore_index):
    predictions, labels = random_maps(2)
    ignored = labels == 255
    expected = confusion_counts(predictions, labels, 5)
    labels = labels.long().masked_fill(ignored, ignore_index)
    predictions = predictions.long().masked_fill(ignored, 2**40 + 255)
    assert torch.equal(confusion_counts(predictions, labels, 5, ignore_index), expected)
    assert expected.sum() == (~ignored).sum()


def test_inputs_are_not_modified(random_maps):
    predictions, labels = (m.int() for m in random_maps(3))
    before = predictions.clone(), labels.clone()
    confusion_counts(predictions, labels, 5)
    assert torch.equal(predictions, before[0])
    assert torch.equal(labels, before[1])


def test_no_valid_pixel():
    assert confusion_counts(torch.zeros(0, 4, 4).long(), torch.zeros(0, 4, 4).long(), 3).shape == (0, 3, 3)
    ignored = torch.full((1, 4, 4), 255)
    assert confusion_counts(torch.zeros(1, 4, 4).long(), ignored, 3).sum() == 0
    assert confusion_counts(torch.zeros(1, 0, 4).long(), torch.zeros(1, 0, 4).long(), 3).sum() == 0


MAP = torch.zeros(2, 2, 2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("predictions", "labels", "error", "text"),
    [
        (
            MAP,
            MAP + 12,
            ValueError,
            "labels of image 0 of the batch: .* 0 to 10, or 255 to ignore, got 12 at 4 pixels",
        ),
        (MAP, MAP - 1, ValueError, "labels of image 0.*got -1"),
        (MAP, MAP + 2**32, ValueError, "labels of image 0.*got 4294967296"),
        (MAP + 255, MAP, ValueError, "predictions of image 0.*from 0 to 10, got 255"),
        (MAP, torch.stack([MAP[0], MAP[1] + 99]), ValueError, "labels of image 1 of the batch.*got 99"),
        (MAP.float(), MAP, TypeError, r"predictions: .*float32. Fix: apply segmi.models.predict_labels"),
        (MAP, MAP.float(), TypeError, "labels: .*float32"),
        (MAP, MAP[:, :1], ValueError, r"same shape N×H×W, got \(2, 2, 2\) and \(2, 1, 2\). Fix: resize"),
        (MAP[0], MAP[0], ValueError, "add a leading dimension"),
    ],
)
def test_invalid_maps_raise(predictions, labels, error, text):
    with pytest.raises(error, match=text):
        confusion_counts(predictions, labels, 11)
    matrix = ConfusionMatrix(11)
    with pytest.raises(error, match=text):
        matrix.update(predictions, labels)
    assert len(matrix) == 0
    assert matrix.pooled().sum() == 0


# the collected matrix


def counted(predictions, labels, names=(), groups=(), classes=5):
    matrix = ConfusionMatrix(classes)
    matrix.update(predictions, labels, names, groups)
    return matrix


def test_images_keep_their_names_groups_and_counts(random_maps):
    predictions, labels = random_maps(4)
    matrix = counted(predictions, labels, ("a", "b", "c"), ("x", "x", "y"))
    assert len(matrix) == 3
    assert matrix.names == ("a", "b", "c")
    assert matrix.groups == ("x", "x", "y")
    assert torch.equal(matrix.counts(), confusion_counts(predictions, labels, 5))
    assert torch.equal(matrix.pooled(), matrix.counts().sum(0))
    assert matrix.pooled().dtype == matrix.counts().dtype == torch.int64


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), cut=st.integers(0, 6), batch=st.integers(1, 6))
def test_merge(seed, cut, batch):
    generator = torch.Generator().manual_seed(seed)
    labels, predictions = torch.randint(0, 4, (2, 6, 5, 3), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = 255
    names = [f"image {i}" for i in range(6)]
    groups = [f"group {i % 2}" for i in range(6)]
    whole = counted(predictions, labels, names, groups)
    first, second = ConfusionMatrix(5), ConfusionMatrix(5)
    for part, begin, end in ((first, 0, cut), (second, cut, 6)):
        for i in range(begin, end, batch):
            here = slice(i, min(i + batch, end))
            part.update(predictions[here], labels[here], names[here], groups[here])
    merged = first.merge(second)
    assert merged.names == whole.names
    assert merged.groups == whole.groups
    assert torch.equal(merged.counts(), whole.counts())
    assert torch.equal(merged.pooled(), whole.pooled())
    assert torch.equal(second.merge(first).pooled(), whole.pooled())
    assert len(first) == cut


def test_repeated_images_are_merged(random_maps):
    once, again = random_maps(5, 2), random_maps(6, 2)
    matrix = counted(*once, ("a", "b"), ("x", "y"))
    matrix.update(*again, ("b", "b"), ("y", "y"))
    counts, more = confusion_counts(*once, 5), confusion_counts(*again, 5)
    assert matrix.names == ("a", "b")
    assert torch.equal(matrix.counts(), torch.stack([counts[0], counts[1] + more.sum(0)]))
    assert torch.equal(matrix.pooled(), counts.sum(0) + more.sum(0))
    assert torch.equal(matrix.merge(matrix).pooled(), 2 * matrix.pooled())
    assert len(matrix.merge(matrix)) == 2


def test_unnamed_images_are_kept_apart(random_maps):
    matrix = counted(*random_maps(7))
    matrix.update(*random_maps(8))
    assert matrix.names == matrix.groups == ("",) * 6
    assert len(matrix.merge(matrix)) == 12


def test_returned_counts_are_copies(random_maps):
    matrix = counted(*random_maps(9))
    total = matrix.pooled().sum()
    matrix.pooled().zero_()
    matrix.counts().zero_()
    assert matrix.pooled().sum() == matrix.counts().sum() == total


def test_pickle(random_maps):
    matrix = counted(*random_maps(10), ("a", "b", "c"))
    copy = pickle.loads(pickle.dumps(matrix))
    copy.update(*random_maps(11), ("a", "b", "d"))
    assert copy.names == ("a", "b", "c", "d")
    assert len(matrix) == 3


def test_an_empty_matrix_and_an_empty_batch():
    matrix = ConfusionMatrix(3)
    matrix.update(MAP[:0], MAP[:0])
    assert matrix.counts().shape == (0, 3, 3)
    assert matrix.pooled().tolist() == [[0] * 3] * 3


def test_sparse_storage():
    matrix = ConfusionMatrix(150)
    matrix.update(MAP, MAP + 7, ("a", "b"))
    assert len(pickle.dumps(matrix._images)) < 5000
    assert matrix.counts().sum() == 8


def test_counts_beyond_single_precision_stay_exact():
    matrix = ConfusionMatrix(1)
    matrix._add("large", "", torch.tensor([2**53]))
    matrix.update(MAP[:1, :1, :1], MAP[:1, :1, :1], ("large",))
    assert matrix.pooled().item() == matrix.counts().item() == 2**53 + 1


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: m.update(MAP, MAP, ("a",)), "names: expected one for each of 2 images"),
        (lambda m: m.update(MAP, MAP, "ab"), "names: expected one for each of 2 images, or none, got 'ab'"),
        (lambda m: m.update(MAP, MAP, ("a", "b"), ("x",)), "groups: expected one for each of 2"),
        (lambda m: m.update(MAP, MAP, ("a", "known"), ("x", "y")), "image 'known': expected its group 'x', got 'y'"),
        (lambda m: m.update(MAP, MAP, ("a", "a"), ("x", "y")), "image 'a': expected its group 'x', got 'y'"),
        (lambda m: m.update(MAP, MAP + 9, ("a", "b")), "labels of image 'a': expected.*got 9 at 4 pixels"),
        (lambda m: m.merge(ConfusionMatrix(4)), "of 3 classes .*got one of 4"),
        (lambda m: m.merge(ConfusionMatrix(3, ignore_index=0)), "ignore_index 255, got one of 3 with 0"),
        (lambda m: m.merge(counted(MAP, MAP, ("a", "known"), ("x", "z"), 3)), "image 'known': .*'x', got 'z'"),
        (lambda m: ConfusionMatrix(0), "classes: expected at least 1, got 0"),
    ],
)
def test_errors_count_nothing(call, text):
    matrix = counted(MAP[:1], MAP[:1], ("known",), ("x",), 3)
    with pytest.raises(ValueError, match=text):
        call(matrix)
    assert matrix.names == ("known",)
    assert matrix.pooled().sum() == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_counting_on_a_gpu(random_maps):
    predictions, labels = random_maps(12)
    matrix = counted(predictions.cuda(), labels)
    assert torch.equal(matrix.counts(), confusion_counts(predictions, labels, 5))
