"""``segmi doctor``: versions, devices, kernels and caches of this installation."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from segmi.cli.options import AsJson
from segmi.cli.output import calm_libraries, put_json, put_table

_PACKAGES: Final = (
    "torch", "torchvision", "numpy", "numba", "triton", "lightning", "timm", "segmentation-models-pytorch", "ray",
    "onnxruntime",
)  # fmt: skip


def doctor(as_json: AsJson = False) -> None:
    """Show versions, devices, compiled kernels and caches, to diagnose an installation.

    Example: `segmi doctor --json`
    """
    calm_libraries()
    rows = [*_versions(), *_devices(), *_kernels(), *_caches()]
    if as_json:
        groups = dict.fromkeys(row["group"] for row in rows)
        put_json({group: {row["name"]: row["state"] for row in rows if row["group"] == group} for group in groups})
    else:
        put_table(rows)


def _row(group: str, name: str, state: object) -> dict[str, str]:
    return {"group": group, "name": name, "state": str(state)}


def _versions() -> Iterator[dict[str, str]]:
    import segmi

    yield _row("version", "segmi", segmi.__version__)
    yield _row("version", "python", platform.python_version())
    for package in _PACKAGES:
        try:
            yield _row("version", package, version(package))
        except PackageNotFoundError:
            yield _row("version", package, "not installed")


def _devices() -> Iterator[dict[str, str]]:
    import torch

    from segmi.training.precision_probe import candidates

    cpu = torch.device("cpu")
    bf16 = "with" if any(name.startswith("bf16") for name in candidates(cpu)) else "without"
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {bf16} bf16 instructions"
    yield _row("device", "cpu", f"{torch.backends.cpu.get_cpu_capability()}, {cores}")
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        yield _row("device", f"cuda:{index}", f"{device.name}, {_gigabytes(device.total_memory)} memory")
    if torch.backends.mps.is_available():
        yield _row("device", "mps", "available")


def _kernels() -> Iterator[dict[str, str]]:
    import torch

    from segmi.losses import region_kernel
    from segmi.losses.compiled import kernel_cache, kernel_check
    from segmi.losses.rmi.operators import sums_description

    yield _row("kernel", kernel_cache.VARIABLE, kernel_cache.kernel_mode())
    missing = "compiled on first use" if kernel_cache.cache_folder() else "not used: no writable cache folder"
    for name, compiled in kernel_cache.kernel_states().items():
        yield _row("kernel", f"{name} (Numba)", "compiled" if compiled else missing)
    for index in range(torch.cuda.device_count()):  # checks the Triton kernel
        logits = torch.zeros(1, 2, 8, 8, device=f"cuda:{index}")
        yield _row("kernel", f"used on cuda:{index}", region_kernel(logits))
        yield _row("kernel", f"sums on cuda:{index}", sums_description(logits.device))
    for check in kernel_check.checked_kernels():
        reason = check["reason"]
        yield _row(
            "kernel",
            f"{check['kernel']} on {check['device']}",
            f"refused: {reason}" if reason else "agrees with PyTorch",
        )
    if not torch.cuda.is_available():
        yield _row("kernel", "triton", "not used: no CUDA device")


def _caches() -> Iterator[dict[str, str]]:
    from segmi.datasets.cache import cache_folder as image_folder
    from segmi.losses.compiled.kernel_cache import cache_folder as kernel_folder

    for name, folder in {"kernels": kernel_folder(), "images": image_folder()}.items():
        yield _row("cache", name, _space(folder) if folder else "none")


def _space(folder: Path) -> str:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return f"{folder} ({_gigabytes(shutil.disk_usage(existing).free)} free)"


def _gigabytes(size: float) -> str:
    return f"{size / 2**30:.1f} GB"
