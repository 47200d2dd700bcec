"""The device of `gpu.py`, and environment variables that other imports read; import it before them."""

import os
from collections.abc import Callable
from typing import Final, TypeVar
from unittest.mock import patch

import torch

Result = TypeVar("Result")
GPU: Final = torch.cuda.is_available()
DEVICE: Final = "cuda" if GPU else "cpu"
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # for deterministic algorithms
if not GPU:
    os.environ["TRITON_INTERPRET"] = "1"


def with_sums(kind: str, step: Callable[[], Result]) -> Callable[[], Result]:
    """Return the step with this kind of sums in the Triton kernels; without this, the device determines it."""

    def run() -> Result:
        with patch.dict(os.environ, SEGMI_SUMS=kind):
            return step()

    return run
