"""``segmi study run`` and ``segmi study retry``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from segmi.cli.options import Cache
from segmi.cli.output import calm_libraries, put, say
from segmi.cli.progress import StudyProgress
from segmi.cli.study import File, Overrides, Root, Runs, print_report
from segmi.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from segmi.study.engines import Engine
    from segmi.study.roots import Roots
    from segmi.study.schema import Study

Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="PATTERN", help="Only these runs, such as 'camvid/model-1/*'.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start the runs anew; what they hold is removed.")]
InitFrom = Annotated[
    Path | None, typer.Option("--init-from", metavar="BUNDLE", help="Fine-tune: start from a bundle's weights.")
]
AllowChanged = Annotated[
    list[str] | None,
    typer.Option("--allow-changed", metavar="KEY", help="Go on although this has changed: a key, data, segmi."),
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help="in-process: one run after the other; pool: several at a time, in processes; ray: on a cluster, or here.",
    ),
]
Jobs = Annotated[int | None, typer.Option("--jobs", metavar="N", help="Of pool and ray: how many runs at a time.")]
Retries = Annotated[
    int | None,
    typer.Option(
        "--retries",
        metavar="N",
        help="Of pool and ray: how often a run is taken up again whose process was lost; 0 with pool, 2 with ray.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT|auto",
        help="Of ray: the cluster, auto for the one that this machine is in; left out, Ray is started for this call.",
    ),
]
Cpus = Annotated[
    float | None,
    typer.Option("--cpus", metavar="N", help="Of ray: processors set aside for a run, one per thread otherwise."),
]
Gpus = Annotated[
    float | None,
    typer.Option(
        "--gpus",
        metavar="N",
        help="Of ray: GPUs set aside for a run, 0.25 for four runs on one; otherwise one, where there are some.",
    ),
]

ENGINES: Final = {
    "in-process": (),
    "pool": ("jobs", "retries"),
    "ray": ("jobs", "retries", "address", "cpus", "gpus"),
}
"""The engines and their options."""


def run(
    file: File,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    root: Root = None,
    only: Only = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Insist on continuing: refuse if no run of the study was begun.")
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
    """Do every run of a study that is not finished, then write the report and print Table 1.

    Stop it whenever you like: the same command continues where it stopped, bit for bit. Runs that failed are tried
    again.

    Example: `segmi study run studies/camvid.yaml --root /data training.steps=500`
    """
    from segmi.study import expand
    from segmi.study.agenda import Agenda

    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other", "give one of them")
    chosen = _engine(engine, jobs=jobs, retries=retries, address=address, cpus=cpus, gpus=gpus)
    study, roots = _checked(file, overrides, root)
    begun = Agenda(study, expand(study, only or []), runs).all() if resume else []
    if resume and not any((one.folder(runs) / "config.yaml").exists() for one in begun):
        raise UsageError(f"there is nothing to resume in {runs / study.name}", "leave --resume out to start the study")
    _do(
        study, runs, file, overrides, roots=roots, only=only or [], overwrite=overwrite,
        allow_changed=allow_changed or [], init_from=init_from, cache=cache, engine=chosen,
    )  # fmt: skip


def retry(
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
    """Do the runs of a study again that failed or diverged, and no others, then write the report and print Table 1.

    They go on from their last checkpoint, or start anew with `--overwrite`. Where a run diverged, its last checkpoint
    leads to the same end, so change what made it diverge.

    Example: `segmi study retry studies/camvid.yaml --root /data --only '*/model-2/*'`
    """
    from segmi.study import expand
    from segmi.study.status import study_status, to_retry

    chosen = _engine(engine, jobs=jobs, retries=retries, address=address, cpus=cpus, gpus=gpus)
    study, roots = _checked(file, overrides, root)
    wanted = expand(study, only or [])
    failed = to_retry(study_status(study, runs), wanted)
    if not failed:
        put(f"no run of {study.name} has failed" + (f" among the {len(wanted)} of --only" if only else ""))
        return
    _do(
        study, runs, file, overrides, roots=roots, only=failed, overwrite=overwrite,
        allow_changed=allow_changed or [], init_from=init_from, cache=cache, engine=chosen,
    )  # fmt: skip


def _checked(file: Path, overrides: list[str] | None, root: list[str] | None) -> tuple[Study, Roots]:
    from segmi.study import Roots
    from segmi.study.validation import load_study

    say(f"checking {file}")
    calm_libraries()
    roots = Roots.parse(root or [])
    return load_study(file, overrides or [], roots=roots), roots


def _do(
    study: Study, runs: Path, file: Path, overrides: list[str] | None, *, cache: str | None, **options: Any
) -> None:
    from segmi.datasets.cache import cache_folder
    from segmi.study.run import run_study

    with StudyProgress() as progress:
        outcome = run_study(
            study,
            runs,
            cache=cache_folder(cache),
            command=shlex.join(["segmi", "study", "run", str(file), *(overrides or [])]),
            listener=progress,
            **options,
        )
    if not outcome.leads:
        return
    try:
        print_report(runs / study.name)
    finally:
        outcome.raise_if_incomplete()  # a failed run matters more than a report that could not be written


def _engine(name: str, **options: Any) -> Engine:
    """The engine, told what was said about it: its defaults are its own."""
    from segmi.study.engines import InProcess, Pool, Ray

    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    given = {option: value for option, value in options.items() if value is not None}
    for option in given.keys() - set(ENGINES[name]):
        able = " or ".join(f"--engine {other}" for other, known in ENGINES.items() if option in known)
        raise UsageError(f"--{option} says nothing to the engine {name}", f"leave it out, or choose {able}")
    return {"in-process": InProcess, "pool": Pool, "ray": Ray}[name](**given)
