"""Counting predictions against labels: exact, streaming, one confusion matrix per image and one for all.

Counts are int64, so they add up exactly for any number of pixels, in any order and over any split of the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from segmi.types import IGNORE_INDEX, Counts, Labels


def confusion_counts(predictions: Labels, labels: Labels, classes: int, ignore_index: int = IGNORE_INDEX) -> Counts:
    """How often each class was predicted for each true class, image by image.

    ``n_ab = #{valid pixels with label a and prediction b}``

    Shapes:
        predictions, labels: N×H×W class indices, any integer dtype; the result is N×C×C int64, rows the truth.

    Args:
        predictions: class indices; what they hold at ignored pixels does not matter.
        labels: class indices, or ``ignore_index`` where a pixel counts nowhere.
        classes: C; 2 for a binary problem.
        ignore_index: the label that is left out.

    Raises:
        TypeError: predictions or labels that are no integers.
        ValueError: different shapes, or an id that is neither a class nor ``ignore_index``.

    Example:
        >>> confusion_counts(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, 255]]]), classes=2)
        tensor([[[1, 1],
                 [0, 0]]])
    """
    _check(predictions, labels, classes)
    each = [
        _count(p, t, classes, ignore_index, f"image {i} of the batch")
        for i, (p, t) in enumerate(zip(predictions, labels.to(predictions.device), strict=True))
    ]
    return torch.stack(each) if each else predictions.new_zeros((0, classes, classes), dtype=torch.int64)


class _Cells(NamedTuple):
    """The cells of one image's matrix that are not 0; of C² cells, an image fills few."""

    place: Tensor
    value: Tensor


class ConfusionMatrix:
    """Confusion counts of a dataset, collected image by image.

    Images that are named alike are one image: its counts add up, over several crops or passes. Unnamed images are
    kept apart. Counts are kept on the CPU, and of each image only those that are not 0.

    Args:
        classes: C; 2 for a binary problem.
        ignore_index: the label of pixels that count nowhere.

    Raises:
        ValueError: fewer than one class.

    Example:
        >>> matrix = ConfusionMatrix(2)
        >>> labels = torch.tensor([[[0, 1]], [[1, 255]]])
        >>> matrix.update(torch.tensor([[[0, 0]], [[1, 1]]]), labels, names=("a", "b"), groups=("city", "city"))
        >>> matrix.names, matrix.pooled().tolist(), matrix.counts()[1].tolist()
        (('a', 'b'), [[1, 0], [1, 1]], [[0, 0], [0, 1]])
    """

    def __init__(self, classes: int, *, ignore_index: int = IGNORE_INDEX) -> None:
        if classes < 1:
            raise ValueError(f"classes: expected at least 1, got {classes}")
        self.classes: Final = classes
        self.ignore_index: Final = ignore_index
        self._names: list[str] = []
        self._groups: list[str] = []
        self._images: list[_Cells] = []
        self._position: dict[str, int] = {}
        self._pooled = torch.zeros(classes, classes, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the images, in the order of their first step; empty strings for unnamed ones."""
        return tuple(self._names)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of the images (city, video clip, patient), in the same order."""
        return tuple(self._groups)

    def pooled(self) -> Counts:
        """The counts of all images together: C×C, int64."""
        return self._pooled.clone()

    def counts(self) -> Counts:
        """The counts of every image: N×C×C, int64. It is made anew, and large for many classes."""
        result = torch.zeros(len(self), self.classes**2, dtype=torch.int64)
        for row, cells in zip(result, self._images, strict=True):
            row[cells.place] = cells.value
        return result.view(-1, self.classes, self.classes)

    def update(
        self, predictions: Labels, labels: Labels, names: Sequence[str] = (), groups: Sequence[str] = ()
    ) -> None:
        """Count a batch of images; nothing is counted if anything in it is refused.

        Args:
            predictions: N×H×W class indices, see `segmi.models.predict_labels`.
            labels: N×H×W class indices, or the ignore value.
            names: one per image, or none.
            groups: one per image, or none.

        Raises:
            TypeError: predictions or labels that are no integers.
            ValueError: different shapes or numbers of names, an id that is neither a class nor the ignore value, or a
                known image in another group.
        """
        _check(predictions, labels, self.classes)
        size = len(labels)
        names = self._one_each("names", names, size)
        groups = self._one_each("groups", groups, size)
        in_batch: dict[str, str] = {}
        for name, group in zip(names, groups, strict=True):
            self._expect_group(name, group, in_batch.setdefault(name, group))
        counted = [
            _count(p, t, self.classes, self.ignore_index, f"image {name!r}" if name else f"image {i} of the batch")
            for i, (p, t, name) in enumerate(zip(predictions, labels.to(predictions.device), names, strict=True))
        ]
        for name, group, counts in zip(names, groups, counted, strict=True):
            self._add(name, group, counts.cpu().flatten())

    def merge(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """A new matrix that holds the images of both, as if one had counted them all.

        Raises:
            ValueError: different numbers of classes or ignore values, or an image in different groups.
        """
        if (self.classes, self.ignore_index) != (other.classes, other.ignore_index):
            raise ValueError(
                f"expected a matrix of {self.classes} classes with ignore_index {self.ignore_index}, got one of "
                f"{other.classes} with {other.ignore_index}; merge matrices of the same problem"
            )
        merged = ConfusionMatrix(self.classes, ignore_index=self.ignore_index)
        for part in (self, other):
            for name, group, cells in zip(part._names, part._groups, part._images, strict=True):
                merged._expect_group(name, group, group)
                merged._add(name, group, part._dense(cells))
        return merged

    def _one_each(self, what: str, given: Sequence[str], size: int) -> Sequence[str]:
        if isinstance(given, str) or len(given) not in (0, size):
            raise ValueError(f"{what}: expected one for each of {size} images, or none, got {given!r}")
        return given or ("",) * size

    def _expect_group(self, name: str, group: str, otherwise: str) -> None:
        """Refuse a named image whose group is not the one it is known by, or ``otherwise`` where it is not known."""
        known = self._position.get(name)
        expected = otherwise if known is None else self._groups[known]
        if name and group != expected:
            raise ValueError(f"image {name!r}: expected its group {expected!r}, got {group!r}; an image has one group")

    def _dense(self, cells: _Cells) -> Tensor:
        dense = torch.zeros(self.classes**2, dtype=torch.int64)
        dense[cells.place] = cells.value
        return dense

    def _add(self, name: str, group: str, counts: Tensor) -> None:
        self._pooled += counts.view(self.classes, self.classes)
        known = self._position.get(name) if name else None
        if known is not None:
            counts = counts + self._dense(self._images[known])
        place = counts.nonzero().squeeze(1)
        cells = _Cells(place, counts[place])
        if known is not None:
            self._images[known] = cells
            return
        if name:
            self._position[name] = len(self._images)
        self._names.append(name)
        self._groups.append(group)
        self._images.append(cells)


def _check(predictions: Tensor, labels: Tensor, classes: int) -> None:
    for name, values in (("predictions", predictions), ("labels", labels)):
        if values.is_floating_point() or values.is_complex():
            raise TypeError(
                f"{name}: expected class indices of an integer dtype, got {values.dtype}; "
                "apply segmi.models.predict_labels to logits"
            )
    if predictions.ndim != 3 or predictions.shape != labels.shape:
        raise ValueError(
            f"expected predictions and labels of the same shape N×H×W, got {tuple(predictions.shape)} and "
            f"{tuple(labels.shape)}; resize the logits to the labels, and add a leading dimension to a single image"
        )
    if classes < 1:
        raise ValueError(f"classes: expected at least 1, got {classes}")


def _count(predictions: Tensor, labels: Tensor, classes: int, ignore_index: int, place: str) -> Counts:
    """C×C counts of one H×W image; ``place`` is what an error calls it."""
    if predictions.device.type != "cpu":
        return _count_by_maps(predictions, labels, classes, ignore_index, place)
    from segmi.metrics._confusion_cpu import count_pixels

    # Two dtypes are compiled for, so that no run waits for the compiler again and again.
    flat = (
        values.flatten() if values.dtype == torch.uint8 else values.flatten().long() for values in (predictions, labels)
    )
    counts, known = count_pixels(*(values.numpy() for values in flat), classes, ignore_index)
    return torch.from_numpy(counts) if known else _count_by_maps(predictions, labels, classes, ignore_index, place)


def _count_by_maps(predictions: Tensor, labels: Tensor, classes: int, ignore_index: int, place: str) -> Counts:
    """The counts by PyTorch alone, on any device: what the compiled routine is tested against, and its errors."""
    predictions, labels = _signed(predictions), _signed(labels)
    valid = labels != ignore_index
    _refuse_unknown(labels, valid, classes, f"labels of {place}", f", or {ignore_index} to ignore")
    _refuse_unknown(predictions, valid, classes, f"predictions of {place}", "")
    # one 4-byte map, changed in place; ignored pixels go to a cell of their own, which is dropped
    cell = labels.to(torch.int32, copy=True).mul_(classes).add_(predictions).masked_fill_(~valid, classes**2)
    return torch.bincount(cell.flatten(), minlength=classes**2 + 1)[:-1].view(classes, classes)


def _signed(values: Tensor) -> Tensor:
    """In a dtype in which any id can be compared: uint8 cannot hold -100, nor int32 all of uint32."""
    wide = values.dtype in (torch.int64, torch.uint32, torch.uint64)
    return values.to(torch.int64 if wide else torch.int32)


def _refuse_unknown(values: Tensor, valid: Tensor, classes: int, what: str, otherwise: str) -> None:
    unknown = ((values < 0) | (values >= classes)) & valid
    if bool(unknown.any()):
        ids = values[unknown].unique().tolist()
        shown = ", ".join(str(i) for i in ids[:10]) + (", …" if len(ids) > 10 else "")
        raise ValueError(
            f"{what}: expected class indices from 0 to {classes - 1}{otherwise}, got {shown} at "
            f"{int(unknown.sum())} pixels; check the number of classes and how the dataset maps its ids"
        )
