"""Table independent of its format: rows of cells under grouped headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from segmi.statistics.score_table import DIGITS


@dataclass(frozen=True)
class Cell:
    """Entry of a table.

    Args:
        text: shown if there is no number.
        value: mean, as a fraction.
        sd: standard deviation over seeds; None for one seed.
        n: number of seeds.
        planned: number of seeds in the plan.
        bold: mark as best of its row.
        digits: number of decimals.
        signed: show the sign of positive numbers, for differences.
        is_text: ``text`` is an entry, not a placeholder for a missing number.
    """

    text: str = "–"
    value: float | None = None
    sd: float | None = None
    n: int = 0
    planned: int = 0
    bold: bool = False
    digits: int = DIGITS
    signed: bool = False
    is_text: bool = False

    @property
    def number(self) -> str | None:
        """Mean in machine-readable form; None without a number.

        >>> Cell(value=0.59305).number, Cell(value=0.01, signed=True).number
        ('0.5930', '+0.0100')
        """
        return None if self.value is None else f"{self.value:{'+' if self.signed else ''}.{self.digits}f}"

    @property
    def shown(self) -> str | None:
        """Mean with a typographic minus sign; None without a number."""
        return None if self.number is None else self.number.replace("-", "\u2212")

    @property
    def spread(self) -> str:
        """Standard deviation as text; empty without one."""
        return "" if self.sd is None else f"{self.sd:.{self.digits}f}"

    @property
    def partial(self) -> str:
        """Number of seeds if it is less than planned, else empty.

        >>> Cell(value=0.5, n=1, planned=2).partial, Cell(value=0.5, n=2, planned=2).partial
        ('1 of 2', '')
        """
        return f"{self.n} of {self.planned}" if 0 < self.n < self.planned else ""

    def plain(self) -> str:
        """Return the entry as unformatted text.

        >>> Cell(value=0.5, sd=0.01, n=2, planned=3).plain()
        '0.5000 ± 0.0100 (2 of 3)'
        """
        if self.shown is None:
            return self.text
        spread = f" ± {self.spread}" if self.spread else ""
        return self.shown + spread + (f" ({self.partial})" if self.partial else "")


@dataclass(frozen=True)
class Row:
    """Labels, then cells.

    Args:
        labels: one per label column.
        cells: one per value column.
        muted: row of published numbers or of a constant prediction.
        rule: draw a line above the row.
    """

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    muted: bool = False
    rule: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under headers.

    Args:
        title: one sentence.
        labels: headers of the label columns.
        groups: (header, columns under it); an empty header is not drawn.
        rows: from top to bottom.
        notes: sentences below the table.
    """

    title: str
    labels: tuple[str, ...]
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def columns(self) -> list[str]:
        """Value columns with their group in one line of header each.

        >>> Table("", ("dataset",), (("Model 1", ("IoU", "Acc")),), ()).columns
        ['Model 1 IoU', 'Model 1 Acc']
        """
        return [f"{group} {name}".strip() for group, names in self.groups for name in names]
