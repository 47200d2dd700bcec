"""``segmi study …`` and ``segmi report``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segmi.cli.options import Cache
from segmi.cli.output import calm_libraries, put, put_json, put_table, say
from segmi.cli.progress import StudyProgress
from segmi.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from segmi.study.engines import Engine

app = typer.Typer(
    no_args_is_help=True,
    help="""Compare methods × data sets × seeds as a study file declares them.

    `segmi study check FILE` tells everything that is wrong with a file, `run` does what is not done yet, `status` tells
    where the runs stand, `show` prints the file with every default written out.""",
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A study file, such as studies/demo.yaml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH.TO.FIELD=VALUE",
        help="Fields set for this call, such as training.updates=100 'seeds=[0, 1]'.",
    ),
]
Root = Annotated[
    list[str] | None,
    typer.Option(
        "--root",
        metavar="[NAME=]DIR",
        help="Where the data sets lie: one folder for all, or NAME=DIR for each. SEGMI_DATA is taken otherwise.",
    ),
]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="The folder of all runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def check(file: File, overrides: Overrides = None, root: Root = None, as_json: AsJson = False) -> None:
    """Tell everything that is wrong with a study file, data included, before anything starts.

    Example: `segmi study check studies/camvid.yaml --root /data`
    """
    calm_libraries()
    from segmi.study import Roots, expand
    from segmi.study.validation import load_study

    study = load_study(file, overrides or [], roots=Roots.parse(root or []))
    runs = [run.key for run in expand(study)]
    if as_json:
        put_json({"study": study.name, "ok": True, "runs": runs})
    else:
        put(f"{file} is sound: {len(runs)} runs")


@app.command()
def show(file: File, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print a study with every default written out; the output is itself a study file.

    Example: `segmi study show studies/demo.yaml training.updates=100`
    """
    calm_libraries()
    from segmi.study.strict_yaml import dump
    from segmi.study.validation import load_study

    plain = load_study(file, overrides or []).plain()
    if as_json:
        put_json(plain)
    else:
        put(dump(plain).rstrip())


@app.command()
def status(file: File, overrides: Overrides = None, runs: Runs = Path("runs"), as_json: AsJson = False) -> None:
    """Tell where the runs of a study stand: finished, running, failed (and why), unfinished, missing.

    Example: `segmi study status studies/demo.yaml --json`
    """
    calm_libraries()
    from dataclasses import asdict

    from segmi.study.status import study_status
    from segmi.study.validation import load_study

    rows = [asdict(row) for row in study_status(load_study(file, overrides or []), runs)]
    if as_json:
        put_json(rows)
        return
    put_table(rows, ["run", "state", "step", "score", "detail"])
    put(f"{sum(row['state'] == 'finished' for row in rows)} of {len(rows)} runs are finished")


@app.command()
def run(
    file: File,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    root: Root = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="PATTERN", help="Only these runs, such as 'camvid/model-1/*'.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Insist on continuing: refuse if no run of the study was begun.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start the runs anew; what they hold is removed.")
    ] = False,
    init_from: Annotated[
        Path | None, typer.Option("--init-from", metavar="BUNDLE", help="Fine-tune: start from a bundle's weights.")
    ] = None,
    allow_changed: Annotated[
        list[str] | None,
        typer.Option("--allow-changed", metavar="KEY", help="Continue although this key of the study has changed."),
    ] = None,
    cache: Cache = None,
    engine: Annotated[
        str,
        typer.Option("--engine", help="in-process: one run after the other; pool: several at a time, in processes."),
    ] = "in-process",
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", help="Of the pool: how many runs at a time.")
    ] = None,
) -> None:
    """Do every run of a study that is not finished, then write the report and print Table 1.

    Stop it whenever you like: the same command continues where it stopped, bit for bit. Runs that failed are tried
    again.

    Example: `segmi study run studies/camvid.yaml --root /data training.updates=500`
    """
    from segmi.data.cache import cache_folder
    from segmi.study import Roots, expand
    from segmi.study.run import run_study
    from segmi.study.validation import load_study

    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other", "give one of them")
    say(f"checking {file}")
    calm_libraries()
    roots = Roots.parse(root or [])
    study = load_study(file, overrides or [], roots=roots)
    if resume and not any((one.folder(runs) / "config.yaml").exists() for one in expand(study, only or [])):
        raise UsageError(f"there is nothing to resume in {runs / study.name}", "leave --resume out to start the study")
    with StudyProgress() as progress:
        outcome = run_study(
            study,
            runs,
            roots=roots,
            only=only or [],
            overwrite=overwrite,
            allow_changed=allow_changed or [],
            init_from=init_from,
            cache=cache_folder(cache),
            command=shlex.join(["segmi", "study", "run", str(file), *(overrides or [])]),
            engine=_engine(engine, jobs),
            listener=progress,
        )
    if not outcome.leads:
        return
    try:
        print_report(runs / study.name)
    finally:
        outcome.raise_if_incomplete()  # a failed run matters more than a report that could not be written


def _engine(name: str, jobs: int | None) -> Engine:
    from segmi.study.engines import InProcess, Pool

    if name == "pool":
        return Pool(jobs)
    if name != "in-process":
        raise unknown_name("engine", name, ["in-process", "pool"])
    if jobs is not None:
        raise UsageError("--jobs is an option of the pool", "write --engine pool --jobs N")
    return InProcess()


def report(
    runs: Annotated[
        Path, typer.Argument(metavar="RUNS", help="A folder of runs: a study's, such as runs/demo, or the one above.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the report goes; RUNS/report by default.")
    ] = None,
) -> None:
    """Write tables, figures and a page from the runs on disk, and print Table 1.

    Example: `segmi report runs/demo`
    """
    calm_libraries()
    print_report(runs, out)


def print_report(runs: Path, out: Path | None = None) -> None:
    """Write the report; Table 1 and the report's folder go to stdout."""
    from segmi.report import table1_text, write_report

    folder = write_report(runs, out)
    put(table1_text(runs).rstrip())
    put("")
    put(f"report: {folder}")
