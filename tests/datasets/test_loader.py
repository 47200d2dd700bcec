from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from segmi.datasets.loader import Shard, Unlabeled, epoch_order, steps_per_epoch, training_batches
from segmi.datasets.processing import Processing
from segmi.datasets.reader import Sample
from segmi.datasets.segmentation_dataset import SegmentationDataset


class Ramp:
    """A fake dataset that counts its reads."""

    class info:  # noqa: N801
        classes = ("a", "b")

    def __init__(self) -> None:
        self.reads = 0

    def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        self.reads += 1
        value = int(sample.name)
        return np.full((12, 12, 3), value, np.uint8), np.full((12, 12), value % 2, np.uint8)

    def read_mask(self, sample: Sample) -> np.ndarray:
        return self.read(sample)[1]


@pytest.fixture
def images() -> SegmentationDataset:
    samples = [Sample(None, None, str(i), f"g{i % 3}") for i in range(10)]
    return SegmentationDataset(Ramp(), samples, Processing(resize=10, crop=8), seed=4)


def names(batches) -> list[tuple[str, ...]]:
    return [batch.names for batch in batches]


def test_an_epoch_has_every_image_once_in_its_own_order(images):
    batches = names(training_batches(images, batch_size=3, first=0, last=8, drop_last=False))
    first, second = ([name for batch in batches[i : i + 4] for name in batch] for i in (0, 4))
    assert sorted(first) == sorted(second) == sorted(str(i) for i in range(10))
    assert first != second
    assert [len(batch) for batch in batches[:4]] == [3, 3, 3, 1]
    assert sorted(epoch_order(10, 4, 0)) == list(range(10))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_stream_can_be_entered_anywhere(images, workers):
    whole = list(training_batches(images, batch_size=3, first=0, last=9))
    late = list(training_batches(images, batch_size=3, first=5, last=9, workers=workers))
    assert names(whole[5:]) == names(late)
    for a, b in zip(whole[5:], late, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert a.groups == b.groups


def test_batches_are_floats_in_the_unit_interval_with_integer_labels(images):
    batch = next(training_batches(images, batch_size=2, first=0, last=1))
    assert batch.images.dtype == torch.float32
    assert batch.labels.dtype == torch.int64
    assert batch.images[0, 0, 0, 0] == pytest.approx(int(batch.names[0]) / 255)
    assert batch.labels.shape == (2, 8, 8)


def test_images_are_decoded_once_within_the_memory_budget(images):
    for _ in range(3):
        for index in range(10):
            images[index]
    assert images.dataset.reads == 10
    small = SegmentationDataset(Ramp(), images.samples, images.processing, memory_bytes=900)  # two pairs of 400 bytes
    for _ in range(2):
        for index in range(10):
            small[index]
    assert small.dataset.reads == 2 + 8 + 8


def test_reseeded_images_share_decoded_images(images):
    for index in range(10):
        images[index]
    other = images.reseeded(5)
    assert not torch.equal(epoch_order_of(other), epoch_order_of(images))
    assert images.dataset.reads == 10


def epoch_order_of(images: SegmentationDataset) -> torch.Tensor:
    return torch.tensor(
        [int(name) for batch in names(training_batches(images, batch_size=5, first=0, last=2)) for name in batch]
    )


def test_decoded_images_are_not_sent_to_workers(images):
    before = len(pickle.dumps(images))
    for index in range(10):
        images[index]
    assert len(pickle.dumps(images)) < before + 100


def test_number_of_batches():
    assert steps_per_epoch(2975, 8, drop_last=False) == 372
    assert steps_per_epoch(1464, 8, drop_last=False) == 183
    assert steps_per_epoch(1464, 10, drop_last=False) == 147
    assert steps_per_epoch(2975, 2, drop_last=False) == 1488
    assert steps_per_epoch(10, 3, drop_last=True) == 3


@pytest.mark.parametrize("count", [1, 2, 3])
def test_shards_of_all_processes_form_the_batch(images, count):
    def stream(share: Shard) -> list[tuple[str, ...]]:
        return names(training_batches(images, batch_size=6, first=0, last=4, drop_last=False, shard=share))

    shares = [stream(Shard(rank, count)) for rank in range(count)]
    joint = [sum(parts, ()) for parts in zip(*shares, strict=True)]
    assert joint == stream(Shard())
    assert [len(batch) for batch in joint] == [6, 4, 6, 4]


def test_classes_are_counted_after_resizing(images):
    assert images.class_counts().tolist() == [500, 500]


def joint(images, *, first=0, last=7, **options):
    others = SegmentationDataset(
        Ramp(), [Sample(None, None, str(i), "") for i in range(100, 105)], images.processing, seed=4
    )
    joining = Unlabeled(others, 2, two_views=True)
    return list(training_batches(images, batch_size=3, first=first, last=last, unlabeled=joining, **options))


def same(one, other):
    assert one.names == other.names
    for here, there in (
        (one.images, other.images),
        (one.labels, other.labels),
        *zip(one.views, other.views, strict=True),
    ):
        assert torch.equal(here, there)


def test_unlabeled_images_are_appended(images):
    batches = joint(images)
    plain = list(training_batches(images, batch_size=3, first=0, last=7))
    for batch, without in zip(batches, plain, strict=True):
        assert (batch.labeled, len(batch)) == (3, 7)
        assert torch.equal(batch.images[:3], without.images)
        assert torch.equal(batch.labels[:3], without.labels)
        assert (batch.labels[3:] == 255).all()
        assert batch.views.seen.all()
        assert len(batch.names) == 5
    seen = [name for batch in batches for name in batch.names[3:]]
    assert sorted(seen[:5]) == sorted(seen[5:10]) == [str(i) for i in range(100, 105)]
    assert {bool(one) for batch in batches for one in batch.views.flipped} == {True, False}


def test_the_joint_stream_can_be_entered_anywhere_and_read_by_workers(images):
    whole = joint(images)
    for one, other in zip(joint(images, first=4), whole[4:], strict=True):
        same(one, other)
    for one, other in zip(joint(images, workers=1), whole, strict=True):
        same(one, other)


def test_joint_batches_of_processes_form_the_batch(images):
    whole = joint(images)
    parts = [joint(images, shard=Shard(rank, 2)) for rank in range(2)]
    for one, first, second in zip(whole, *parts, strict=True):
        n, m = first.labeled, second.labeled
        assert torch.equal(one.images[:3], torch.cat([first.images[:n], second.images[:m]]))
        views = [torch.cat([first.images[n + i : n + i + 1], second.images[m + i : m + i + 1]]) for i in range(2)]
        assert torch.equal(one.images[3:], torch.cat(views))
        assert torch.equal(one.views.flipped, torch.cat([first.views.flipped, second.views.flipped]))


def test_the_second_view_is_mirrored_if_flipped():
    class Slope(Ramp):
        def read(self, sample):
            image, mask = super().read(sample)
            return image + np.arange(12, dtype=np.uint8)[None, :, None], mask

    samples = [Sample(None, None, str(i), "") for i in range(9)]
    processing = Processing(resize=None, crop=16, view_color=0.0)  # reaches beyond images of 12
    others = SegmentationDataset(Slope(), samples, processing, seed=1)
    batch = Unlabeled(others, 9, two_views=True).join(others.batch([(0, 0)]), [(0, i) for i in range(9)])
    first, second = batch.images[1:10], batch.images[10:]
    mirrored = batch.views.flipped.view(-1, 1, 1, 1)
    assert torch.equal(torch.where(mirrored, second.flip(-1), second), first)
    assert batch.views.seen.sum() == 9 * 144
    assert (first.amax(1)[~batch.views.seen] == 0).all()


def test_label_noise_is_symmetric_seeded_and_only_in_training():
    class Classes(Ramp):
        class info:  # noqa: N801
            classes = ("a", "b", "c", "d")

        def read(self, sample):
            mask = np.full((100, 100), 2, np.uint8)
            mask[:10] = 255
            return np.zeros((100, 100, 3), np.uint8), mask

    samples = [Sample(None, None, str(i), "") for i in range(2)]
    clean = SegmentationDataset(Classes(), samples, Processing(resize=None, crop=100), seed=4)
    noisy = clean.with_label_noise(0.3)
    first, later, other = (noisy.batch([(epoch, index)]).labels[0] for epoch, index in ((0, 0), (5, 0), (0, 1)))
    assert torch.equal(first, later)
    assert not torch.equal(first, other)
    assert (first[:10] == 255).all()
    shares = torch.bincount(first[10:].flatten(), minlength=4) / 9000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.1, 0.7, 0.1]), atol=0.015, rtol=0)
    assert (noisy.labels(0)[10:] == 2).all()
    assert (clean.batch([(0, 0)]).labels[0][10:] == 2).all()
    assert noisy.class_counts().tolist() == first.flatten()[1000:].bincount(minlength=4).add(
        other.flatten()[1000:].bincount(minlength=4)
    ).tolist()  # fmt: skip
    assert not torch.equal(noisy.reseeded(5).batch([(0, 0)]).labels[0], first)
