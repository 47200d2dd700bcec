"""The whole program: help, exit codes, output streams, and imported modules."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import segmi
from segmi.cli import app, main

VERBS = [
    ["study"], ["study", "check"], ["study", "run"], ["study", "retry"], ["study", "status"], ["study", "show"],
    ["report"], ["train"], ["evaluate"], ["probe"], ["predict"], ["list"], ["list", "losses"], ["list", "models"],
    ["list", "datasets"], ["data"], ["data", "check"], ["data", "prepare"], ["data", "info"], ["data", "clear"],
    ["data", "preview"], ["doctor"],
]  # fmt: skip


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys; from segmi.cli import main; code = main(sys.argv[1:]); "
        "heavy = {'torch', 'lightning', 'numpy', 'yaml', 'PIL', 'pandas', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    for arguments in (["--help"], ["--version"], ["study", "run", "--help"], ["train", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_explains_itself(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Usage: segmi" in text
    if verb not in (["study"], ["list"], ["data"]):
        assert "Example: segmi" in text


def test_no_help_holds_what_would_be_taken_for_markup() -> None:
    """Words in brackets, as in the name of an extra, are missing from the displayed help."""

    def helps(command: Any) -> Iterator[str]:
        yield command.help or ""
        yield from (getattr(parameter, "help", None) or "" for parameter in command.params)
        for inner in getattr(command, "commands", {}).values():
            yield from helps(inner)

    texts = list(helps(typer.main.get_command(app)))
    assert len(texts) > 100
    assert not [text for text in texts if re.search(r"\[[a-z]", text)]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == segmi.__version__


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stduy"], "study"),
        (["study", "rnu"], "run"),
        (["study", "run"], "Missing argument"),
        (["list", "models", "--jsno"], "--json"),
        (["data", "check"], "Missing argument"),
    ],
)
def test_mistyped_commands_are_usage_errors(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("name", ["losses", "models", "datasets"])
def test_lists_are_json_for_scripts(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", name, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    names = [row["name"] for row in rows]
    expected = {"losses": "rmi_loss", "models": "unet", "datasets": "street-scenes"}[name]
    assert expected in names
    assert main(["list", name]) == 0
    assert all(known in capsys.readouterr().out for known in [expected])


def test_the_table_of_losses_lists_requirements_and_costs(capsys: pytest.CaptureFixture[str]) -> None:
    from segmi.losses import LOSSES
    from segmi.losses.build import measured_costs

    costs = measured_costs()
    assert main(["list", "losses", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == list(LOSSES)
    assert main(["list", "losses"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "family", "requires", "time", "memory", "about", "options"]
    cuts = [head.index(column) for column in ("family", "requires", "time", "memory", "about")]
    for (name, kind), line in zip(LOSSES.items(), lines, strict=True):
        family, requires, *cost = (line[a:b].strip() for a, b in itertools.pairwise(cuts))
        row = rows[name]
        assert (line.split()[0], family) == (name, kind.family) == (row["name"], row["family"])
        assert (row["requires"] or []) == list(kind.requires)
        assert requires == (", ".join(kind.requires) or "–")
        assert cost == [costs.get(name, {}).get(column, "–") for column in ("time", "memory")]
        assert row["about"]
        assert row["about"] in line


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], list[str]]:
    """Arguments of a command that raises the given error."""

    def arrange(error: BaseException) -> list[str]:
        def fail(*arguments: Any, **options: Any) -> None:
            raise error

        monkeypatch.setattr("segmi.report.write_report", fail)
        return ["report", "runs"]

    return arrange


def test_errors_have_exit_codes_and_one_message(
    failing: Callable[[BaseException], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    from segmi.errors import DataError, EnvironmentProblem, Interrupted, RunError, UsageError

    for error, code in [
        (UsageError("what", "how"), 2),
        (DataError("what", "how"), 3),
        (RunError("what", "how"), 4),
        (EnvironmentProblem("what", "how"), 5),
        (Interrupted("what", "how", signal_number=15), 143),
    ]:
        assert main(failing(error)) == code
        captured = capsys.readouterr()
        assert captured.err == "segmi: what\n  Fix: how\n"
        assert captured.out == ""


def test_an_unexpected_error_is_one_line_unless_debug(
    failing: Callable[[BaseException], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = failing(ZeroDivisionError("division\nby zero"))
    assert main(arguments) == 4
    err = capsys.readouterr().err
    assert err == ("segmi: unexpected ZeroDivisionError: division by zero; run again with --debug for the traceback\n")
    assert main([*arguments, "--debug"]) == 4  # also behind the verb
    assert "Traceback" in capsys.readouterr().err


def test_disk_errors_exit_with_the_code_of_the_environment(
    failing: Callable[[BaseException], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(failing(PermissionError(13, "Permission denied", "/locked"))) == 5
    assert "/locked" in capsys.readouterr().err


def test_ctrl_c_ends_with_130(failing: Callable[[BaseException], list[str]]) -> None:
    assert main(failing(KeyboardInterrupt())) == 130


def test_a_report_without_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
