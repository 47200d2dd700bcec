"""Configuration, data and code that a run started from; they must not change when it continues."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segmi import __version__
from segmi.errors import UsageError, together
from segmi.records import RunFolder
from segmi.records.serialization import read_record, refuse_newer
from segmi.study.environment import code_version
from segmi.study.run_config import HELD_OUT, Run, changed_keys
from segmi.study.strict_yaml import mapping, parse_file

if TYPE_CHECKING:
    from segmi.datasets.reader import Sample, Source
    from segmi.study.dataset_context import DatasetContext

log = logging.getLogger(__name__)

ORIGIN_NAME: Final = "origin.json"


def origin(run: Run, context: DatasetContext) -> dict[str, Any]:
    """Return the versions of code and data of a run, for `ORIGIN_NAME`; call `refuse_other_origin` first."""
    splits = {"train", run.config.evaluation.split} - {HELD_OUT}
    data = {split: images_digest(context.dataset.split(split)) for split in sorted(splits)}
    return {"schema_version": 1, "segmi": __version__, "commit": code_version(), "data": data}


def images_digest(samples: Iterable[Sample]) -> str:
    """Return a digest of the names of samples and the sizes of their files, or of what generates them.

    It depends on no folder and no time: a copied or moved dataset has the same digest.
    """
    digest = hashlib.blake2b(digest_size=16)
    for sample in samples:
        digest.update(repr((sample.name, _size(sample.image), _size(sample.mask))).encode())
    return digest.hexdigest()


def _size(source: Source) -> str:
    if not isinstance(source, Path):
        key = getattr(source, "cache_key", None)
        return key() if key is not None else type(source).__qualname__
    try:
        return str(source.stat().st_size)
    except OSError:  # reported when the file is read
        return "unreadable"


def refuse_changed(runs: Sequence[Run], root: Path, allow_changed: Sequence[str] = ()) -> None:
    """Raise `UsageError` if runs were started with another configuration, with keys, values and runs."""
    changes: dict[str, list[Path]] = {}
    for run in runs:
        folder = run.folder(root)
        file = folder / "config.yaml"
        if not file.exists():
            continue
        before = mapping(parse_file(file).data)
        refuse_newer(file, before.get("schema_version"))
        for key, (old, new) in changed_keys(before, run.config.plain()).items():
            if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in allow_changed):
                changes.setdefault(f"{key} was {old!r}, is now {new!r}", []).append(folder)
    if changes:
        remedy = "use --overwrite to start them again, --allow-changed KEY to continue them, or another name"
        message = f"these runs were started with another configuration:\n{together(_lines(changes))}"
        raise UsageError(message, f"{remedy} (with `segmi train`, another --output) to keep both")


def refuse_other_origin(
    runs: Sequence[Run], root: Path, context_of: Callable[[str], DatasetContext], allow_changed: Sequence[str] = ()
) -> None:
    """Raise `UsageError` if runs would continue on other images or with another version of segmi.

    Another commit of the same version gives a warning only. ``allow_changed`` may contain ``data`` and ``segmi``.
    """
    changes: dict[str, dict[str, list[Path]]] = {"data": {}, "segmi": {}, "commit": {}}
    for run in runs:
        folder = run.folder(root)
        continues = any((folder / "checkpoints").glob("*")) and not RunFolder(folder).finished
        before = read_record(folder / ORIGIN_NAME) if continues else None
        if before is None:
            continue
        now = origin(run, context_of(run.dataset))
        for split, digest in now["data"].items():
            if before.get("data", {}).get(split) != digest:
                changes["data"].setdefault(f"data: {split} has other files or file sizes", []).append(folder)
        for key in ("segmi", "commit"):
            if before.get(key) != now[key]:
                changes[key].setdefault(f"{key} was {before.get(key)}, is now {now[key]}", []).append(folder)
    refused = [key for key in ("data", "segmi") if changes[key] and key not in allow_changed]
    if refused:
        keys = " ".join(f"--allow-changed {key}" for key in refused)
        lines = [line for key in refused for line in _lines(changes[key])]
        message = f"these runs were started with other data or another version:\n{together(lines)}"
        raise UsageError(message, f"restore it, start again with --overwrite, or continue with {keys}")
    for line in _lines(changes["commit"]):
        log.warning("%s; the run continues, floating-point results may differ slightly", line)


def _lines(changes: Mapping[str, Sequence[Path]]) -> list[str]:
    return [
        f"{change}: {folders[0]}" + (f" and {len(folders) - 1} more" if len(folders) > 1 else "")
        for change, folders in changes.items()
    ]
