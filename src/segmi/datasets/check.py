"""The check of a whole dataset: statistics of its splits, and every problem of its files."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from segmi.datasets.reader import DatasetReader, Problem, Sample, combined_error, size_mismatch
from segmi.errors import DataError, SegmiError, counted, unknown_name
from segmi.types import IGNORE_INDEX

MOST_NAMES: Final = 12  # classes without pixels that a note lists

Progress = Callable[[int, int], None]  # called with the number of images done and their total
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class SplitReport:
    """Statistics of a split, over the images that can be read."""

    name: str  # name of the split
    images: int  # number of listed images
    readable: int  # number of images that can be read with their masks
    groups: int  # number of groups
    smallest: tuple[int, int] | None  # width and height of the image with the fewest pixels, None if none can be read
    largest: tuple[int, int] | None  # width and height of the image with the most pixels, None if none can be read
    class_pixels: tuple[int, ...]  # number of pixels of each class
    ignored_pixels: int  # number of ignored pixels

    @property
    def class_shares(self) -> tuple[float, ...]:
        """The share of each class in the pixels that are not ignored; 0 if there are none."""
        return tuple(pixels / max(sum(self.class_pixels), 1) for pixels in self.class_pixels)

    @property
    def ignored_share(self) -> float:
        """The share of ignored pixels in all pixels; 0 if there are none."""
        return self.ignored_pixels / max(sum(self.class_pixels) + self.ignored_pixels, 1)


@dataclass(frozen=True)
class CheckReport:
    """The result of `check_dataset`."""

    dataset: str  # name of the dataset
    title: str  # title in tables
    classes: tuple[str, ...]  # names of the classes
    splits: tuple[SplitReport, ...]  # one report per split
    problems: tuple[Problem, ...]  # must be fixed before training
    notes: tuple[str, ...]  # can be intended, but are worth knowing

    def error(self) -> DataError | None:
        """Return all problems as one error, None if there are none."""
        if not self.problems:
            return None
        count = counted(len(self.problems), "problem")
        return combined_error(f"{count} in {self.title}", self.problems)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain types, for JSON."""
        splits = [asdict(s) | {"class_shares": s.class_shares, "ignored_share": s.ignored_share} for s in self.splits]
        problems = [problem._asdict() for problem in self.problems]
        return asdict(self) | {"splits": splits, "problems": problems, "ok": not problems}


class _Checked(NamedTuple):
    """The result of one sample; ``counts`` is the histogram of its labels, None if the pair cannot be read."""

    counts: NDArray[np.int64] | None
    size: tuple[int, int]
    digest: bytes | None
    problems: list[Problem]


def check_dataset(
    dataset: DatasetReader, splits: Sequence[str] | None = None, progress: Progress | None = None
) -> CheckReport:
    """Read every image and mask of a dataset and report all problems at once.

    Problems are files that are missing, listed twice, unreadable or of different sizes, unknown mask values, empty
    splits, and images that occur (byte for byte) in two splits. Notes are images that occur twice in a split, groups
    that occur in two splits, classes without a pixel in a split, and masks with ignored pixels only.

    Args:
        dataset: the dataset to check.
        splits: names of the splits to check; None: all.
        progress: called after each image.

    Raises:
        UsageError: the dataset has no such split.
    """
    names = tuple(dataset.splits if splits is None else splits)
    for name in names:
        if name not in dataset.splits:
            raise unknown_name(f"split of {dataset.info.name}", name, dataset.splits)
    listings, problems = _listings(dataset, names)
    samples = [sample for name in names for sample in listings[name]]
    results = in_threads(lambda sample: _check(dataset, sample), samples, progress)
    checked: dict[str, list[_Checked]] = {name: [next(results) for _ in listings[name]] for name in names}
    problems += [problem for name in names for one in checked[name] for problem in one.problems]
    in_two_splits, notes = _repeated(listings, checked)
    reports = tuple(_split_report(dataset, name, listings[name], checked[name]) for name in names)
    notes += [*_shared_groups(listings), *_ignored_masks(listings, checked)]
    notes += _absent_classes(dataset.info.classes, reports)
    problems = list(dict.fromkeys([*problems, *in_two_splits]))
    info = dataset.info
    return CheckReport(info.name, info.title, info.classes, reports, tuple(problems), tuple(notes))


def _absent_classes(classes: Sequence[str], reports: Sequence[SplitReport]) -> list[str]:
    notes = []
    for report in reports:
        absent = [index for index, pixels in enumerate(report.class_pixels) if not pixels]
        elsewhere = [other.name for other in reports if any(other.class_pixels[index] for index in absent)]
        names = ", ".join(classes[index] for index in absent[:MOST_NAMES])
        names += f" and {len(absent) - MOST_NAMES} more" if len(absent) > MOST_NAMES else ""
        effect = ""
        if report.name == "train" and elsewhere:
            effect = f", which {' and '.join(elsewhere)} has: move images to train, or merge classes (`value = [1, 2]`)"
        notes += [f"{report.name} has no pixel of: {names}{effect}"] if absent else []
    return notes


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], progress: Progress | None
) -> Iterator[Result]:
    """Yield ``function(item)`` in order, computed by threads: Pillow and NumPy release the interpreter lock."""
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        for done, result in enumerate(pool.map(function, items), start=1):
            if progress is not None:
                progress(done, len(items))
            yield result
    finally:  # after Ctrl-C, thousands of images can still be queued
        pool.shutdown(cancel_futures=True)


def _listings(dataset: DatasetReader, names: Sequence[str]) -> tuple[dict[str, list[Sample]], list[Problem]]:
    listings: dict[str, list[Sample]] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            listings[name], unpaired = dataset.listing(name)
        except SegmiError as error:
            listings[name], unpaired = [], [_problem(error, name)]
        if not listings[name] and not unpaired:
            unpaired = [_problem(dataset.empty_split(name), name)]
        problems += unpaired
    return listings, problems


def _check(dataset: DatasetReader, sample: Sample) -> _Checked:
    problems: list[Problem] = []
    pixels = {}
    for part, read in (("image", dataset.read_image), ("mask", dataset.read_mask)):
        try:
            pixels[part] = read(sample)
        except SegmiError as error:
            problems.append(_problem(error, sample.file(part)))
    if problems:
        return _Checked(None, (0, 0), None, problems)
    image, mask = pixels["image"], pixels["mask"]
    size = (image.shape[1], image.shape[0])
    if image.shape[:2] != mask.shape:
        return _Checked(None, size, None, [_problem(size_mismatch(sample, image, mask), sample.file("mask"))])
    digest = hashlib.blake2b(sample.image.read_bytes()).digest() if isinstance(sample.image, Path) else None
    return _Checked(np.bincount(mask.ravel(), minlength=256), size, digest, problems)


def _problem(error: SegmiError, file: str) -> Problem:
    return Problem(file, error.message.removeprefix(f"{file}: "), error.remedy or "")


def _repeated(listings: dict[str, list[Sample]], checked: dict[str, list[_Checked]]) -> tuple[list[Problem], list[str]]:
    """Return images with equal bytes: a problem between splits, a note within one."""
    first: dict[bytes, tuple[str, Sample]] = {}
    problems, notes = [], []
    for split, samples in listings.items():
        for sample, result in zip(samples, checked[split], strict=True):
            if result.digest is None:
                continue
            other_split, other = first.setdefault(result.digest, (split, sample))
            if other_split != split:
                message = f"this image of {split} is also in {other_split}, as {other.file('image')}"
                listed_twice = sample.image == other.image
                remedy = "it from one of the two splits" if listed_twice else "one of the two files and its mask"
                problems.append(Problem(sample.file("image"), message, f"remove {remedy}"))
            elif other is not sample:
                notes.append(f"{sample.file('image')} is the same image as {other.file('image')}")
    return problems, notes


def _shared_groups(listings: dict[str, list[Sample]]) -> list[str]:
    counts = {split: Counter(sample.group for sample in samples) for split, samples in listings.items()}
    notes = []
    for one, other in combinations(counts, 2):
        shared = sorted(counts[one].keys() & counts[other].keys(), key=lambda group: -counts[other][group])
        if shared:
            named = f"the group {shared[0]}" if len(shared) == 1 else f"{len(shared)} groups, such as {shared[0]}"
            images = " and ".join(str(sum(counts[split][group] for group in shared)) for split in (one, other))
            effect = "scores on one do not show how well new groups are predicted"
            notes.append(f"{one} and {other} share {named} ({images} images): {effect}")
    return notes


def _ignored_masks(listings: dict[str, list[Sample]], checked: dict[str, list[_Checked]]) -> list[str]:
    return [
        f"{sample.file('mask')} has ignored pixels only"
        for split, samples in listings.items()
        for sample, result in zip(samples, checked[split], strict=True)
        if result.counts is not None and not result.counts[:IGNORE_INDEX].any()
    ]


def _split_report(
    dataset: DatasetReader, name: str, samples: Sequence[Sample], checked: Sequence[_Checked]
) -> SplitReport:
    readable = [(result.counts, result.size) for result in checked if result.counts is not None]
    sizes = sorted((size for _, size in readable), key=lambda size: size[0] * size[1])
    counts = sum((one for one, _ in readable), start=np.zeros(256, dtype=np.int64))
    return SplitReport(
        name,
        images=len(samples),
        readable=len(readable),
        groups=len({sample.group for sample in samples}),
        smallest=sizes[0] if sizes else None,
        largest=sizes[-1] if sizes else None,
        class_pixels=tuple(int(count) for count in counts[: len(dataset.info.classes)]),
        ignored_pixels=int(counts[IGNORE_INDEX]),
    )
