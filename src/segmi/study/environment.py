"""Environment of a run: versions, machine, threads and code. No user names, host names or environment variables."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import segmi

PACKAGES: Final = (
    "torch", "torchvision", "lightning", "segmentation-models-pytorch", "timm", "numpy", "pillow", "pydantic",
    "safetensors",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Return the environment of this process as plain data, for ``environment.json``."""
    import torch

    from segmi.datasets.workers import processors

    return {
        "schema_version": 1,
        "segmi": segmi.__version__,
        "commit": code_version(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": cpu_name(),
        "cores": processors(),
        "memory_gb": memory_gb(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "mps": torch.backends.mps.is_available(),
    }


@cache
def code_version() -> str | None:
    """Return the commit of segmi's checkout, with ``+changes`` if files differ from it; None outside a checkout."""
    folder = Path(segmi.__file__).resolve().parent
    if not (folder.parent.parent / ".git").exists():
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    return commit + ("+changes" if _git(folder, "status", "--porcelain", "--", ".") else "") if commit else None


@cache
def cpu_name() -> str:
    """Return the model of the processor."""
    with suppress(OSError):  # other systems than Linux have no such file
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def memory_gb() -> float:
    """Return the memory of the machine in GiB."""
    import psutil

    return round(psutil.virtual_memory().total / 2**30, 1)


def _version(package: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True, timeout=10).strip()
    return None
