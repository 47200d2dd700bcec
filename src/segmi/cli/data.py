"""``segmi data …``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segmi.cli.options import AsJson, Cache, DatasetOptions
from segmi.cli.output import calm_libraries, put, put_json
from segmi.cli.own_data import convert, init, open_reader, put_report_tables
from segmi.cli.progress_bars import counting

if TYPE_CHECKING:
    from segmi.datasets import CheckReport

app = typer.Typer(no_args_is_help=True, help="Describe, check, preview and cache datasets.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A dataset in `segmi list datasets`, or a folder.")]
Root = Annotated[
    Path | None,
    typer.Option("--root", metavar="DIR", help="Dataset root, or a folder that holds it (default: $SEGMI_DATA)."),
]
Splits = Annotated[list[str] | None, typer.Option("--split", help="Only this split; may be repeated.")]

app.command()(init)
app.command()(convert)


@app.command()
def check(
    name: Name, options: DatasetOptions = None, root: Root = None, split: Splits = None, as_json: AsJson = False
) -> None:
    """Read every file of a dataset and report image counts, class shares, ignored pixels and problems.

    Exits with code 3 if there are problems; each names its file.

    Example: `segmi data check camvid --root /data/CamVid`
    """
    calm_libraries()
    from segmi.datasets import check_dataset

    report = check_dataset(open_reader(name, root, options), split, counting())
    if as_json:
        put_json(report.as_dict())
    else:
        _put_report(report)
    error = report.error()
    if error is not None:
        raise error


@app.command()
def prepare(
    name: Name,
    options: DatasetOptions = None,
    root: Root = None,
    split: Splits = None,
    resize: Annotated[
        str | None, typer.Option("--resize", metavar="PIXELS|none", help="processing.resize of the study.")
    ] = None,
    resize_mode: Annotated[
        str | None, typer.Option("--resize-mode", help="processing.resize_mode of the study: exact or shorter.")
    ] = None,
    labels: Annotated[
        bool | None,
        typer.Option(
            "--labels/--no-labels", help="Cache labels at their original size too (default: for all splits but train)."
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Processes (default: one per CPU core when it helps).")
    ] = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Decode and resize every image once, into the cache that runs map into memory.

    Runs do this when they start. Prepare a dataset before many runs start at once, or on a machine with more CPU cores.
    Existing entries are kept; outdated ones are built again.

    Example: `segmi data prepare camvid --root /data/CamVid --resize 234`
    """
    calm_libraries()
    from segmi.cli.caching import prepare_splits, processing_of, put_entries, required_cache_folder

    folder = required_cache_folder(cache)
    dataset = open_reader(name, root, options)
    processing = processing_of(resize, resize_mode)
    infos = prepare_splits(folder, dataset, split or dataset.splits, processing, labels=labels, jobs=jobs)
    put_entries(folder, infos, as_json)


@app.command()
def info(
    cache: Cache = None,
    verify: Annotated[bool, typer.Option("--verify", help="Compare every byte with its checksum.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the entries of the cache and their sizes.

    Exits with code 3 if an entry is damaged; the next run builds it again.

    Example: `segmi data info --verify`
    """
    from segmi.cli.caching import put_entries, required_cache_folder
    from segmi.datasets.cache import entries
    from segmi.errors import DataError

    folder = required_cache_folder(cache)
    infos = entries(folder, verify=verify)
    put_entries(folder, infos, as_json)
    damaged = [f"{entry.folder}: {entry.damage}" for entry in infos if entry.damage]
    if damaged:
        raise DataError("damaged entries:\n" + "\n".join(damaged), "remove them with segmi data clear")


@app.command()
def clear(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only entries of this dataset.")] = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Remove entries from the cache; runs that have them open keep them until they end.

    Example: `segmi data clear camvid`
    """
    from segmi.cli.caching import entry_count, required_cache_folder
    from segmi.datasets.cache import clear as remove
    from segmi.datasets.cache import entries, format_bytes

    folder = required_cache_folder(cache)
    removed, busy = remove(folder, name)
    if as_json:
        put_json({"folder": str(folder), "removed": [entry.as_dict() for entry in removed], "busy": busy})
        return
    if name is not None and not removed and not busy:
        others = sorted({entry.dataset for entry in entries(folder)})
        put(f"no entries of {name} in {folder}" + (f"; it holds {', '.join(others)}" if others else ""))
        return
    put(f"removed {entry_count(len(removed))}, {format_bytes(sum(entry.bytes for entry in removed))}, from {folder}")
    for line in busy:
        put(f"not removed: {line}")


@app.command()
def preview(
    name: Name,
    options: DatasetOptions = None,
    root: Root = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write the PNG files to.")
    ] = Path("preview"),
    split: Annotated[str, typer.Option("--split", help="Split to show.")] = "train",
    count: Annotated[int, typer.Option("--count", min=1, help="Number of images, evenly spaced.")] = 8,
) -> None:
    """Write some images and their masks, in the dataset's colors, as PNG files.

    Example: `segmi data preview street-scenes --output preview`
    """
    calm_libraries()
    from segmi.records import write_sample
    from segmi.study.run_outputs import evenly_spaced

    dataset = open_reader(name, root, options)
    samples = dataset.split(split)
    for index in evenly_spaced(count, len(samples)):
        image, mask = dataset.read(samples[index])
        stem = f"{split}-{index:04d}-{samples[index].name}"
        for path in write_sample(output, stem, image, mask, {}, dataset.info.palette):
            put(str(path))


def _put_report(report: CheckReport) -> None:
    put(f"{report.title}: {len(report.classes)} classes")
    put_report_tables(report, ["split", "images", "readable", "groups", "smallest", "largest", "ignored"])
    for note in report.notes:
        put(f"note: {note}")
    if not report.problems:
        put("no problems")
