"""``segmi data …``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segmi.cli.options import Cache
from segmi.cli.output import calm_libraries, put, put_json, put_table
from segmi.cli.own_data import init, named
from segmi.cli.progress import counting
from segmi.errors import UsageError

if TYPE_CHECKING:
    from segmi.datasets import CheckReport

app = typer.Typer(no_args_is_help=True, help="Look at datasets before training on them, and prepare them for it.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A dataset of `segmi list datasets`, or a folder.")]
Root = Annotated[
    Path | None, typer.Option("--root", metavar="DIR", help="Its folder, or one that holds it; SEGMI_DATA otherwise.")
]
Options = Annotated[
    list[str] | None,
    typer.Argument(metavar="OPTION=VALUE", help="Options of the dataset, such as val=0.2 or masks=color."),
]

app.command()(init)


@app.command()
def check(
    name: Name,
    options: Options = None,
    root: Root = None,
    split: Annotated[list[str] | None, typer.Option("--split", help="Only this split; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read every file of a dataset: counts, classes, ignored, and every problem with the file's name.

    Ends with exit code 3 if a file is refused.

    Example: `segmi data check camvid --root /data/CamVid`
    """
    calm_libraries()
    from segmi.datasets import check_dataset, open_dataset

    kind, place = named(name, root)
    dataset = open_dataset(kind, place, **parse_options(options or []))
    report = check_dataset(dataset, split, counting())
    error = report.error()
    if as_json:
        put_json(report.as_dict())
    else:
        _print(report)
    if error is not None:
        raise error


@app.command()
def prepare(
    name: Name,
    options: Options = None,
    root: Root = None,
    split: Annotated[list[str] | None, typer.Option("--split", help="Only this split; may be repeated.")] = None,
    resize: Annotated[
        str | None, typer.Option("--resize", metavar="PIXELS|none", help="The study's processing.resize.")
    ] = None,
    resize_mode: Annotated[str | None, typer.Option("--resize-mode", help="The study's: exact or shorter.")] = None,
    labels: Annotated[
        bool | None,
        typer.Option("--labels/--no-labels", help="Labels at their original size too; for all splits but train."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Processes; as many as there are processors if it pays.")
    ] = None,
    cache: Cache = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Decode and resize every image once, into the cache, where runs map it into memory.

    Runs do this themselves when they start; do it before where many of them will start at once, or on a machine with
    more processors. What is there already is left alone, what has changed is built anew.

    Example: `segmi data prepare camvid --root /data/CamVid --resize 234`
    """
    calm_libraries()
    from segmi.cli.caching import folder_or_refuse, prepare_splits, put_entries, scale_of
    from segmi.datasets import open_dataset

    folder = folder_or_refuse(cache)
    kind, place = named(name, root)
    dataset = open_dataset(kind, place, **parse_options(options or []))
    processing = scale_of(resize, resize_mode)
    built = prepare_splits(folder, dataset, split or dataset.splits, processing, labels=labels, jobs=jobs)
    put_entries(folder, built, as_json)


@app.command()
def info(
    cache: Cache = None,
    verify: Annotated[bool, typer.Option("--verify", help="Compare every byte with its checksum.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell where the cache is, what lies in it and how large it is.

    Ends with exit code 3 if an entry is damaged; the next run builds it anew.

    Example: `segmi data info --verify`
    """
    from segmi.cli.caching import folder_or_refuse, put_entries
    from segmi.datasets.cache import entries
    from segmi.errors import DataError

    folder = folder_or_refuse(cache)
    found = entries(folder, verify=verify)
    put_entries(folder, found, as_json)
    damaged = [f"{entry.folder}: {entry.damage}" for entry in found if entry.damage]
    if damaged:
        raise DataError("damaged entries:\n" + "\n".join(damaged), "remove them with segmi data clear")


@app.command()
def clear(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only what is of this dataset.")] = None,
    cache: Cache = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Remove decoded images from the cache; runs that have them open keep them until they end.

    Example: `segmi data clear camvid`
    """
    from segmi.cli.caching import counted, folder_or_refuse
    from segmi.datasets.cache import clear as remove
    from segmi.datasets.cache import entries, size

    folder = folder_or_refuse(cache)
    removed, left = remove(folder, name)
    if as_json:
        put_json({"folder": str(folder), "removed": [entry.as_dict() for entry in removed], "left": left})
        return
    if name is not None and not removed and not left:
        there = sorted({entry.dataset for entry in entries(folder)})
        put(f"there is nothing of {name} in {folder}" + (f"; it holds {', '.join(there)}" if there else ""))
        return
    put(f"removed {counted(len(removed))} of {size(sum(entry.bytes for entry in removed))} from {folder}")
    for line in left:
        put(f"left alone: {line}")


@app.command()
def preview(
    name: Name,
    options: Options = None,
    root: Root = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the images go.")] = Path("preview"),
    split: Annotated[str, typer.Option("--split", help="Which split.")] = "train",
    count: Annotated[int, typer.Option("--count", min=1, help="How many images, evenly spaced.")] = 8,
) -> None:
    """Write some images and their masks in the dataset's colors, to look at them.

    Example: `segmi data preview street-scenes --out preview`
    """
    calm_libraries()
    from segmi.datasets import open_dataset
    from segmi.records import write_sample
    from segmi.study.samples import evenly_spaced

    kind, place = named(name, root)
    dataset = open_dataset(kind, place, **parse_options(options or []))
    samples = dataset.split(split)
    for index in evenly_spaced(count, len(samples)):
        image, mask = dataset.read(samples[index])
        name_ = f"{split}-{index:04d}-{samples[index].name}"
        for path in write_sample(out, name_, image, mask, {}, dataset.info.palette):
            put(str(path))


def parse_options(texts: list[str]) -> dict[str, Any]:
    """``name=value`` texts as options, values read as YAML.

    Raises:
        UsageError: texts of another form, all of them named, or a value that is no YAML.
    """
    from segmi.study.strict_yaml import parse_value

    parts = [text.partition("=") for text in texts]
    odd = [repr(text) for text, (name, equals, _) in zip(texts, parts, strict=True) if not (name and equals)]
    if odd:
        raise UsageError(
            f"expected OPTION=VALUE, got {', '.join(odd)}", "`segmi list datasets` shows the options of each dataset"
        )
    return {name: parse_value(value) for name, _, value in parts}


def _print(report: CheckReport) -> None:
    put(f"{report.title}: {len(report.classes)} classes")
    put_table(
        [
            {
                "split": split.name,
                "images": split.images,
                "readable": split.readable,
                "groups": split.groups,
                "smallest": _size(split.smallest),
                "largest": _size(split.largest),
                "ignored": f"{split.ignored_share:.1%}",
            }
            for split in report.splits
        ],
        ["split", "images", "readable", "groups", "smallest", "largest", "ignored"],
    )
    put("")
    put_table(
        [
            {"class": name, **{split.name: f"{split.class_shares[index]:.2%}" for split in report.splits}}
            for index, name in enumerate(report.classes)
        ],
        ["class", *(split.name for split in report.splits)],
    )
    for note in report.notes:
        put(f"note: {note}")
    if not report.problems:
        put("no problems")


def _size(size: tuple[int, int] | None) -> str:
    return f"{size[0]}×{size[1]}" if size else "–"
