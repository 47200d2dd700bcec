"""Common parts of the benchmarks: machine, memory of the process, dataset and options."""

from __future__ import annotations

import argparse
import os
import platform
import re
from pathlib import Path

import torch

from segmi.datasets import DatasetReader, open_dataset
from segmi.study.environment import cpu_name

HERE = Path(__file__).resolve().parent

# Compiled kernels are measured, not the routine that is used until they are compiled.
os.environ.setdefault("SEGMI_KERNELS", "wait")


def machine(device: str = "cpu") -> str:
    """Return the name of the processor and the number of CPU threads."""
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
    else:
        capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        has_bf16 = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        name = (cpu_name() or platform.machine()) + (" with bf16" if has_bf16 else "")
    return f"{name}, {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"


def data_folder() -> Path:
    """Return the folder that may contain CamVid/: ``SEGMI_DATA``, or ``shared/data`` beside the repository."""
    return Path(os.environ.get("SEGMI_DATA") or HERE.parents[1] / "shared" / "data")


def status(field: str) -> int:
    """Return a field of ``/proc/self/status`` in bytes, 0 where the system has no such file."""
    path = Path("/proc/self/status")
    match = re.search(rf"^{field}:\s+(\d+) kB", path.read_text(), re.MULTILINE) if path.exists() else None
    return 1024 * int(match[1]) if match else 0


def camvid_or_scenes(given: argparse.Namespace, side: int) -> tuple[DatasetReader, str]:
    """Return CamVid and its title, or generated scenes where it is not installed."""
    root = Path(given.data)
    if (root / "CamVid" / "trainannot").is_dir() and not given.quick:
        return open_dataset("camvid", root), "CamVid"
    return open_dataset("street-scenes", train=24, val=1, height=side + 8, width=side + 8), "street scenes"


def training_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the common options of the benchmarks that train."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--quick", action="store_true", help="a smoke test: tiny sizes and few rounds")
    result.add_argument("--threads", type=int, help="threads of PyTorch on the CPU")
    result.add_argument("--device", default="cpu", help="cpu or cuda")
    result.add_argument(
        "--data",
        default=data_folder(),
        help="folder that contains CamVid/; without it, scenes are generated (%(default)s)",
    )
    return result
