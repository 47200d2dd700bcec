"""Datasets: readers of official layouts and of custom folders, generated scenes, and batches for training."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segmi.datasets.ade20k import ADE20K
from segmi.datasets.camvid import CamVid
from segmi.datasets.check import CheckReport, SplitReport, check_dataset
from segmi.datasets.cityscapes import Cityscapes
from segmi.datasets.custom import CustomDataset
from segmi.datasets.folder import Folder
from segmi.datasets.holdout import hold_out
from segmi.datasets.reader import DatasetInfo, DatasetReader, GeneratedImage, Listing, Problem, Sample, Source
from segmi.datasets.scenes import ObjectScenes, StreetScenes
from segmi.datasets.voc2012 import VOC2012
from segmi.errors import UsageError, nearest, unknown_name
from segmi.plugins import load_plugin, load_plugins, plugin_names

if TYPE_CHECKING:
    from segmi.datasets.loader import Shard, Unlabeled, training_batches
    from segmi.datasets.processing import Processing
    from segmi.datasets.segmentation_dataset import SegmentationDataset

__all__ = [
    "ADE20K",
    "DATASETS",
    "VOC2012",
    "CamVid",
    "CheckReport",
    "Cityscapes",
    "CustomDataset",
    "DatasetInfo",
    "DatasetReader",
    "Folder",
    "GeneratedImage",
    "Listing",
    "ObjectScenes",
    "Problem",
    "Processing",
    "Sample",
    "SegmentationDataset",
    "Shard",
    "Source",
    "SplitReport",
    "StreetScenes",
    "Unlabeled",
    "check_dataset",
    "dataset_class",
    "dataset_names",
    "hold_out",
    "known_datasets",
    "open_dataset",
    "training_batches",
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
"""The datasets of segmi by name; other packages add theirs with entry points of the group ``segmi.datasets``."""

_PLUGINS: Final = (
    "segmi.datasets", lambda kind: isinstance(kind, type) and issubclass(kind, DatasetReader), "a DatasetReader class"
)  # fmt: skip
_GENERATED: Final = frozenset({StreetScenes, ObjectScenes})

# Imported on first access, since they import PyTorch.
_LAZY: Final = {
    **dict.fromkeys(("Shard", "Unlabeled", "training_batches"), "segmi.datasets.loader"),
    "Processing": "segmi.datasets.processing",
    "SegmentationDataset": "segmi.datasets.segmentation_dataset",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


def dataset_names() -> tuple[str, ...]:
    """Return the names of all datasets: first segmi's, then the datasets of other packages."""
    return tuple(dict.fromkeys([*DATASETS, *plugin_names(_PLUGINS[0])]))


def known_datasets() -> dict[str, type[DatasetReader]]:
    """Return `DATASETS` and the datasets of other packages; a warning is logged for each that cannot be used."""
    return {**DATASETS, **load_plugins(*_PLUGINS, own=DATASETS)}


def dataset_class(name: str) -> type[DatasetReader]:
    """Return the class of a dataset; its constructor takes ``root`` and the dataset's options.

    Raises:
        UsageError: no dataset has this name.
        EnvironmentProblem: it belongs to another package that cannot be imported, or is not a `DatasetReader`.
    """
    if name in DATASETS:
        return DATASETS[name]
    kind: type[DatasetReader] | None = load_plugin(_PLUGINS[0], name, *_PLUGINS[1:])
    if kind is None:
        raise unknown_name("dataset", name, dataset_names())
    return kind


def open_dataset(name: str, root: str | Path | None = None, **options: Any) -> DatasetReader:
    """Open a dataset by name.

    Args:
        name: one of `dataset_names`.
        root: the folder of the dataset, or one that holds it under its usual name; None: ``$SEGMI_DATA``. Generated
            datasets ignore it, so that one root can serve all datasets of a study.
        options: further arguments of the dataset's constructor.

    Raises:
        UsageError: no dataset has this name, or it has no such option.
        DataError: its files are not found.

    Example:
        >>> open_dataset("street-scenes", train=2, val=1).splits
        ('train', 'val')
    """
    reader = dataset_class(name)
    known = [option for option in inspect.signature(reader).parameters if option != "root"]
    for option in options:
        if option not in known:
            guess = nearest(option, known)
            listing = f"known: {', '.join(known)}" if known else "it has none"
            raise UsageError(
                f"dataset {name!r} has no option {option!r}", f"did you mean {guess!r}? {listing}" if guess else listing
            )
    return reader(root=None if reader in _GENERATED else root, **options)  # type: ignore[call-arg]  # of the subclass
