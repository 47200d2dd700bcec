"""Images of any size through windows that overlap, in memory that the window bounds and the image does not.

The windows lie on the network's stride, so that pooling falls on the pixels it would fall on in the whole image. The
outer quarter of an overlap counts for nothing, since there a network sees the padding of its convolutions; over the
middle half one window fades into the next. So a network that sees no further than a quarter of the overlap predicts
what it would predict from the whole image, and there are no seams.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import torch
from torch import Tensor

from segmi.errors import UsageError
from segmi.types import Images, Logits

OVERLAP_SHARE: Final = 4
"""One part in so many of a window overlaps with the next, where no overlap is given."""


class Tile(NamedTuple):
    """Finished logits of a rectangle of an image.

    Tiles share a row or a column with the tile above or to the left, so that each can be resized on its own.

    Args:
        top: its first row in the image.
        left: its first column.
        logits: C×h×w, float32.
    """

    top: int
    left: int
    logits: Logits


def blended_tiles(
    network: Callable[[Images], Logits],
    image: Tensor,
    *,
    window: int,
    overlap: int | None = None,
    stride: int = 1,
    batch_size: int = 1,
) -> Iterator[Tile]:
    """The logits of an image, window after window, as tiles that cover it from the top left to the bottom right.

    ``z(x) = Σ_k w_k(x) z_k(x)``, where ``w_k = u_k(row) v_k(column)`` sum to 1 over the windows k at every pixel

    What is kept between windows is the overlap with the next one and with the next row of them: C × overlap × W. A side
    of the image that is not longer than the window gives one window of that length. Where the stride asks for it,
    images are padded at the bottom and the right by repeating their edge, as `forward_padded` does.

    Shapes: 3×H×W, uint8 or float in [0, 1], to tiles of C×h×w float32.

    Args:
        network: from N×3×h×w images in [0, 1] to N×C×h×w logits.
        image: stays where it is; windows of it go to the network one batch after the other.
        window: side of the windows in pixels; rounded up to a multiple of the stride.
        overlap: pixels that neighbors share at least; likewise. A quarter of the window by default.
        stride: what the sides of the images must be multiples of.
        batch_size: windows that the network sees together.

    Raises:
        UsageError: a window of no pixels, or an overlap that leaves no step to the next window.
        ValueError: logits that hold NaN.

    Example:
        >>> tiles = list(blended_tiles(lambda images: images.sum(1, keepdim=True), torch.rand(3, 5, 9), window=6))
        >>> [(tile.top, tile.left, tuple(tile.logits.shape)) for tile in tiles]
        [(0, 0, (1, 5, 3)), (0, 2, (1, 5, 7))]
    """
    check_windows(window, overlap)
    rows, columns = (_axis(length, window, overlap, stride) for length in image.shape[-2:])
    logits = _logits(network, image, rows, columns, batch_size)
    strip = torch.empty(0)
    carried: int | None = None
    for row in rows.cuts:
        beside: Tensor | None = None  # weighted sums of columns that the next window adds to
        edge: Tensor | None = None  # the finished column before the next tile
        for column in columns.cuts:
            block = _weighted(next(logits), row, column)
            if beside is not None:
                block[..., : beside.shape[-1]] += beside
            done = column.done - column.start
            beside, block = block[..., done:].clone(), block[..., :done]
            if not strip.numel():
                strip = block.new_empty(len(block), 1 + rows.longest_rest, image.shape[-1])
            tile = _finished(block, strip[..., column.start : column.done], carried, row.done - row.start)
            whole = tile if edge is None else torch.cat((edge, tile), dim=-1)
            edge = tile[..., -1:].clone()
            yield Tile(max(row.start - 1, 0), max(column.start - 1, 0), whole)
        carried = row.stop - row.done


def check_windows(window: int | None, overlap: int | None) -> None:
    """Refuse windows that cannot cover an image; None is no window at all.

    Raises:
        UsageError: a window of no pixels, an overlap that leaves no step to the next window, or one without windows.
    """
    if window is None:
        if overlap is not None:
            raise UsageError(f"an overlap of {overlap} pixels needs a window", "give the side of the windows too")
        return
    if window < 1:
        raise UsageError(f"window must be at least 1 pixel, got {window}", "give the side of the windows in pixels")
    if overlap is not None and not 0 <= overlap < window:
        raise UsageError(
            f"overlap must be between 0 and the window's {window} pixels, got {overlap}",
            f"leave it out for {window // OVERLAP_SHARE}, or give less than the window",
        )


class _Cut(NamedTuple):
    """One window along one axis: the pixels from ``start`` to ``stop``, finished up to ``done``, and their weights."""

    start: int
    stop: int
    done: int
    weights: Tensor


class _Axis(NamedTuple):
    """The windows along one axis, ``side`` pixels each, of which the last may reach into the padding."""

    side: int
    cuts: list[_Cut]

    @property
    def longest_rest(self) -> int:
        """How many pixels of a window are left unfinished, at most."""
        return max(cut.stop - cut.done for cut in self.cuts)


def _axis(length: int, window: int, overlap: int | None, stride: int) -> _Axis:
    """Windows spread evenly over an axis, in steps of the stride."""
    side, whole = (max(-(-pixels // stride), 1) for pixels in (window, length))
    if side >= whole:
        return _Axis(stride * whole, [_Cut(0, length, length, torch.ones(length))])
    shared = -(-(window // OVERLAP_SHARE if overlap is None else overlap) // stride)
    shared = min(shared, side - 1)
    steps = -(-(whole - side) // (side - shared))
    starts = [stride * ((whole - side) * step // steps) for step in range(steps + 1)]
    weights = _weights(length, starts, stride * side, stride * shared)
    ends = [*starts[1:], length]
    cuts = [_Cut(start, start + len(w), end, w) for start, end, w in zip(starts, ends, weights, strict=True)]
    return _Axis(stride * side, cuts)


def _weights(length: int, starts: list[int], side: int, overlap: int) -> list[Tensor]:
    """Of every window the weights of its pixels, which sum to 1 at every pixel of the axis."""
    total = torch.zeros(length, dtype=torch.float64)
    raised = []
    for number, start in enumerate(starts):
        middle = torch.arange(min(side, length - start), dtype=torch.float64) + 0.5
        # no window fades out at the border of the image
        before = middle if number else torch.full_like(middle, math.inf)
        after = side - middle if number < len(starts) - 1 else torch.full_like(middle, math.inf)
        raised.append(_fade(torch.minimum(before, after), overlap))
        total[start : start + len(middle)] += raised[-1]
    return [(w / total[start : start + len(w)]).float() for start, w in zip(starts, raised, strict=True)]


def _fade(distance: Tensor, overlap: int) -> Tensor:
    """0 within a quarter of the overlap from the edge, 1 beyond three quarters, half a cosine between."""
    if not overlap:
        return torch.ones_like(distance)
    share = (2 * distance / overlap - 0.5).clamp(0, 1)
    return torch.sin(share * math.pi / 2).square()


def _logits(
    network: Callable[[Images], Logits], image: Tensor, rows: _Axis, columns: _Axis, batch_size: int
) -> Iterator[Tensor]:
    """The C×h×w logits of every window, row by row."""
    places = [(row.start, column.start) for row in rows.cuts for column in columns.cuts]
    for first in range(0, len(places), batch_size):
        batch = [
            _repeating_the_edge(image, top, left, rows.side, columns.side)
            for top, left in places[first : first + batch_size]
        ]
        images = torch.stack(batch)
        result = network(images if images.is_floating_point() else images.float().div_(255)).float()
        if bool(result.isnan().any()):
            raise ValueError("logits: expected numbers, got NaN; the network has diverged, or its input holds NaN")
        yield from result


def _repeating_the_edge(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """A window of an image; where it reaches beyond, the image's edge is repeated."""
    inside = image[..., top : top + height, left : left + width]
    below, right = height - inside.shape[-2], width - inside.shape[-1]
    if below:
        inside = torch.cat((inside, inside[..., -1:, :].expand(*inside.shape[:-2], below, -1)), dim=-2)
    if right:
        inside = torch.cat((inside, inside[..., -1:].expand(*inside.shape[:-1], right)), dim=-1)
    return inside


def _weighted(logits: Tensor, row: _Cut, column: _Cut) -> Tensor:
    weights = (row.weights[:, None] * column.weights).to(logits.device)
    return logits[:, : row.stop - row.start, : column.stop - column.start] * weights


def _finished(block: Tensor, strip: Tensor, carried: int | None, done: int) -> Tensor:
    """The finished rows of a block, under the row above them; the strip keeps the last of them and the unfinished ones.

    ``carried`` unfinished rows came from the windows above, None in the first row of windows.
    """
    tile = block[:, :done]
    if carried is not None:
        block[:, :carried] += strip[:, 1 : 1 + carried]
        tile = torch.cat((strip[:, :1], tile), dim=1)
    strip[:, :1] = tile[:, -1:]
    strip[:, 1 : 1 + block.shape[1] - done] = block[:, done:]
    return tile
