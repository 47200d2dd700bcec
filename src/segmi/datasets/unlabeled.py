"""Images without labels that join the batches of those with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from segmi.datasets.order import Share, epoch_order
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.randomness import key
from segmi.types import IGNORE_INDEX, Batch, Views


@dataclass(frozen=True)
class Unlabeled:
    """Images whose labels are not looked at, and how they join the batches.

    Their stream is one of its own, endless and reshuffled like that of the images with labels, and as much a function
    of the number of the batch.

    Args:
        images: the images.
        batch_size: how many join each batch.
        two_views: whether each comes twice, the second time mirrored or not and in other colors.
    """

    images: SegmentationDataset
    batch_size: int
    two_views: bool = False

    def keys(self, number: int, share: Share) -> list[tuple[int, int]]:
        """The (epoch, index) of those that join batch ``number``, or of a process's share of them."""
        count = len(self.images)
        places = range(number * self.batch_size, (number + 1) * self.batch_size)[share.of(self.batch_size)]
        orders = {epoch: epoch_order(count, self.images.seed, epoch) for epoch in {p // count for p in places}}
        return [(place // count, int(orders[place // count][place % count])) for place in places]

    def join(self, batch: Batch, keys: Sequence[tuple[int, int]]) -> Batch:
        """A batch with these images behind it."""
        images = self.images
        crops, masks = images.crops(keys)
        seen = images.covered(keys)
        views, flipped = [crops], None
        if self.two_views:
            seeds = [key(images.seed, "second view", epoch, index) for epoch, index in keys]
            seconds, mirrored = zip(
                *(images.processing.second_view(one, seed) for one, seed in zip(crops, seeds, strict=True)),
                strict=True,
            )
            views.append(torch.stack(seconds))
            flipped = torch.tensor(mirrored)
        samples = [images.samples[index] for _, index in keys]
        labels = torch.full((len(keys) * len(views), *masks.shape[1:]), IGNORE_INDEX)
        return Batch(
            images=torch.cat([batch.images, torch.cat(views).float().div_(255)]),
            labels=torch.cat([batch.labels, labels]),
            names=(*batch.names, *(sample.name for sample in samples)),
            groups=(*batch.groups, *(sample.group for sample in samples)),
            views=Views(seen, flipped),
        )
