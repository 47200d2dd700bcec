"""Datasets in their official layouts, scenes that are generated, and what turns both into batches."""

from __future__ import annotations

import inspect
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from segmi.datasets.ade20k import ADE20K
from segmi.datasets.camvid import CamVid
from segmi.datasets.check import CheckReport, SplitReport, check_dataset
from segmi.datasets.cityscapes import Cityscapes
from segmi.datasets.custom import CustomDataset
from segmi.datasets.folder import Folder
from segmi.datasets.reader import DatasetInfo, DatasetReader, GeneratedImage, Listing, Problem, Sample, Source
from segmi.datasets.scenes import ObjectScenes, StreetScenes
from segmi.datasets.voc2012 import VOC2012
from segmi.errors import EnvironmentProblem, UsageError, nearest, unknown_name

__all__ = [
    "DATASETS",
    "CheckReport",
    "DatasetInfo",
    "DatasetReader",
    "GeneratedImage",
    "Listing",
    "Problem",
    "Sample",
    "Source",
    "SplitReport",
    "check_dataset",
    "dataset_class",
    "dataset_names",
    "open_dataset",
]

DATASETS: Final[dict[str, type[DatasetReader]]] = {
    "cityscapes": Cityscapes,
    "voc2012": VOC2012,
    "ade20k": ADE20K,
    "camvid": CamVid,
    "folder": Folder,
    "custom": CustomDataset,
    "street-scenes": StreetScenes,
    "object-scenes": ObjectScenes,
}
"""The datasets of segmi by name; other packages add theirs by entry points of the group ``segmi.datasets``."""

_GROUP: Final = "segmi.datasets"
_GENERATED: Final = frozenset({StreetScenes, ObjectScenes})


def dataset_names() -> tuple[str, ...]:
    """The names of all datasets: those of segmi, then those of other packages."""
    return tuple(dict.fromkeys([*DATASETS, *sorted(entry_points(group=_GROUP).names)]))


def dataset_class(name: str) -> type[DatasetReader]:
    """The class of a dataset; its constructor takes ``root`` and the dataset's options.

    Raises:
        UsageError: no dataset has this name.
        EnvironmentProblem: it is in another package that cannot be imported, or is no dataset.
    """
    if name in DATASETS:
        return DATASETS[name]
    for entry in entry_points(group=_GROUP, name=name):
        try:
            found = entry.load()
        except Exception as error:  # whatever another package's import raises
            raise EnvironmentProblem(
                f"dataset {name!r}: {entry.value} cannot be imported ({error})", "reinstall the package that offers it"
            ) from error
        if not (isinstance(found, type) and issubclass(found, DatasetReader)):
            raise EnvironmentProblem(
                f"dataset {name!r}: expected a DatasetReader, got {entry.value}", "tell its authors"
            )
        return found
    raise unknown_name("dataset", name, dataset_names())


def open_dataset(name: str, root: str | Path | None = None, **options: Any) -> DatasetReader:
    """A dataset, found on the disk.

    Args:
        name: one of `dataset_names`.
        root: the folder of the dataset or one that holds it under its usual name; None: the environment variable
            ``SEGMI_DATA``. Generated datasets leave it alone: one root may be meant for all datasets of a study.
        options: what the dataset's constructor takes beside the root.

    Raises:
        UsageError: no dataset has this name, or it takes no such option.
        DataError: its files are not found.
    """
    found = dataset_class(name)
    known = [option for option in inspect.signature(found).parameters if option != "root"]
    for option in options:
        if option not in known:
            guess = nearest(option, known)
            listing = f"known: {', '.join(known)}" if known else "it has none"
            raise UsageError(
                f"dataset {name!r} has no option {option!r}",
                f"did you mean {guess!r}? {listing}" if guess else listing,
            )
    return found(root=None if found in _GENERATED else root, **options)  # type: ignore[call-arg]  # the contract of the subclasses' constructors
