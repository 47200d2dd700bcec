"""Four formats of one table; names from anywhere cannot break out of them."""

from __future__ import annotations

import csv
import io
import re

import pytest

from segmi.report.table import (
    Cell,
    Row,
    Table,
    csv_text,
    escape_csv,
    escape_latex,
    escape_markdown,
    latex,
    markdown,
    terminal,
)

TABLE = Table(
    "Table & caption_1.",
    ("dataset",),
    (("Model 1", ("IoU", "Acc")), ("M_2 & <i>", ("IoU", "Acc"))),
    (
        Row(("City",), (Cell(value=0.5931, bold=True), Cell(value=0.9388), Cell(value=0.52436), Cell("failed"))),
        Row(("[x] 50%",), (Cell(value=0.1, sd=0.02, n=2, planned=3), Cell(), Cell(value=0.2), Cell()), rule=True),
        Row(("City, as published",), (Cell(value=0.5),) * 4, muted=True),
    ),
    ("A note with 5 % and a_b.",),
)


def test_markdown() -> None:
    lines = markdown(TABLE).splitlines()
    assert lines[2] == r"| dataset | Model 1 IoU | Model 1 Acc | M\_2 &amp; &lt;i&gt; IoU | M\_2 &amp; &lt;i&gt; Acc |"
    assert lines[3] == "| --- | ---: | ---: | ---: | ---: |"
    assert lines[4] == "| City | **0.5931** | 0.9388 | 0.5244 | failed |"
    assert lines[5] == r"| \[x\] 50% | 0.1000 ± 0.0200 (2 of 3) | – | 0.2000 | – |"
    assert lines[6].startswith("| *City, as published* |")
    assert lines[-1] == r"- A note with 5 % and a\_b."


def test_csv_reads_back() -> None:
    rows = list(csv.reader(io.StringIO(csv_text(TABLE))))
    assert {len(row) for row in rows} == {13}
    assert rows[0][:4] == ["dataset", "Model 1 IoU", "Model 1 IoU sd", "Model 1 IoU n"]
    assert rows[1][1] == "0.5931"
    assert rows[1][-3:] == ["failed", "", ""]
    assert rows[2][1:5] == ["0.1000", "0.0200", "2", ""]


def test_csv_of_single_seeds_has_only_the_means() -> None:
    table = Table("", ("dataset",), (("M", ("IoU",)),), (Row(("a",), (Cell(value=0.5, n=1, planned=1),)),))
    assert csv_text(table) == "dataset,M IoU\na,0.5000\n"


def test_latex() -> None:
    text = latex(TABLE, "tab:1")
    assert r"\caption{Table \& caption\_1.}" in text
    assert r" & \multicolumn{2}{c}{Model 1} & \multicolumn{2}{c}{M\_2 \& \textless{}i\textgreater{}} \\" in text
    assert r"\cmidrule(lr){2-3} \cmidrule(lr){4-5}" in text
    assert r"City & \textbf{0.5931} & 0.9388 & 0.5244 & failed \\" in text
    assert r"{[}x{]} 50\% & 0.1000 $\pm$ 0.0200 (2 of 3) & -- & 0.2000 & -- \\" in text
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{lrrrr}"):
        assert text.count(rule) == 1
    assert text.count("{") == text.count("}")


def test_terminal_columns_line_up() -> None:
    lines = terminal(TABLE).splitlines()
    header = next(line for line in lines if line.startswith("dataset"))
    rows = [line for line in lines if line.startswith(("City ", "[x]"))]
    assert next(match.end() for match in re.finditer(r"IoU|Acc", header)) == rows[0].index("0.5931*") + 6
    assert "0.9388 " in rows[0]
    assert "* best of its row" in lines


def test_terminal_removes_control_characters() -> None:
    table = Table("\x1b[31mred", ("a",), (("", ("b",)),), (Row(("\x1b]0;title\x07",), (Cell(value=0.5),)),))
    assert "\x1b" not in terminal(table)
    assert "\x07" not in terminal(table)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>", r"\textless{}script\textgreater{}"),
        ("a&b_c%d#e$f", r"a\&b\_c\%d\#e\$f"),
        ("\\input{x}~^", r"\textbackslash{}input\{x\}\textasciitilde{}\textasciicircum{}"),
        ("two\n\nlines", "two lines"),
    ],
)
def test_latex_escapes(text: str, expected: str) -> None:
    assert escape_latex(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>", "&lt;script&gt;"),
        ("a|b\nc", r"a\|b c"),
        ("[link](http://x)", r"\[link\](http://x)"),
        ("*_`\\", r"\*\_\`\\"),
    ],
)
def test_markdown_escapes(text: str, expected: str) -> None:
    assert escape_markdown(text) == expected


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1"])
def test_csv_formulas_are_escaped(text: str) -> None:
    assert escape_csv(text) == "'" + text
