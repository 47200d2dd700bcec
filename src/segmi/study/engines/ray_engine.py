"""A run per Ray task: on the machines of a cluster, or on this one."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segmi.errors import EnvironmentProblem, UsageError
from segmi.study.engines.contract import Report
from segmi.study.engines.ray_start import SECONDS_OF_SILENCE, is_there, joined
from segmi.study.engines.ray_task import CARRIED, Board, Task, do_task
from segmi.study.engines.supervision import Loss, Order, check_count, supervise
from segmi.study.events import News
from segmi.study.expand import Run
from segmi.study.workshop import Workshop

log = logging.getLogger(__name__)


class Ray:
    """A Ray task for every run, as many at a time as the machines have processors and GPUs for.

    Ray's own retries are off: a run that was lost is given out again from here, so that every try is told and counted.

    Args:
        address: of a cluster, see `joined`; None starts Ray on this machine for the time being.
        jobs: how many runs at a time at most; by default as many as there is room for.
        cpus: processors that Ray sets aside for a run; by default as many as it has threads.
        gpus: likewise GPUs, a fraction for several runs on one; by default one where the cluster has some and the run
            may use it.
        retries: how often a run whose process was lost is taken up again.

    Raises:
        UsageError: a number that is too small.
    """

    name = "ray"
    joint = False

    def __init__(
        self,
        address: str | None = None,
        jobs: int | None = None,
        cpus: float | None = None,
        gpus: float | None = None,
        retries: int = 2,
    ) -> None:
        check_count("--jobs", jobs, 1)
        check_count("--retries", retries, 0)
        if cpus is not None and cpus <= 0:
            raise UsageError(f"--cpus: expected a number above 0, got {cpus:g}", "leave it out for one per thread")
        if gpus is not None and gpus < 0:
            raise UsageError(f"--gpus: expected 0 or more, got {gpus:g}", "give 0 for runs on processors alone")
        self.address, self.jobs, self.cpus, self.gpus, self.retries = address, jobs, cpus, gpus, retries

    def do(self, shop: Workshop, runs: Sequence[Run], report: Report) -> None:
        """Do the runs, see `Engine`."""
        import torch

        threads = torch.get_num_threads()
        study = shop.job.root / runs[0].study
        with joined(self.address) as ray, tempfile.TemporaryDirectory(prefix=".output-", dir=study) as outputs:
            needs = {run.key: self.needs(run, threads, ray.cluster_resources()) for run in runs}
            check_room(ray, needs, fixed=self.address is None)
            task = Task(shop.job, threads, Path(outputs), {v: os.environ[v] for v in CARRIED if v in os.environ})
            supervise(_Tasks(ray, task, needs, self.jobs), shop.job, runs, report, retries=self.retries)

    def needs(self, run: Run, threads: int, there: dict[str, float]) -> dict[str, float]:
        """What Ray sets aside for a run, where a process has so many threads and the cluster these resources."""
        device, own = run.config["training"]["device"], run.config["training"]["threads"]
        may_use = device == "auto" or device.startswith("cuda")
        gpus = self.gpus if self.gpus is not None else float(may_use and there.get("GPU", 0) > 0)
        return {"CPU": float(self.cpus if self.cpus is not None else own or threads), "GPU": gpus}


class _Tasks:
    """The crew, see `Crew`."""

    def __init__(self, ray: Any, task: Task, needs: dict[str, dict[str, float]], jobs: int | None) -> None:
        self._ray, self._task, self._needs, self._jobs = ray, task, needs, jobs
        self._node = ray.get_runtime_context().get_node_id()
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(self._node, soft=True)
        self._board = ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(Board).remote()
        self._going: dict[Any, tuple[int, Order]] = {}
        self._given, self._is_gone = 0, False

    @property
    def has_room(self) -> bool:
        return self._jobs is None or len(self._going) < self._jobs

    @property
    def is_busy(self) -> bool:
        return bool(self._going)

    def begin(self, order: Order) -> None:
        needs = self._needs[order.run.key]
        options = {"num_cpus": needs["CPU"], "num_gpus": needs["GPU"], "max_retries": 0}
        if needs["GPU"]:
            options["max_calls"] = 1  # a process keeps the memory of a GPU for as long as it lives
        ticket = self._given = self._given + 1
        remote = self._ray.remote(**options)(do_task).options(name=order.run.key)
        self._going[remote.remote(self._board, ticket, self._task, order)] = ticket, order

    def listen(self) -> list[tuple[Order, News | Loss]]:
        done, _ = self._ray.wait(list(self._going), num_returns=1, timeout=0.2)
        heard: list[tuple[Order, News | Loss]] = list(self._news())
        for ref in done:
            ticket, order = self._going.pop(ref)
            heard.append((order, self._end(ref, ticket)))
        return heard

    def stop(self) -> None:
        for ref in self._going:
            self._ray.cancel(ref, force=False)  # which is a SIGINT to a run, and forgets one that was not begun

    def end(self) -> None:
        if self._is_gone:  # and Ray would wait for it
            return
        for ref in self._going:
            self._ray.cancel(ref, force=True)
        self._going.clear()
        self._ray.kill(self._board)

    def _news(self) -> list[tuple[Order, News]]:
        """What the tasks pinned up on the board; nothing while it is on its way to another machine."""
        try:
            pinned = self._ray.get(self._board.take.remote(), timeout=SECONDS_OF_SILENCE)
        except self._ray.exceptions.RayError as error:
            self._check_cluster(error)
            return []
        orders = dict(self._going.values())
        return [(orders[ticket], news) for ticket, news in pinned if ticket in orders]

    def _end(self, ref: Any, ticket: int) -> News | Loss:
        errors = self._ray.exceptions
        try:
            return self._ray.get(ref)
        except (errors.TaskCancelledError, KeyboardInterrupt):
            return News("interrupted")
        except errors.OutOfMemoryError:
            reason = "the process of the run was ended by Ray, because the memory of its machine ran out"
        except errors.RayTaskError as error:
            reason = f"the process of the run failed: {type(error.cause).__name__}: {error.cause}"
        except errors.RayError as error:
            self._check_cluster(error)
            reason = f"the process of the run was lost: {str(error).splitlines()[0].rstrip('.')}"
        return Loss(reason, self._task.printed(ticket))

    def _check_cluster(self, error: Exception) -> None:
        """Nothing can be begun again where the head was lost; after a restart it is the head of another cluster.

        Raises:
            EnvironmentProblem: that is so.
        """
        if is_there(self._ray, self._node):
            return
        self._is_gone = True
        raise EnvironmentProblem(
            "the Ray cluster does not answer any more; its runs ended where they were",
            "start the cluster and give the same command again: finished runs stay, the others go on from their "
            "checkpoints",
        ) from error


def check_room(ray: Any, needs: dict[str, dict[str, float]], *, fixed: bool) -> None:
    """A run that no machine has room for would wait for ever.

    Raises:
        UsageError: on this machine alone, which nothing will be added to.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for run, need in needs.items():
        if any(all(machine.get(kind, 0) >= count for kind, count in need.items()) for machine in machines):
            continue
        wanted = f"{need['CPU']:g} processors and {need['GPU']:g} GPUs"
        most = ", ".join(f"{machine.get('CPU', 0):g} and {machine.get('GPU', 0):g}" for machine in machines[:20])
        problem = f"{run} is to have {wanted}, the machines have {most or 'none'}"
        if fixed:
            raise UsageError(problem, "ask for less with --cpus and --gpus, or give the --address of a cluster")
        log.warning("%s: it waits until one with more joins the cluster", problem)
