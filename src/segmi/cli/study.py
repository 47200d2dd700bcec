"""``segmi study …`` and ``segmi report``; the verbs that do runs are in `segmi.cli.study_run`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from segmi.cli.output import calm_libraries, put, put_json, put_table
from segmi.cli.progress import duration

app = typer.Typer(
    no_args_is_help=True,
    help="""Compare methods × datasets × seeds as a study file declares them.

    `segmi study check FILE` tells everything that is wrong with a file, `run` does what is not done yet, `retry` what
    failed, `status` tells where the runs stand, `show` prints the file with every default written out.""",
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A study file, such as studies/demo.yaml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH.TO.FIELD=VALUE",
        help="Fields set for this call, such as training.steps=100 'seeds=[0, 1]'.",
    ),
]
Root = Annotated[
    list[str] | None,
    typer.Option(
        "--root",
        metavar="[NAME=]DIR",
        help="Where the datasets lie: one folder for all, or NAME=DIR for each. SEGMI_DATA is taken otherwise.",
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
    from segmi.study.search import number_of_trials
    from segmi.study.validation import load_study

    study = load_study(file, overrides or [], roots=Roots.parse(root or []))
    runs = [run.key for run in expand(study)]
    trials = len(study.datasets) * sum(map(number_of_trials, study.searches.values()))
    if as_json:
        put_json({"study": study.name, "ok": True, "runs": runs, "trials": trials})
    else:
        put(f"{file} is sound: {len(runs)} runs" + (f" after {trials} trials, each as long as a run" if trials else ""))


@app.command()
def show(file: File, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print a study with every default written out; the output is itself a study file.

    Example: `segmi study show studies/demo.yaml training.steps=100`
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
    """Tell where the runs of a study stand: finished, running, failed, diverged, interrupted, pending.

    Of a running one the process, its machine and since when; of a failed one the last line of its traceback.

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
    for row in rows:
        row["for"] = duration(row["seconds"]) if row["seconds"] is not None else None
    put_table(rows, ["run", "state", "for", "step", "score", "detail"])
    counts = Counter(row["state"] for row in rows)
    others = "".join(f", {count} {state}" for state, count in counts.items() if state != "finished")
    put(f"{counts['finished']} of {len(rows)} runs are finished{others}")


def report(
    runs: Annotated[
        Path, typer.Argument(metavar="RUNS", help="A folder of runs: a study's, such as runs/demo, or the one above.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the report goes; RUNS/report by default.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Serve it on this machine and write it anew while a study runs.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Where --watch serves; a free port by default.")
    ] = 0,
    images: Annotated[
        bool,
        typer.Option("--images/--no-images", help="Leave out images, where a license forbids to hand them on."),
    ] = True,
) -> None:
    """Write tables, figures and a page from the runs on disk, and print Table 1.

    Example: `segmi report runs/demo`, or `segmi report runs/demo --watch` while it runs
    """
    calm_libraries()
    if watch:
        watch_report(runs, out, port, images)
    else:
        print_report(runs, out, images)


def watch_report(runs: Path, out: Path | None, port: int, images: bool = True) -> None:
    """Serve the report until Ctrl-C; its address goes to stdout, what is written anew to stderr."""
    from segmi.report.watch import Watch, serving, wait_for_interrupt

    watch = Watch(runs, out, images=images, log=lambda line: typer.echo(line, err=True))
    with serving(watch, port) as address:
        put(f"{address} (Ctrl-C ends it)")
        wait_for_interrupt()


def print_report(runs: Path, out: Path | None = None, images: bool = True) -> None:
    """Write the report; Table 1 and the report's folder go to stdout."""
    from segmi.report import table1_text, write_report

    folder = write_report(runs, out, images=images)
    put(table1_text(runs).rstrip())
    put("")
    put(f"report: {folder}")
