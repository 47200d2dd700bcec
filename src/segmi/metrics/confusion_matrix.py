"""Exact confusion counts, collected image by image.

Counts are int64, so they add up exactly for any number of pixels, in any order and over any split of the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from segmi.types import IGNORE_INDEX, Counts, Labels


def confusion_counts(predictions: Labels, labels: Labels, classes: int, ignore_index: int = IGNORE_INDEX) -> Counts:
    """Return the confusion counts of every image.

    ``n_ab = #{valid pixels with label a and prediction b}``

    Shapes: predictions, labels N×H×W class indices, integer; the result is N×C×C int64, rows the truth.
    Args: ``classes`` is C, 2 for a binary problem; predictions at pixels labeled ``ignore_index`` do not matter.
    Raises:
        TypeError, ValueError: not integer, different shapes, or an id that is neither a class nor ``ignore_index``.
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


class ConfusionMatrix:
    """Confusion counts of a dataset, collected image by image.

    The counts of images of the same name are added, over several crops or passes; unnamed images are kept apart. Counts
    are stored on the CPU, and only non-zero ones for each image.

    Args: ``classes`` is C, 2 for a binary problem; pixels labeled ``ignore_index`` are left out.
    Raises: ValueError for fewer than one class.
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
        # by image, in the order of the first update
        self._names: list[str] = []
        self._groups: list[str] = []
        self._images: list[Tensor] = []  # C² counts each, sparse, since few are not 0
        self._position: dict[str, int] = {}  # index of a named image
        self._pooled = torch.zeros(classes, classes, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the images in the order of their first update; empty strings for unnamed ones."""
        return tuple(self._names)

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of the images (city, video clip, patient), in the same order."""
        return tuple(self._groups)

    def pooled(self) -> Counts:
        """Return the counts of all images together: C×C, int64."""
        return self._pooled.clone()

    def counts(self) -> Counts:
        """Return the counts of every image: N×C×C, int64; a new tensor, large for many classes."""
        result = torch.zeros(len(self), self.classes**2, dtype=torch.int64)
        for row, image in zip(result, self._images, strict=True):
            row.copy_(image.to_dense())
        return result.view(-1, self.classes, self.classes)

    def update(
        self, predictions: Labels, labels: Labels, names: Sequence[str] = (), groups: Sequence[str] = ()
    ) -> None:
        """Count a batch of images; nothing is counted if any part is invalid.

        Args:
            predictions: N×H×W class indices, see `segmi.models.predict_labels`.
            labels: N×H×W class indices, or the ignore value.
            names, groups: one per image, or none.
        Raises: TypeError, ValueError as in `confusion_counts`, and for a wrong number of names or groups, or a known
            image in another group.
        """
        _check(predictions, labels, self.classes)
        names, groups = self._one_each("names", names, len(labels)), self._one_each("groups", groups, len(labels))
        in_batch: dict[str, str] = {}
        for name, group in zip(names, groups, strict=True):
            self._expect_group(name, group, in_batch.setdefault(name, group))
        # all images are counted before any is stored, so that an error changes nothing
        counted = [
            _count(p, t, self.classes, self.ignore_index, f"image {name!r}" if name else f"image {i} of the batch")
            for i, (p, t, name) in enumerate(zip(predictions, labels.to(predictions.device), names, strict=True))
        ]
        for name, group, counts in zip(names, groups, counted, strict=True):
            self._add(name, group, counts.cpu().flatten())

    def merge(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """A new matrix that holds the images of both, as if one had counted them all.

        Raises: ValueError for different numbers of classes or ignore values, or an image in different groups.
        """
        if (self.classes, self.ignore_index) != (other.classes, other.ignore_index):
            raise ValueError(
                f"expected a matrix of {self.classes} classes with ignore_index {self.ignore_index}, got one of "
                f"{other.classes} with {other.ignore_index}. Fix: merge matrices of the same problem"
            )
        merged = ConfusionMatrix(self.classes, ignore_index=self.ignore_index)
        for part in (self, other):
            for name, group, counts in zip(part._names, part._groups, part._images, strict=True):
                merged._expect_group(name, group, group)
                merged._add(name, group, counts.to_dense())
        return merged

    def _one_each(self, what: str, given: Sequence[str], size: int) -> Sequence[str]:
        if isinstance(given, str) or len(given) not in (0, size):
            raise ValueError(f"{what}: expected one for each of {size} images, or none, got {given!r}")
        return given or ("",) * size

    def _expect_group(self, name: str, group: str, otherwise: str) -> None:
        # Check that the group of a named image is its known group, or ``otherwise`` for a new image
        known = self._position.get(name)
        expected = otherwise if known is None else self._groups[known]
        if name and group != expected:
            raise ValueError(
                f"image {name!r}: expected its group {expected!r}, got {group!r}. Fix: give an image one group"
            )

    def _add(self, name: str, group: str, counts: Tensor) -> None:
        self._pooled += counts.view(self.classes, self.classes)
        known = self._position.get(name) if name else None
        if known is not None:
            self._images[known] = (counts + self._images[known].to_dense()).to_sparse()
            return
        if name:
            self._position[name] = len(self._images)
        self._names.append(name)
        self._groups.append(group)
        self._images.append(counts.to_sparse())


def _check(predictions: Tensor, labels: Tensor, classes: int) -> None:
    for name, values in (("predictions", predictions), ("labels", labels)):
        if values.is_floating_point() or values.is_complex():
            raise TypeError(
                f"{name}: expected class indices of an integer dtype, got {values.dtype}. "
                "Fix: apply segmi.models.predict_labels to logits"
            )
    if predictions.ndim != 3 or predictions.shape != labels.shape:
        raise ValueError(
            f"expected predictions and labels of the same shape N×H×W, got {tuple(predictions.shape)} and "
            f"{tuple(labels.shape)}. Fix: resize the logits, or add a leading dimension"
        )
    if classes < 1:
        raise ValueError(f"classes: expected at least 1, got {classes}")


def _count(predictions: Tensor, labels: Tensor, classes: int, ignore_index: int, where: str) -> Counts:
    # the C×C counts of one H×W image; ``where`` names the image in errors
    if predictions.device.type != "cpu":
        return _count_by_maps(predictions, labels, classes, ignore_index, where)
    from segmi.metrics._cpu_kernels import count_pixels

    # two dtypes only, so that the kernel is compiled at most four times
    flat = (
        values.flatten() if values.dtype == torch.uint8 else values.flatten().long() for values in (predictions, labels)
    )
    counts, known = count_pixels(*(values.numpy() for values in flat), classes, ignore_index)
    return torch.from_numpy(counts) if known else _count_by_maps(predictions, labels, classes, ignore_index, where)


def _count_by_maps(predictions: Tensor, labels: Tensor, classes: int, ignore_index: int, where: str) -> Counts:
    # the counts by PyTorch operations, on any device; the reference of the compiled version
    predictions, labels = _signed(predictions), _signed(labels)
    valid = labels != ignore_index
    _check_known(labels, valid, classes, f"labels of {where}", f", or {ignore_index} to ignore")
    _check_known(predictions, valid, classes, f"predictions of {where}", "")
    # one 4-byte map, changed in place; ignored pixels are counted in an extra entry, which is dropped
    cell = labels.to(torch.int32, copy=True).mul_(classes).add_(predictions).masked_fill_(~valid, classes**2)
    return torch.bincount(cell.flatten(), minlength=classes**2 + 1)[:-1].view(classes, classes)


def _signed(values: Tensor) -> Tensor:
    # values in a dtype that can hold any id: uint8 cannot hold -100, int32 not all of uint32
    wide = values.dtype in (torch.int64, torch.uint32, torch.uint64)
    return values.to(torch.int64 if wide else torch.int32)


def _check_known(values: Tensor, valid: Tensor, classes: int, what: str, otherwise: str) -> None:
    unknown = ((values < 0) | (values >= classes)) & valid
    if bool(unknown.any()):
        ids = values[unknown].unique().tolist()
        shown = ", ".join(str(i) for i in ids[:10]) + (", …" if len(ids) > 10 else "")
        raise ValueError(
            f"{what}: expected class indices from 0 to {classes - 1}{otherwise}, got {shown} at "
            f"{int(unknown.sum())} pixels. Fix: check the number of classes and the mapping of ids"
        )
