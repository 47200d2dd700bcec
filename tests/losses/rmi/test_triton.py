"""The Triton kernels, on a GPU where there is one, else under Triton's interpreter.

The interpreter is chosen when Triton is imported, which another test may have done: so the cases run in a process of
their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="the CUDA kernels need triton, which comes with PyTorch on Linux")

CASES = Path(__file__).with_name("triton_cases.py")


@pytest.mark.timeout(1200)
def test_the_kernels_agree_with_the_plain_version() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "0" if torch.cuda.is_available() else "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(CASES)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert " passed" in found.stdout
