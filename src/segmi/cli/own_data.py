"""``segmi data init``, and a folder in the place of a dataset's name."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segmi.cli.output import calm_libraries, put, put_json, put_table
from segmi.cli.progress import counting
from segmi.errors import UsageError

if TYPE_CHECKING:
    from segmi.datasets.detection import Proposal

SHEET = "segmi-contact-sheet.png"


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder that holds images and masks.")],
    images: Annotated[
        str | None, typer.Option("--images", metavar="DIR", help="Where in it the images lie, if that is not found.")
    ] = None,
    masks: Annotated[
        str | None, typer.Option("--masks", metavar="DIR", help="Where in it the masks lie, if that is not found.")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="The name in tables; the folder's by default.")] = None,
    val: Annotated[
        float, typer.Option("--val", min=0, max=1, help="The share drawn for val where the folder has no val.")
    ] = 0.2,
    test: Annotated[
        float, typer.Option("--test", min=0, max=1, help="The share drawn for test where the folder has no test.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Keys these draws.")] = 0,
    pairs_only: Annotated[
        bool, typer.Option("--pairs-only", help="Leave out images without mask, and masks without image.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a data-set file that is there already.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look at a folder of images and masks, and write the file that lets everything else read it.

    Understood are images and masks in folders of their own, side by side or in a folder per scene, with or without
    splits, and the layouts of PASCAL VOC, Cityscapes, SegNet, ADE20K and COCO's panoptic PNG; masks of numbers,
    palettes or colors. Classes, ignored, splits and groups are proposed: look at the contact sheet, and change segmi.toml
    where it is wrong.

    Example: `segmi data init photos`, then `segmi train photos --loss rmi_loss --steps 500`
    """
    from segmi.datasets.custom import FILE_NAME
    from segmi.datasets.detection import propose
    from segmi.records.atomic import atomic_path, atomic_write

    calm_libraries()
    target = folder / FILE_NAME
    if target.exists() and not overwrite:
        raise UsageError(
            f"{target} is there already", "check it with `segmi data check FOLDER`, or replace it with --overwrite"
        )
    proposal = propose(
        folder, images=images, masks=masks, title=title, val=val, test=test, seed=seed, pairs_only=pairs_only,
        progress=_stages(),
    )  # fmt: skip
    with atomic_path(folder / SHEET) as temporary:
        proposal.sheet().save(temporary, format="PNG")
    atomic_write(target, proposal.text())
    if as_json:
        found = {"layout": proposal.layout, "notes": proposal.notes, "file": str(target), "sheet": str(folder / SHEET)}
        put_json({**found, "report": proposal.report.as_dict()})
    else:
        _print(proposal, folder, target)


def is_folder(text: str) -> bool:
    """Whether a word of the command line names a folder of data rather than a dataset or a setting."""
    from segmi.datasets import dataset_names

    return "=" not in text and text not in dataset_names() and ("/" in text or Path(text).is_dir())


def named(name: str, root: Path | None) -> tuple[str, Path | None]:
    """A dataset and its root, where a folder may stand in the place of the name.

    Raises:
        UsageError: a folder and another root, or a folder that nothing describes.
    """
    if not is_folder(name):
        return name, root
    if root is not None:
        raise UsageError(f"{name} is a folder, and --root {root} names another one", "give one of the two")
    return kind_of(Path(name)), Path(name)


def kind_of(folder: Path) -> str:
    """How a folder is read: by its data-set file or, without one, by its ``classes.txt``.

    Raises:
        UsageError: there is no such folder, or nothing in it says what its masks mean.
    """
    from segmi.datasets.class_list import FILE_NAME as CLASS_LIST
    from segmi.datasets.custom import FILE_NAME

    if (folder / FILE_NAME).is_file():
        return "custom"
    if (folder / CLASS_LIST).is_file():
        return "folder"
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", "check the path; `segmi list datasets` shows the datasets")
    raise UsageError(
        f"{folder} has no {FILE_NAME} that says how it is read", f"let it be written: segmi data init {folder}"
    )


def study_name(folder: Path) -> str:
    """The name of a folder as that of a dataset in a study.

    Example:
        >>> study_name(Path("/data/Meine Zellen (neu)"))
        'Meine-Zellen-neu'
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._")[:80]
    return name or "data"


def _stages() -> Any:
    """Progress of several passes, one after the other."""
    listeners: dict[str, Any] = {}

    def listener(what: str, done: int, of: int) -> None:
        listeners.setdefault(what, counting(what))(done, of)

    return listener


def _print(proposal: Proposal, folder: Path, target: Path) -> None:
    report = proposal.report
    put(f"{report.title}: {proposal.layout}")
    put("")
    columns = ["split", "images", "groups", "ignored"]
    put_table(
        [
            {"split": s.name, "images": s.images, "groups": s.groups, "ignored": f"{s.ignored_share:.1%}"}
            for s in report.splits
        ],
        columns,
    )
    put("")
    put_table(
        [
            {
                "class": one.name,
                "value": ", ".join(_shown(value) for value in one.values),
                **{split.name: f"{split.class_shares[place]:.2%}" for split in report.splits},
            }
            for place, one in enumerate(proposal.dataset.description.classes)
        ],
        ["class", "value", *(split.name for split in report.splits)],
    )
    put("")
    for note in proposal.notes:
        put(f"- {note}")
    put("")
    put(f"wrote {target}")
    put(f"wrote {folder / SHEET}: look whether the colors lie where they should")
    said, name = shlex.quote(str(folder)), study_name(folder)
    put(f"next: segmi train {said} --loss rmi_loss --steps 500 --output runs/{name}")


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
