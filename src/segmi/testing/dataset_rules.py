"""The contract of datasets."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from segmi.datasets import DatasetReader
from segmi.errors import UsageError
from segmi.testing.contract import Rule, check, rules_of
from segmi.types import IGNORE_INDEX

__all__ = ["DATASET_RULES", "check_dataset"]

IMAGES: Final = 8
"""Images of each split that are read."""


def check_dataset(reader: DatasetReader, *, rules: Iterable[str] | None = None) -> None:
    """Check that a reader of a dataset keeps the contract that training relies on.

    It reads a few images of each split; `segmi.datasets.check_dataset` checks every file of a dataset.

    Args:
        reader: an opened dataset, best of a few small files that the tests write.
        rules: keys of `DATASET_RULES`; None: all.
    Raises: AssertionError with every violated rule, the value, the expected value and the fix.
    Example:
        >>> from segmi.datasets import open_dataset
        >>> check_dataset(open_dataset("street-scenes", train=2, val=1, height=48, width=64))
    """
    check(reader, type(reader).__name__, DATASET_RULES, rules)


def interface(reader: DatasetReader) -> Iterator[str]:
    """It is a `DatasetReader` with ``info`` and ``splits``."""
    if not isinstance(reader, DatasetReader):
        yield f"expected a segmi.datasets.DatasetReader, got {type(reader).__name__}. Fix: derive the class from it"
        return
    missing = [name for name in ("info", "splits") if not hasattr(reader, name)]
    if missing:
        yield f"expected `info` and `splits`, got no {' or '.join(missing)}. Fix: set them in the constructor"


def classes(reader: DatasetReader) -> Iterator[str]:
    """Classes have names, colors and mask values."""
    info = reader.info
    if not info.classes:
        yield "expected at least one class, got none. Fix: set `classes` of `info`"
    unnamed = [name for name in info.classes if not name or name != name.strip()]
    if unnamed:
        yield f"expected class names without spaces around them, got {unnamed}. Fix: strip the names"
    colors = [color for color in info.palette if len(color) != 3 or not all(0 <= value <= 255 for value in color)]
    if colors:
        yield f"expected colors of three numbers from 0 to 255, got {colors[:3]}. Fix: correct `palette` of `info`"
    without = [name for index, name in enumerate(info.classes) if index not in info.lookup]
    if without:
        yield f"expected a mask value for each class, got none for {without}. Fix: add them to `lookup` of `info`"
    if info.ignored is not None and info.lookup[info.ignored] != IGNORE_INDEX:
        given = info.lookup[info.ignored]
        yield f"expected {IGNORE_INDEX} for the ignored value {info.ignored}, got {given}. Fix: correct `lookup`"
    values = reader.class_values() if not without else []
    if all(isinstance(value, int) for value in values):
        read = info.train_ids(np.array([values], dtype=np.uint8)).tolist() if values else [[]]
        if values and read != [list(range(len(info.classes)))]:
            expected = f"classes 0 to {len(values) - 1}"
            yield f"expected {expected} for the values {values}, got {read[0]}. Fix: correct `lookup`"


def splits(reader: DatasetReader) -> Iterator[str]:
    """There are at least ``train`` and ``val``, and other names raise UsageError."""
    missing = [name for name in ("train", "val") if name not in reader.splits]
    if missing:
        given = list(reader.splits)
        yield f"expected the splits train and val, got {given}. Fix: add {' and '.join(missing)} to `splits`"
    try:
        reader.split("no such split")
    except UsageError:
        return
    yield "expected UsageError for an unknown split, got samples. Fix: implement `listing`, and do not override `split`"


def samples(reader: DatasetReader) -> Iterator[str]:
    """Each split has samples in a fixed order, with unique names and a group."""
    for name in reader.splits:
        listed = reader.split(name)
        if listed != reader.split(name):
            yield f"{name}: expected the same samples from two calls, got others. Fix: sort the files"
        if len({sample.name for sample in listed}) < len(listed):
            repeated = sorted({s.name for s in listed if sum(s.name == other.name for other in listed) > 1})
            yield f"{name}: expected unique names, got {repeated[:3]} twice. Fix: add the folder to the names"
        if not all(sample.group for sample in listed):
            yield f"{name}: expected a group for each sample, got an empty one. Fix: use the name for single images"


def pixels(reader: DatasetReader) -> Iterator[str]:
    """Images and labels are arrays of one size, and labels are classes or ignored."""
    channels, known = reader.image_format.channels, {*range(len(reader.info.classes)), IGNORE_INDEX}
    dtype = np.uint8 if reader.image_format.value_range is None else np.float32
    for name in reader.splits:
        for sample in reader.split(name)[:IMAGES]:
            image, labels = reader.read(sample)
            title = f"{sample.name} of {name}"
            if image.dtype != dtype or image.shape != (*labels.shape, channels):
                expected = f"{np.dtype(dtype)} of shape {(*labels.shape, channels)}"
                yield f"{title}: expected an image of {expected}, got {image.dtype} of {image.shape}. Fix: convert it"
            unknown = set(np.unique(labels).tolist()) - known
            if labels.dtype != np.uint8 or labels.ndim != 2 or unknown:
                given = f"{labels.dtype} with {labels.ndim} dimensions" + (f" and values {unknown}" if unknown else "")
                fix = "Fix: implement `mask_values`, which returns the values that `lookup` of `info` maps"
                yield f"{title}: expected uint8 labels with 2 dimensions of known classes, got {given}. {fix}"


def copies(reader: DatasetReader) -> Iterator[str]:
    """A pickled copy, as in a worker process, lists and reads the same."""
    copy = pickle.loads(pickle.dumps(reader))
    if copy.info != reader.info or copy.splits != reader.splits:
        yield "expected equal `info` and `splits` in a pickled copy, got others. Fix: store them in the constructor"
        return
    for name in reader.splits:
        if copy.split(name) != reader.split(name):
            yield f"{name}: expected the same samples from a pickled copy, got others. Fix: sort the files"
            continue
        for sample in reader.split(name)[:IMAGES]:
            if not all(map(np.array_equal, reader.read(sample), copy.read(sample))):
                fix = "Fix: make `read` a function of the sample, without random numbers and state"
                yield f"{sample.name} of {name}: expected the same pixels from a pickled copy, got others. {fix}"


DATASET_RULES: Final[dict[str, Rule[DatasetReader]]] = rules_of(interface, classes, splits, samples, pixels, copies)
"""The rules by name; the first line of the docstring of each states it."""
