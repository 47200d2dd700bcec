"""The parts of `segmi data prepare`, `info` and `clear` that work on the image cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmi.cli.output import put, put_json, put_table
from segmi.cli.progress_bars import counting
from segmi.errors import UsageError

if TYPE_CHECKING:
    from segmi.datasets import DatasetReader
    from segmi.datasets.cache import EntryInfo
    from segmi.datasets.processing import Processing


def required_cache_folder(choice: str | None) -> Path:
    """Return the folder of the cache; UsageError if it is disabled."""
    from segmi.datasets.cache import cache_folder

    folder = cache_folder(choice)
    if folder is None:
        raise UsageError("expected a cache folder, got none from --cache or SEGMI_CACHE", "pass --cache DIR")
    return folder


def processing_of(resize: str | None, resize_mode: str | None) -> Processing:
    """Return the processing that ``--resize`` and ``--resize-mode`` describe; UsageError for an invalid value."""
    from segmi.datasets.processing import Processing

    options: dict[str, Any] = {"crop": 1}  # the crop is not cached; 1 fits every image
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
) -> list[EntryInfo]:
    """Build the missing entries of some splits (resized images, and labels), and return all their entries.

    Labels at their original size are built too if ``labels`` is true; if it is None, for all splits but ``train``.

    Raises:
        UsageError: the dataset's generated images have no ``cache_key``.
        EnvironmentProblem: the disk has no room for all entries; none is built.
    """
    from segmi.datasets.cache import IMAGES, LABELS, check_disk_space, entry_info, entry_key, prepare

    wanted = []
    for split in splits:
        samples = dataset.split(split)
        both = processing.resize is not None and (labels if labels is not None else split != "train")
        for columns in [IMAGES, LABELS] if both else [IMAGES]:
            scale: Any = {"resize": processing.resize, "resize_mode": processing.resize_mode}
            key = entry_key(dataset, split, samples, columns, **scale)
            if key is None:
                raise UsageError(
                    f"{dataset.info.name}: expected generated images with a method cache_key, got some without",
                    "ask the authors of the dataset to add it",
                )
            wanted.append((samples, key))
    check_disk_space(folder, dataset, wanted)  # before anything is written
    infos = []
    for samples, key in wanted:
        progress = counting(f"{key.split}, {', '.join(key.columns)}:")
        infos.append(entry_info(prepare(folder, dataset, samples, key, jobs=jobs, progress=progress).folder))
    return infos


def put_entries(folder: Path, infos: Sequence[EntryInfo], as_json: bool) -> None:
    """Print entries as a table or as JSON."""
    from segmi.datasets.cache import format_bytes

    total = sum(info.bytes for info in infos)
    if as_json:
        put_json({"folder": str(folder), "bytes": total, "entries": [info.as_dict() for info in infos]})
        return
    rows = [
        {
            "dataset": info.dataset,
            "split": info.split,
            "holds": list(info.columns),
            "scale": "original" if info.resize is None else f"{info.resize}, {info.resize_mode}",
            "images": info.images,
            "size": format_bytes(info.bytes),
            "built": info.built.partition("T")[0],
            "state": "damaged" if info.damage else "ok",
        }
        for info in infos
    ]
    if rows:
        put_table(rows)
    put(f"{folder}: {entry_count(len(infos))}, {format_bytes(total)}")


def entry_count(count: int) -> str:
    """Format a number of entries.

    Example:
        >>> entry_count(1), entry_count(2)
        ('1 entry', '2 entries')
    """
    return f"{count} entry" if count == 1 else f"{count} entries"
