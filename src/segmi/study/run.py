"""All runs of a study on an engine: finished runs stay, started runs continue, failures are recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from segmi.errors import Diverged, EnvironmentProblem, SegmiError, UsageError, together
from segmi.losses import loss_class
from segmi.records import Plan, RunFolder, sweep, write_plan
from segmi.records.run_folder import is_trial
from segmi.records.study_records import Selection
from segmi.study.binding import default_options
from segmi.study.components import NOT_OF_LOSSES, connect_processes
from segmi.study.dataset_context import DataRoots, DatasetContext
from segmi.study.engines import Engine, InProcess
from segmi.study.engines.in_process import follow
from segmi.study.events import ENDS, Clock, Event, Listener, StudyEvent
from segmi.study.executor import Job, RunExecutor, lock_if_free
from segmi.study.origin import refuse_changed, refuse_other_origin
from segmi.study.run_config import Run, expand
from segmi.study.run_queue import RunQueue
from segmi.study.schema import Study, describe_reported
from segmi.training import Callback

# Seconds to wait for the lock of the study's folder, which another process holds only to write its plan.
PLAN_PATIENCE: Final = 5.0


@dataclass
class StudyOutcome:
    """Keys of the runs by outcome."""

    finished: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, dict[str, Any]] = field(default_factory=dict)
    busy: dict[str, str] = field(default_factory=dict)
    # runs whose trials or sources of weights failed or belong to another process
    waiting: list[str] = field(default_factory=list)
    searches: dict[str, Selection] = field(default_factory=dict)  # results of the searches by ``dataset/method``
    leads: bool = True  # False in all but the first process of a study that several processes do together

    def raise_if_incomplete(self) -> None:
        """Raise an error if a run is not finished.

        The exit code of the failures if they agree, else 4; 5 if another process has the remaining runs.
        """
        total = sum(map(len, (self.finished, self.skipped, self.failed, self.busy, self.waiting)))
        others_wait = f", {len(self.waiting)} waiting for other runs" if self.waiting else ""
        if self.failed:
            first = {run: (one["message"] or "no message").splitlines()[0] for run, one in self.failed.items()}
            lines = [f"{run}: {one['type']}: {first[run]}" for run, one in self.failed.items()]
            error = SegmiError(
                f"{len(self.failed)} of {total} runs failed{others_wait}:\n{together(lines)}",
                "remove the cause and run the same command again: finished runs stay, failed runs are tried again",
            )
            codes = {failure["exit_code"] for failure in self.failed.values()}
            error.exit_code = codes.pop() if len(codes) == 1 else 4
            raise error
        if self.busy:
            message = f"{len(self.busy)} of {total} runs belong to another process{others_wait}:"
            reasons = together(list(self.busy.values()))
            raise EnvironmentProblem(f"{message}\n{reasons}", "run the same command again when that process has ended")
        if self.waiting:
            message = f"{len(self.waiting)} of {total} runs start from the weights of runs that are not finished:"
            raise UsageError(f"{message}\n{together(self.waiting)}", "do those first, or omit --only")


def run_study(
    study: Study,
    root: Path,
    *,
    roots: DataRoots | None = None,
    only: Sequence[str] = (),
    overwrite: bool = False,
    allow_changed: Sequence[str] = (),
    init_from: Path | None = None,
    cache: Path | None = None,
    command: str | None = None,
    profile: bool = False,
    engine: Engine | None = None,
    listener: Listener | None = None,
    callbacks: Sequence[Callback] = (),
) -> StudyOutcome:
    """Execute all unfinished runs of a study.

    If ``training.devices`` or ``num_nodes`` asks for several processes, all of them call this function. The first one
    assigns the runs and writes the records.

    Args:
        study: study from `load_study`, checked with the same roots.
        root: folder of all runs, usually ``runs``.
        roots: folders of the datasets.
        only: patterns of run keys, such as ``camvid/model-1/*``.
        overwrite: start the runs again, finished ones included.
        allow_changed: configuration keys that may differ from those a run was started with; ``data`` and ``segmi`` for
            its images and its version of segmi.
        init_from: bundle whose weights the reported network starts from; not for methods that report an ensemble.
        cache: folder of decoded images, from `segmi.datasets.cache.cache_folder`. None: keep them in memory.
        command: command of the study, for the report.
        profile: measure where the time goes, and write the ``profile.json`` of each run.
        engine: engine that does the runs. Default: one after the other in this process.
        listener: called with the events of the study.
        callbacks: called while each run trains; only with an engine that does the runs in this process.

    Raises:
        UsageError: if a run was started with another configuration, other images or another version of segmi; if
            ``init_from`` is not a bundle or would be removed; if a run needs several processes and the engine
            does not support that. Nothing is changed.
        EnvironmentProblem: if records cannot be written.
        Interrupted: on SIGINT or SIGTERM, after a checkpoint is written.
    """
    bundle = None if init_from is None else str(init_from)
    runs = [run.changed(init_from=bundle) for run in expand(study, only)]
    if init_from is not None:
        _check_init_from(init_from, runs, [run.folder(root) for run in runs] if overwrite else [])
    queue = RunQueue(study, runs, root, overwrite=overwrite, init_from=bundle)
    todo = queue.next()
    if not overwrite:
        refuse_changed([*queue.ended(), *todo], root, allow_changed)
    engine = engine or InProcess()
    _check_joint(runs, engine)
    if callbacks and not engine.joint:
        raise UsageError(f"callbacks cannot be sent to the processes of the engine {engine.name}", "omit the engine")
    processes = connect_processes([run.config.training for run in runs])
    job = Job(
        root.absolute(), study.datasets, (roots or DataRoots()).absolute(), cache and cache.absolute(),
        init_from and init_from.absolute(), overwrite=overwrite, profile=profile,
    )  # fmt: skip
    executor = RunExecutor(job, processes, callbacks)
    if not overwrite:
        refuse_other_origin(todo, root, executor.context, allow_changed)
    outcome = StudyOutcome(leads=processes.is_main)
    if not processes.is_main:
        follow(executor)
        return outcome
    _write_plan(root / study.name, study_plan(study, executor.context, command))
    report = _Reporter(queue.all(), root, outcome, listener)
    while todo:
        queue.write_selections()
        engine.do(executor, todo, report)
        todo = queue.next()
        if not overwrite:
            refuse_changed(todo, root, allow_changed)
            refuse_other_origin(todo, root, executor.context, allow_changed)
    queue.write_selections()
    outcome.searches = queue.selections()
    processes.send_task(None)
    for run, error in queue.without_selection():
        RunFolder(run.folder(root)).write_failure(error)
        report(run, Event("failed", text=str(error)))
    outcome.waiting += queue.waiting()
    return outcome


class _Reporter:
    """Counts outcomes, and passes events on with estimates of the time left."""

    def __init__(self, runs: Sequence[Run], root: Path, outcome: StudyOutcome, listener: Listener | None) -> None:
        self._total, self._ended = len(runs), 0
        self._root, self._outcome, self._listener, self._clock = root, outcome, listener, Clock(runs)

    def __call__(self, run: Run, event: Event) -> None:
        run_left, study_left = self._clock.observe(run, event)
        if event.kind in ENDS:
            self._ended += 1
            self._count(run, event)
        if self._listener is not None:
            left: dict[str, Any] = {"run_seconds_left": run_left, "study_seconds_left": study_left}
            self._listener(StudyEvent(**vars(event), run=run, ended=self._ended, total=self._total, **left))

    def _count(self, run: Run, event: Event) -> None:
        if event.kind == "finished":
            self._outcome.finished.append(run.key)
        elif event.kind == "skipped":
            self._outcome.skipped.append(run.key)
        elif event.kind == "busy":
            self._outcome.busy[run.key] = event.text
        elif event.kind == "failed":
            unwritten = {"type": "EnvironmentProblem", "message": event.text, "exit_code": EnvironmentProblem.exit_code}
            failure = RunFolder(run.folder(self._root)).failure() or unwritten
            if is_trial(run.method) and failure["type"] == Diverged.__name__:
                self._outcome.finished.append(run.key)  # divergence is the result of the trial
            else:
                self._outcome.failed[run.key] = failure


def study_plan(study: Study, context_of: Callable[[str], DatasetContext], command: str | None = None) -> Plan:
    """Return the plan of a study, which the report uses to find missing runs."""
    methods = study.methods
    used = dict.fromkeys(name for method in methods.values() for name in method.loss)
    return Plan(
        study=study.name,
        datasets={name: context_of(name).dataset.info.title for name in study.datasets},
        methods={name: method.label or name for name, method in methods.items()},
        seeds=study.seeds,
        protocol=study.protocol,
        command=command,
        baseline=study.baseline,
        treatments={name: method.treatment or name for name, method in methods.items()},
        baselines={name: method.baseline for name, method in methods.items() if method.baseline},
        networks={
            name: describe_reported(method.networks, method.ensembles, method.reported or "")
            for name, method in methods.items()
        },
        loss_defaults={name: default_options(loss_class(name), NOT_OF_LOSSES) for name in used},
    )


def _write_plan(folder: Path, plan: Plan) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"the runs cannot be written to {folder}: {error.strerror}"
        raise EnvironmentProblem(message, "give a writable folder with --runs, or --output of segmi train") from error
    with lock_if_free(folder, PLAN_PATIENCE) as problem:
        if problem is None:
            sweep(folder, deep=False)  # files of killed processes; runs sweep their own folders
        write_plan(folder, plan)


def _check_joint(runs: Sequence[Run], engine: Engine) -> None:
    """Refuse runs of several processes, which torchrun or SLURM start, on an engine that starts processes itself."""
    for run in runs:
        training = run.config.training
        if training.processes > 1 and not engine.joint:
            needed = f"{training.devices} × {training.num_nodes} processes (training.devices × num_nodes)"
            remedy = "omit --engine and start the study with torchrun or srun"
            message = f"{run.key} needs {needed}, the engine {engine.name} does a run in one"
            raise UsageError(message, f"{remedy}, or set training.devices and training.num_nodes to 1")


def _check_init_from(bundle: Path, runs: Sequence[Run], removed: Sequence[Path]) -> None:
    for config in (run.config for run in runs):
        if config.reported in config.ensembles:
            problem = f"--init-from is for one network, {config.method} reports the ensemble {config.reported!r}"
            raise UsageError(problem, "set weights_from of its networks in the study, or reported to one of them")
    if not (bundle / "model.json").exists():
        raise UsageError(f"--init-from {bundle} is not a bundle", "give a folder with model.json and model.safetensors")
    for folder in removed:
        if bundle.resolve().is_relative_to(folder.resolve()):
            remedy = "copy the bundle to another place, or write the new run to another folder"
            raise UsageError(f"the bundle {bundle} is in {folder}, which --overwrite would remove", remedy)
