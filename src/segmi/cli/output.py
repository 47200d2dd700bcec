"""Output of the commands: results on stdout, everything else on stderr."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmi._extras import extra_of, missing_package
from segmi.errors import SegmiError


@dataclass
class Settings:
    """Global options."""

    debug: bool = False
    quiet: bool = False


settings = Settings()


def say(text: str) -> None:
    """Print a message on stderr, unless ``--quiet``."""
    if settings.quiet:
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:  # the reader is gone or its disk is full; the command itself can continue
        settings.quiet = True


def put(text: str) -> None:
    """Print a result on stdout."""
    print(text, flush=True)  # so that a reader of a pipe sees every line at once


def put_json(value: Any) -> None:
    """Print a result on stdout as JSON; NaN becomes null."""
    from segmi.records.serialization import plain

    put(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def put_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Print rows as aligned plain text; the columns default to the keys of the first row."""
    columns = list(next(iter(rows), {})) if columns is None else columns
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(row[i]) for row in cells), 0) for i, column in enumerate(columns)]
    for row in [list(columns), *cells]:
        put("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else " ".join(str(value).split())


def calm_libraries() -> None:
    """Silence informational messages of libraries; warnings of segmi's own logger are still shown."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for name in (
        "lightning", "lightning.fabric", "lightning.pytorch", "lightning_fabric", "timm", "PIL",
        # Lightning resets its own level on import, but not the levels of these modules
        "lightning.fabric.utilities.distributed", "lightning.fabric.utilities.rank_zero",
        "lightning.pytorch.utilities.rank_zero",
    ):  # fmt: skip
        logging.getLogger(name).setLevel(logging.ERROR)
    if not settings.debug:
        warnings.filterwarnings("ignore", module=r"(torch|torchvision|lightning|timm|segmentation_models_pytorch)\b.*")
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit")  # Pillow; segmi refuses these


def accept_all_characters() -> None:
    """Escape characters that the encoding of the output lacks, such as ≥ in code page 1252, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def explain_error(error: Exception) -> int:
    """Print an error as one message and return its exit code."""
    if settings.debug:
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, BrokenPipeError):  # the reader, such as `head`, closed the pipe
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        return 0
    if isinstance(error, SegmiError):
        print(f"segmi: {error}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, OSError):
        from segmi.records import environment_problem

        problem = environment_problem(error, Path(error.filename or "."))
        if problem is not None:
            print(f"segmi: {problem}", file=sys.stderr)
            return problem.exit_code
    if extra_of(error):  # an optional package is missing
        print(f"segmi: {missing_package(error)}", file=sys.stderr)
        return 5
    text = " ".join(str(error).split()) or "no message"
    hint = "" if settings.debug else "; run again with --debug for the traceback"
    print(f"segmi: unexpected {type(error).__name__}: {text}{hint}", file=sys.stderr)
    return 4
