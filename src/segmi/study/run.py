"""All runs of a study, by whatever engine: what is finished stays, what was begun goes on, a failure is a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from segmi.errors import Diverged, EnvironmentProblem, SegmiError, UsageError, together
from segmi.records import Plan, RunFolder, sweep, write_plan
from segmi.records.trial_records import is_trial
from segmi.study import resolve
from segmi.study.agenda import Agenda
from segmi.study.binding import default_options
from segmi.study.engines import Engine, InProcess
from segmi.study.engines.in_process import follow
from segmi.study.events import ENDS, Clock, Event, Listener, News
from segmi.study.expand import Run, expand
from segmi.study.facts import Facts
from segmi.study.origin import refuse_changed, refuse_other_origin
from segmi.study.roots import Roots
from segmi.study.schema import Study, described
from segmi.study.workshop import Job, Workshop, lock_if_free

PLAN_PATIENCE: Final = 5.0
"""Seconds to wait for another process that writes the plan of the same study; it does so in a moment."""


@dataclass
class StudyOutcome:
    """What became of the runs, by their keys."""

    finished: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, dict[str, Any]] = field(default_factory=dict)
    busy: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    """Runs whose settings are not chosen yet, because a trial failed or belongs to another process."""
    leads: bool = True
    """False in the other processes of a study that several do together: it is the first one that tells."""

    def raise_if_incomplete(self) -> None:
        """The error that a command ends with when not every run is finished.

        Raises:
            SegmiError: with the exit code of the failures if they agree, else 4; 5 if another process has the rest.
        """
        if self.failed:
            lines = [
                f"{run}: {failure['type']}: {_first_line(failure['message'])}" for run, failure in self.failed.items()
            ]
            error = SegmiError(
                f"{len(self.failed)} of {self._total} runs failed{self._others_wait}:\n{together(lines)}",
                "mend the cause and run the same command again: finished runs stay, failed ones are tried again",
            )
            codes = {failure["exit_code"] for failure in self.failed.values()}
            error.exit_code = codes.pop() if len(codes) == 1 else 4
            raise error
        if self.busy:
            raise EnvironmentProblem(
                f"{len(self.busy)} of {self._total} runs belong to another process{self._others_wait}:\n"
                + together(list(self.busy.values())),
                "run the same command again when it has ended",
            )

        if self.waiting:
            raise UsageError(
                f"{len(self.waiting)} of {self._total} runs take the weights of runs that are not done:\n"
                + together(self.waiting),
                "do those first, or leave --only out",
            )

    @property
    def _total(self) -> int:
        return len(self.finished) + len(self.skipped) + len(self.failed) + len(self.busy) + len(self.waiting)

    @property
    def _others_wait(self) -> str:
        return f", {len(self.waiting)} wait for what they rest on" if self.waiting else ""


def run_study(
    study: Study,
    root: Path,
    *,
    roots: Roots | None = None,
    only: Sequence[str] = (),
    overwrite: bool = False,
    allow_changed: Sequence[str] = (),
    init_from: Path | None = None,
    cache: Path | None = None,
    command: str | None = None,
    profile: bool = False,
    engine: Engine | None = None,
    listener: Listener | None = None,
) -> StudyOutcome:
    """Do every run of a study that is not finished.

    Where ``training.devices`` or ``num_nodes`` asks for several processes, all of them call this; the first one decides
    what is done, writes the records, and tells the others.

    Args:
        study: from `load_study`, checked with the same roots.
        root: the folder of all runs, usually ``runs``.
        roots: where the datasets are.
        only: patterns on the keys of runs, such as ``camvid/model-1/*``.
        overwrite: start the runs anew, finished ones included.
        allow_changed: keys that may differ from the configuration a run was begun with; ``data``, ``segmi``: its
            images, its version of segmi.
        init_from: a bundle from whose weights the reported network starts.
        cache: the folder of decoded images, from `segmi.datasets.cache.cache_folder`; None keeps them in memory.
        command: how to run it again, for the report.
        profile: measure what takes how long, into the ``profile.json`` of each run.
        engine: where the runs are done; one after the other in this process by default.
        listener: hears what happens.

    Raises:
        UsageError: if a run was begun with another configuration, with other images or another version of segmi;
            what changed is named, nothing is touched.
            If ``init_from`` is not a bundle, or would be removed.
            If a run is to be done by several processes and the engine cannot do that.
        EnvironmentProblem: if records cannot be written.
        Interrupted: on SIGINT or SIGTERM, after the checkpoint is written.
    """
    runs = [_starting_from(run, init_from) for run in expand(study, only)]
    if init_from is not None:
        _check_bundle(init_from, [run.folder(root) for run in runs] if overwrite else [])
    agenda = Agenda(study, runs, root, overwrite=overwrite, change=lambda run: _starting_from(run, init_from))
    todo = agenda.next()
    if not overwrite:
        refuse_changed([(run, run.folder(root)) for run in [*agenda.ended(), *todo]], allow_changed)
    engine = engine or InProcess()
    _refuse_joint(runs, engine)
    processes = resolve.connect([run.config["training"] for run in runs])
    job = Job(
        root.absolute(),
        study.datasets,
        (roots or Roots()).absolute(),
        cache.absolute() if cache is not None else None,
        init_from.absolute() if init_from is not None else None,
        overwrite=overwrite,
        profile=profile,
    )
    shop = Workshop(job, processes)
    if not overwrite:
        refuse_other_origin([(run, run.folder(root)) for run in todo], shop.facts, allow_changed)
    outcome = StudyOutcome(leads=processes.is_main)
    if not processes.is_main:
        follow(shop)
        return outcome
    _make_folder(root / study.name)
    with lock_if_free(root / study.name, PLAN_PATIENCE) as problem:
        if problem is None:
            sweep(root / study.name, deep=False)  # what was killed here; runs sweep their own folders
        write_plan(root / study.name, study_plan(study, shop.facts, command))
    report = _Reporter(agenda.all(), root, outcome, listener)
    while todo:
        agenda.keep()
        engine.do(shop, todo, report)
        todo = agenda.next()
        if not overwrite:
            refuse_changed([(run, run.folder(root)) for run in todo], allow_changed)
            refuse_other_origin([(run, run.folder(root)) for run in todo], shop.facts, allow_changed)
    agenda.keep()
    processes.send_task(None)
    for run, error in agenda.unchosen():
        RunFolder(run.folder(root)).write_failure(error)
        report(run, News("failed", text=str(error)))
    outcome.waiting += agenda.waiting()
    return outcome


class _Reporter:
    """Keeps count of what the runs tell, and passes it on with estimates."""

    def __init__(self, runs: Sequence[Run], root: Path, outcome: StudyOutcome, listener: Listener | None) -> None:
        self._numbers = {run.key: number for number, run in enumerate(runs, 1)}
        self._root, self._outcome, self._listener, self._clock = root, outcome, listener, Clock(runs)

    def __call__(self, run: Run, news: News) -> None:
        estimates: tuple[float | None, float | None] = (None, None)
        if news.kind == "started":
            self._clock.start(run)
        elif news.kind == "train":
            estimates = self._clock.estimate(run, news.done, news.of)
        elif news.kind in ENDS:
            self._clock.end(run)
            self._count(run, news)
        if self._listener is not None:
            number, total = self._numbers[run.key], len(self._numbers)
            run_left, study_left = estimates
            self._listener(
                Event(
                    **vars(news), run=run, number=number, total=total,
                    run_seconds_left=run_left, study_seconds_left=study_left,
                )
            )  # fmt: skip

    def _count(self, run: Run, news: News) -> None:
        if news.kind == "finished":
            self._outcome.finished.append(run.key)
        elif news.kind == "skipped":
            self._outcome.skipped.append(run.key)
        elif news.kind == "busy":
            self._outcome.busy[run.key] = news.text
        elif news.kind == "failed":
            unwritten = {"type": "EnvironmentProblem", "message": news.text, "exit_code": EnvironmentProblem.exit_code}
            failure = RunFolder(run.folder(self._root)).failure() or unwritten
            if is_trial(run.method) and failure["type"] == Diverged.__name__:
                self._outcome.finished.append(run.key)  # that these settings diverge is what the trial was to tell
            else:
                self._outcome.failed[run.key] = failure


def _refuse_joint(runs: Sequence[Run], engine: Engine) -> None:
    """Runs of several processes are started from outside, by ``torchrun`` or SLURM; an engine starts its own.

    Raises:
        UsageError: naming the first such run.
    """
    for run in runs:
        devices, nodes = run.config["training"]["devices"], run.config["training"]["num_nodes"]
        if devices * nodes > 1 and not engine.joint:
            raise UsageError(
                f"{run.key} is to be done by {devices} × {nodes} processes (training.devices × num_nodes), the engine "
                f"{engine.name} does a run in one",
                "leave --engine out and start the study with torchrun or srun, or set training.devices and "
                "training.num_nodes to 1",
            )


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(
            f"the runs cannot be written to {path}: {error.strerror}", "give a folder that can be written with --runs"
        ) from error


def study_plan(study: Study, opened: Callable[[str], Facts], command: str | None = None) -> Plan:
    """What the study sets out to do, for the report: it tells missing runs from runs that nobody wanted."""
    known = resolve.losses()
    return Plan(
        study=study.name,
        datasets={name: opened(name).dataset.info.title for name in study.datasets},
        methods={name: method.label or name for name, method in study.methods.items()},
        seeds=study.seeds,
        protocol=study.protocol,
        command=command,
        baseline=study.baseline,
        treatments={name: method.treatment or name for name, method in study.methods.items()},
        baselines={name: method.baseline for name, method in study.methods.items() if method.baseline},
        networks={name: described(method.networks[method.reported or ""]) for name, method in study.methods.items()},
        loss_defaults={
            name: default_options(known[name], resolve.NOT_OF_LOSSES)
            for name in dict.fromkeys(name for method in study.methods.values() for name in method.loss)
        },
    )


def _starting_from(run: Run, init_from: Path | None) -> Run:
    """Other initial weights are another configuration."""
    if init_from is None:
        return run
    return Run(run.study, run.dataset, run.method, run.seed, {**run.config, "init_from": str(init_from)})


def _check_bundle(bundle: Path, removed: Sequence[Path]) -> None:
    if not (bundle / "model.json").exists():
        raise UsageError(f"--init-from {bundle} is not a bundle", "give a folder with model.json and model.safetensors")
    for folder in removed:
        if bundle.resolve().is_relative_to(folder.resolve()):
            raise UsageError(
                f"the bundle {bundle} lies in {folder}, which --overwrite would remove",
                "copy the bundle elsewhere, or write the new run to another folder",
            )


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else "no message"
