"""Looking through a whole dataset: what it holds, and everything that is wrong with it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segmi.datasets.decode import printable
from segmi.datasets.reader import DatasetReader, Problem, Sample, size_mismatch
from segmi.errors import DataError, SegmiError, together, unknown_name
from segmi.types import IGNORE_INDEX

Progress = Callable[[int, int], None]
"""Called with how many images are done and how many there are."""


@dataclass(frozen=True)
class SplitReport:
    """What a split holds, over the images that can be read.

    Args:
        name: of the split.
        images: how many are listed.
        readable: how many of them could be read, with their masks.
        groups: how many groups they come from.
        smallest: width and height of the image of fewest pixels, None if none can be read.
        largest: those of the image of most pixels.
        class_pixels: how many pixels each class has.
        ignored_pixels: how many are ignored.
    """

    name: str
    images: int
    readable: int
    groups: int
    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None
    class_pixels: tuple[int, ...]
    ignored_pixels: int

    @property
    def class_shares(self) -> tuple[float, ...]:
        """The share of each class in the pixels that are not ignored; 0 where there are none."""
        return tuple(pixels / max(sum(self.class_pixels), 1) for pixels in self.class_pixels)

    @property
    def ignored_share(self) -> float:
        """The share of ignored in all pixels; 0 where there are none."""
        return self.ignored_pixels / max(sum(self.class_pixels) + self.ignored_pixels, 1)


@dataclass(frozen=True)
class CheckReport:
    """What `check_dataset` found.

    Args:
        dataset: the name of the dataset.
        title: its title.
        classes: the names of its classes.
        splits: one report per split.
        problems: what must be mended before training, each with its file.
        notes: what may be meant, but is worth knowing.
    """

    dataset: str
    title: str
    classes: tuple[str, ...]
    splits: tuple[SplitReport, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    def error(self) -> DataError | None:
        """All problems as one error, None if there are none."""
        if not self.problems:
            return None
        remedies = dict.fromkeys(problem.remedy for problem in self.problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) > 1 else ''}"
        text = together([str(problem) for problem in self.problems])
        return DataError(f"{self.title} is refused: {count}\n{text}", "\n    ".join(remedies))

    def as_dict(self) -> dict[str, Any]:
        """The report as plain types, for JSON."""
        splits = [asdict(s) | {"class_shares": s.class_shares, "ignored_share": s.ignored_share} for s in self.splits]
        problems = [problem._asdict() for problem in self.problems]
        return asdict(self) | {"splits": splits, "problems": problems, "ok": not problems}


class _Seen(NamedTuple):
    """What was found in one sample; ``labels`` counts train ids and is None where it could not be read whole."""

    labels: NDArray[np.int64] | None
    size: tuple[int, int]
    digest: bytes | None
    problems: list[Problem]


def check_dataset(
    dataset: DatasetReader, splits: Sequence[str] | None = None, progress: Progress | None = None
) -> CheckReport:
    """Read every image and mask of a dataset, and report all problems at once.

    Problems are files that are missing, listed twice, unreadable or of different sizes, unknown ids, empty splits, and
    images that stand (byte for byte) in two splits. Notes are images that stand twice in one split, groups that
    stand in two splits, classes that a split lacks, and masks that are ignored all over.

    Args:
        dataset: what to look through.
        splits: which splits; None: all.
        progress: told after each image.

    Raises:
        UsageError: there is no split of this name.
    """
    names = tuple(dataset.splits if splits is None else splits)
    for name in names:
        if name not in dataset.splits:
            raise unknown_name(f"split of {dataset.info.name}", name, dataset.splits)
    listings, problems = _listings(dataset, names)
    seen = _look(dataset, [sample for name in names for sample in listings[name]], progress)
    found: dict[str, list[_Seen]] = {name: [next(seen) for _ in listings[name]] for name in names}
    problems += [problem for name in names for one in found[name] for problem in one.problems]
    twice, twice_notes = _repeated(listings, found)
    reports = tuple(_split_report(dataset, name, listings[name], found[name]) for name in names)
    notes = [*twice_notes, *_shared_groups(listings), *_ignored_masks(listings, found)]
    for report in reports:
        if absent := [dataset.info.classes[i] for i, pixels in enumerate(report.class_pixels) if not pixels]:
            notes.append(f"{report.name} has no pixel of: {', '.join(absent)}")
    return CheckReport(
        dataset.info.name,
        dataset.info.title,
        dataset.info.classes,
        reports,
        tuple(dict.fromkeys([*problems, *twice])),
        tuple(notes),
    )


def _listings(dataset: DatasetReader, names: Sequence[str]) -> tuple[dict[str, list[Sample]], list[Problem]]:
    listings: dict[str, list[Sample]] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            listings[name], found = dataset.listing(name)
        except SegmiError as error:
            listings[name], found = [], [_problem(error, name)]
        if not listings[name] and not found:
            found = [_problem(dataset.empty_split(name), name)]
        problems += found
    return listings, problems


def _look(dataset: DatasetReader, samples: Sequence[Sample], progress: Progress | None) -> Iterator[_Seen]:
    """One `_Seen` per sample, in order."""
    # Threads, for Pillow and zlib give up the interpreter's lock while they decode.
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        for done, seen in enumerate(pool.map(lambda sample: _look_at(dataset, sample), samples), start=1):
            if progress is not None:
                progress(done, len(samples))
            yield seen
    finally:  # on Ctrl-C, thousands of images may still be waiting
        pool.shutdown(cancel_futures=True)


def _look_at(dataset: DatasetReader, sample: Sample) -> _Seen:
    problems: list[Problem] = []
    image = mask = None
    try:
        image = dataset.read_image(sample)
    except SegmiError as error:
        problems.append(_problem(error, _file(sample, "image")))
    try:
        mask = dataset.read_mask(sample)
    except SegmiError as error:
        problems.append(_problem(error, _file(sample, "mask")))
    if image is None or mask is None:
        return _Seen(None, (0, 0), None, problems)
    size = (image.shape[1], image.shape[0])
    if image.shape[:2] != mask.shape:
        problems.append(_problem(size_mismatch(sample, image, mask), _file(sample, "mask")))
        return _Seen(None, size, None, problems)
    digest = hashlib.blake2b(sample.image.read_bytes()).digest() if isinstance(sample.image, Path) else None
    return _Seen(np.bincount(mask.ravel(), minlength=256), size, digest, problems)


def _file(sample: Sample, part: str) -> str:
    source = sample.image if part == "image" else sample.mask
    return printable(source) if isinstance(source, Path) else f"{part} of {sample.name}"


def _problem(error: SegmiError, file: str) -> Problem:
    return Problem(file, error.message.removeprefix(f"{file}: "), error.remedy or "")


def _repeated(listings: dict[str, list[Sample]], found: dict[str, list[_Seen]]) -> tuple[list[Problem], list[str]]:
    """Images with the same bytes: a problem between splits, a note within one."""
    first: dict[bytes, tuple[str, Sample]] = {}
    problems, notes = [], []
    for split, samples in listings.items():
        for sample, seen in zip(samples, found[split], strict=True):
            if seen.digest is None:
                continue
            other_split, other = first.setdefault(seen.digest, (split, sample))
            if other_split != split:
                what = f"this image of {split} is also in {other_split}, as {_file(other, 'image')}"
                problems.append(Problem(_file(sample, "image"), what, "take it out of one of the two splits"))
            elif other is not sample:
                notes.append(f"{_file(sample, 'image')} is the same image as {_file(other, 'image')}")
    return problems, notes


def _shared_groups(listings: dict[str, list[Sample]]) -> list[str]:
    counts = {split: Counter(sample.group for sample in samples) for split, samples in listings.items()}
    names = list(counts)
    return [
        f"{one} and {other} share the group {group} ({counts[one][group]} and {counts[other][group]} images): "
        "scores on one say little about new groups"
        for place, one in enumerate(names)
        for other in names[place + 1 :]
        for group in sorted(counts[one].keys() & counts[other].keys())
    ]


def _ignored_masks(listings: dict[str, list[Sample]], found: dict[str, list[_Seen]]) -> list[str]:
    return [
        f"{_file(sample, 'mask')} is ignored all over"
        for split, samples in listings.items()
        for sample, seen in zip(samples, found[split], strict=True)
        if seen.labels is not None and not seen.labels[:IGNORE_INDEX].any()
    ]


def _split_report(dataset: DatasetReader, name: str, samples: Sequence[Sample], found: Sequence[_Seen]) -> SplitReport:
    readable = [(seen.labels, seen.size) for seen in found if seen.labels is not None]
    sizes = sorted((size for _, size in readable), key=lambda size: size[0] * size[1])
    labels = sum((counts for counts, _ in readable), start=np.zeros(256, dtype=np.int64))
    return SplitReport(
        name,
        images=len(samples),
        readable=len(readable),
        groups=len({sample.group for sample in samples}),
        smallest=sizes[0] if sizes else None,
        largest=sizes[-1] if sizes else None,
        class_pixels=tuple(int(count) for count in labels[: len(dataset.info.classes)]),
        ignored_pixels=int(labels[IGNORE_INDEX]),
    )
