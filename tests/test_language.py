"""The prose of the project stays plain: unidiomatic constructions are counted and may not rise above a limit."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 25.0  # hits in 10,000 words; well-written libraries of the field have 1 to 20
TEXT = {".md", ".jinja", ".html"}
PATTERNS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(tell|tells|told|telling)\b",
        r"\b(is|are|was|were|be) no\b(?! longer)",
        r"\b(of|in|by|to|for|from|with|over|beside|behind) which\b",
        r"\b(what|whatever) (is|are|was|were|it|they|he|one|a|an|the|this|that|there|comes|came|remains|follows|stands"
        r"|lies|counts|has|have)\b",
        r"\b(that|those) of\b",
        r"\b(lies|lie|lay|stands|stand|stood)\b",
        r"\b(nobody|somebody|whoever|anybody)\b",
        r"\b(of|has|have) (its|one's|their|your|a) own\b",
        r"\b(goes on|go on|going on|begun|went on)\b",
        r"\b(anew|likewise|shall|thereby|therein|whereby|mend|mended|hangs on|hang on)\b",
        r"\bpictures?\b",
        r"\b(by itself|beside it|as found|as it is|as they are|there is none|in turn)\b",
    )
]
REPLACED = re.compile(r"(?i)pictures?|(?<![a-z])void(?![a-z_]*p\b)|misregistered|knobs?(?![a-z])")
"""Words of identifiers that have a standard term instead: image, ignored, legacy_interpolation, option."""


def python_prose(path: Path) -> Iterator[tuple[int, str]]:
    """Docstrings, messages and comments with their lines."""
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and " " in node.value
            and len(node.value) > 12
        ):
            yield from enumerate(node.value.splitlines(), node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def text_prose(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page outside of code."""
    fenced = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, re.sub(r"`[^`]*`|<[^>]*>|\{\{.*?\}\}|\{%.*?%\}", " ", line)


def hits(paths: list[Path]) -> tuple[list[str], int]:
    """The places that match a pattern, and the number of words."""
    places, words = [], 0
    for path in paths:
        for number, line in python_prose(path) if path.suffix == ".py" else text_prose(path):
            words += len(re.findall(r"[A-Za-z']+", line))
            for pattern in PATTERNS:
                places += [f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}" for _ in pattern.finditer(line)]
    return places, words


@pytest.mark.parametrize("roots", [("src",), ("docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")], ids="+".join)
def test_prose_is_plain(roots: tuple[str, ...]) -> None:
    files = [
        path
        for root in roots
        for path in ([ROOT / root] if (ROOT / root).is_file() else sorted((ROOT / root).rglob("*")))
        if path.suffix in TEXT | {".py"}
    ]
    places, words = hits(files)
    assert len(places) * 1e4 / words <= LIMIT, "\n".join(places)


def test_identifiers_use_the_standard_terms() -> None:
    wrong = []
    for path in sorted(ROOT.joinpath("src").rglob("*.py")):
        for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
            if token.type == tokenize.NAME and REPLACED.search(token.string) and token.string != "c_void_p":
                wrong.append(f"{path.relative_to(ROOT)}:{token.start[0]}: {token.string}")
        if REPLACED.search(path.name):
            wrong.append(str(path.relative_to(ROOT)))
    assert not wrong, "\n".join(wrong)


def test_the_count_finds_what_it_looks_for(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("The file lies there.\n```sh\nit lies\n```\nWhat is stored is told `as it is`.\n")
    lines = [line for _, line in text_prose(page)]
    assert sum(len(pattern.findall(line)) for line in lines for pattern in PATTERNS) == 3
