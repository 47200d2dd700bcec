"""The device of `gpu.py`, and environment variables that other imports read; import it before them."""

import os
from typing import Final

import torch

GPU: Final = torch.cuda.is_available()
DEVICE: Final = "cuda" if GPU else "cpu"
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # for deterministic algorithms
if not GPU:
    os.environ["TRITON_INTERPRET"] = "1"
