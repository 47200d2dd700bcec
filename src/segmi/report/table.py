"""A table that knows nothing of its format: rows of cells under grouped headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from segmi.statistics.summary import DIGITS


@dataclass(frozen=True)
class Cell:
    """One entry.

    Args:
        text: what is shown if there is no number.
        value: a mean, as a fraction.
        sd: its standard deviation over seeds, None for a single one.
        n: the number of seeds behind it.
        planned: the number of seeds the study planned.
        bold: whether it is best of its row.
        digits: decimals shown.
        signed: whether a positive number carries its sign, as differences do.
        stated: whether ``text`` is an entry of its own and no gap.
    """

    text: str = "–"
    value: float | None = None
    sd: float | None = None
    n: int = 0
    planned: int = 0
    bold: bool = False
    digits: int = DIGITS
    signed: bool = False
    stated: bool = False

    @property
    def number(self) -> str | None:
        """The mean as programs read it, None if there is none.

        >>> Cell(value=0.59305).number, Cell(value=0.01, signed=True).number
        ('0.5930', '+0.0100')
        """
        return None if self.value is None else f"{self.value:{'+' if self.signed else ''}.{self.digits}f}"

    @property
    def shown(self) -> str | None:
        """The mean as people read it: with a minus sign and not a hyphen."""
        return None if self.number is None else self.number.replace("-", "\u2212")

    @property
    def spread(self) -> str:
        """The standard deviation as shown, empty if there is none."""
        return "" if self.sd is None else f"{self.sd:.{self.digits}f}"

    @property
    def short(self) -> str:
        """Which part of the seeds is behind it, where it is not all.

        >>> Cell(value=0.5, n=1, planned=2).short, Cell(value=0.5, n=2, planned=2).short
        ('1 of 2', '')
        """
        return f"{self.n} of {self.planned}" if 0 < self.n < self.planned else ""

    def plain(self) -> str:
        """The entry as unformatted text.

        >>> Cell(value=0.5, sd=0.01, n=2, planned=3).plain()
        '0.5000 ± 0.0100 (2 of 3)'
        """
        if self.shown is None:
            return self.text
        return self.shown + (f" ± {self.spread}" if self.spread else "") + (f" ({self.short})" if self.short else "")


@dataclass(frozen=True)
class Row:
    """Labels, then cells.

    Args:
        labels: one per label column.
        cells: one per value column.
        muted: for rows that are not ours: published numbers, constant predictions.
        rule: whether a line is drawn above it.
    """

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    muted: bool = False
    rule: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under headers.

    Args:
        title: what it shows, one sentence.
        labels: headers of the label columns.
        groups: (header, columns beneath it); a group with an empty header has none.
        rows: from top to bottom.
        notes: below the table.
    """

    title: str
    labels: tuple[str, ...]
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def columns(self) -> list[str]:
        """The value columns in one line of header each.

        >>> Table("", ("dataset",), (("Model 1", ("IoU", "Acc")),), ()).columns
        ['Model 1 IoU', 'Model 1 Acc']
        """
        return [f"{group} {name}".strip() for group, names in self.groups for name in names]
