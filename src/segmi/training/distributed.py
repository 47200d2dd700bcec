"""Data-parallel training: the group of processes, its communication, and the detection of crashed processes.

All processes run the same command and are started from outside, see `segmi.training.launchers`. Only process 0 writes
files. Gradients are summed by the backend of the device (NCCL or gloo). Small values that control the run are exchanged
over gloo, so that no process has to wait for its GPU to read them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Any, Final, get_args

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import LightningEnvironment
from torch import Tensor

from segmi.datasets.loader import Shard
from segmi.errors import RunError, UsageError, unknown_name
from segmi.models.network import resolve_device
from segmi.training.config import Strategy
from segmi.training.launchers import FABRIC_PRECISION, TIMEOUT_SECONDS, detect_launcher, launch_fabric

_ROLL_CALL_SECONDS: Final = 5.0
"""Time to answer before a process counts as crashed."""


class CrashedProcess(RunError):
    """Another process of the run failed, exited or does not respond."""


class ProcessGroup:
    """The processes that train together, seen from one of them.

    Args:
        rank: number of this process.
        world_size: number of processes.
        device: device of this process. None: chosen by the run.
        devices, num_nodes, strategy: see `segmi.training.RuntimeConfig`.
    """

    def __init__(
        self, rank: int = 0, world_size: int = 1, device: torch.device | None = None, *,
        devices: int = 1, num_nodes: int = 1, strategy: Strategy = "auto",
    ) -> None:  # fmt: skip
        self.rank, self.world_size, self.device = rank, world_size, device
        self.devices, self.num_nodes, self.strategy = devices, num_nodes, strategy
        self._task_count = 0
        if world_size > 1:
            self._control: Any = dist.new_group(backend="gloo", timeout=timedelta(seconds=TIMEOUT_SECONDS))
            self._store = self._create_store()

    @property
    def is_main(self) -> bool:
        """Whether this is process 0, which writes the files."""
        return self.rank == 0

    @property
    def shard(self) -> Shard:
        """Part of each batch that this process computes."""
        return Shard(self.rank, self.world_size)

    def fabric(self, device: torch.device, precision: str) -> Fabric:
        """Return a launched Lightning Fabric for these processes."""
        if self.world_size == 1:
            devices = [device.index or 0] if device.type == "cuda" else 1
            # The environment ignores the variables of SLURM and torchrun.
            return Fabric(
                accelerator=device.type, devices=devices, precision=FABRIC_PRECISION[precision],
                plugins=LightningEnvironment(),
            )  # fmt: skip
        return launch_fabric(device, self.devices, self.num_nodes, self.strategy, precision)

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum over all processes, in place, without synchronizing the GPU."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Overwrite with the tensor of process 0, without synchronizing the GPU."""
        if self.world_size > 1:
            dist.broadcast(tensor, src=0)
        return tensor

    def max(self, number: int) -> int:
        """Return the maximum over all processes."""
        if self.world_size == 1:
            return number
        numbers = torch.tensor(number)  # on the CPU, for gloo
        dist.all_reduce(numbers, op=dist.ReduceOp.MAX, group=self._control)
        return int(numbers)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, ordered by rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value, group=self._control)
        return values

    def broadcast_object(self, value: Any) -> Any:
        """Return the value of process 0."""
        if self.world_size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self._control)
        return values[0]

    def send_task(self, task: Any) -> None:
        """Send a task as plain data from process 0 to the others, which may have waited for any time."""
        if self.world_size > 1:
            self._store.set(f"task/{self._task_count}", json.dumps(task))
            self._task_count += 1

    def receive_task(self) -> Any:
        """Wait for the next task of process 0.

        Raises:
            CrashedProcess: if process 0 exits.
        """
        name = f"task/{self._task_count}"
        # Polling, because a blocking wait has a timeout, and the next task may be hours away.
        try:
            while not self._store.check([name]):
                time.sleep(0.05)
            self._task_count += 1
            return json.loads(self._store.get(name))
        except dist.DistError as error:
            raise self._crash() from error

    @contextmanager
    def report_errors(self) -> Iterator[None]:
        """Report an error inside the context to the other processes, and replace the error of a lost connection.

        Raises:
            CrashedProcess: if another process failed, exited, or did not respond within `TIMEOUT_SECONDS`.
        """
        try:
            yield
        except Exception as error:
            if self.world_size > 1 and _is_communication_error(error):
                raise self._crash() from error
            if self.world_size > 1 and not isinstance(error, CrashedProcess):
                summary = f"{type(error).__name__}: {error}".splitlines()[0]
                with suppress(dist.DistError):
                    self._store.set(f"{self._task_count}/failed/{self.rank}", summary)
            raise

    def _crash(self) -> CrashedProcess:
        """Return the error that names the processes that do not answer in time."""
        # Each process that notices the error announces itself; those that do not within the time have crashed.
        others = [rank for rank in range(self.world_size) if rank != self.rank]
        answers: dict[int, str] = {}
        try:
            self._store.set(f"{self._task_count}/here/{self.rank}", "")
            deadline = time.monotonic() + _ROLL_CALL_SECONDS
            while time.monotonic() < deadline:
                answers = {rank: self._answer(rank) for rank in others}
                if all(answers.values()):
                    break
                time.sleep(0.1)
        except dist.DistError:  # the store is in process 0
            answers = {0: ""}
        crashed = [
            f"process {rank} of {self.world_size} " + (f"failed: {answer}" if answer else "has exited")
            for rank, answer in answers.items()
            if answer != "here"
        ]
        return CrashedProcess(
            "; ".join(crashed) or f"the connection of the {self.world_size} processes broke, but all of them respond",
            "read the output of that process, then run the same command again to continue from the checkpoint",
        )

    def _answer(self, rank: int) -> str:
        failed, here = (f"{self._task_count}/{kind}/{rank}" for kind in ("failed", "here"))
        if self._store.check([failed]):
            return self._store.get(failed).decode()
        return "here" if self._store.check([here]) else ""

    def _create_store(self) -> dist.Store:
        """Return a key-value store in process 0, which still works if the collectives of the group fail."""
        host, libuv = os.environ["MASTER_ADDR"], os.environ.get("USE_LIBUV") != "0"
        store = (
            dist.TCPStore(host, 0, is_master=True, wait_for_workers=False, use_libuv=libuv) if self.is_main else None
        )
        port = self.broadcast_object(store.port if store else 0)
        return store or dist.TCPStore(host, port, is_master=False, use_libuv=libuv)


SINGLE_PROCESS: Final = ProcessGroup()


def connect(device: str = "auto", devices: int = 1, num_nodes: int = 1, strategy: Strategy = "auto") -> ProcessGroup:
    """Wait for all processes of a run and return their group; `SINGLE_PROCESS` if there is only one.

    The arguments are fields of `segmi.training.RuntimeConfig`.

    Raises:
        UsageError: if another number of processes was started, or the kind of device has only one.
    """
    for name, value in (("devices", devices), ("num_nodes", num_nodes)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")
    if strategy not in get_args(Strategy):
        raise unknown_name("strategy", strategy, get_args(Strategy))
    launcher, expected = detect_launcher(), devices * num_nodes
    # The tasks of srun may each do another run.
    if expected == 1 and (launcher.processes == 1 or launcher.name == "srun"):
        return SINGLE_PROCESS
    if launcher.processes != expected:
        raise UsageError(
            f"devices × num_nodes is {devices} × {num_nodes}, but the number of processes started is "
            f"{launcher.processes}",
            f"start it with `torchrun --nproc-per-node {devices} --nnodes {num_nodes} --no-python segmi …` or `srun "
            f"--nodes {num_nodes} --ntasks-per-node {devices} segmi …`, or set devices and num_nodes "
            "accordingly",
        )
    return _connect(device, devices, num_nodes, strategy)


@cache
def _connect(device: str, devices: int, num_nodes: int, strategy: Strategy) -> ProcessGroup:
    target = resolve_device(device)
    if target.type == "mps" or target.index is not None:
        raise UsageError(f"device {device!r} is one device, but devices is {devices}", "use device: cuda or cpu")
    fabric = launch_fabric(target, devices, num_nodes, strategy, "fp32")
    return ProcessGroup(
        fabric.global_rank, fabric.world_size, fabric.device, devices=devices, num_nodes=num_nodes, strategy=strategy
    )


def _is_communication_error(error: Exception) -> bool:
    """Return whether a collective failed; gloo raises plain RuntimeErrors."""
    if isinstance(error, dist.DistError):
        return True
    # Parts of messages of gloo and NCCL.
    signs = ("gloo", "nccl", "connection", "timed out waiting", "application timeout", "pair closure")
    return type(error) is RuntimeError and any(sign in str(error).lower() for sign in signs)
