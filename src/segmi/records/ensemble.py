"""``ensemble.json``: the bundles of several runs that predict together, such as the folds of a cross-validation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from segmi.errors import DataError
from segmi.records.serialization import damaged, read_record, write_record

ENSEMBLE_NAME: Final = "ensemble.json"


def write_ensemble(folder: Path, bundles: Sequence[Path], details: Mapping[str, Any] | None = None) -> Path:
    """Write the ``ensemble.json`` of a folder: paths of its bundles relative to it, and further ``details``."""
    paths = [Path(os.path.relpath(bundle, folder)).as_posix() for bundle in bundles]
    return write_record(folder / ENSEMBLE_NAME, {"bundles": paths, **(details or {})})


def read_ensemble(folder: Path) -> list[Path] | None:
    """Return the bundles that the ``ensemble.json`` of a folder lists; None without such a file.

    Raises:
        DataError: if the file is damaged, or lists a folder that is outside or not a bundle.
    """
    record = read_record(folder / ENSEMBLE_NAME)
    if record is None:
        return None
    names = record.get("bundles")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise damaged(folder / ENSEMBLE_NAME, f"expected a list of bundles, got {names!r}")
    bundles = [folder / name for name in names]
    for bundle in bundles:
        if not bundle.resolve().is_relative_to(folder.resolve()):
            raise damaged(folder / ENSEMBLE_NAME, f"the bundle {bundle} is outside its folder")
        if not (bundle / "model.json").is_file():
            problem = f"{folder / ENSEMBLE_NAME} lists {bundle}, which is not a bundle"
            raise DataError(problem, "restore the bundle, or run the same command again to write it")
    return bundles
