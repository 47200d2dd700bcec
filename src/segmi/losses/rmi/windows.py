"""Covariances of square windows, and their gradients with respect to the map, without unfolding the windows.

A map of H×W pixels has n = H'·W' windows of side R, each a vector of d = R² values; their d×n matrix is R² times the
map. `RowWindows` never builds it. Two positions in a window differ by some rows and some columns. The columns are
unfolded, which takes R copies of a row. Rows that are s apart are then multiplied row by row, and one small 0/1 matrix
selects the rows that count for each position in the window. The cost in rows is proportional to the 2R - 1
displacements, not to the R² pairs, and the borders need no special case.

`ListedWindows` builds the matrix for a list of windows. `OtherWindows` are all windows except a list, computed as the
difference of the two; they are used where few windows contain ignored pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from itertools import product

import torch
from torch import Tensor


class Windows(ABC):
    """The windows of m pairs of maps (P, Y), centered, in float64.

    Attributes:
        count: the number n of windows.
        sums: m×2d×2d, ``[[PPᵀ, PYᵀ], [YPᵀ, YYᵀ]]``: sums over the windows, not means.
    """

    count: int
    sums: Tensor

    @abstractmethod
    def fold(self, coefficients: Tensor) -> Tensor:
        """Add ``coefficients @ [P; Y]``, one value per window and position in it, to the pixels of the windows.

        Shapes:
            coefficients: m×d×2d; the result is m×H×W.
        """


class Workspace:
    """Buffers for the windows of H×W maps, reused by every chunk of at most m pairs.

    Fresh memory would be the largest cost on a CPU: the system maps it page by page.
    """

    def __init__(self, m: int, height: int, width: int, radius: int, device: torch.device) -> None:
        self.height, self.width, self.radius = height, width, radius
        self.starts, self.columns = height - radius + 1, width - radius + 1  # H', W'
        new = partial(torch.empty, dtype=torch.float64, device=device)
        self.centered = new(m, height, width)  # one map, centered; later the folded gradient
        # m × rows × 2R × W': every row R times, each displaced by one more column, P above Y. R - 1 rows of zeros above
        # and below give every row all its neighbors.
        self.unfolded = new(m, height + 2 * (radius - 1), 2, radius, self.columns).zero_()
        self.spread = new(height, radius, self.columns)
        self.products = new(m, height, 2 * radius, 2 * radius * radius)  # row by row: (map, j) × (s, map, j')
        # counts[r, i] = 1 if row r is row i of the windows that start at row r - i, for some start
        offset = torch.arange(height, device=device)[:, None] - torch.arange(radius, device=device)
        self.counts = ((offset >= 0) & (offset < self.starts)).double()


class RowWindows(Windows):
    """All windows of the maps, valid until the workspace is used again.

    Shapes:
        p, y: m×H×W, H and W at least R.
    """

    def __init__(self, p: Tensor, y: Tensor, workspace: Workspace) -> None:
        self.m, self.work, self.radius = len(p), workspace, workspace.radius
        self.count = workspace.starts * workspace.columns
        self._unfold_columns(p, y)
        rows = self._rows(self.radius - 1, 1)  # m×H×2R×W'
        ones = rows.new_ones(workspace.columns)
        row_sums = torch.stack([torch.mv(rows[k].reshape(-1, workspace.columns), ones) for k in range(self.m)])
        row_sums = row_sums.view(self.m, workspace.height, 2 * self.radius)
        self.means = torch.matmul(workspace.counts.T, row_sums) / self.count  # m × i × (map, j)
        self.sums = self._sums()

    def _unfold_columns(self, p: Tensor, y: Tensor) -> None:
        margin, columns, height = self.radius - 1, self.work.columns, self.work.height
        centered = self.work.centered[: self.m]
        for which, image in enumerate((p, y)):
            centered.copy_(image)
            centered -= centered.mean((-2, -1), keepdim=True)  # reduces cancellation in the covariances
            for j in range(self.radius):
                self.work.unfolded[: self.m, margin : margin + height, which, j] = centered[:, :, j : j + columns]

    def _rows(self, first: int, number: int) -> Tensor:
        """Return m×H×(2R·number)×W': for every row r, unfolded row r + first - (R-1) and ``number`` - 1 below it."""
        row = 2 * self.radius * self.work.columns
        shape = (self.m, self.work.height, 2 * self.radius * number, self.work.columns)
        return self.work.unfolded.as_strided(
            shape, (self.work.unfolded.stride(0), row, self.work.columns, 1), first * row
        )

    def _sums(self) -> Tensor:
        m, radius = self.m, self.radius
        rows, below = self._rows(radius - 1, 1), self._rows(radius - 1, radius)
        products = self.work.products[:m]
        for k in range(m):
            torch.bmm(rows[k], below[k].mT, out=products[k])
        # m × i × (a, s, b): sums over the rows of the windows of row i times row i + s
        by_start = torch.matmul(self.work.counts.T, products.flatten(2)).view(m, radius, 2 * radius, radius, 2 * radius)
        sums = rows.new_empty(m, radius, 2 * radius, radius, 2 * radius)
        for i in range(radius):
            for s in range(radius - i):
                block = by_start[:, i, :, s]
                sums[:, i, :, i + s], sums[:, i + s, :, i] = block, block.mT
        means = self.means.flatten(1)
        side = 2 * radius * radius
        centered = sums.view(m, side, side) - self.count * means[:, :, None] * means[:, None, :]
        # from (row, map, column) to (map, row, column), twice
        return centered.view(m, *(radius, 2, radius) * 2).permute(0, 2, 1, 3, 5, 4, 6).reshape(m, side, side)

    def fold(self, coefficients: Tensor) -> Tensor:
        """See `Windows.fold`."""
        m, radius, work = self.m, self.radius, self.work
        # m × i × j × i' × (map, j')
        k = coefficients.view(m, radius, radius, 2, radius, radius).transpose(3, 4).flatten(4)
        constant = torch.einsum("mijkb,mkb->mij", k, self.means)
        # by displacement s + 1 - R = i' - i, then for every row the sum over its positions i
        displaced = k.new_zeros(m, radius, radius, 2 * radius - 1, 2 * radius)
        for i in range(radius):
            displaced[:, i, :, radius - 1 - i : 2 * radius - 1 - i] = k[:, i]
        by_row = torch.matmul(work.counts, displaced.flatten(2)).view(m, work.height, radius, -1)  # m×H×R×(s, map, j')
        offset = torch.matmul(work.counts, constant)  # m×H×R
        around = self._rows(0, 2 * radius - 1)
        result = work.centered[:m].zero_()
        for pair in range(m):
            torch.baddbmm(offset[pair].unsqueeze(-1), by_row[pair], around[pair], beta=-1, out=work.spread)
            for j in range(radius):
                result[pair, :, j : j + work.columns] += work.spread[:, j]
        return result


class ListedWindows(Windows):
    """The windows that start at given pixels.

    Shapes:
        p, y: m×H×W.
        starts: n flat indices (row · W + column) of the upper left pixels, at least one.
    """

    def __init__(self, p: Tensor, y: Tensor, radius: int, starts: Tensor) -> None:
        self.shape, self.starts, self.count = p.shape, starts, len(starts)
        self.offsets = [row * p.shape[-1] + column for row in range(radius) for column in range(radius)]
        self.windows = torch.empty(len(p), 2 * len(self.offsets), self.count, dtype=torch.float64, device=p.device)
        for position, (image, offset) in enumerate(product((p.flatten(1), y.flatten(1)), self.offsets)):
            self.windows[:, position] = image[:, starts + offset]
        self.means = self.windows.mean(-1)  # m × (map, position)
        self.windows -= self.means.unsqueeze(-1)
        self.sums = self.windows @ self.windows.mT  # m×2d×2d

    def fold(self, coefficients: Tensor) -> Tensor:
        """See `Windows.fold`."""
        spread = coefficients @ self.windows  # m×d×n
        result = spread.new_zeros(self.shape).flatten(1)
        for position, offset in enumerate(self.offsets):
            result[:, self.starts + offset] += spread[:, position]
        return result.view(self.shape)


class OtherWindows(Windows):
    """All windows except those that start at given pixels, in the workspace of `RowWindows`.

    Shapes:
        p, y: m×H×W.
        starts: flat indices (row · W + column) of the upper left pixels of excluded windows, at least one and not all.
    """

    def __init__(self, p: Tensor, y: Tensor, workspace: Workspace, starts: Tensor) -> None:
        # Centered for both, so that their means are comparable and the difference does not cancel.
        p, y = (image - image.mean((-2, -1), keepdim=True) for image in (p, y.double()))
        self.every = RowWindows(p, y, workspace)
        self.excluded = ListedWindows(p, y, workspace.radius, starts)
        self.count = self.every.count - self.excluded.count
        m, radius = len(p), workspace.radius
        of_all = self.every.means.view(m, radius, 2, radius).transpose(1, 2).flatten(1)
        self.means = (self.every.count * of_all - self.excluded.count * self.excluded.means) / self.count
        apart = self.means - self.excluded.means  # m×2d
        between = self.count * self.excluded.count / self.every.count * apart[:, :, None] * apart[:, None, :]
        self.sums = self.every.sums - self.excluded.sums - between

    def fold(self, coefficients: Tensor) -> Tensor:
        """See `Windows.fold`; may be called once."""
        m, radius = len(self.means), self.every.radius
        self.every.means = self.means.view(m, 2, radius, radius).transpose(1, 2).flatten(2)
        self.excluded.windows += (self.excluded.means - self.means).unsqueeze(-1)
        return self.every.fold(coefficients) - self.excluded.fold(coefficients)
