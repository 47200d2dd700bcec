"""Devices, and the launcher that has started this process: ``torchrun``, ``srun`` or none.

Lightning detects the environment too, but treats every process of a SLURM job as a task of a distributed run, including
runs in a single process and the script of the job, and counts tasks per node only.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import Final, Literal, NamedTuple

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.plugins import environments
from lightning.fabric.strategies import DDPStrategy

from segmi.errors import UsageError
from segmi.training.config import Strategy

FABRIC_PRECISION: Final[dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]]] = {
    "fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed",
}  # fmt: skip

TIMEOUT_SECONDS: Final = 600
"""Time that a process waits for another one that runs but does not respond. An exit is detected at once."""


class Launcher(NamedTuple):
    """What started this process, and how many processes it started together."""

    name: Literal["torchrun", "srun", "none"]
    processes: int


def detect_launcher() -> Launcher:
    """Return the launcher according to the environment variables."""
    if environments.TorchElasticEnvironment.detect():
        return Launcher("torchrun", int(os.environ["WORLD_SIZE"]))
    # The script of a SLURM job has the variables of the job, but is not a task of a step: it counts as started alone.
    if "SLURM_PROCID" in os.environ and {"SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS"} & os.environ.keys():
        return Launcher("srun", int(os.environ.get("SLURM_NTASKS", 1)))
    return Launcher("none", int(os.environ.get("WORLD_SIZE", 1)) if "LOCAL_RANK" in os.environ else 1)


def is_first_process() -> bool:
    """Return whether this process is the first of those that a launcher started together."""
    variable = {"torchrun": "RANK", "srun": "SLURM_PROCID"}.get(detect_launcher().name)
    return variable is None or os.environ.get(variable, "0") == "0"


def cluster_environment(devices: int) -> environments.ClusterEnvironment:
    """Return the plugin that provides rank and world size to Lightning, for ``devices`` processes per node.

    Raises:
        UsageError: if SLURM started another number of tasks per node.
    """
    name = detect_launcher().name
    if name == "torchrun":
        return environments.TorchElasticEnvironment()
    if name == "none":
        return environments.LightningEnvironment()
    per_node = os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(devices))  # missing with srun --ntasks
    if per_node != str(devices):
        problem = f"SLURM starts {per_node} processes per node, but devices is {devices}"
        raise UsageError(problem, f"set devices: {per_node}, or start it with srun --ntasks-per-node {devices}")
    return environments.SLURMEnvironment()


def launch_fabric(device: torch.device, devices: int, num_nodes: int, strategy: Strategy, precision: str) -> Fabric:
    """Return a Lightning Fabric with distributed data parallelism that is connected to the other processes."""
    find_unused = strategy == "ddp_find_unused_parameters_true"
    if sys.platform == "win32":
        os.environ.setdefault("USE_LIBUV", "0")  # PyTorch is built without libuv there
    ddp = DDPStrategy(
        timeout=timedelta(seconds=TIMEOUT_SECONDS), find_unused_parameters=find_unused,
        process_group_backend=None if dist.is_nccl_available() else "gloo",
    )  # fmt: skip
    fabric = Fabric(
        accelerator=device.type, devices=devices, num_nodes=num_nodes, strategy=ddp,
        precision=FABRIC_PRECISION[precision], plugins=cluster_environment(devices),
    )  # fmt: skip
    try:
        fabric.launch()
    except ValueError as error:  # the number of tasks per node differs from devices
        raise UsageError(str(error), "start as many processes per node as devices") from error
    return fabric
