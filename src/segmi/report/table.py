"""Table independent of its format: rows of cells under grouped headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from segmi.statistics.score_table import DIGITS


@dataclass(frozen=True)
class Cell:
    """Entry of a table."""

    text: str = "–"  # shown without a number
    value: float | None = None  # mean, as a fraction
    sd: float | None = None  # standard deviation over seeds; None for one seed
    n: int = 0  # number of seeds
    planned: int = 0  # number of seeds in the plan
    bold: bool = False  # mark as best of its row
    digits: int = DIGITS  # number of decimals
    signed: bool = False  # show the sign of positive numbers, for differences
    is_text: bool = False  # ``text`` is an entry, not a placeholder for a missing number

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
        partial = f" ({self.partial})" if self.partial else ""
        return self.shown + (f" ± {self.spread}" if self.spread else "") + partial


@dataclass(frozen=True)
class Row:
    """Labels, then cells."""

    labels: tuple[str, ...]  # one per label column
    cells: tuple[Cell, ...]  # one per value column
    muted: bool = False  # row of published numbers or of a constant prediction
    rule: bool = False  # draw a line above the row


@dataclass(frozen=True)
class Table:
    """Rows under headers."""

    title: str  # one sentence
    labels: tuple[str, ...]  # headers of the label columns
    groups: tuple[tuple[str, tuple[str, ...]], ...]  # (header, columns under it); an empty header is not drawn
    rows: Sequence[Row]  # from top to bottom
    notes: Sequence[str] = field(default_factory=tuple)  # sentences below the table

    @property
    def columns(self) -> list[str]:
        """Value columns with their group in one line of header each.

        >>> Table("", ("dataset",), (("Model 1", ("IoU", "Acc")),), ()).columns
        ['Model 1 IoU', 'Model 1 Acc']
        """
        return [f"{group} {name}".strip() for group, names in self.groups for name in names]
