"""Datasets on the command line: by name or by folder, and ``segmi data init`` for folders of images and masks."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segmi.cli.options import AsJson
from segmi.cli.output import calm_libraries, put, put_json, put_table
from segmi.cli.progress_bars import counting
from segmi.errors import EnvironmentProblem, UsageError

if TYPE_CHECKING:
    from segmi.datasets import CheckReport, DatasetReader
    from segmi.datasets.detection import Proposal

SHEET = "segmi-contact-sheet.png"


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of images and masks.")],
    images: Annotated[
        str | None,
        typer.Option("--images", metavar="DIR", help="Folder of the images inside FOLDER (default: detected)."),
    ] = None,
    masks: Annotated[
        str | None,
        typer.Option("--masks", metavar="DIR", help="Folder of the masks inside FOLDER (default: detected)."),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Name in tables (default: the folder's).")] = None,
    val: Annotated[
        float, typer.Option("--val", min=0, max=1, help="Share of train drawn for val, if the folder has none.")
    ] = 0.2,
    test: Annotated[
        float, typer.Option("--test", min=0, max=1, help="Share of train drawn for test, if the folder has none.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of these draws.")] = 0,
    pairs_only: Annotated[bool, typer.Option("--pairs-only", help="Leave out unmatched images and masks.")] = False,
    threshold: Annotated[
        int | None,
        typer.Option(
            "--threshold",
            min=1,
            help="For two-class JPEG or smoothed masks: lowest gray level of the foreground.",
        ),
    ] = None,
    ignored: Annotated[
        str | None,
        typer.Option(
            "--ignored", metavar="VALUES", help="Mask values to ignore, such as 255 or '0 0 0,9 9 9', or none."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to write segmi.toml to (default: FOLDER)."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing segmi.toml.")] = False,
    as_json: AsJson = False,
) -> None:
    """Detect how a folder of images and masks is organized, and describe it in segmi.toml.

    It detects images and masks in separate folders, side by side or in one folder per scene, with or without splits,
    and the layouts of PASCAL VOC, Cityscapes, SegNet, ADE20K and COCO's panoptic PNG. Masks may hold values, palette
    indices or colors. Classes, ignored values, splits and groups are proposed: look at the contact sheet, and correct
    segmi.toml if necessary.

    Example: `segmi data init photos`, then `segmi train photos`
    """
    from segmi.datasets.custom import FILE_NAME
    from segmi.datasets.detection import propose
    from segmi.records.atomic import atomic_path, atomic_write

    calm_libraries()
    written = folder if output is None else output
    target = written / FILE_NAME
    if output is None and folder.is_dir() and not os.access(folder, os.W_OK):
        raise EnvironmentProblem(
            f"cannot write {FILE_NAME}: {folder} is read-only",
            f"write it to another folder, which every command accepts: segmi data init {folder} --output DIR",
        )
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists", "check it with `segmi data check FOLDER`, or replace it with --overwrite")
    proposal = propose(
        folder, images=images, masks=masks, title=title, val=val, test=test, seed=seed, pairs_only=pairs_only,
        threshold=threshold, ignored=None if ignored is None else _ignored_values(ignored), progress=_stages(),
    )  # fmt: skip
    try:
        written.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write {target}: {error.strerror}", "give a folder that this user can write: --output DIR"
        ) from error
    with atomic_path(written / SHEET) as temporary:
        proposal.sheet().save(temporary, format="PNG")
    atomic_write(target, proposal.text(None if output is None else folder.resolve()))
    if as_json:
        facts = {"layout": proposal.layout, "notes": proposal.notes, "file": str(target), "sheet": str(written / SHEET)}
        put_json({**facts, "report": proposal.report.as_dict()})
    else:
        _put_proposal(proposal, written, target)


def convert(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of images and polygon files.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="New folder to write images and masks to.")
    ],
    as_json: AsJson = False,
) -> None:
    """Draw masks from the polygons of labelme (JSON), COCO (JSON, also run lengths) or YOLO (text).

    Each class gets a value; pixels outside all polygons are background (0). Small objects are drawn over large ones,
    labelme's shapes in the order of the file. Images are linked, or copied across file systems, and splits are kept.

    Example: `segmi data convert polygons --output masks`, then `segmi data init masks`
    """
    from segmi.datasets.polygon_masks import convert_polygons

    calm_libraries()
    result = convert_polygons(folder, output, counting())
    if as_json:
        put_json({**result._asdict(), "folder": str(output)})
        return
    put(f"{result.images} masks from the polygons of {result.format}: {', '.join(result.classes)}")
    put("\n".join(f"- {note}" for note in result.notes))
    put(f"next: segmi data init {shlex.quote(str(output))}")


def open_reader(name: str, root: Path | None, options: Sequence[str] | None) -> DatasetReader:
    """Open a dataset by its name or folder, with options as ``OPTION=VALUE`` texts.

    Raises:
        UsageError: a folder together with a root, a folder without description, or an invalid option.
        DataError: the files of the dataset are not found.
    """
    from segmi.datasets import open_dataset
    from segmi.datasets.folders import is_folder, reader_of

    folder: Path | None = root
    if is_folder(name):
        if root is not None:
            raise UsageError(f"expected a folder or --root, got both {name} and --root {root}", "pass one of the two")
        name, folder = reader_of(Path(name)), Path(name)
    return open_dataset(name, folder, **parse_options(options or []))


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Parse ``name=value`` texts, with values in YAML; the UsageError names all texts of another form."""
    from segmi.study.strict_yaml import parse_value

    parts = [text.partition("=") for text in texts]
    invalid = [repr(text) for text, (name, equals, _) in zip(texts, parts, strict=True) if not (name and equals)]
    if invalid:
        raise UsageError(
            f"expected OPTION=VALUE, got {', '.join(invalid)}",
            "`segmi list datasets` shows the options of each dataset",
        )
    return {name: parse_value(value) for name, _, value in parts}


def _ignored_values(text: str) -> list[int | tuple[int, int, int]]:
    """Parse ``none``, or values and colors separated by commas."""
    values: list[int | tuple[int, int, int]] = []
    for part in [] if text.strip().lower() == "none" else text.split(","):
        numbers = [int(word) for word in part.split() if word.isdigit() and int(word) <= 255]
        if len(numbers) != len(part.split()) or len(numbers) not in (1, 3):
            raise UsageError(
                f"--ignored: expected values from 0 to 255, colors of three such values, or none, got {text!r}",
                "write --ignored 255, --ignored 0,255 or --ignored '0 0 0'",
            )
        values.append(numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1], numbers[2]))
    return values


def _stages() -> Callable[[str, int, int], None]:
    """Return a listener that shows the progress of several passes, one after the other."""
    listeners: dict[str, Any] = {}

    def listener(stage: str, done: int, total: int) -> None:
        listeners.setdefault(stage, counting(stage))(done, total)

    return listener


def put_report_tables(
    report: CheckReport, columns: Sequence[str], values: Sequence[Sequence[str]] | None = None
) -> None:
    """Print a table of the splits, and one of the classes with their values and their shares of the pixels."""
    rows = [
        {"split": s.name, "images": s.images, "readable": s.readable, "groups": s.groups,
         "smallest": "×".join(map(str, s.smallest or "–")), "largest": "×".join(map(str, s.largest or "–")),
         "ignored": f"{s.ignored_share:.1%}"}
        for s in report.splits
    ]  # fmt: skip
    put_table(rows, columns)
    put("")
    classes = []
    for index, name in enumerate(report.classes):
        value = {} if values is None else {"value": ", ".join(values[index])}
        classes.append({"class": name, **value, **{s.name: f"{s.class_shares[index]:.2%}" for s in report.splits}})
    put_table(classes)


def _put_proposal(proposal: Proposal, folder: Path, target: Path) -> None:
    from segmi.datasets.folders import study_name
    from segmi.study.recipe import describe_time

    report = proposal.report
    put(f"{report.title}: {proposal.layout}")
    put("")
    listed = [one.values for one in proposal.dataset.config.classes]
    values = [[" ".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in of_class] for of_class in listed]
    put_report_tables(report, ["split", "images", "groups", "ignored"], values)
    put("\n".join(["", *(f"- {note}" for note in proposal.notes), ""]))
    put(f"wrote {target}")
    put(f"wrote {folder / SHEET}: check that the colors match the objects")
    argument, name = shlex.quote(str(folder)), study_name(folder)
    put(f"next: segmi train {argument} --output runs/{name}")
    put(f"      {describe_time()}")
