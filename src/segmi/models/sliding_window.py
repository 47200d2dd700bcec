"""Sliding-window inference: memory depends on the window, not on the image.

Windows start at multiples of the network's stride, so pooling covers the same pixels as in the whole image. The outer
quarter of an overlap has weight 0, because the zero padding of convolutions affects it most; over the middle half, one
window fades into the next. A network whose receptive field reaches no further than a quarter of the overlap therefore
predicts the same as from the whole image, without seams.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.errors import UsageError
from segmi.types import Images, Logits

OVERLAP_DIVISOR: Final = 4  # the default overlap is the window divided by this
ROWS: Final = 64  # rows of a tile that are resized together: bounds the memory to C × 64 × W floats


class Tile(NamedTuple):
    """Blended logits of a rectangle of an image.

    A tile repeats the last row of the tile above and the last column of the tile to its left, so that each tile can be
    resized on its own.
    """

    top: int  # first row in the image
    left: int
    logits: Logits  # C×h×w, float32


def blended_tiles(
    network: Callable[[Images], Logits],
    image: Tensor,
    window: int,
    overlap: int | None = None,
    stride: int = 1,
    batch_size: int = 1,
) -> Iterator[Tile]:
    """Yield the logits of an image as tiles that cover it from the top left to the bottom right.

    ``z(x) = Σ_k w_k(x) z_k(x)``, where ``w_k = u_k(row) v_k(column)`` sum to 1 over the windows k at every pixel

    Only the overlaps with the next window and with the next row of windows are kept: C × overlap × W. A side of the
    image that is not longer than the window has one window. Images are padded to the stride at the bottom and right by
    repeating their edge.

    Shapes: B×H×W, uint8 or float in [0, 1], to tiles of C×h×w float32.

    Args:
        network: from N×B×h×w images in [0, 1] to N×C×h×w logits.
        image: stays on its device; windows of it are passed to the network batch by batch.
        window: side of the windows in pixels, rounded up to a multiple of the stride.
        overlap: smallest number of pixels that neighboring windows share, rounded up to a multiple of the stride; a
            quarter of the window by default.
        stride: divisor of height and width that the network requires.
        batch_size: number of windows in one forward pass.

    Raises:
        UsageError: if the window is empty or the overlap is not smaller than the window.
        ValueError: if the logits contain NaN.

    Example:
        >>> tiles = list(blended_tiles(lambda images: images.sum(1, keepdim=True), torch.rand(3, 5, 9), window=6))
        >>> [(tile.top, tile.left, tuple(tile.logits.shape)) for tile in tiles]
        [(0, 0, (1, 5, 3)), (0, 2, (1, 5, 7))]
    """
    check_windows(window, overlap)
    rows, columns = (_axis(length, window, overlap, stride) for length in image.shape[-2:])
    logits = _logits(network, image, rows, columns, batch_size)
    strip = torch.empty(0)  # C×(1 + overlap)×W: last final row, then the rows shared with the next row of windows
    carried: int | None = None
    for row in rows.cuts:
        beside: Tensor | None = None  # weighted sums of the columns shared with the next window
        edge: Tensor | None = None  # last finished column of the previous tile
        for column in columns.cuts:
            z = next(logits)[:, : row.stop - row.start, : column.stop - column.start]  # C×h×w, without padding
            block = z * (row.weights[:, None] * column.weights).to(z.device)
            if beside is not None:
                block[..., : beside.shape[-1]] += beside
            done = column.done - column.start
            beside, block = block[..., done:].clone(), block[..., :done]
            if not strip.numel():
                shared = max(cut.stop - cut.done for cut in rows.cuts)  # rows that later windows add to
                strip = block.new_empty(len(block), 1 + shared, image.shape[-1])
            tile = _finished(block, strip[..., column.start : column.done], carried, row.done - row.start)
            whole = tile if edge is None else torch.cat((edge, tile), dim=-1)
            edge = tile[..., -1:].clone()
            yield Tile(max(row.start - 1, 0), max(column.start - 1, 0), whole)
        carried = row.stop - row.done


def check_windows(window: int | None, overlap: int | None) -> None:
    """Check that windows can cover an image; None means no windows.

    Raises:
        UsageError: if the window is empty, the overlap is not smaller than the window, or there is only an overlap.
    """
    if window is None:
        if overlap is not None:
            raise UsageError(f"an overlap of {overlap} pixels needs a window", "set the window too")
        return
    if window < 1:
        raise UsageError(f"window must be at least 1 pixel, got {window}", "set the side of the windows in pixels")
    if overlap is not None and not 0 <= overlap < window:
        problem = f"overlap must be between 0 and the window's {window} pixels, got {overlap}"
        raise UsageError(problem, f"leave it out for {window // OVERLAP_DIVISOR}, or give less than the window")


class _Cut(NamedTuple):
    """Window along one axis: pixels ``start`` to ``stop``, final before ``done``, and their weights."""

    start: int
    stop: int
    done: int
    weights: Tensor


class _Axis(NamedTuple):
    """The windows along one axis, ``side`` pixels each; the last one may extend into the padding."""

    side: int
    cuts: list[_Cut]


def _axis(length: int, window: int, overlap: int | None, stride: int) -> _Axis:
    # Spread windows evenly over an axis, in multiples of the stride.
    # sizes in units of the stride
    side, whole = (round_up(pixels, stride) // stride for pixels in (window, length))
    if side >= whole:
        return _Axis(stride * whole, [_Cut(0, length, length, torch.ones(length))])
    shared = -(-(window // OVERLAP_DIVISOR if overlap is None else overlap) // stride)
    shared = min(shared, side - 1)  # rounding up must leave a step of at least one stride
    steps = -(-(whole - side) // (side - shared))
    starts = [stride * ((whole - side) * step // steps) for step in range(steps + 1)]
    weights = _weights(length, starts, stride * side, stride * shared)
    ends = [*starts[1:], length]
    cuts = [_Cut(start, start + len(w), end, w) for start, end, w in zip(starts, ends, weights, strict=True)]
    return _Axis(stride * side, cuts)


def _weights(length: int, starts: list[int], side: int, overlap: int) -> list[Tensor]:
    # Return the weights of every window's pixels; they sum to 1 at every pixel of the axis.
    total = torch.zeros(length, dtype=torch.float64)
    fades = []
    for number, start in enumerate(starts):
        middle = torch.arange(min(side, length - start), dtype=torch.float64) + 0.5
        # windows do not fade out at the border of the image
        before = middle if number else torch.full_like(middle, math.inf)
        after = side - middle if number < len(starts) - 1 else torch.full_like(middle, math.inf)
        fades.append(_fade(torch.minimum(before, after), overlap))
        total[start : start + len(middle)] += fades[-1]
    return [(w / total[start : start + len(w)]).float() for start, w in zip(starts, fades, strict=True)]


def _fade(distance: Tensor, overlap: int) -> Tensor:
    # Return 0 within a quarter of the overlap from the edge, 1 beyond three quarters, and half a cosine between.
    if not overlap:
        return torch.ones_like(distance)
    # distance in [overlap / 4, 3 overlap / 4] → [0, 1]; sin² of opposite fades sums to 1
    share = (2 * distance / overlap - 0.5).clamp(0, 1)
    return torch.sin(share * math.pi / 2).square()


def _logits(
    network: Callable[[Images], Logits], image: Tensor, rows: _Axis, columns: _Axis, batch_size: int
) -> Iterator[Tensor]:
    # Yield the C×h×w logits of every window, row by row.
    corners = [(row.start, column.start) for row in rows.cuts for column in columns.cuts]
    for first in range(0, len(corners), batch_size):
        windows = []  # 3×side×side each
        for top, left in corners[first : first + batch_size]:
            window = image[..., top : top + rows.side, left : left + columns.side]
            window = window if window.is_floating_point() else window.float().div_(255)
            windows.append(pad_bottom_right(window, rows.side, columns.side))
        logits = network(torch.stack(windows)).float()
        if bool(logits.isnan().any()):
            raise ValueError("logits: expected numbers, got NaN; the network has diverged, or its input contains NaN")
        yield from logits


def round_up(length: int, stride: int) -> int:
    """Return the smallest positive multiple of the stride that is at least ``length``."""
    return max(-(-length // stride), 1) * stride


def pad_bottom_right(images: Tensor, height: int, width: int) -> Tensor:
    """Pad float images to a height and width at the bottom and right, by repeating their edge.

    Shapes: …×C×h×w to …×C×height×width.
    """
    below, right = height - images.shape[-2], width - images.shape[-1]
    return F.pad(images, (0, right, 0, below), mode="replicate") if below or right else images


def _finished(block: Tensor, strip: Tensor, carried: int | None, done: int) -> Tensor:
    # Returns the final rows of a block, below the last row of the tile above, and stores the others in ``strip``.
    # ``carried`` rows of the strip are weighted sums from the windows above; None in the first row of windows.
    tile = block[:, :done]
    if carried is not None:
        block[:, :carried] += strip[:, 1 : 1 + carried]
        tile = torch.cat((strip[:, :1], tile), dim=1)
    strip[:, :1] = tile[:, -1:]
    strip[:, 1 : 1 + block.shape[1] - done] = block[:, done:]
    return tile


def resized_pieces(tile: Tile, image: Sequence[int], size: Sequence[int]) -> Iterator[tuple[slice, slice, Logits]]:
    """Yield the resized logits of the pixels that a tile determines, some rows at a time, with their rows and columns.

    Together, the tiles of an image yield every pixel of the result once.

    Shapes: C×h×w logits to pieces of C×r×W.

    Args:
        tile: as `blended_tiles` yields them.
        image: height and width of the image that the tiles cover.
        size: height and width of the result.

    Example:
        >>> pieces = resized_pieces(Tile(0, 0, torch.ones(4, 2, 2)), image=(2, 2), size=(3, 3))
        >>> [(rows, columns, tuple(piece.shape)) for rows, columns, piece in pieces]
        [(slice(0, 3, None), slice(0, 3, None), (4, 3, 3))]
    """
    height, width = tile.logits.shape[-2:]
    rows = _sampled(image[0], size[0], tile.top, tile.top + height)
    columns = _sampled(image[1], size[1], tile.left, tile.left + width)
    for first in range(rows.target.start, rows.target.stop, ROWS):
        some = rows.only(slice(first, min(first + ROWS, rows.target.stop)))
        yield some.target, columns.target, columns.along(some.along(tile.logits, 1), 2)


class _Samples(NamedTuple):
    """Result pixels along one axis, each between two pixels of a tile: ``(1 - share) · lower + share · upper``."""

    target: slice
    lower: Tensor
    upper: Tensor
    share: Tensor

    def only(self, target: slice) -> _Samples:
        chosen = slice(target.start - self.target.start, target.stop - self.target.start)
        return _Samples(target, self.lower[chosen], self.upper[chosen], self.share[chosen])

    def along(self, values: Tensor, axis: int) -> Tensor:
        lower = values.index_select(axis, self.lower.to(values.device))
        if not self.share.any():  # same size, or every result pixel is on a source pixel
            return lower
        upper = values.index_select(axis, self.upper.to(values.device))
        shape = [-1 if dimension == axis else 1 for dimension in range(values.ndim)]
        return lower.lerp_(upper, self.share.to(values.device).view(shape))


def _sampled(source: int, target: int, begin: int, end: int) -> _Samples:
    # The result pixels between source pixels ``begin`` and ``end - 1``, the last one of the axis included.
    # Bilinear with aligned pixel centers, as torch.nn.functional.interpolate computes it.
    # float32, as PyTorch uses for float32 maps
    position = ((torch.arange(target, dtype=torch.float32) + 0.5) * (source / target) - 0.5).clamp_(min=0)
    lower = position.long().clamp_(max=source - 1)
    share = position - lower if source != target else torch.zeros(target)
    first = int(torch.searchsorted(lower, begin))
    after = target if end == source else int(torch.searchsorted(lower, end - 1))
    upper = (lower + 1).clamp_(max=source - 1)
    # indices relative to the tile
    return _Samples(slice(first, after), lower[first:after] - begin, upper[first:after] - begin, share[first:after])
