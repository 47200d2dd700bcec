"""From logits, whole or in tiles, to label maps and probabilities at the size of the original image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.models.sliding_window import Tile
from segmi.types import Labels, Logits, Probabilities

ROWS: Final = 64
"""Rows whose probabilities are worked out together: many enough to be quick, few enough to be small."""


def predict_labels(logits: Logits, size: Sequence[int]) -> Labels:
    """Class indices at ``size`` from smaller or larger logits, as if the logits had been resized whole.

    One class after the other, so that a large image with many classes takes little memory.

    Shapes: N×C×h×w to N×H×W uint8 (int32 beyond 256 classes). C = 1 is predict_labels at 0, where the sigmoid is 0.5.

    Example:
        >>> predict_labels(torch.tensor([[[[2.0]], [[3.0]]]]), (1, 2)).tolist()
        [[[1, 1]]]
    """
    planes = (_resized(logits[:, index : index + 1], tuple(size))[:, 0] for index in range(logits.shape[1]))
    return _largest(planes, logits.shape[1])


def predict_label_tiles(
    tiles: Iterable[Tile], image: Sequence[int], size: Sequence[int], confidence: Tensor | None = None
) -> Labels:
    """The label map at ``size`` of an image whose logits come in tiles: what `predict_labels` says of all of them together.

    Shapes: tiles of C×h×w logits of an image of h×w = ``image`` to H×W on the CPU, dtype as there.

    Args:
        tiles: as `segmi.models.sliding_window.blended_tiles` yields them; together they cover the image.
        image: height and width in which the tiles lie.
        size: height and width of the result.
        confidence: H×W, float, filled with the probability of the class that is predict_labels on; left out by default.

    Example:
        >>> tile = Tile(0, 0, torch.tensor([[[2.0]], [[3.0]]]))
        >>> predict_label_tiles([tile], image=(1, 1), size=(1, 2)).tolist()
        [[1, 1]]
    """
    labels = torch.empty(0)
    for tile in tiles:
        labels = decide_tile(tile, image, size, labels, confidence)
    return labels


def decide_tile(
    tile: Tile, image: Sequence[int], size: Sequence[int], labels: Labels, confidence: Tensor | None = None
) -> Labels:
    """The label map of `predict_label_tiles` with what one more tile decides.

    Args:
        tile: of the image.
        image: height and width in which the tiles lie.
        size: height and width of the label map.
        labels: the label map so far, written into; empty before the first tile.
        confidence: as there.
    """
    rows, columns = _parts(tile, image, size)
    planes = (columns.along(rows.along(plane, 0), 1) for plane in tile.logits)
    decision = _largest(planes, len(tile.logits)).cpu()
    if not labels.numel():
        labels = torch.empty(tuple(size), dtype=decision.dtype)
    labels[rows.here, columns.here] = decision
    if confidence is not None:
        for above, beside, piece in probabilities_of_tile(tile, image, size):
            confidence[above, beside] = piece.amax(dim=0).to(confidence.device)
    return labels


def confidences(logits: Logits) -> Tensor:
    """The probability of the most probable class of every pixel.

    ``max_c softmax(z)_c``; with one channel, ``σ(|z|)``

    Shapes: N×C×H×W to N×H×W float32.

    Example:
        >>> confidences(torch.zeros(1, 4, 1, 2))
        tensor([[[0.2500, 0.2500]]])
    """
    logits = logits.float()
    if logits.shape[1] == 1:
        return logits[:, 0].abs().sigmoid()
    return (logits.amax(dim=1) - logits.logsumexp(dim=1)).exp()


def probabilities_of_tile(
    tile: Tile, image: Sequence[int], size: Sequence[int]
) -> Iterator[tuple[slice, slice, Probabilities]]:
    """The probabilities at ``size`` that a tile decides, some rows at a time, and where they lie.

    Shapes: C×h×w logits to pieces of C×r×W; two classes for one logit, whose sigmoid is the second.

    Example:
        >>> pieces = probabilities_of_tile(Tile(0, 0, torch.zeros(4, 2, 2)), image=(2, 2), size=(3, 3))
        >>> [(rows, columns, piece[:, 0, 0].tolist()) for rows, columns, piece in pieces]
        [(slice(0, 3, None), slice(0, 3, None), [0.25, 0.25, 0.25, 0.25])]
    """
    two = len(tile.logits) == 1
    for rows, columns, logits in logits_of_tile(tile, image, size):
        yield rows, columns, (torch.cat((torch.zeros_like(logits), logits)) if two else logits).softmax(dim=0)


def logits_of_tile(tile: Tile, image: Sequence[int], size: Sequence[int]) -> Iterator[tuple[slice, slice, Logits]]:
    """The logits at ``size`` of the pixels that a tile decides, some rows at a time, and where they lie.

    Over all tiles of an image every pixel comes once.

    Shapes: C×h×w logits to pieces of C×r×W.

    Example:
        >>> pieces = logits_of_tile(Tile(0, 0, torch.ones(4, 2, 2)), image=(2, 2), size=(3, 3))
        >>> [(rows, columns, tuple(piece.shape)) for rows, columns, piece in pieces]
        [(slice(0, 3, None), slice(0, 3, None), (4, 3, 3))]
    """
    rows, columns = _parts(tile, image, size)
    for first in range(rows.here.start, rows.here.stop, ROWS):
        some = rows.only(slice(first, min(first + ROWS, rows.here.stop)))
        yield some.here, columns.here, columns.along(some.along(tile.logits, 1), 2)


class _Part(NamedTuple):
    """Pixels of an axis of the result, each between two of a tile: ``(1 - share) · lower + share · upper``."""

    here: slice
    lower: Tensor
    upper: Tensor
    share: Tensor

    def only(self, here: slice) -> _Part:
        chosen = slice(here.start - self.here.start, here.stop - self.here.start)
        return _Part(here, self.lower[chosen], self.upper[chosen], self.share[chosen])

    def along(self, values: Tensor, axis: int) -> Tensor:
        lower = values.index_select(axis, self.lower.to(values.device))
        if not self.share.any():  # not resized
            return lower
        upper = values.index_select(axis, self.upper.to(values.device))
        shape = [-1 if dimension == axis else 1 for dimension in range(values.ndim)]
        return lower.lerp_(upper, self.share.to(values.device).view(shape))


class _Scale(NamedTuple):
    """Bilinear resizing along one axis as `torch.nn.functional.interpolate` does it, pixel centers aligned."""

    length: int
    lower: Tensor
    share: Tensor

    def part(self, begin: int, end: int) -> _Part:
        """The pixels of the result that lie between pixels ``begin`` and ``end - 1``, the last of the axis included."""
        last = end == self.length
        first = int(torch.searchsorted(self.lower, begin))
        after = len(self.lower) if last else int(torch.searchsorted(self.lower, end - 1))
        lower = self.lower[first:after] - begin
        upper = (lower + 1).clamp_(max=self.length - 1 - begin)
        return _Part(slice(first, after), lower, upper, self.share[first:after])


def _parts(tile: Tile, image: Sequence[int], size: Sequence[int]) -> tuple[_Part, _Part]:
    """The rows and the columns of the result that a tile decides."""
    rows, columns = (_scale(source, target) for source, target in zip(image, size, strict=True))
    height, width = tile.logits.shape[-2:]
    return rows.part(tile.top, tile.top + height), columns.part(tile.left, tile.left + width)


def _scale(source: int, target: int) -> _Scale:
    # in float32, as PyTorch does it for float32 maps
    place = ((torch.arange(target, dtype=torch.float32) + 0.5) * (source / target) - 0.5).clamp_(min=0)
    lower = place.long().clamp_(max=source - 1)
    return _Scale(source, lower, place - lower if source != target else torch.zeros(target))


def _largest(planes: Iterable[Tensor], channels: int) -> Labels:
    """The index of the largest of several maps, the first of equal ones; of a single one whether it exceeds 0."""
    iterator = iter(planes)
    best = next(iterator)
    if channels == 1:
        return (best > 0).to(torch.uint8)
    dtype = torch.uint8 if channels <= 256 else torch.int32
    labels = torch.zeros(best.shape, dtype=dtype, device=best.device)
    for index, candidate in enumerate(iterator, start=1):
        better = candidate > best
        labels.masked_fill_(better, index)
        best = torch.where(better, candidate, best)
    return labels


def _resized(logits: Logits, size: tuple[int, ...]) -> Logits:
    if tuple(logits.shape[-2:]) == size:
        return logits
    return F.interpolate(logits.contiguous(), size=size, mode="bilinear", align_corners=False)
