"""Where a benchmark runs: on which machine, beside which data."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent


def machine(device: str = "cpu") -> str:
    """What computes, and with how many threads of the CPU."""
    cpu = re.search(r"model name\s*:\s*(.*)", info.read_text()) if (info := Path("/proc/cpuinfo")).exists() else None
    on = torch.cuda.get_device_name(device) if device.startswith("cuda") else (cpu[1] if cpu else platform.machine())
    known = getattr(torch.cpu, "get_capabilities", dict)() if device == "cpu" else {}
    half = "" if device != "cpu" else " with bf16" if known.get("avx512_bf16") or known.get("amx_bf16") else ""
    return f"{on}{half}, {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"


def data_folder() -> Path:
    """The folder that may hold CamVid/: ``SEGMI_DATA``, or ``shared/data`` beside the repository."""
    return Path(os.environ.get("SEGMI_DATA") or HERE.parents[1] / "shared" / "data")


def status(field: str) -> int:
    """A field of this process's memory in bytes; 0 where the system does not tell."""
    path = Path("/proc/self/status")
    found = re.search(rf"^{field}:\s+(\d+) kB", path.read_text(), re.MULTILINE) if path.exists() else None
    return 1024 * int(found[1]) if found else 0
