"""``segmi study check``, ``show`` and ``status``, and ``segmi report``."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from segmi.cli.options import AsJson
from segmi.cli.output import calm_libraries, put, put_json, put_table
from segmi.cli.progress_bars import duration
from segmi.errors import counted

app = typer.Typer(
    no_args_is_help=True,
    help="""Compare methods × datasets × seeds, as declared in a study file.

    `new` writes a study file for your folder, `check` validates a file, `run` executes all unfinished runs, `retry`
    only the failed ones, `status` shows the state of every run, `show` prints the file with all defaults, and `pack`
    copies finished runs without weights.""",
)

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="Study file, or the name of a shipped study in `segmi list studies`.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH.TO.FIELD=VALUE", help="Fields set for this call, such as training.steps=100 'seeds=[0, 1]'."
    ),
]
Root = Annotated[
    list[str] | None,
    typer.Option(
        "--root",
        metavar="[NAME=]DIR",
        help="Folder of the datasets, or NAME=DIR for each dataset (default: $SEGMI_DATA).",
    ),
]
UnreadRoot = Annotated[
    list[str] | None,
    typer.Option("--root", metavar="[NAME=]DIR", help="Accepted as by `segmi study run`; no data are read."),
]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder of all runs.")]


@app.command()
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Study file to write, such as cells.yaml.")],
    data: Annotated[
        str, typer.Option("--data", metavar="FOLDER|NAME", help="Folder of images and masks, or the name of a dataset.")
    ],
) -> None:
    """Write a commented study file to start from: three methods on one dataset.

    Example: `segmi study new cells.yaml --data photos`
    """
    from segmi.datasets import dataset_names
    from segmi.datasets.folders import is_folder, study_name
    from segmi.errors import UsageError, unknown_name
    from segmi.records.atomic import atomic_write
    from segmi.study.shipped import study_template

    if file.suffix not in (".yaml", ".yml"):
        raise UsageError(f"expected a file that ends in .yaml, got {file}", f"write {file}.yaml")
    if file.exists():
        raise UsageError(f"{file} exists", "choose another name, or remove the file")
    folder = data if is_folder(data) else None
    if folder is None and data not in dataset_names():
        raise unknown_name("dataset", data, dataset_names())
    atomic_write(file, study_template(file.stem, study_name(Path(data)) if folder else data, folder))
    put(
        f"wrote {file}; edit it, then run: segmi study check {file}"
        + (f" --root {shlex.quote(folder)}" if folder else "")
    )


@app.command()
def check(file: File, overrides: Overrides = None, root: Root = None, as_json: AsJson = False) -> None:
    """Validate a study file, including its datasets, and print everything that is wrong.

    Example: `segmi study check camvid --root /data`
    """
    calm_libraries()
    from segmi.study import DataRoots, expand, load_study
    from segmi.study.search import rung_sizes

    study = load_study(file, overrides or [], roots=DataRoots.parse(root or []))
    runs = [run.key for run in expand(study)]
    rungs = [rung_sizes(spaces, study.search_rungs) for spaces in study.searches.values()]
    trials = len(study.datasets) * sum(map(sum, rungs))
    cost = sum(size * fraction for sizes in rungs for size, fraction in zip(sizes, study.search_rungs, strict=True))
    if as_json:
        put_json({"study": study.name, "ok": True, "runs": runs, "trials": trials})
    else:
        put(
            f"{file} is valid: {counted(len(runs), 'run')}"
            + (f" after {trials} trials, as long as {len(study.datasets) * cost:.4g} runs" if trials else "")
        )
        folders = [word for one in root or [] for word in ("--root", one)]
        put(f"next: {shlex.join(['segmi', 'study', 'run', str(file), *folders, *(overrides or [])])}")


@app.command()
def show(file: File, overrides: Overrides = None, root: UnreadRoot = None, as_json: AsJson = False) -> None:
    """Print a study with every default written out; the output is a study file.

    Example: `segmi study show demo training.steps=100`
    """
    calm_libraries()
    from segmi.study import load_study
    from segmi.study.strict_yaml import dump

    plain = load_study(file, overrides or []).plain()
    if as_json:
        put_json(plain)
    else:
        put(dump(plain).rstrip())


@app.command()
def status(
    file: File,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    root: UnreadRoot = None,
    as_json: AsJson = False,
) -> None:
    """Show the state of every run: finished, running, failed, diverged, interrupted or pending.

    Running runs are shown with their process, machine and time, failed ones with their error.

    Example: `segmi study status demo --json`
    """
    calm_libraries()
    from dataclasses import asdict

    from segmi.study import load_study
    from segmi.study.status import study_status

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


@app.command()
def pack(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder of a study's runs, or the folder above it.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write the packed runs to.")],
    as_json: AsJson = False,
) -> None:
    """Copy finished runs without weights and images, about 20 kB each, to archive or move them.

    `segmi report DIR` and `segmi study status FILE --runs DIR` accept packed runs, and `segmi study run FILE --runs
    DIR` treats them as finished.

    Example: `segmi study pack runs/demo --output records`
    """
    from segmi.records.pack import pack_runs

    packed = pack_runs(runs, output)
    if as_json:
        put_json([{"run": str(one.folder), "bytes": one.size} for one in packed])
        return
    largest = max(one.size for one in packed)
    put(f"{len(packed)} finished runs in {output}, {sum(one.size for one in packed):,} bytes, at most {largest:,} each")


def report(
    runs: Annotated[
        Path,
        typer.Argument(metavar="RUNS", help="Folder of a study's runs, such as runs/demo, or the folder above it."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder of the report (default: RUNS/report).")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Serve the report on this machine and update it while a study runs.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port of --watch (default: a free port).")
    ] = 0,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Include images; their license may forbid sharing.")
    ] = True,
) -> None:
    """Write tables, figures and an HTML page from finished runs, and print Table 1.

    Example: `segmi report runs/demo`, or `segmi report runs/demo --watch` while it runs
    """
    calm_libraries()
    if not watch:
        print_report(runs, output, images)
        return
    from segmi.report.watch import Watch, serving, wait_for_interrupt

    # the address on stdout, updates on stderr
    with serving(Watch(runs, output, images=images, log=lambda line: typer.echo(line, err=True)), port) as address:
        put(f"{address} (Ctrl-C ends it)")
        wait_for_interrupt()


def print_report(runs: Path, out: Path | None = None, images: bool = True) -> None:
    """Write the report, and print Table 1 and the page of the report."""
    from segmi.report import table1_text, write_report

    folder = write_report(runs, out, images=images)
    put(table1_text(runs).rstrip())
    put("")
    put(f"report: {folder / 'index.html'}")
