"""Tests and measurements on a GPU, in at most 8 minutes, written to benchmarks/GPU.md: `make gpu`.

Stages run in order of importance until the time is over, and each writes its results at once. Times are CUDA events
around forward and backward, medians of 50 rounds in which all candidates take turns, after a warm-up; candidates that
take seconds get fewer rounds. Memory is the peak of PyTorch's allocator above the level before the call. A line that
misses its limit is marked, and a profile of the loss follows.

Without a GPU everything runs at a small size on the CPU, Triton in its interpreter, and GPU.md is not written.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).parent))
from gpu_device import DEVICE, GPU
from gpu_stages import evaluation_stage, loader_stage, loss_stage, mutual_stage, step_stage
from surroundings import machine

from segmi.records.atomic import atomic_write

HERE: Final = Path(__file__).resolve().parent
TEST_SECONDS: Final = 240
QUICK_TESTS: Final = "(computes_in and rmi_loss) or pixel_contrast-limited or bit_identical_on or scaler"
PARTS: Final = ["tests/losses", "tests/training/test_fit.py"]


def test_stage() -> Iterator[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "cuda", "--timeout", "120", *PARTS]
    command += ["-n", "4", "--dist", "worksteal"] if GPU else ["-k", QUICK_TESTS]
    with tempfile.TemporaryFile("w+") as output:
        try:
            subprocess.run(command, cwd=HERE.parent, stdout=output, stderr=output, timeout=TEST_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            yield f"The tests took more than {TEST_SECONDS} s and were ended.\n"
        output.seek(0)
        lines = output.read().splitlines()
    yield f"`{' '.join(command[2:])}`: {lines[-1] if lines else 'no output'}\n"
    failures = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    reasons = [line for line in lines if re.match(r"E   \S", line)]
    yield from (f"- **{line}**" for line in failures[:40])
    yield from (["\n```text", *reasons[:40], "```\n"] if failures else [])


class Stage(NamedTuple):
    title: str
    run: Callable[[], Iterator[str]]
    least: float  # seconds that must be left to start it
    most: float  # seconds after which no further line is awaited


STAGES: Final = {
    "losses": Stage("Loss, forward and backward", loss_stage, 30, 170),
    "tests": Stage("Tests", test_stage, 30, 300),
    "steps": Stage("Training steps", step_stage, 30, 90),
    "mutual": Stage("Mutual learning", mutual_stage, 20, 60),
    "evaluation": Stage("Evaluation", evaluation_stage, 10, 30),
    "loader": Stage("Loader", loader_stage, 10, 30),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=470, help="time for all stages (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=list(STAGES), default=list(STAGES), help="only these stages")
    parser.add_argument("--output", type=Path, help="file to write; default: benchmarks/GPU.md on a GPU, else none")
    given = parser.parse_args()
    begin = time.perf_counter()
    output = given.output or (HERE / "GPU.md" if GPU else None)
    if not GPU:
        built = torch.version.cuda
        print(
            f"no GPU: PyTorch {torch.__version__}", f"for CUDA {built} finds none" if built else "is built without CUDA"
        )
        print("everything runs at a small size on the CPU; benchmarks/GPU.md is not written\n")
    versions = f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}"
    with suppress(ImportError):
        import triton

        versions += f", Triton {triton.__version__}"
    lines = [
        f"# On a GPU\n\n{datetime.date.today()}, {machine(DEVICE)}, {versions}. Written by `make gpu`.\n",
        __doc__ or "",
    ]
    for name in given.only:
        stage, started = STAGES[name], time.perf_counter()
        end = min(begin + given.seconds, started + stage.most)
        lines.append(f"\n## {stage.title}\n")
        print(lines[-1], flush=True)
        try:
            for line in stage.run() if end - started >= stage.least else ("Not run: the time was over.",):
                lines.append(line)
                print(line, flush=True)
                if time.perf_counter() > end:
                    lines.append("\nIncomplete: the time was over.")
                    break
        except Exception as error:  # the results of the other stages are worth keeping
            lines.append(f"\nFailed: {type(error).__name__}: {error}")
        print(f"({time.perf_counter() - started:.0f} s)", flush=True)
        if output:
            atomic_write(output, "\n".join(lines) + "\n")
    failed = [line for line in lines if line.startswith("\nFailed") or line.startswith("- **")]
    print(*failed, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
