"""What the verbs about the cache of decoded images share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmi.cli.output import put, put_json, put_table
from segmi.cli.progress import counting
from segmi.errors import UsageError

if TYPE_CHECKING:
    from segmi.datasets import DatasetReader
    from segmi.datasets.cache import Entry
    from segmi.datasets.processing import Processing


def folder_or_refuse(choice: str | None) -> Path:
    """The folder of the cache.

    Raises:
        UsageError: there is to be none.
    """
    from segmi.datasets.cache import cache_folder

    folder = cache_folder(choice)
    if folder is None:
        raise UsageError("there is no cache: --cache or SEGMI_CACHE says none", "name a folder with --cache DIR")
    return folder


def scale_of(resize: str | None, resize_mode: str | None) -> Processing:
    """The working scale that two options name; the defaults are those of the processing.

    Raises:
        UsageError: one of them cannot be meant.
    """
    from segmi.datasets.processing import Processing

    options: dict[str, Any] = {"crop": 1}
    if resize is not None:
        if resize != "none" and not resize.isdecimal():
            raise UsageError(f"--resize: expected a number of pixels or none, got {resize!r}", "write --resize 234")
        options["resize"] = None if resize == "none" else int(resize)
    if resize_mode is not None:
        if resize_mode not in ("exact", "shorter"):
            raise UsageError(f"--resize-mode: expected exact or shorter, got {resize_mode!r}", "use one of the two")
        options["resize_mode"] = resize_mode
    return Processing(**options)


def prepare_splits(
    folder: Path,
    dataset: DatasetReader,
    splits: Sequence[str],
    processing: Processing,
    *,
    labels: bool | None,
    jobs: int | None,
) -> list[Entry]:
    """The entries of some splits, built where they are not there: images at the working scale, and labels.

    Args:
        folder: of the cache.
        dataset: whose images they are.
        splits: of it.
        processing: the working scale.
        labels: whether labels at their original size are wanted too; None: for all splits but ``train``.
        jobs: processes.

    Raises:
        UsageError: the dataset draws its images without saying how to tell them apart.
        EnvironmentProblem: there is no room for all of them; none is built.
    """
    from segmi.datasets.cache import IMAGES, LABELS, check_room, content_of, prepared
    from segmi.datasets.cache.place import entry_of

    wanted = []
    for split in splits:
        samples = dataset.split(split)
        both = processing.resize is not None and (labels if labels is not None else split != "train")
        for columns in [IMAGES, LABELS] if both else [IMAGES]:
            content = content_of(
                dataset, split, samples, columns, resize=processing.resize, resize_mode=processing.resize_mode
            )
            if content is None:
                raise UsageError(
                    f"{dataset.info.name} cannot be cached", "its images have no cache_key; ask its authors"
                )
            wanted.append((samples, content))
    check_room(folder, dataset, wanted)
    entries = []
    for samples, content in wanted:
        progress = counting(f"{content.split}, {', '.join(content.columns)}:")
        store = prepared(folder, dataset, samples, content, jobs=jobs, progress=progress)
        entries.append(entry_of(store.folder))
    return entries


def put_entries(folder: Path, found: Sequence[Entry], as_json: bool) -> None:
    """Entries as a table or as JSON."""
    from segmi.datasets.cache import size

    total = sum(entry.bytes for entry in found)
    if as_json:
        put_json({"folder": str(folder), "bytes": total, "entries": [entry.as_dict() for entry in found]})
        return
    if found:
        columns = ["dataset", "split", "holds", "scale", "images", "size", "built", "state"]
        put_table([_row(entry) for entry in found], columns)
    put(f"{folder}: {counted(len(found))}, {size(total)}")


def _row(entry: Entry) -> dict[str, Any]:
    from segmi.datasets.cache import size

    scale = "original" if entry.resize is None else f"{entry.resize}, {entry.resize_mode}"
    return {
        "dataset": entry.dataset,
        "split": entry.split,
        "holds": list(entry.columns),
        "scale": scale,
        "images": entry.images,
        "size": size(entry.bytes),
        "built": entry.built.partition("T")[0],
        "state": "damaged" if entry.damage else "sound",
    }


def counted(count: int) -> str:
    """A number of entries in words.

    Example:
        >>> counted(1), counted(2)
        ('1 entry', '2 entries')
    """
    return f"{count} entry" if count == 1 else f"{count} entries"
