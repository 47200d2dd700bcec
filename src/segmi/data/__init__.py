"""Data sets in their official layouts, scenes that are generated, and what turns both into batches."""

from __future__ import annotations

import inspect
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from segmi.data.ade20k import ADE20K
from segmi.data.base import DataSet, DataSetInfo, Drawn, Listing, Problem, Sample, Source
from segmi.data.camvid import CamVid
from segmi.data.check import CheckReport, SplitReport, check_dataset
from segmi.data.cityscapes import Cityscapes
from segmi.data.described import Described
from segmi.data.folder import Folder
from segmi.data.scenes import ObjectScenes, StreetScenes
from segmi.data.voc2012 import VOC2012
from segmi.errors import EnvironmentProblem, UsageError, nearest, unknown_name

__all__ = [
    "DATASETS",
    "CheckReport",
    "DataSet",
    "DataSetInfo",
    "Drawn",
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

DATASETS: Final[dict[str, type[DataSet]]] = {
    "cityscapes": Cityscapes,
    "voc2012": VOC2012,
    "ade20k": ADE20K,
    "camvid": CamVid,
    "folder": Folder,
    "described": Described,
    "street-scenes": StreetScenes,
    "object-scenes": ObjectScenes,
}
"""The data sets of segmi by name; other packages add theirs by entry points of the group ``segmi.datasets``."""

_GROUP: Final = "segmi.datasets"
_GENERATED: Final = frozenset({StreetScenes, ObjectScenes})


def dataset_names() -> tuple[str, ...]:
    """The names of all data sets: those of segmi, then those of other packages."""
    return tuple(dict.fromkeys([*DATASETS, *sorted(entry_points(group=_GROUP).names)]))


def dataset_class(name: str) -> type[DataSet]:
    """The class of a data set; its constructor takes ``root`` and the data set's options.

    Raises:
        UsageError: no data set has this name.
        EnvironmentProblem: it is in another package that cannot be imported, or is no data set.
    """
    if name in DATASETS:
        return DATASETS[name]
    for entry in entry_points(group=_GROUP, name=name):
        try:
            found = entry.load()
        except Exception as error:  # whatever another package's import raises
            raise EnvironmentProblem(
                f"data set {name!r}: {entry.value} cannot be imported ({error})", "reinstall the package that offers it"
            ) from error
        if not (isinstance(found, type) and issubclass(found, DataSet)):
            raise EnvironmentProblem(f"data set {name!r}: expected a DataSet, got {entry.value}", "tell its authors")
        return found
    raise unknown_name("data set", name, dataset_names())


def open_dataset(name: str, root: str | Path | None = None, **options: Any) -> DataSet:
    """A data set, found on the disk.

    Args:
        name: one of `dataset_names`.
        root: the folder of the data set or one that holds it under its usual name; None: the environment variable
            ``SEGMI_DATA``. Generated data sets leave it alone: one root may be meant for all data sets of a study.
        options: what the data set's constructor takes beside the root.

    Raises:
        UsageError: no data set has this name, or it takes no such option.
        DataError: its files are not found.
    """
    found = dataset_class(name)
    known = [option for option in inspect.signature(found).parameters if option != "root"]
    for option in options:
        if option not in known:
            guess = nearest(option, known)
            listing = f"known: {', '.join(known)}" if known else "it has none"
            raise UsageError(
                f"data set {name!r} has no option {option!r}",
                f"did you mean {guess!r}? {listing}" if guess else listing,
            )
    return found(root=None if found in _GENERATED else root, **options)  # type: ignore[call-arg]  # the contract of the subclasses' constructors
