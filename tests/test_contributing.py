"""The walk "Add a loss" of CONTRIBUTING.md, carried out block by block in a copy of the repository."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("src", "tests/losses", "tests/conftest.py", "docs/losses", "docs/write_losses.py", "pyproject.toml")
BLOCK = re.compile(r"^(.*?)^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def walk() -> list[tuple[str, str, str]]:
    """Return the blocks of the section: prose before the block, language, text."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = page.partition("\n## Add a loss\n")[2].partition("\n## ")[0]
    return [(match[1], match[2], match[3]) for match in BLOCK.finditer(section)]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in COPIED:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return tmp_path


@pytest.mark.timeout(900)  # five processes; half a minute without load
def test_the_walk_ends_in_a_green_test(copy: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(copy / "src")}
    outputs: list[str] = []
    languages: list[str] = []
    for prose, language, text in walk():
        languages.append(language)
        if language == "python":
            (file,) = re.findall(r"Write `([\w/]+\.py)`", prose)
            assert not (copy / file).exists()
            (copy / file).write_text(text, encoding="utf-8")
        elif language == "diff":
            done = subprocess.run(
                ["git", "apply", "-"], cwd=copy, input=text, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{text}\n{done.stderr}"
        else:
            for command in text.replace("\\\n", " ").splitlines():
                python, *arguments = shlex.split(command)
                assert python == "python"
                done = subprocess.run(
                    [sys.executable, *arguments], cwd=copy, env=env, capture_output=True, text=True, check=False
                )
                outputs.append(done.stdout + done.stderr)
                assert done.returncode == 0, f"{command}\n{outputs[-1]}"
    assert languages == ["python", "diff", "diff", "python", "sh"]
    tests, page, losses = outputs
    assert int(re.findall(r"(\d+) passed", tests)[0]) >= 30, "the contract, the value, its options and the example"
    assert "docs/losses" in page
    assert "| `poly1_cross_entropy` | [pixel](pixel.md) | cross-entropy plus a multiple" in "".join(
        file.read_text(encoding="utf-8") for file in (copy / "docs" / "losses").glob("*.md")
    )
    assert re.search(r"^poly1_cross_entropy +pixel .*epsilon=1.0", losses, re.MULTILINE)


def test_the_walk_and_the_code_agree_on_style(tmp_path: Path) -> None:
    """The files of the page pass the checks of `make check`."""
    ruff = shutil.which("ruff", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if ruff is None:
        pytest.skip("ruff is not installed")
    for prose, language, text in walk():
        if language == "python":
            (file,) = re.findall(r"Write `([\w/]+\.py)`", prose)
            for arguments in (["check"], ["format", "--check"]):
                done = subprocess.run(
                    [ruff, *arguments, "--stdin-filename", file, "-"],
                    cwd=ROOT, input=text, capture_output=True, text=True, check=False,
                )  # fmt: skip
                assert done.returncode == 0, done.stdout + done.stderr
