"""Detection of torchrun, srun or neither."""

from __future__ import annotations

import os

import pytest
import torch

from segmi.errors import UsageError
from segmi.training.distributed import SINGLE_PROCESS, connect
from segmi.training.launchers import Launcher, cluster_environment, detect_launcher

JOB = {"SLURM_JOB_ID": "12345", "SLURM_JOB_NAME": "cells", "SLURM_NTASKS": "4", "SLURM_NNODES": "2",
       "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NODELIST": "node[3-4]"}  # fmt: skip
STEP = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}  # fmt: skip


@pytest.fixture
def set_environment(monkeypatch):
    """Set environment variables, and remove the variables of the cluster on which the tests run."""
    for name in [name for name in os.environ if name.startswith("SLURM_")] + [*TORCHRUN, "SLURM_NTASKS_PER_NODE"]:
        monkeypatch.setenv(name, "")  # so that changes are undone
        monkeypatch.delenv(name)
    return lambda variables: [monkeypatch.setenv(name, value) for name, value in variables.items()]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Launcher("none", 1)),
        ({"LOCAL_RANK": "0", "WORLD_SIZE": "3"}, Launcher("none", 3)),
        (JOB, Launcher("none", 1)),  # the script of the job, before any srun
        (JOB | STEP, Launcher("srun", 4)),
        (TORCHRUN, Launcher("torchrun", 2)),
        (JOB | TORCHRUN, Launcher("torchrun", 2)),
        (JOB | STEP | TORCHRUN, Launcher("torchrun", 2)),
    ],
)
def test_launcher_is_detected(set_environment, variables, expected):
    set_environment(variables)
    assert detect_launcher() == expected


@pytest.mark.parametrize("variables", [JOB, JOB | STEP, {**JOB, **STEP, "SLURM_JOB_NAME": "bash"}])
def test_single_run_in_a_job_is_not_distributed(set_environment, variables):
    """Tasks of a job may do separate runs, which Lightning would treat as one."""
    set_environment(variables)
    assert connect() is SINGLE_PROCESS
    fabric = SINGLE_PROCESS.fabric(torch.device("cpu"), "fp32")
    assert (fabric.world_size, fabric.global_rank) == (1, 0)


def test_job_script_is_not_a_task(set_environment):
    set_environment(JOB)
    with pytest.raises(UsageError, match=r"number of processes started is 1(.|\n)*srun --nodes 2 --ntasks-per-node 2"):
        connect("cpu", 2, 2)


def test_tasks_per_node_must_equal_devices(set_environment):
    set_environment(JOB | STEP)
    set_environment({"SLURM_NTASKS_PER_NODE": "4"})
    with pytest.raises(UsageError, match=r"SLURM starts 4 processes per node, but devices is 2\s.*devices: 4"):
        cluster_environment(2)


def test_total_number_of_tasks_is_accepted(set_environment):
    set_environment(JOB | STEP)
    environment = cluster_environment(2)
    environment.validate_settings(num_devices=2, num_nodes=2)
    assert (environment.world_size(), environment.main_address) == (4, "node3")
    with pytest.raises(ValueError, match="num_nodes"):
        environment.validate_settings(num_devices=2, num_nodes=1)
