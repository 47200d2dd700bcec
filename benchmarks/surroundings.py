"""Where a benchmark runs: on which machine, beside which data, in how much memory."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import torch

from segmi.study.environment import cpu_name

HERE = Path(__file__).resolve().parent


def machine(device: str = "cpu") -> str:
    """What computes, and with how many threads of the CPU."""
    if device.startswith("cuda"):
        on = torch.cuda.get_device_name(device)
    else:
        known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        half = any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        on = (cpu_name() or platform.machine()) + (" with bf16" if half else "")
    return f"{on}, {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"


def data_folder() -> Path:
    """The folder that may hold CamVid/: ``SEGMI_DATA``, or ``shared/data`` beside the repository."""
    return Path(os.environ.get("SEGMI_DATA") or HERE.parents[1] / "shared" / "data")


def status(field: str) -> int:
    """A field of this process's memory in bytes; 0 where the system does not tell."""
    path = Path("/proc/self/status")
    found = re.search(rf"^{field}:\s+(\d+) kB", path.read_text(), re.MULTILINE) if path.exists() else None
    return 1024 * int(found[1]) if found else 0
