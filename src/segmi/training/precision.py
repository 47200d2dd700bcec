"""Which device and which number format a run uses, predict_labels once and stored with it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

from segmi.errors import EnvironmentProblem, UsageError

Precision: TypeAlias = Literal["auto", "fp32", "bf16", "fp16"]

FABRIC_PRECISION: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


def resolve_device(name: str = "auto") -> torch.device:
    """``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps`` as a device that is there.

    Raises:
        UsageError: if the name is no device.
        EnvironmentProblem: if the machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"unknown device {name!r}", "use one of: auto, cpu, cuda, cuda:N, mps") from error
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        raise EnvironmentProblem(f"this machine has no {device.type} device", "use device: auto, or device: cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EnvironmentProblem(
            f"{name} was asked for, this machine has {torch.cuda.device_count()} CUDA device(s)", "use device: auto"
        )
    return device


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse what no run can compute in.

    Raises:
        UsageError: for an unknown precision, or for fp16 on a CPU.
    """
    if precision not in ("auto", *FABRIC_PRECISION):
        raise UsageError(f"unknown precision {precision!r}", "use one of: auto, fp32, bf16, fp16")
    if precision == "fp16" and device.type == "cpu":
        raise UsageError("precision fp16 needs a GPU, this run is on the CPU", "use auto, bf16 or fp32")
