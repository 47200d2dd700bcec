"""The Triton kernels, on a GPU if available, else in Triton's interpreter.

The interpreter is selected when Triton is imported, possibly by another test, so the cases run in a separate process.
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


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "kind", ["GeForce, logits", "GeForce, pooled maps", "data center, logits", "data center, maps"]
)
def test_kernels_compile_without_a_device(kind: str) -> None:
    command = [sys.executable, str(CASES.with_name("triton_compilation.py")), kind]
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.cuda
@pytest.mark.timeout(1200)
def test_kernels_agree_with_the_reference() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "0" if torch.cuda.is_available() else "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(CASES)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout
