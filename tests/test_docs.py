"""Examples in the documentation run and print the shown output; links and anchors exist."""

from __future__ import annotations

import contextlib
import doctest
import inspect
import io
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
SHELL = ("sh", "shell", "bash", "console", "text")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: language, text, and the number of the line before the text."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        yield Block(match[1], match[2], text.count("\n", 0, match.start()) + 1)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


WITH_PYTHON = [
    page
    for page in PAGES
    if page.name != "CONTRIBUTING.md"  # its blocks are files, see `test_contributing.py`
    and any(block.language in ("python", "pycon") for block in blocks(page))
]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks run in order in one namespace; blocks with prompts must print the shown output."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        if block.language == "python":
            code = compile("\n" * block.line + block.text, str(page), "exec")
            with contextlib.redirect_stdout(io.StringIO()):
                exec(code, names)
        elif block.language == "pycon":
            test = doctest.DocTestParser().get_doctest(block.text, names, name(page), str(page), block.line)
            output = io.StringIO()
            runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
            failed = runner.run(test, out=output.write, clear_globs=False).failed
            assert not failed, output.getvalue()
            names.update(test.globs)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_have_a_known_language(page: Path) -> None:
    """A block with a missing or misspelled language would never run."""
    known = ("python", "pycon", "diff", "yaml", "toml", "json", "math", *SHELL)
    unknown = [
        f"{name(page)}:{block.line}: {block.language!r}" for block in blocks(page) if block.language not in known
    ]
    assert not unknown


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_exist(page: Path) -> None:
    broken = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            broken.append(f"{target}: missing file {file.relative_to(ROOT) if file.is_relative_to(ROOT) else file}")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            broken.append(f"{target}: {name(file)} lacks this heading")
    assert not broken, broken


def links(page: Path) -> list[str]:
    """Return the targets of relative links and images of a page, outside of code."""
    prose = re.sub(r"`[^`\n]*`", "`", FENCE.sub("", page.read_text(encoding="utf-8")))
    targets = re.findall(r"\]\(([^()\s]+)(?:\s+\"[^\"]*\")?\)", prose) + re.findall(
        r"(?:src|srcset|href)=\"([^\"]+)\"", prose
    )
    return [target for target in targets if not re.match(r"[a-z][a-z+.-]*:", target)]


def anchors(page: Path) -> set[str]:
    """Return the headings of a page as anchors in GitHub's form."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.*?)\s*$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def formulas(page: Path) -> list[str]:
    """Return the formulas between dollar signs."""
    return re.findall(r"\$([^$]+)\$", re.sub(r"`[^`\n]*`", "`", FENCE.sub("", page.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_formulas_survive_markdown(page: Path) -> None:
    """GitHub parses Markdown first: outside of ```math blocks it removes the backslash before punctuation and ends a
    table cell at a bar; a dollar sign next to a space does not open a formula."""
    lost = [one for one in formulas(page) if re.search(r"\\[!-/:-@\[-`{-~]|^\s|\s$|\n\n", one)]
    rows = re.findall(r"^\|.*$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    lost += [one for row in rows for one in re.findall(r"\$([^$]+)\$", row) if "|" in one]
    assert not lost, f"{name(page)}: write a ```math block, or the command by its name"
    for one in (*formulas(page), *(block.text for block in blocks(page) if block.language == "math")):
        bare = re.sub(r"\\[{}]", "", one)
        assert bare.count("{") == bare.count("}"), one
        assert one.count(r"\left") == one.count(r"\right") + one.count(r"\leftarrow"), one


def test_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading, with `code`\n[a](b.md#c) ![d](e.png) `[no](code)` [f](https://g) [h](#i)\n")
    assert links(page) == ["b.md#c", "e.png", "#i"]
    assert anchors(page) == {"a-heading-with-code"}


@pytest.mark.parametrize("script", ["write_command_line.py", "write_losses.py"])
def test_generated_pages_are_up_to_date(script: str) -> None:
    generator = runpy.run_path(str(ROOT / "docs" / script))
    assert generator["PAGE"].read_text(encoding="utf-8") == generator["render"](), "run `make docs` and commit the page"


def test_studies_on_pages_are_valid() -> None:
    """A YAML block that starts with ``name:`` is a complete study file."""
    from segmi.study.strict_yaml import parse
    from segmi.study.validation import validated

    studies = [
        (f"{name(page)}:{block.line}", block.text)
        for page in PAGES
        for block in blocks(page)
        if block.language == "yaml" and block.text.startswith("name:")
    ]
    assert studies
    for where, text in studies:
        assert validated(parse(text, where)).methods


def test_every_setting_of_a_study_is_on_its_page() -> None:
    """Names and defaults in the tables of the settings equal the signatures that receive the settings."""
    from segmi.datasets.processing import Processing
    from segmi.study.components import NOT_OF_EVALUATION
    from segmi.study.run_config import NOT_OF_TRAINING, TrainingSection
    from segmi.study.schema import Method, StudyFile
    from segmi.study.strict_yaml import parse_value
    from segmi.training import evaluate

    page = "".join((ROOT / "docs/guides" / one).read_text("utf-8") for one in ("study-file.md", "study-settings.md"))
    sections = {part.partition("\n")[0]: part for part in re.split(r"^##+ ", page, flags=re.MULTILINE)}
    for section, function, left_out in [
        ("processing", Processing, ()),
        ("training", TrainingSection, NOT_OF_TRAINING),
        ("evaluation", evaluate, NOT_OF_EVALUATION),
    ]:
        parameters = inspect.signature(function).parameters.values()
        expected = {one.name: one.default for one in parameters if one.name not in left_out}
        rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", sections[section], re.MULTILINE)
        found = {field: parse_value(default) for field, default in rows}
        assert found == {k: list(v) if isinstance(v, tuple) else v for k, v in expected.items()}, section
    for section, model in [("Its fields", StudyFile), ("methods", Method)]:
        assert set(re.findall(r"^\| `(\w+)` \|", sections[section], re.MULTILINE)) >= set(model.model_fields), section


def test_places_named_in_contributing_exist() -> None:
    """Files exist, and a name followed by a file is defined in it; the loss that the page adds does not exist yet."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("poly1_cross_entropy.py", "")
    files = set(re.findall(r"`([\w/]+\.py)`", page)) - {"__init__.py"}
    assert len(files) > 8
    places = {
        file: next((one for one in (ROOT / file, *ROOT.glob(f"src/segmi/**/{file}")) if one.is_file()), None)
        for file in files
    }
    assert not [file for file, place in places.items() if place is None]
    named = re.findall(r"`([A-Z]+)` in `([\w/]+\.py)`", page)
    assert len(named) >= 5
    for name, file in named:
        place = places[file]
        assert place is not None
        assert re.search(rf"^{name}\b", place.read_text(encoding="utf-8"), re.MULTILINE), f"{file} lacks {name}"


def test_every_test_named_in_reliability_exists() -> None:
    names = ("reliability.md", "untrusted-input.md", "reliability-cases.md")
    page = "\n".join((ROOT / "docs" / "guides" / name).read_text(encoding="utf-8") for name in names)
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page))
    assert len(named) > 60
    missing = [
        f"{file}::{test}"
        for file, test in sorted(named)
        if not (ROOT / file).is_file()
        or not re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert not missing
