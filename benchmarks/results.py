"""Run all benchmarks and write their output to benchmarks/RESULTS.md: `make bench`.

Run nothing else meanwhile. If a benchmark fails, RESULTS.md is unchanged. ``--only NAME`` runs one benchmark and
replaces its chapter; further options are passed to it. ``first_hour`` takes seven hours and runs only this way.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from segmi.records.atomic import atomic_write

HERE: Final = Path(__file__).resolve().parent
BENCHMARKS: Final = (
    "losses", "training", "precision", "processes", "data", "evaluation", "engines", "estimators",
    "catalog_training", "whole_study",
)  # fmt: skip

HEAD: Final = """# Benchmarks

Written by `make bench`. Each ratio compares candidates that take turns in one process on one machine; the head of each
chapter describes them. Times depend on the machine, ratios less so.
"""


def run_benchmark(name: str, options: list[str]) -> str:
    """Run a benchmark, show its output while it runs, and return it."""
    lines = []
    command = [sys.executable, HERE / f"{name}.py", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line)
    if process.returncode:
        raise SystemExit(f"benchmarks/{name}.py ended with exit code {process.returncode}; RESULTS.md is unchanged")
    return "".join(lines).strip()


def chapter(name: str, options: list[str]) -> str:
    """Run a benchmark and return its output as a chapter, after a mark with its name."""
    # The title of a benchmark becomes the title of a chapter: one level deeper.
    return f"<!-- {name} -->\n\n{re.sub(r'(?m)^#', '##', run_benchmark(name, options))}\n"


def with_chapter(text: str, name: str, new: str) -> str:
    """Return the file with one chapter replaced, or appended if it is new."""
    parts = re.split(r"(?m)^(?=<!-- [a-z_]+ -->$)", text)
    positions = [number for number, part in enumerate(parts) if part.startswith(f"<!-- {name} -->\n")]
    position = positions[0] if positions else len(parts)
    parts[position : position + 1] = [new]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def main() -> None:
    path, options = HERE / "RESULTS.md", sys.argv[1:]
    if options[:1] == ["--only"]:
        name, *options = options[1:]
        atomic_write(path, with_chapter(path.read_text(), name, chapter(name, options)))
        return
    text = path.read_text()
    for name in BENCHMARKS:
        text = with_chapter(text, name, chapter(name, options))
    atomic_write(path, HEAD + "\n" + text[text.index("<!--") :])


if __name__ == "__main__":
    main()
