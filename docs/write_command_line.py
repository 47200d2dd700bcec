"""Writes docs/command-line.md from the help texts of the program: `make docs`.

The texts are taken from the command objects, not from a terminal's rendering of them, so the page does not depend on
the width of anything. Nothing heavy is imported: the command line is lazy.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from segmi.cli import app

PAGE = Path(__file__).with_name("command-line.md")
PANELS = ("Studies", "Networks", "What there is")
INTRODUCTION = """\
# The command line

*Written by `make docs` from the program's own help texts, which `--help` behind any verb shows as well.*

Progress and news go to stderr, results to stdout. `--debug`, `--quiet` and `-q` may stand before or behind the verb.
`segmi --install-completion` teaches the shell to complete verbs and options."""


def render() -> str:
    """The page as text."""
    program: Any = typer.main.get_command(app)
    sections = [section for path, command in _verbs(program, ("segmi",)) for section in _sections(path, command)]
    return "\n\n".join([INTRODUCTION, *sections]) + "\n"


def _verbs(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in sorted(getattr(command, "commands", {}).items(), key=_panel):
        yield from _verbs(inner, (*path, name))


def _panel(item: tuple[str, Any]) -> int:
    """Verbs stand in the order of the program's help; within a panel groups come first."""
    _, command = item
    panel = getattr(command, "rich_help_panel", None)
    return 2 * (PANELS.index(panel) if panel in PANELS else 0) + (not getattr(command, "commands", None))


def _sections(path: tuple[str, ...], command: Any) -> list[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and "completion" not in one.name]
    verbs = getattr(command, "commands", {})
    usage = [*path, *["[OPTIONS]"] * bool(options), *map(_in_usage, arguments), *["VERB"] * bool(verbs)]
    sections = [f"## {' '.join(path)}", f"```sh\n{' '.join(usage)}\n```", *_paragraphs(command.help)]
    if arguments:
        rows = [(f"`{_placeholder(one)}`", one.help) for one in arguments]
        sections.append(_table(("argument", "meaning"), rows))
    if options:
        rows = [(_names(one), one.help + _default(one)) for one in options]
        sections.append(_table(("option", "meaning"), rows))
    return [*sections, *_paragraphs(command.epilog)]


def _paragraphs(text: str | None) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in (text or "").split("\n\n") if paragraph.strip()]


def _placeholder(parameter: Any) -> str:
    """The name of a value, without the brackets and dots by which usage lines say how often it comes."""
    metavar = (parameter.metavar or parameter.name.upper().replace("_", "-")).removesuffix("...")
    return metavar[1:-1] if metavar.startswith("[") and metavar.endswith("]") else metavar


def _in_usage(argument: Any) -> str:
    name = _placeholder(argument)
    return (name if argument.required else f"[{name}]") + ("..." if argument.nargs != 1 else "")


def _names(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    return names if option.is_flag else f"{names} `{_placeholder(option)}`"


def _default(option: Any) -> str:
    again = " May be repeated." if option.multiple and "repeated" not in option.help else ""
    wanted = not option.is_flag and option.default is not None and not callable(option.default)
    return again + (f" Default: `{option.default}`." if wanted else "")


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {first} | {second} |" for first, second in [head, ("---", "---"), *cells])


def main() -> int:
    """Write the page."""
    PAGE.write_text(render(), encoding="utf-8")
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
