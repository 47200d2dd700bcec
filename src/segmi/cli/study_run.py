"""``segmi study run`` and ``segmi study retry``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from segmi.cli.options import AllowChanged, Cache, InitFrom
from segmi.cli.output import calm_libraries, put, say
from segmi.cli.progress_bars import StudyProgress
from segmi.cli.scales import scale_lines
from segmi.cli.study import File, Overrides, Root, Runs, print_report
from segmi.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from segmi.study.engines import Engine

Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="PATTERN", help="Only these runs, such as 'camvid/model-1/*'.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start the runs again and remove their results.")]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help="in-process: one run after the other; pool: several processes; ray: a cluster, or this machine.",
    ),
]
Jobs = Annotated[int | None, typer.Option("--jobs", metavar="N", help="pool and ray: number of runs at a time.")]
Retries = Annotated[
    int | None,
    typer.Option(
        "--retries",
        metavar="N",
        help="pool and ray: tries after a crash of the process of a run (default: pool 0, ray 2).",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT|auto",
        help="ray: address of the cluster, auto for the one of this machine (default: start Ray for this call).",
    ),
]
Cpus = Annotated[
    float | None,
    typer.Option("--cpus", metavar="N", help="ray: CPU cores reserved for a run (default: one per thread)."),
]
Gpus = Annotated[
    float | None,
    typer.Option(
        "--gpus",
        metavar="N",
        help="ray: GPUs reserved for a run, 0.25 for four runs per GPU (default: one, if there are GPUs).",
    ),
]

ENGINES: Final = {"in-process": (), "pool": ("jobs", "retries"), "ray": ("jobs", "retries", "address", "cpus", "gpus")}
"""Options of each engine."""


def _run(
    file: File,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    root: Root = None,
    only: Only = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Only continue: fail if no run of the study was started.")
    ] = False,
    overwrite: Overwrite = False,
    init_from: InitFrom = None,
    allow_changed: AllowChanged = None,
    cache: Cache = None,
    engine: EngineName = "in-process",
    jobs: Jobs = None,
    retries: Retries = None,
    address: Address = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
) -> None:
    """Execute all unfinished runs of a study, then write the report and print Table 1.

    It can be stopped at any time: the same command continues with the same results, bit for bit. Failed runs are tried
    again.

    Example: `segmi study run camvid --root /data training.steps=500`
    """
    _start(**locals())


def _retry(
    file: File,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    root: Root = None,
    only: Only = None,
    overwrite: Overwrite = False,
    init_from: InitFrom = None,
    allow_changed: AllowChanged = None,
    cache: Cache = None,
    engine: EngineName = "in-process",
    jobs: Jobs = None,
    retries: Retries = None,
    address: Address = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
) -> None:
    """Execute only the failed or diverged runs, then write the report and print Table 1.

    They continue from their last checkpoint, or start again with `--overwrite`. A diverged run diverges again from its
    checkpoint unless a setting changes.

    Example: `segmi study retry camvid --root /data --only '*/model-2/*'`
    """
    _start(**locals(), failed_only=True)


# One function for both commands: their signatures differ in --resume only.
def _start(
    *,
    file: Path,
    overrides: list[str] | None,
    runs: Path,
    root: list[str] | None,
    only: list[str] | None,
    overwrite: bool,
    init_from: Path | None,
    allow_changed: list[str] | None,
    cache: str | None,
    engine: str,
    resume: bool = False,
    failed_only: bool = False,
    **engine_options: Any,
) -> None:
    from segmi.datasets.cache import cache_folder
    from segmi.study import DataRoots, expand, load_study, run_study
    from segmi.study.run_queue import RunQueue
    from segmi.study.status import study_status, to_retry
    from segmi.training.launchers import is_first_process

    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other", "give one of them")
    chosen = _engine(engine, **engine_options)  # before the study is read, so that a wrong option is reported at once
    say(f"checking {file}")
    calm_libraries()
    roots = DataRoots.parse(root or [])
    study = load_study(file, overrides or [], roots=roots)
    wanted, only = expand(study, only or []), only or []
    if failed_only:
        failed = to_retry(study_status(study, runs), wanted)
        if not failed:
            put(f"no run of {study.name} has failed" + (f" among the {len(wanted)} of --only" if only else ""))
            return
        only = failed
    for line in scale_lines(study, roots) if is_first_process() else ():
        say(line)
    begun = RunQueue(study, wanted, runs).all() if resume else []
    if resume and not any((one.folder(runs) / "config.yaml").exists() for one in begun):
        raise UsageError(f"there is nothing to resume in {runs / study.name}", "omit --resume to start the study")
    with StudyProgress() as progress:
        outcome = run_study(
            study, runs, roots=roots, only=only, overwrite=overwrite, init_from=init_from, engine=chosen,
            allow_changed=allow_changed or [], cache=cache_folder(cache), listener=progress,
            command=shlex.join(["segmi", "study", "run", str(file), *(overrides or [])]),
        )  # fmt: skip
    if not outcome.leads:
        return
    for cell, selection in outcome.searches.items():
        rungs = f" ({text})" if (text := selection.describe_rungs()) else ""
        put(f"{cell}: search of {len(selection.trials)} trials{rungs}, {selection.steps:,} optimizer steps")
    try:
        print_report(runs / study.name)
    finally:
        outcome.raise_if_incomplete()  # a failed run matters more than a failed report


def _engine(name: str, **options: Any) -> Engine:
    """Build an engine from the options that were given; its defaults are its own."""
    from segmi.study.engines import InProcess, Pool, Ray

    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    given = {option: value for option, value in options.items() if value is not None}
    for option in given.keys() - set(ENGINES[name]):
        able = " or ".join(f"--engine {other}" for other, known in ENGINES.items() if option in known)
        raise UsageError(f"--{option} has no meaning for the engine {name}", f"omit it, or choose {able}")
    return {"in-process": InProcess, "pool": Pool, "ray": Ray}[name](**given)
