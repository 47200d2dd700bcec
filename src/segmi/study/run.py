"""All runs of a study, one after the other: what is finished stays, what was begun goes on, a failure is a record."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from segmi.errors import Diverged, EnvironmentProblem, Interrupted, SegmiError, UsageError, together
from segmi.records import Plan, RunFolder, run_lock, sweep, write_plan
from segmi.study import resolve
from segmi.study.events import Clock, Event, Kind, Listener
from segmi.study.execute import execute
from segmi.study.expand import Run, changed_keys, expand
from segmi.study.facts import Facts
from segmi.study.roots import Roots
from segmi.study.schema import Study, described
from segmi.study.strict_yaml import parse_file

if TYPE_CHECKING:
    from segmi.training.processes import Processes

RECORDS: Final = (
    "result.json", "failure.json", "config.yaml", "environment.json", "number_format.json", "metrics.csv",
    "profile.json", "confusion", "samples", "bundles", "checkpoints", "tensorboard",
)  # fmt: skip
"""What a run folder holds, the mark of a finished run first; starting over removes nothing else."""

ALIKE: Final = (Diverged, UsageError)
"""The failures that all processes of a run meet at the same point, so that they can go on to the next one."""


@dataclass
class StudyOutcome:
    """What became of the runs, by their keys."""

    finished: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, dict[str, Any]] = field(default_factory=dict)
    busy: dict[str, str] = field(default_factory=dict)
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
                f"{len(self.failed)} of {self._total} runs failed:\n{together(lines)}",
                "mend the cause and run the same command again: finished runs stay, failed ones are tried again",
            )
            codes = {failure["exit_code"] for failure in self.failed.values()}
            error.exit_code = codes.pop() if len(codes) == 1 else 4
            raise error
        if self.busy:
            raise EnvironmentProblem(
                f"{len(self.busy)} of {self._total} runs belong to another process:\n"
                + together(list(self.busy.values())),
                "run the same command again when it has ended",
            )

    @property
    def _total(self) -> int:
        return len(self.finished) + len(self.skipped) + len(self.failed) + len(self.busy)


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
    listener: Listener | None = None,
) -> StudyOutcome:
    """Do every run of a study that is not finished.

    Where ``training.devices`` or ``num_nodes`` asks for several processes, all of them call this; the first one decides
    what is done, writes the records, and tells the others.

    Args:
        study: from `load_study`, checked with the same roots.
        root: the folder of all runs, usually ``runs``.
        roots: where the data sets are.
        only: patterns on the keys of runs, such as ``camvid/model-1/*``.
        overwrite: start the runs anew, finished ones included.
        allow_changed: keys that may differ from the configuration a run was begun with.
        init_from: a bundle from whose weights the reported member starts.
        cache: the folder of decoded pictures, from `segmi.data.cache.cache_folder`; None keeps them in memory.
        command: how to run it again, for the report.
        profile: measure what takes how long, into the ``profile.json`` of each run.
        listener: hears what happens.

    Raises:
        UsageError: if a run was begun with another configuration; the changed keys are named, nothing is touched.
            If ``init_from`` is no bundle, or would be removed.
        EnvironmentProblem: if records cannot be written.
        Interrupted: on SIGINT or SIGTERM, after the checkpoint is written.
    """
    runs = [_starting_from(run, init_from) for run in expand(study, only)]
    if init_from is not None:
        _check_bundle(init_from, [run.folder(root) for run in runs] if overwrite else [])
    if not overwrite:
        refuse_changed([(run, run.folder(root)) for run in runs], allow_changed)
    processes = resolve.connect([run.config["training"] for run in runs])
    outcome, clock = StudyOutcome(leads=processes.leads), Clock(runs)
    facts: dict[str, Facts] = {}

    def say(kind: Kind, number: int, run: Run, **news: Any) -> None:
        if listener is not None:
            listener(Event(kind, run, number, len(runs), **news))

    def opened(name: str) -> Facts:
        for other in facts.keys() - {name}:  # runs go data set by data set: one's pictures in memory are enough
            facts[other].forget_pictures()
        if name not in facts:
            facts[name] = Facts(resolve.open_data(name, study.datasets[name], roots or Roots()), cache)
        return facts[name]

    if not processes.leads:
        with stoppable():
            _follow(processes, runs, root, opened, init_from, profile=profile)
        return outcome
    _make_folder(root / study.name)
    write_plan(root / study.name, study_plan(study, opened, command))
    with stoppable():
        for number, run in enumerate(runs, 1):
            _do(
                run, number, root, opened, outcome, clock, say, processes,
                overwrite=overwrite, init_from=init_from, profile=profile,
            )  # fmt: skip
        processes.order(None)
    return outcome


def _follow(
    processes: Processes,
    runs: Sequence[Run],
    root: Path,
    opened: Callable[[str], Facts],
    init_from: Path | None,
    *,
    profile: bool,
) -> None:
    """What the other processes do: their part of the runs that the first one names."""
    by_key = {run.key: run for run in runs}
    while (key := processes.next_order()) is not None:
        run = by_key[key]
        with suppress(*ALIKE), processes.watched():
            execute(
                run, RunFolder(run.folder(root)), opened(run.dataset),
                init_from=init_from, processes=processes, profile=profile,
            )  # fmt: skip


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(
            f"the runs cannot be written to {path}: {error.strerror}", "give a folder that can be written with --runs"
        ) from error


def study_plan(study: Study, opened: Callable[[str], Facts], command: str | None = None) -> Plan:
    """What the study sets out to do, for the report: it tells missing runs from runs that nobody wanted."""
    return Plan(
        study=study.name,
        datasets={name: opened(name).dataset.info.title for name in study.datasets},
        methods={name: method.label or name for name, method in study.methods.items()},
        seeds=study.seeds,
        protocol=study.protocol,
        command=command,
        baseline=study.baseline,
        treatments={name: method.treatment or name for name, method in study.methods.items()},
        networks={name: described(method.members[method.reported or ""]) for name, method in study.methods.items()},
    )


def _do(
    run: Run,
    number: int,
    root: Path,
    opened: Callable[[str], Facts],
    outcome: StudyOutcome,
    clock: Clock,
    say: Callable[..., None],
    processes: Processes,
    *,
    overwrite: bool,
    init_from: Path | None,
    profile: bool,
) -> None:
    """One run of a study under its lock, its failure recorded."""
    folder = RunFolder(run.folder(root))
    with _lock_if_free(folder.path) as problem:
        if problem is not None:
            outcome.busy[run.key] = problem.message
            say("busy", number, run, text=problem.message)
            return
        if folder.finished and not overwrite:
            outcome.skipped.append(run.key)
            say("skipped", number, run)
            return
        prepare(folder.path, overwrite=overwrite)
        clock.start_run()
        say("started", number, run)

        def on_fit(progress: Any) -> None:
            if progress.text:
                say("note", number, run, text=progress.text)
                return
            run_left, study_left = clock.estimate(run, progress)
            say(
                "train", number, run, done=progress.step, of=progress.steps, loss=progress.loss,
                rate=progress.images_per_second, run_seconds_left=run_left, study_seconds_left=study_left,
            )  # fmt: skip

        def on_evaluate(done: int, of: int) -> None:
            say("evaluate", number, run, done=done, of=of)

        def on_prepare(done: int, of: int) -> None:
            say("prepare", number, run, done=done, of=of)

        processes.order(run.key)
        try:
            with processes.watched():
                execute(
                    run, folder, opened(run.dataset), init_from=init_from, processes=processes, profile=profile,
                    on_fit=on_fit, on_evaluate=on_evaluate, on_prepare=on_prepare,
                )  # fmt: skip
        except (Interrupted, KeyboardInterrupt):
            raise
        except Exception as error:
            folder.write_failure(error)
            outcome.failed[run.key] = folder.failure() or {}
            say("failed", number, run, text=str(error))
            if processes.count > 1 and not isinstance(error, ALIKE):
                raise  # the others stand somewhere else in the run: there is no next one to do together
        else:
            outcome.finished.append(run.key)
            say("finished", number, run)


@contextmanager
def _lock_if_free(folder: Path) -> Iterator[EnvironmentProblem | None]:
    """The lock of a run folder, or the reason why it cannot be had."""
    lock = run_lock(folder)
    try:
        lock.__enter__()
    except EnvironmentProblem as problem:
        if "in use" not in problem.message:
            raise
        yield problem
        return
    try:
        yield None
    finally:
        lock.__exit__(None, None, None)


def _starting_from(run: Run, init_from: Path | None) -> Run:
    """Other initial weights are another configuration."""
    if init_from is None:
        return run
    return Run(run.study, run.dataset, run.method, run.seed, {**run.config, "init_from": str(init_from)})


def _check_bundle(bundle: Path, removed: Sequence[Path]) -> None:
    if not (bundle / "model.json").exists():
        raise UsageError(f"--init-from {bundle} is no bundle", "give a folder with model.json and model.safetensors")
    for folder in removed:
        if bundle.resolve().is_relative_to(folder.resolve()):
            raise UsageError(
                f"the bundle {bundle} lies in {folder}, which --overwrite would remove",
                "copy the bundle elsewhere, or write the new run to another folder",
            )


def refuse_changed(runs: Sequence[tuple[Run, Path]], allow_changed: Sequence[str] = ()) -> None:
    """Refuse to continue or keep runs that were begun with another configuration.

    Raises:
        UsageError: naming the keys, with the old and the new value, and the runs.
    """
    changes: dict[str, list[Path]] = {}
    for run, folder in runs:
        if not (folder / "config.yaml").exists():
            continue
        before = parse_file(folder / "config.yaml").data
        for key, (old, new) in changed_keys(before if isinstance(before, dict) else {}, run.config).items():
            if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in allow_changed):
                changes.setdefault(f"{key} was {old!r}, is now {new!r}", []).append(folder)
    if changes:
        lines = [
            f"{change}: {folders[0]}" + (f" and {len(folders) - 1} more" if len(folders) > 1 else "")
            for change, folders in changes.items()
        ]
        raise UsageError(
            f"what is there was begun with another configuration:\n{together(lines)}",
            "--overwrite starts it anew, --allow-changed KEY goes on with what is there; another name, or another "
            "--output of `segmi train`, keeps both",
        )


def prepare(folder: Path, *, overwrite: bool) -> None:
    """Sweep what a killed process left half-written; on ``overwrite`` remove the records of the run before."""
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    for name in RECORDS if overwrite else ("result.json", "failure.json"):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else "no message"


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGINT and SIGTERM end what is inside as `Interrupted`, also where no training loop watches for them."""
    remedy = "run the same command again to continue"

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted("terminated", remedy, signal_number=number)

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if main else None
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted", remedy, signal_number=signal.SIGINT) from None
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
