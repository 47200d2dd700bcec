"""Every sample of a split read and brought to the working scale, by several processes where it takes long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segmi.datasets.cache.content import LABELS, Content
from segmi.datasets.reader import DatasetReader, Pixels, Sample
from segmi.errors import SegmiError

if TYPE_CHECKING:
    from segmi.datasets.processing import Processing

TRIAL_SECONDS: Final = 1.0
"""How long one process decodes before it is asked whether others would help."""

WORTH_SECONDS: Final = 20.0
"""Work left, in seconds of one process, from which several are started: each imports PyTorch first."""


class Prepared(NamedTuple):
    """A sample as it is written: an array per column, and the label counts of its mask at the original size."""

    arrays: tuple[Pixels, ...]
    counts: NDArray[np.int64]


Outcome: TypeAlias = Prepared | SegmiError


class Decoding:
    """The samples of an entry by index, decoded when asked for; picklable.

    Args:
        dataset: reads the samples.
        samples: those of the content, in order.
        content: which columns, and the working scale.
    """

    def __init__(self, dataset: DatasetReader, samples: Sequence[Sample], content: Content) -> None:
        self.dataset, self.samples, self.content = dataset, list(samples), content

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Outcome:
        """The sample, or why it cannot be read: errors are gathered, so that all bad files are named together."""
        try:
            return self._prepared(self.samples[index])
        except SegmiError as error:
            return error

    def _prepared(self, sample: Sample) -> Prepared:
        if self.content.columns == LABELS:
            mask = self.dataset.read_mask(sample)
            return Prepared((mask,), _counts(mask))
        image, mask = self.dataset.read(sample)
        pair = self._processing().resized(image, mask)
        return Prepared((pair.image.numpy(), pair.mask.numpy()), _counts(mask))

    def _processing(self) -> Processing:
        from segmi.datasets.processing import Processing

        return Processing(resize=self.content.resize, resize_mode=self.content.resize_mode, crop=1)


def decoded(decoding: Decoding, jobs: int | None = None) -> Iterator[Outcome]:
    """All samples in order.

    Args:
        decoding: what is read.
        jobs: how many processes; None starts as many as there are processors if there is enough to do.
    """
    begin, count = time.monotonic(), len(decoding)
    for index in range(count):
        if jobs is None and index:
            elapsed = time.monotonic() - begin
            if elapsed > TRIAL_SECONDS and elapsed / index * (count - index) > WORTH_SECONDS:
                yield from _by_processes(decoding, index, None)
                return
        elif jobs is not None and jobs > 1:
            yield from _by_processes(decoding, index, jobs)
            return
        yield decoding[index]


def _by_processes(decoding: Decoding, first: int, jobs: int | None) -> Iterator[Outcome]:
    from segmi.datasets.workers import processors, read_by_workers

    workers = min(jobs or processors(), len(decoding) - first)
    # A loader is typed for its own base class, but takes whatever has a length and indices.
    return read_by_workers(decoding, workers, sampler=range(first, len(decoding)), batch_size=None)  # type: ignore[arg-type]


def expected_bytes(decoding: Decoding, looked_at: int = 5) -> int:
    """About how many bytes the entry will take: exact where all arrays have one size, else from a few samples."""
    content = decoding.content
    if content.resize is not None and content.resize_mode == "exact":
        return len(decoding) * 4 * content.resize**2
    indices = np.linspace(0, len(decoding) - 1, min(looked_at, len(decoding))).astype(int)
    found = [outcome for index in indices if isinstance(outcome := decoding[int(index)], Prepared)]
    if not found:
        return 0  # none of them can be read, and the reading will say so
    return round(len(decoding) * sum(array.nbytes for one in found for array in one.arrays) / len(found))


def _counts(mask: Pixels) -> NDArray[np.int64]:
    return np.bincount(mask.ravel(), minlength=256)
