"""Runs every benchmark, one after the other, and writes what they print to benchmarks/RESULTS.md: `make bench`.

Nothing else should run meanwhile. A benchmark that fails leaves the file as it was.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from segmi.records.atomic import atomic_write

HERE: Final = Path(__file__).resolve().parent
BENCHMARKS: Final = ("objectives", "training", "data", "evaluation", "engines")

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


def main() -> None:
    """Run all of them; ``--quick`` is theirs."""
    parts = [f"#{printed(name, sys.argv[1:])}\n" for name in BENCHMARKS]  # their titles become those of chapters
    atomic_write(HERE / "RESULTS.md", "\n".join([HEAD, *parts]))


if __name__ == "__main__":
    main()
