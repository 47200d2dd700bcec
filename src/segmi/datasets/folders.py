"""Names of data folders: what reads them, and how a study calls them."""

from __future__ import annotations

import re
from pathlib import Path

from segmi.errors import UsageError
from segmi.records.run_folder import is_reserved_name


def is_folder(text: str) -> bool:
    """Return whether an argument names a data folder rather than a dataset or a setting."""
    from segmi.datasets import dataset_names  # needs PyTorch

    return "=" not in text and text not in dataset_names() and ("/" in text or Path(text).is_dir())


def reader_of(folder: Path) -> str:
    """Return the dataset name that reads a folder: ``custom`` for ``segmi.toml``, ``folder`` for ``classes.txt``.

    Raises:
        UsageError: the folder does not exist, or has neither file.
    """
    from segmi.datasets.class_list import FILE_NAME as CLASS_LIST
    from segmi.datasets.custom import FILE_NAME

    if (folder / FILE_NAME).is_file():
        return "custom"
    if (folder / CLASS_LIST).is_file():
        return "folder"
    if not folder.is_dir():
        raise UsageError(
            f"expected a folder, got {folder}, which does not exist",
            "check the path; `segmi list datasets` shows the datasets",
        )
    raise UsageError(f"{folder} has no {FILE_NAME}", f"write it: segmi data init {folder}")


def study_name(folder: Path) -> str:
    """Return the dataset name of a folder in a study.

    Example:
        >>> study_name(Path("/data/Meine Zellen (neu)"))
        'Meine-Zellen-neu'
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._")[:80]
    return f"data-{name}" if is_reserved_name(name) else name or "data"
