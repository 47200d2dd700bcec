"""Runs every benchmark, one after the other, and writes what they print to benchmarks/RESULTS.md: `make bench`.

Nothing else should run meanwhile. A benchmark that fails leaves the file as it was. ``--only NAME`` runs one of them
and puts its chapter in the place of the one that is there; further options are the benchmark's.
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
    "catalog_training",
)  # fmt: skip

HEAD: Final = """# What segmi costs, beside its plain counterparts

Written by `make bench`. Every ratio is of two things that took turns in one process on one machine; what they are
stands in the head of each benchmark. Times depend on the machine, ratios less so, and neither is a promise.
"""


def printed(name: str, options: list[str]) -> str:
    """What a benchmark prints, shown while it runs."""
    lines = []
    with subprocess.Popen(
        [sys.executable, HERE / f"{name}.py", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line)
    if process.returncode:
        raise SystemExit(f"benchmarks/{name}.py ended with exit code {process.returncode}; RESULTS.md stays as it was")
    return "".join(lines).strip()


def chapter(name: str, options: list[str]) -> str:
    """What a benchmark prints as a chapter of the file, after a mark by which it is found again."""
    deeper = re.sub(r"(?m)^#", "##", printed(name, options))  # its title becomes that of a chapter
    return f"<!-- {name} -->\n\n{deeper}\n"


def with_chapter(text: str, name: str, made: str) -> str:
    """The file with one chapter in the place of its predecessor, or at the end if it has none."""
    parts = re.split(r"(?m)^(?=<!-- [a-z_]+ -->$)", text)
    mark = f"<!-- {name} -->\n"
    places = [number for number, part in enumerate(parts) if part.startswith(mark)]
    place = places[0] if places else len(parts)
    parts[place : place + 1] = [made]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def main() -> None:
    """Run all of them, or one; ``--quick`` is theirs."""
    path, options = HERE / "RESULTS.md", sys.argv[1:]
    if options[:1] == ["--only"]:
        name, *options = options[1:]
        atomic_write(path, with_chapter(path.read_text(), name, chapter(name, options)))
        return
    atomic_write(path, "\n".join([HEAD, *(chapter(name, options) for name in BENCHMARKS)]))


if __name__ == "__main__":
    main()
