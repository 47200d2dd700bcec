"""The processes that train together: who they are, what they tell each other, and what happens when one is lost.

They are started from outside, by ``torchrun`` or SLURM, and all run the same command. Process 0 leads: it alone writes.
Tensors are summed by the backend of the device; what is small and decides something goes over gloo, so that no process
waits for its GPU to hear of it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Any, Final, Literal, TypeAlias

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.fabric.strategies import DDPStrategy
from torch import Tensor

from segmi.datasets.loader import Shard
from segmi.errors import RunError, UsageError, unknown_name
from segmi.training.launchers import cluster_environment, started
from segmi.training.precision import FABRIC_PRECISION, resolve_device

Strategy: TypeAlias = Literal["auto", "ddp", "ddp_find_unused_parameters_true"]
STRATEGIES: Final = ("auto", "ddp", "ddp_find_unused_parameters_true")

PATIENCE: Final = timedelta(minutes=10)
"""How long a process waits for another that is there and does not come; one that has gone is noticed at once."""

_ROLL_CALL_SECONDS: Final = 5.0


class LostProcess(RunError):
    """A run that cannot go on because another of its processes failed, ended or does not answer."""


class Processes:
    """This process among those that train together.

    Args:
        rank: its number; process 0 leads.
        count: how many there are.
        device: where it computes; None leaves that to the run.
        devices: processes per node.
        num_nodes: machines.
        strategy: of Lightning Fabric.
    """

    def __init__(
        self,
        rank: int = 0,
        count: int = 1,
        device: torch.device | None = None,
        *,
        devices: int = 1,
        num_nodes: int = 1,
        strategy: Strategy = "auto",
    ) -> None:
        self.rank, self.count, self.device = rank, count, device
        self.devices, self.num_nodes, self.strategy = devices, num_nodes, strategy
        self._orders = 0
        if count > 1:
            self._control: Any = dist.new_group(backend="gloo", timeout=PATIENCE)
            self._store = self._own_store()

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def shard(self) -> Shard:
        """Its part of every batch."""
        return Shard(self.rank, self.count)

    def fabric(self, device: torch.device, precision: str) -> Fabric:
        """Lightning Fabric for a run of these processes, launched."""
        if self.count == 1:
            devices = [device.index or 0] if device.type == "cuda" else 1
            return Fabric(
                accelerator=device.type,
                devices=devices,
                precision=FABRIC_PRECISION[precision],
                plugins=LightningEnvironment(),  # whatever cluster it is on
            )
        return _launched(device, self.devices, self.num_nodes, self.strategy, precision)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place; nothing waits for it on a GPU."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def as_leader(self, tensor: Tensor) -> Tensor:
        """What process 0 has, in place; nothing waits for it on a GPU."""
        if self.count > 1:
            dist.broadcast(tensor, src=0)
        return tensor

    def largest(self, number: int) -> int:
        """The largest number that any process has; all must ask."""
        if self.count == 1:
            return number
        numbers = torch.tensor(number)
        dist.all_reduce(numbers, op=dist.ReduceOp.MAX, group=self._control)
        return int(numbers)

    def gather(self, value: Any) -> list[Any]:
        """What every process has, in the order of their ranks; all must give."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, group=self._control)
        return values

    def from_leader(self, value: Any) -> Any:
        """What process 0 has; all must ask."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self._control)
        return values[0]

    def order(self, value: Any) -> None:
        """Process 0 tells the others what comes next, as plain data, however long they have been waiting."""
        if self.count > 1:
            self._store.set(f"order/{self._orders}", json.dumps(value))
            self._orders += 1

    def next_order(self) -> Any:
        """What process 0 wants next; waits as long as it lives.

        Raises:
            LostProcess: if it has gone.
        """
        name = f"order/{self._orders}"
        try:
            while not self._store.check([name]):
                time.sleep(0.05)
            self._orders += 1
            return json.loads(self._store.get(name))
        except dist.DistError as error:
            raise self._lost_process() from error

    @contextmanager
    def watched(self) -> Iterator[None]:
        """What fails inside is told to the other processes; one that is lost becomes an error that names it.

        Raises:
            LostProcess: if another process failed, ended, or did not come within `PATIENCE`.
        """
        try:
            yield
        except Exception as error:
            if self.count > 1 and _is_about_others(error):
                raise self._lost_process() from error
            if self.count > 1 and not isinstance(error, LostProcess):
                with suppress(dist.DistError):
                    self._store.set(
                        f"{self._orders}/failed/{self.rank}", f"{type(error).__name__}: {error}".splitlines()[0]
                    )
            raise

    def _lost_process(self) -> LostProcess:
        """A roll call: who does not answer within some seconds has gone."""
        others = [rank for rank in range(self.count) if rank != self.rank]
        found: dict[int, str] = {}
        try:
            self._store.set(f"{self._orders}/here/{self.rank}", "")
            until = time.monotonic() + _ROLL_CALL_SECONDS
            while time.monotonic() < until:
                found = {rank: self._answer(rank) for rank in others}
                if all(found.values()):
                    break
                time.sleep(0.1)
        except dist.DistError:  # process 0 keeps the store
            found = {0: ""}
        lines = [
            f"process {rank} of {self.count} " + (f"failed: {answer}" if answer else "has gone")
            for rank, answer in found.items()
            if answer != "here"
        ]
        return LostProcess(
            "; ".join(lines) or f"the {self.count} processes lost touch, though all of them answer",
            "look at the output of that process, then run the same command again to continue from the checkpoint",
        )

    def _answer(self, rank: int) -> str:
        failed, here = (f"{self._orders}/{what}/{rank}" for what in ("failed", "here"))
        if self._store.check([failed]):
            return self._store.get(failed).decode()
        return "here" if self._store.check([here]) else ""

    def _own_store(self) -> dist.Store:
        """A table of names that process 0 keeps; it can be asked when the connections of the group are broken."""
        host = os.environ["MASTER_ADDR"]
        store = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False) if self.leads else None
        port = self.from_leader(store.port if store else 0)
        return store or dist.TCPStore(host, port, is_master=False)


ALONE: Final = Processes()
"""A process that trains by itself."""


def connect(device: str = "auto", devices: int = 1, num_nodes: int = 1, strategy: Strategy = "auto") -> Processes:
    """The processes that are to train together, once all of them are there; `ALONE` where there is one.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``; every process of a node takes one device.
        devices: processes per node.
        num_nodes: machines.
        strategy: ``auto`` or ``ddp``; ``ddp_find_unused_parameters_true`` for networks with parts that have no part in
            the outputs.

    Raises:
        UsageError: if as many processes were not started, or the device is no kind of which there can be several.
    """
    for name, value in (("devices", devices), ("num_nodes", num_nodes)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")
    if strategy not in STRATEGIES:
        raise unknown_name("strategy", strategy, STRATEGIES)
    (by, count), wanted = started(), devices * num_nodes
    if wanted == 1 and (count == 1 or by == "srun"):  # of whose tasks each may train something else
        return ALONE
    if count != wanted:
        raise UsageError(
            f"devices × num_nodes is {devices} × {num_nodes}, but the number of processes started is {count}",
            f"start it with `torchrun --nproc-per-node {devices} --nnodes {num_nodes} --no-python segmi …` or `srun "
            f"--nodes {num_nodes} --ntasks-per-node {devices} segmi …`, or set devices and num_nodes to what was "
            "started",
        )
    return _connected(device, devices, num_nodes, strategy)


@cache
def _connected(device: str, devices: int, num_nodes: int, strategy: Strategy) -> Processes:
    target = resolve_device(device)
    if target.type == "mps" or target.index is not None:
        raise UsageError(f"device {device!r} is one device, devices is {devices}", "use device: cuda, or device: cpu")
    fabric = _launched(target, devices, num_nodes, strategy, "fp32")
    return Processes(
        fabric.global_rank, fabric.world_size, fabric.device, devices=devices, num_nodes=num_nodes, strategy=strategy
    )


def _launched(device: torch.device, devices: int, num_nodes: int, strategy: Strategy, precision: str) -> Fabric:
    ddp = DDPStrategy(timeout=PATIENCE, find_unused_parameters=strategy == "ddp_find_unused_parameters_true")
    fabric = Fabric(
        accelerator=device.type,
        devices=devices,
        num_nodes=num_nodes,
        strategy=ddp,
        precision=FABRIC_PRECISION[precision],
        plugins=cluster_environment(devices),
    )
    try:
        fabric.launch()
    except ValueError as error:  # SLURM counts tasks per node, torchrun all of them
        raise UsageError(str(error), "start as many processes per node as devices says") from error
    return fabric


def _is_about_others(error: Exception) -> bool:
    """Whether a collective failed; gloo says so in plain RuntimeErrors."""
    if isinstance(error, dist.DistError):
        return True
    signs = ("gloo", "nccl", "connection", "timed out waiting", "application timeout", "pair closure")
    return type(error) is RuntimeError and any(sign in str(error).lower() for sign in signs)
