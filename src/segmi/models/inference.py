"""Inference on images of any size: padding, resizing of logits, arg max and the binary threshold.

Evaluation during training, prediction, export and the app all use these functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmi.errors import UsageError, unknown_name
from segmi.models.sliding_window import blended_tiles, check_windows, pad_bottom_right, resized_pieces, round_up
from segmi.types import THRESHOLD, Images, Labels, Logits, Probabilities

TTA: Final = ("flips", "scales")
"""Kinds of test-time augmentation, see `segmi.models.averaging.views_of`."""

Visitor: TypeAlias = Callable[[slice, slice, Mapping[str, Logits]], None]
"""Called with the rows and columns of a piece of an image and the 1×C×h×w logits of every network there."""


@dataclass(frozen=True)
class InferenceConfig:
    """Options of inference, the same in evaluation, prediction and the app.

    Raises:
        UsageError: for windows, a threshold or an augmentation that are not possible.
    """

    window: int | None = None  # side of the windows for larger images, in pixels of the prepared image; None: whole
    overlap: int | None = None  # pixels that neighboring windows share; a quarter of the window by default
    batch_size: int = 1  # images of one size, or windows, in one forward pass
    threshold: float = THRESHOLD  # probability of class 1 above which a network with one logit predicts class 1
    tta: tuple[str, ...] = ()  # names of `TTA`: probabilities are averaged over transformed copies of the image

    def __post_init__(self) -> None:
        check_windows(self.window, self.overlap)
        check_threshold(self.threshold)
        for name in self.tta:
            if name not in TTA:
                raise unknown_name("test-time augmentation", name, TTA)


def parse_tta(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return names of test-time augmentation from a sequence, or from text with commas.

    Example:
        >>> parse_tta("flips,scales"), parse_tta(None)
        (('flips', 'scales'), ())
    """
    names = given.split(",") if isinstance(given, str) else given or ()
    return tuple(dict.fromkeys(name.strip() for name in names))


class Prediction(NamedTuple):
    """Label map of one image by one network."""

    labels: Labels  # 1×H×W class indices
    confidence: Tensor | None  # 1×H×W, the probability of the predicted class; None unless requested


def check_threshold(threshold: float, channels: int = 1) -> None:
    """Check that a threshold is a probability and that it fits the number of logit channels.

    Raises:
        UsageError: if it is not between 0 and 1, or differs from 0.5 for a network with several logits.
    """
    if not 0 < threshold < 1:
        raise UsageError(f"threshold must be between 0 and 1, got {threshold}", "use 0.5, or a probability near it")
    if channels > 1 and threshold != THRESHOLD:
        raise UsageError(
            f"a threshold of {threshold} needs a binary network with one logit, this one has {channels} logits",
            "leave out the threshold; with several logits the largest one decides",
        )


def pad_to_stride(images: Images, stride: int) -> Images:
    """Pad images at the bottom and right to multiples of the stride, by repeating their edge.

    Shapes: N×C×H×W to N×C×H'×W'.
    """
    return pad_bottom_right(images, *(round_up(side, stride) for side in images.shape[-2:]))


def forward_padded(network: nn.Module, images: Images) -> Logits:
    """Return the logits of images whose sides need not be multiples of the network's stride.

    Shapes: N×B×H×W to N×C×H×W.

    Example:
        >>> network = nn.Conv2d(3, 5, 3, 2)
        >>> from segmi.models import SegmentationNetwork
        >>> forward_padded(SegmentationNetwork(network, classes=5, stride=8), torch.rand(1, 3, 13, 17)).shape
        torch.Size([1, 5, 13, 17])
    """
    height, width = images.shape[-2:]
    return network(pad_to_stride(images, int(getattr(network, "stride", 1)))).logits[..., :height, :width]


def resize_logits(logits: Logits, size: Sequence[int]) -> Logits:
    """Resize N×C×h×w logits bilinearly to N×C×``size``."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def predict_labels(logits: Logits, size: Sequence[int] | None = None, threshold: float = THRESHOLD) -> Labels:
    """Return the predicted class of every pixel.

    ``ŷ = argmax_c z_c``, the first of equal logits; with one channel, ``ŷ = 1`` where ``σ(z) > threshold``

    Shapes: N×C×h×w to N×H×W uint8 (int32 beyond 256 classes), at ``size`` if it is given.

    Args:
        logits: any float dtype.
        size: resize the logits to this height and width first, one class at a time to save memory.
        threshold: for one channel, the probability above which class 1 is predicted.

    Raises:
        TypeError: for logits that are not floats.
        ValueError: for other than four dimensions, no channel, or NaN.
        UsageError: for a threshold that does not fit the logits.

    Example:
        >>> predict_labels(torch.tensor([2.0, -1.0]).view(1, 1, 1, 2))
        tensor([[[1, 0]]], dtype=torch.uint8)
        >>> predict_labels(torch.tensor([2.0, -1.0]).view(1, 1, 1, 2), threshold=0.9)
        tensor([[[0, 0]]], dtype=torch.uint8)
    """
    if not logits.is_floating_point():
        raise TypeError(f"logits: expected floats, got {logits.dtype}; labels need no conversion")
    if logits.ndim != 4 or logits.shape[1] == 0:
        raise ValueError(f"logits: expected N×C×H×W with at least one channel, got shape {tuple(logits.shape)}")
    channels = logits.shape[1]
    check_threshold(threshold, channels)
    blocks: Iterable[Tensor] = [logits]  # N×c×H×W each
    if size is not None and tuple(logits.shape[-2:]) != tuple(size):
        blocks = (resize_logits(logits[:, c : c + 1].contiguous(), size) for c in range(channels))
    largest, labels = _argmax(blocks)
    if bool(largest.isnan().any()):  # the maximum is NaN where any channel is
        raise ValueError("logits: expected numbers, got NaN; the network has diverged, or its input contains NaN")
    if channels == 1:
        # log(t / (1 - t)) is exactly 0 at 0.5
        return (largest > math.log(threshold / (1 - threshold))).to(torch.uint8)
    return labels.to(torch.uint8 if channels <= 256 else torch.int32)


def _argmax(blocks: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    # Return the largest value over consecutive blocks of channels and its channel, the first of equal values.
    largest, labels, first = torch.empty(0), torch.empty(0), 0
    for block in blocks:
        value, index = block.max(dim=1)  # N×H×W
        if first == 0:
            largest, labels = value, index
        else:
            labels = torch.where(value > largest, index + first, labels)
            largest = torch.maximum(largest, value)  # propagates NaN, unlike the comparison above
        first += block.shape[1]
    return largest, labels


def class_probabilities(logits: Logits) -> Probabilities:
    """Return the probabilities of all classes; of two classes for one logit.

    Shapes: N×C×H×W to N×max(C, 2)×H×W.
    """
    # σ(z) and 1 - σ(z) are the softmax of (0, z)
    return (torch.cat((torch.zeros_like(logits), logits), 1) if logits.shape[1] == 1 else logits).softmax(dim=1)


def mean_probability(total: Tensor, *, one_logit: bool) -> Logits:
    """Return the logits of mean probabilities, in place: ``log p̄``, or ``log p̄ - log(1 - p̄)`` for one logit."""
    # The smallest normal number instead of 0, whose logarithm is infinite.
    return total.logit_(1e-7) if one_logit else total.clamp_(min=torch.finfo(torch.float32).tiny).log_()


def with_ensembles(logits: Mapping[str, Logits], ensembles: Mapping[str, Sequence[str]]) -> dict[str, Logits]:
    """Return the logits of networks, with the logits of the mean probabilities of some of them.

    ``p̄ = 1/M Σ_m p_m``, as in `segmi.models.averaging.mean_logits`; one channel if all members of an ensemble have one.

    Args:
        logits: N×C×H×W by network, of one size.
        ensembles: names of the networks by ensemble.

    Example:
        >>> logits = {"a": torch.tensor(0.9).logit().view(1, 1, 1, 1), "b": torch.tensor(0.5).logit().view(1, 1, 1, 1)}
        >>> round(with_ensembles(logits, {"both": ["a", "b"]})["both"].sigmoid().item(), 4)
        0.7
    """
    result = dict(logits)
    for name, members in ensembles.items():
        one_logit = all(logits[member].shape[1] == 1 for member in members)
        total = torch.stack([class_probabilities(logits[member].float()) for member in members]).mean(0)
        result[name] = mean_probability(total[:, 1:] if one_logit else total, one_logit=one_logit)
    return result


def confidences(logits: Logits, threshold: float = THRESHOLD) -> Tensor:
    """Return the probability of the predicted class of every pixel.

    ``max_c softmax(z)_c``; with one channel, ``σ(z)`` where class 1 is predicted and ``σ(-z)`` elsewhere

    Shapes: N×C×H×W to N×H×W float32.

    Example:
        >>> confidences(torch.zeros(1, 4, 1, 2))
        tensor([[[0.2500, 0.2500]]])
    """
    logits = logits.float()
    if logits.shape[1] == 1:
        return torch.where(predict_labels(logits, threshold=threshold) == 1, logits[:, 0], -logits[:, 0]).sigmoid()
    return (logits.amax(dim=1) - logits.logsumexp(dim=1)).exp()


def predict_windows(
    networks: Mapping[str, nn.Module],
    image: Tensor,
    size: Sequence[int],
    config: InferenceConfig,
    *,
    stride: int = 1,
    confidence: bool = False,
    visit: Visitor | None = None,
    ensembles: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> dict[str, Prediction]:
    """Predict one image in overlapping windows with one or more networks, in memory that the window bounds.

    Shapes: B×h×w, uint8 or float in [0, 1], to label maps of 1×H×W on the CPU, H×W = ``size``.

    Args:
        networks: in evaluation mode, from images to an `Output`.
        image: at the scale at which the networks see it, on their device.
        size: height and width of the label maps.
        config: without a window, the whole image is one window.
        stride: common stride of the networks.
        confidence: also return the probability of the predicted class.
        visit: called with the resized logits piece by piece, every pixel once.
        ensembles: networks whose probabilities are averaged, see `with_ensembles`.
    """
    shape = image.shape[-2:]
    window = max(shape) if config.window is None else config.window
    streams = [
        blended_tiles(_logits_only(network), image, window, config.overlap, stride, config.batch_size)
        for network in networks.values()
    ]
    maps: dict[str, Prediction] = {}
    # All networks advance together, so that a visitor sees the same pixels of each of them.
    for tiles in zip(*streams, strict=True):
        for pieces in zip(*(resized_pieces(tile, shape, size) for tile in tiles), strict=True):
            rows, columns, _ = pieces[0]
            own = {name: piece[None] for name, (_, _, piece) in zip(networks, pieces, strict=True)}
            logits = with_ensembles(own, ensembles)
            for name, z in logits.items():
                labels = predict_labels(z, threshold=config.threshold)
                if name not in maps:
                    sure = torch.empty(1, *size) if confidence else None
                    maps[name] = Prediction(torch.empty(1, *size, dtype=labels.dtype), sure)
                maps[name].labels[:, rows, columns] = labels.cpu()
                if (target := maps[name].confidence) is not None:
                    target[:, rows, columns] = class_probabilities(z).gather(1, labels[:, None].long())[:, 0].cpu()
            if visit is not None:
                visit(rows, columns, logits)
    return maps


def _logits_only(network: nn.Module) -> Callable[[Images], Logits]:
    return lambda images: network(images).logits
