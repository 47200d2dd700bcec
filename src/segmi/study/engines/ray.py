"""Engine that does every run as a Ray task, on a cluster or on this machine.

Tasks post their events on a board, an actor that the study's process polls.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segmi.errors import EnvironmentProblem, UsageError
from segmi.study.engines.in_process import Report
from segmi.study.engines.ray_cluster import SECONDS_OF_SILENCE, connected, is_alive
from segmi.study.engines.supervision import Crash, Task, check_count, supervise
from segmi.study.engines.worker import do_task, output_to
from segmi.study.events import Event
from segmi.study.executor import Job, RunExecutor

if TYPE_CHECKING:
    from segmi.study.run_config import Run

log = logging.getLogger(__name__)

FORWARDED: Final = ("SEGMI_DATA", "SEGMI_CACHE")  # environment variables that the tasks get from the study's process
SECONDS_TO_POST: Final = 10.0


class Ray:
    """One Ray task per run, as many at a time as the machines have CPU cores and GPUs for.

    The arguments are options of ``segmi study run``. Ray's own retries are off: a crashed run is started again from
    here, so that every try is reported and counted.
    """

    name, joint = "ray", False

    def __init__(
        self, address: str | None = None, jobs: int | None = None, cpus: float | None = None,
        gpus: float | None = None, retries: int = 2,
    ) -> None:  # fmt: skip
        check_count("--jobs", jobs, 1)
        check_count("--retries", retries, 0)
        if cpus is not None and cpus <= 0:
            raise UsageError(f"--cpus: expected a number above 0, got {cpus:g}", "omit it for one per thread")
        if gpus is not None and gpus < 0:
            raise UsageError(f"--gpus: expected 0 or more, got {gpus:g}", "give 0 for runs on CPUs only")
        self.address, self.jobs, self.cpus, self.gpus, self.retries = address, jobs, cpus, gpus, retries

    def do(self, executor: RunExecutor, runs: Sequence[Run], report: Report) -> None:
        """Do the runs, see `Engine`."""
        import torch

        threads = torch.get_num_threads()
        study = executor.job.root / runs[0].study
        variables = {name: os.environ[name] for name in FORWARDED if name in os.environ}
        with connected(self.address) as ray, tempfile.TemporaryDirectory(prefix=".output-", dir=study) as outputs:
            needs = {run.key: self.needs(run, threads, ray.cluster_resources()) for run in runs}
            check_room(ray, needs, fixed=self.address is None)
            setup = TaskSetup(executor.job, threads, Path(outputs), variables)
            supervise(_Tasks(ray, setup, needs, self.jobs), executor.job, runs, report, retries=self.retries)

    def needs(self, run: Run, threads: int, available: dict[str, float]) -> dict[str, float]:
        """Return the CPU cores and GPUs that Ray reserves for a run, for this number of threads per process."""
        training = run.config.training
        may_use = training.device == "auto" or training.device.startswith("cuda")
        gpus = self.gpus if self.gpus is not None else float(may_use and available.get("GPU", 0) > 0)
        return {"CPU": float(self.cpus if self.cpus is not None else training.threads or threads), "GPU": gpus}


@dataclass(frozen=True)
class TaskSetup:
    """Settings common to all Ray tasks of one call."""

    job: Job  # settings common to all runs
    threads: int  # CPU threads of a run
    outputs: Path  # folder for the output of the tasks, shared by all machines
    variables: Mapping[str, str]  # environment variables, see `FORWARDED`

    def output(self, ticket: int) -> Path:
        """Return the file for the output of a task."""
        return self.outputs / f"{ticket}.txt"


class Board:
    """Ray actor with the events that the study's process has not read yet, by the ticket of their task."""

    def __init__(self) -> None:
        self._events: list[tuple[int, Event]] = []

    def post(self, ticket: int, event: Event) -> None:
        """Add an event."""
        self._events.append((ticket, event))

    def take(self) -> list[tuple[int, Event]]:
        """Return and remove all events."""
        taken, self._events = self._events, []
        return taken

    def wait(self) -> None:
        """Do nothing; the answer comes after all events that the caller has posted."""


_executors: list[RunExecutor] = []  # the executor of this process, which Ray reuses for the next task of a study


def run_ray_task(board: Any, ticket: int, setup: TaskSetup, task: Task) -> Event:
    """Do a run in a process of Ray, post its events on ``board`` for this try's ticket, and return the last one."""
    import ray
    import torch

    if not setup.outputs.is_dir():
        problem = f"{socket.gethostname()} does not have the folder of the runs {setup.job.root}"
        remedy = "give a folder with --runs that all machines of the cluster share under the same path"
        return Event("failed", text=str(EnvironmentProblem(problem, remedy)))
    os.environ.update(setup.variables)
    torch.set_num_threads(setup.threads)
    if not _executors or _executors[0].job != setup.job:
        _executors[:] = [RunExecutor(setup.job)]
    with output_to(setup.output(ticket)):
        last = do_task(_executors[0], task, lambda event: board.post.remote(ticket, event))
    setup.output(ticket).unlink(missing_ok=True)
    with suppress(ray.exceptions.RayError):  # a lost board costs progress events only
        ray.get(board.wait.remote(), timeout=SECONDS_TO_POST)
    return last


class _Tasks:
    """Worker pool of Ray tasks, see `WorkerPool`."""

    def __init__(self, ray: Any, setup: TaskSetup, needs: dict[str, dict[str, float]], jobs: int | None) -> None:
        self._ray, self._setup, self._needs = ray, setup, needs
        self.room = math.inf if jobs is None else float(jobs)
        self._node = ray.get_runtime_context().get_node_id()
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(self._node, soft=True)
        self._board = ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(Board).remote()
        self._running: dict[Any, tuple[int, Task]] = {}
        self._tickets, self._is_gone = 0, False

    def begin(self, task: Task) -> None:
        needs = self._needs[task.run.key]
        options = {"num_cpus": needs["CPU"], "num_gpus": needs["GPU"], "max_retries": 0}
        if needs["GPU"]:
            options["max_calls"] = 1  # a process holds GPU memory until it ends
        ticket = self._tickets = self._tickets + 1
        remote = self._ray.remote(**options)(run_ray_task).options(name=task.run.key)
        self._running[remote.remote(self._board, ticket, self._setup, task)] = ticket, task

    def poll(self) -> list[tuple[Task, Event | Crash]]:
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=0.2)
        results: list[tuple[Task, Event | Crash]] = list(self._events())
        for ref in done:
            ticket, task = self._running.pop(ref)
            results.append((task, self._result(ref, ticket)))
        return results

    def stop(self) -> None:
        for ref in self._running:
            self._ray.cancel(ref, force=False)  # a SIGINT for a running task; a waiting task is removed

    def end(self) -> None:
        if self._is_gone:  # Ray would wait for the cluster
            return
        for ref in self._running:
            self._ray.cancel(ref, force=True)
        self._running.clear()
        self._ray.kill(self._board)

    def _events(self) -> list[tuple[Task, Event]]:
        """Return the events on the board; none while Ray moves it to another machine."""
        try:
            posted = self._ray.get(self._board.take.remote(), timeout=SECONDS_OF_SILENCE)
        except self._ray.exceptions.RayError as error:
            self._check_cluster(error)
            return []
        tasks = dict(self._running.values())
        return [(tasks[ticket], event) for ticket, event in posted if ticket in tasks]

    def _result(self, ref: Any, ticket: int) -> Event | Crash:
        errors = self._ray.exceptions
        try:
            return self._ray.get(ref)
        except (errors.TaskCancelledError, KeyboardInterrupt):
            return Event("interrupted")
        except errors.OutOfMemoryError:
            reason = "the process of the run was ended by Ray, because its machine ran out of memory"
        except errors.RayTaskError as error:
            reason = f"the process of the run failed: {type(error.cause).__name__}: {error.cause}"
        except errors.RayError as error:
            self._check_cluster(error)
            reason = f"the process of the run crashed: {str(error).splitlines()[0].rstrip('.')}"
        output = ""
        with suppress(OSError):  # the task may not have started
            output = self._setup.output(ticket).read_text(encoding="utf-8", errors="replace")
        return Crash(reason, output)

    def _check_cluster(self, error: Exception) -> None:
        """Raise `EnvironmentProblem` if the head of the cluster is lost; a restarted head is another cluster."""
        if is_alive(self._ray, self._node):
            return
        self._is_gone = True
        remedy = "start the cluster and run the same command again: finished runs stay, the others continue from their"
        message = "the Ray cluster does not respond; its runs have stopped"
        raise EnvironmentProblem(message, f"{remedy} checkpoints") from error


def check_room(ray: Any, needs: dict[str, dict[str, float]], *, fixed: bool) -> None:
    """Check that some machine has room for each run, which would otherwise wait forever.

    With ``fixed``, on this machine only, raise `UsageError`. A cluster can still grow: there it is a warning.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for run, need in needs.items():
        if any(all(machine.get(kind, 0) >= count for kind, count in need.items()) for machine in machines):
            continue
        wanted = f"{need['CPU']:g} CPU cores and {need['GPU']:g} GPUs"
        most = ", ".join(f"{machine.get('CPU', 0):g} and {machine.get('GPU', 0):g}" for machine in machines[:20])
        problem = f"{run} needs {wanted}, the machines have {most or 'none'}"
        if fixed:
            raise UsageError(problem, "ask for less with --cpus and --gpus, or give the --address of a cluster")
        log.warning("%s: it waits until a larger machine joins the cluster", problem)
