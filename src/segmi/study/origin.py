"""What a run was begun with, its configuration, images and code, which must be the same when it goes on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmi import __version__
from segmi.errors import UsageError, together
from segmi.records import RunFolder
from segmi.records.serialization import read_record, refuse_newer, write_record
from segmi.study.environment import code_version
from segmi.study.expand import HELD_OUT, Run, changed_keys
from segmi.study.strict_yaml import parse_file

if TYPE_CHECKING:
    from segmi.datasets.reader import Sample, Source
    from segmi.study.facts import Facts

log = logging.getLogger(__name__)

_FILE = "origin.json"


def origin(run: Run, facts: Facts) -> dict[str, Any]:
    """Code and images of a run as plain data, for ``origin.json``."""
    splits = {"train", run.config["evaluation"]["split"]} - {HELD_OUT}
    return {
        "schema_version": 1,
        "segmi": __version__,
        "commit": code_version(),
        "data": {split: images_digest(facts.dataset.split(split)) for split in sorted(splits)},
    }


def keep_origin(folder: RunFolder, run: Run, facts: Facts) -> None:
    """Write what a run goes on with; `refuse_other_origin` comes before."""
    write_record(folder.path / _FILE, origin(run, facts))


def images_digest(samples: Iterable[Sample]) -> str:
    """Names of samples with the sizes of their files in bytes, or with what draws them.

    Neither places nor times are in it: a dataset that was copied or moved is the same.

    Example:
        >>> from segmi.datasets import StreetScenes
        >>> one, two = (StreetScenes(train=n, val=1, height=32, width=64) for n in (1, 2))
        >>> images_digest(one.split("train")) == images_digest(two.split("train")[:1])
        True
    """
    hashed = hashlib.blake2b(digest_size=16)
    for sample in samples:
        hashed.update(repr((sample.name, _told(sample.image), _told(sample.mask))).encode())
    return hashed.hexdigest()


def _told(source: Source) -> str:
    if not isinstance(source, Path):
        key = getattr(source, "cache_key", None)
        return key() if key is not None else type(source).__qualname__
    try:
        return str(source.stat().st_size)
    except OSError:  # whoever reads it says what is wrong
        return "unreadable"


def refuse_changed(runs: Sequence[tuple[Run, Path]], allow_changed: Sequence[str] = ()) -> None:
    """Refuse to continue or keep runs that were begun with another configuration.

    Raises:
        UsageError: naming the keys, with the old and the new value, and the runs.
    """
    changes: dict[str, list[Path]] = {}
    for run, folder in runs:
        if not (folder / "config.yaml").exists():
            continue
        before = parse_file(folder / "config.yaml").data
        refuse_newer(folder / "config.yaml", before.get("schema_version") if isinstance(before, dict) else None)
        for key, (old, new) in changed_keys(before if isinstance(before, dict) else {}, run.config).items():
            if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in allow_changed):
                changes.setdefault(f"{key} was {old!r}, is now {new!r}", []).append(folder)
    if changes:
        raise UsageError(
            f"what is there was begun with another configuration:\n{together(_lines(changes))}",
            "--overwrite starts it anew, --allow-changed KEY goes on with what is there; another name, or another "
            "--output of `segmi train`, keeps both",
        )


def refuse_other_origin(
    runs: Sequence[tuple[Run, Path]], opened: Callable[[str], Facts], allow_changed: Sequence[str] = ()
) -> None:
    """Refuse to continue runs from their checkpoints on other images or with another version of segmi.

    Another commit of the same version is told and no obstacle: whoever changes segmi knows.

    Args:
        runs: what is to be done, with its folders.
        opened: the dataset of a name.
        allow_changed: ``data`` and ``segmi`` may be among them.

    Raises:
        UsageError: naming the runs, and what is another.
    """
    changes: dict[str, dict[str, list[Path]]] = {"data": {}, "segmi": {}, "commit": {}}
    for run, folder in runs:
        continues = any((folder / "checkpoints").glob("*")) and not RunFolder(folder).finished
        before = read_record(folder / _FILE) if continues else None
        if before is None:
            continue
        now = origin(run, opened(run.dataset))
        for split, digest in now["data"].items():
            if before.get("data", {}).get(split) != digest:
                changes["data"].setdefault(f"data: {split} has other files, or of other sizes", []).append(folder)
        for key in ("segmi", "commit"):
            if before.get(key) != now[key]:
                changes[key].setdefault(f"{key} was {before.get(key)}, is now {now[key]}", []).append(folder)
    refused = [key for key in ("data", "segmi") if changes[key] and key not in allow_changed]
    if refused:
        keys = " ".join(f"--allow-changed {key}" for key in refused)
        lines = [line for key in refused for line in _lines(changes[key])]
        raise UsageError(
            f"what is there was begun with something else:\n{together(lines)}",
            f"put it back as it was, start anew with --overwrite, or go on all the same with {keys}",
        )
    for line in _lines(changes["commit"]):
        log.warning("%s; it goes on, perhaps in other roundings", line)


def _lines(changes: Mapping[str, Sequence[Path]]) -> list[str]:
    return [
        f"{change}: {folders[0]}" + (f" and {len(folders) - 1} more" if len(folders) > 1 else "")
        for change, folders in changes.items()
    ]
