"""Tables of cells under grouped headers, and their form as Markdown, CSV, LaTeX (booktabs) and aligned text.

All texts are escaped, because names are untrusted.
"""

from __future__ import annotations

import csv
import io
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

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


_LATEX: Final = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "*": "{*}", "…": r"\ldots{}", "–": "--",
    "[": "{[}", "]": "{]}",  # otherwise read as the optional argument of a line end
    "±": r"$\pm$", "×": r"$\times$", "\u2212": "$-$", "≥": r"$\geq$", "≤": r"$\leq$", "√": r"$\sqrt{}$",
    "●": r"$\bullet$",
}  # fmt: skip


def escape_latex(text: str) -> str:
    r"""Escape text for LaTeX.

    >>> escape_latex("50_% & more")
    '50\\_\\% \\& more'
    """
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def escape_markdown(text: str) -> str:
    r"""Escape text for Markdown and the HTML within it.

    >>> escape_markdown("<b>_a_|b")
    '&lt;b&gt;\\_a\\_\\|b'
    """
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|#~$])", r"\\\1", text)


def escape_csv(text: str) -> str:
    """Escape text that a spreadsheet would read as a formula.

    >>> escape_csv("=cmd()"), escape_csv("road")
    ("'=cmd()", 'road')
    """
    return f"'{text}" if text.lstrip()[:1] in ("=", "+", "-", "@") or text[:1] in ("\t", "\r", "\n") else text


def markdown(table: Table) -> str:
    """Return the table in the pipe syntax of Markdown, with its notes."""
    header = [*table.labels, *table.columns]
    lines = [_pipes(escape_markdown(name) for name in header)]
    lines.append(_pipes(["---"] * len(table.labels) + ["---:"] * len(table.columns)))
    for row in table.rows:
        mark = "*" if row.muted else ""
        labels = [f"{mark}{escape_markdown(label)}{mark}" if label else "" for label in row.labels]
        cells = (escape_markdown(cell.plain()) for cell in row.cells)
        marks = ("**" if cell.bold else "" for cell in row.cells)
        lines.append(_pipes([*labels, *(bold + text + bold for text, bold in zip(cells, marks, strict=True))]))
    notes = [f"- {escape_markdown(note)}" for note in table.notes]
    return "\n".join([f"**{escape_markdown(table.title)}**", "", *lines, *([""] if notes else []), *notes]) + "\n"


def csv_text(table: Table) -> str:
    """Return the table as CSV, with columns for standard deviation and number if there are several seeds."""
    spread = any(cell.sd is not None or cell.partial for row in table.rows for cell in row.cells)
    parts = ("", " sd", " n") if spread else ("",)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(escape_csv, [*table.labels, *(column + part for column in table.columns for part in parts)]))
    for row in table.rows:
        values: list[str] = []
        for cell in row.cells:
            shown = [cell.number or escape_csv("" if cell.text == "–" else cell.text), cell.spread, str(cell.n or "")]
            values += shown[: len(parts)]
        writer.writerow([escape_csv(label) for label in row.labels] + values)
    return text.getvalue()


def latex(table: Table, label: str) -> str:
    """Return the table as a LaTeX ``table`` with booktabs rules and a spanning header per group."""
    width = len(table.labels)
    spec = "l" * width + "".join("r" * len(names) for _, names in table.groups)
    grouped = any(group for group, _ in table.groups)
    lines = ["% needs \\usepackage{booktabs}", "\\begin{table}", "  \\centering"]
    lines += [f"  \\caption{{{escape_latex(table.title)}}}", f"  \\label{{{label}}}"]
    lines += [f"  \\begin{{tabular}}{{{spec}}}", "    \\toprule"]
    if grouped:
        heads, rules, column = [""] * width, [], width + 1
        for group, names in table.groups:
            heads.append(f"\\multicolumn{{{len(names)}}}{{c}}{{{escape_latex(group)}}}")
            rules.append(f"\\cmidrule(lr){{{column}-{column + len(names) - 1}}}")
            column += len(names)
        lines += [f"    {' & '.join(heads)} \\\\", f"    {' '.join(rules)}"]
    header = [*table.labels, *(name for _, columns in table.groups for name in columns)]
    lines += [f"    {' & '.join(map(escape_latex, header))} \\\\", "    \\midrule"]
    for index, row in enumerate(table.rows):
        if row.rule and index:
            lines.append("    \\addlinespace")
        italic = "\\textit{%s}" if row.muted else "%s"
        shown = [italic % escape_latex(text) if text else "" for text in row.labels]
        lines.append(f"    {' & '.join([*shown, *(_latex_cell(cell) for cell in row.cells)])} \\\\")
    lines += ["    \\bottomrule", "  \\end{tabular}"]
    if table.notes:
        lines += ["", "  \\medskip", "  \\begin{minipage}{\\linewidth}\\footnotesize"]
        lines += [f"    {escape_latex(note)}\\par" for note in table.notes] + ["  \\end{minipage}"]
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def terminal(table: Table) -> str:
    """Return the table as aligned text for a terminal; a star marks the best value of a row."""
    stars = [[cell.plain() + ("*" if cell.bold else " ") for cell in row.cells] for row in table.rows]
    body = [[*map(_printable, row.labels), *cells] for row, cells in zip(table.rows, stars, strict=True)]
    pad = len(table.labels)
    header = [*table.labels, *(f"{name} " for _, columns in table.groups for name in columns)]
    widths = [max(_width(line[i]) for line in [header, *body]) for i in range(len(header))]
    top, column = " " * (sum(widths[:pad]) + 2 * pad), pad
    for group, columns in table.groups:
        # A group is as wide as its columns; a longer name widens the last column.
        room = sum(widths[column : column + len(columns)]) + 2 * (len(columns) - 1)
        name = _printable(group)
        if _width(name) > room:
            widths[column + len(columns) - 1] += _width(name) - room
            room = _width(name)
        top += name + " " * (room - _width(name) + 2)
        column += len(columns)
    lines = [_printable(table.title), ""] + ([top.rstrip()] if any(g for g, _ in table.groups) else [])
    for line in [header, *body]:
        cells = [(text, " " * (width - _width(text))) for text, width in zip(line, widths, strict=True)]
        lines.append("  ".join(gap + text if i >= pad else text + gap for i, (text, gap) in enumerate(cells)).rstrip())
        if line is header:
            lines.append("─" * (sum(widths) + 2 * (len(widths) - 1)))
    room = max(sum(widths) + 2 * (len(widths) - 1), 80)
    marked = ["* best of its row"] if any(cell.bold for row in table.rows for cell in row.cells) else []
    wrapped = [line for note in table.notes for line in textwrap.wrap(_printable(note), room, subsequent_indent="  ")]
    return "\n".join([*lines, *marked, *([""] if wrapped else []), *wrapped]).rstrip() + "\n"


def _pipes(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _latex_cell(cell: Cell) -> str:
    text = escape_latex(cell.text if cell.shown is None else cell.shown)
    text = f"\\textbf{{{text}}}" if cell.bold else text
    rest = (f" $\\pm$ {cell.spread}" if cell.spread else "") + (f" ({cell.partial})" if cell.partial else "")
    return text if cell.shown is None else text + rest


def _printable(text: str) -> str:
    """Replace control characters, which a terminal would execute."""
    return "".join(c if unicodedata.category(c)[0] != "C" else " " for c in text)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text if not unicodedata.combining(c))
