"""Who started this process and how many beside it: ``torchrun``, also inside a job of SLURM; ``srun``; or nobody.

Lightning asks the same, but takes every process of a job for one of SLURM's tasks, those that train alone and the
script of the job included, and knows tasks only by node.
"""

from __future__ import annotations

import os
from typing import Final, Literal, NamedTuple, TypeAlias

from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from segmi.errors import UsageError

Starter: TypeAlias = Literal["torchrun", "srun", "hand"]

_PER_NODE: Final = "SLURM_NTASKS_PER_NODE"


class Started(NamedTuple):
    """By whom processes were started, and how many together, this one included."""

    by: Starter
    processes: int


def started() -> Started:
    """What the environment says of this process.

    The script of a job has the variables of the job, but is no task of a step: it was started alone.
    """
    if TorchElasticEnvironment.detect():
        return Started("torchrun", int(os.environ["WORLD_SIZE"]))
    if "SLURM_PROCID" in os.environ and {"SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS"} & os.environ.keys():
        return Started("srun", int(os.environ.get("SLURM_NTASKS", 1)))
    return Started("hand", int(os.environ.get("WORLD_SIZE", 1)) if "LOCAL_RANK" in os.environ else 1)


def cluster_environment(devices: int) -> ClusterEnvironment:
    """What tells Lightning which of the processes this one is.

    Args:
        devices: processes per node, as declared.

    Raises:
        UsageError: SLURM was asked for another number of tasks per node.
    """
    by = started().by
    if by == "torchrun":
        return TorchElasticEnvironment()
    if by == "hand":
        return LightningEnvironment()
    per_node = os.environ.setdefault(_PER_NODE, str(devices))  # not there where tasks were counted in all
    if per_node != str(devices):
        raise UsageError(
            f"SLURM starts {per_node} processes per node, devices is {devices}",
            f"set devices: {per_node}, or start it with srun --ntasks-per-node {devices}",
        )
    return SLURMEnvironment()
