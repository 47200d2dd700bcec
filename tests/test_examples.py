"""Every example runs unchanged, in a separate process and folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
LAST_LINES = {
    "bare_loop.py": "step 5/5: loss",
    "fabric_loop.py": "epoch 2/2: lower bound",
    "information.py": "noise 0.5: ",
    "lightning_module.py": "after 5 steps: train/binary_cross_entropy",
    "own_loss.py": "after 8 steps",
}


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(LAST_LINES)


@pytest.mark.parametrize("name", sorted(LAST_LINES))
def test_runs(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert LAST_LINES[name] in done.stdout.splitlines()[-1]
    assert not list(tmp_path.iterdir())
