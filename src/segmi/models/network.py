"""One contract for every segmentation network: logits at the size of the images, and named features on request."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from segmi.errors import unknown_name
from segmi.models.layers import kept_outputs
from segmi.types import Images, Logits, Output

BATCH_NORM_TEXT = "Expected more than 1 value per channel"
"""How torch refuses to normalize a single value per channel; `SegmentationNetwork` says it more helpfully."""


class Statistics(NamedTuple):
    """Mean and standard deviation per channel of images in [0, 1] that pretrained weights expect."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Parts(NamedTuple):
    """What a builder of an architecture returns.

    Args:
        module: a torch module from images to logits of any size (or a mapping with the logits under ``out``).
        stride: what height and width of the images must be multiples of.
        statistics: what the loaded weights expect of their images; None where no weights were loaded.
    """

    module: nn.Module
    stride: int = 1
    statistics: Statistics | None = None


class SegmentationNetwork(nn.Module):
    """Any segmentation module behind one contract.

    Images come in [0, 1] and are normalized inside, by ``statistics``, so that whoever holds the network needs to
    know nothing about its weights. Build one by name with `build_network`.

    Shapes: N×in_channels×H×W images to an `Output` with N×C×H×W logits; C = 1 for a problem of two classes with one
        logit (that of class 1 against class 0), otherwise the number of classes.

    Args:
        module: the network itself; its logits are resized to the images where they come smaller.
        classes: number of classes of the problem, at least 2.
        in_channels: number of channels of the images.
        one_logit: whether the two classes of a binary problem share one logit channel.
        stride: what height and width must be multiples of.
        statistics: normalization of the images; None leaves them in [0, 1].
        features: names of the modules inside whose outputs are wanted; see ``feature_names`` for all of them.
        specification: plain arguments with which `build_network` makes this network again.

    Raises:
        UsageError: for an unknown feature name.
        ValueError: in ``forward``, for images of the wrong shape, naming what is expected.

    Example:
        >>> network = SegmentationNetwork(nn.Conv2d(3, 5, 1), classes=5)
        >>> network(torch.rand(2, 3, 8, 8)).logits.shape
        torch.Size([2, 5, 8, 8])
    """

    card: dict[str, Any] | None = None
    """The description that came with a bundle; None for a network that was not loaded from one."""

    def __init__(
        self,
        module: nn.Module,
        *,
        classes: int,
        in_channels: int = 3,
        one_logit: bool = False,
        stride: int = 1,
        statistics: Statistics | None = None,
        features: Sequence[str] = (),
        specification: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.classes = classes
        self.in_channels = in_channels
        self.one_logit = one_logit
        self.stride = stride
        self.statistics = statistics
        self.features = tuple(features)
        self.specification: dict[str, Any] = dict(specification or {})
        for name in self.features:
            if name not in self.feature_names:
                raise unknown_name("feature", name, self.feature_names)
        for name, values in zip(Statistics._fields, statistics or (None, None), strict=True):
            # Not in the state: the statistics travel in the specification, the state holds what was trained.
            buffer = None if values is None else torch.tensor(values).view(1, -1, 1, 1)
            self.register_buffer(name, buffer, persistent=False)
        self.mean: Tensor | None
        self.std: Tensor | None

    @property
    def channels(self) -> int:
        """Number of logit channels: 1 with ``one_logit``, otherwise the number of classes."""
        return 1 if self.one_logit else self.classes

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Every name that ``features`` may hold: the dotted names of the modules inside."""
        return tuple(name for name, _ in self.module.named_modules() if name)

    @property
    def parameter_count(self) -> int:
        """Number of parameters, frozen ones included."""
        return sum(parameter.numel() for parameter in self.parameters())

    @functools.cached_property
    def needs_batch_of_two(self) -> bool:
        """Whether training on a batch of one image fails, as it does where a pooled map is batch-normalized."""
        return _refuses_one_image(self.module, self.in_channels, self.stride)

    def forward(self, images: Images) -> Output:
        """Logits at the size of the images, and the features that were asked for."""
        self._check(images)
        if self.mean is not None and self.std is not None:
            images = (images - self.mean) / self.std
        kept: dict[str, Tensor] = {}
        with kept_outputs(self.module, self.features, kept):
            try:
                result = self.module(images)
            except (ValueError, AssertionError, RuntimeError) as error:
                explanation = _explanation(str(error), isinstance(error, AssertionError), images)
                if explanation is None:
                    raise
                raise ValueError(explanation) from error
        logits = result["out"] if isinstance(result, Mapping) else result
        if logits.shape[-2:] != images.shape[-2:]:
            logits = F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return Output(logits, kept)

    def _check(self, images: Images) -> None:
        if images.ndim != 4 or images.shape[1] != self.in_channels or not images.is_floating_point():
            raise ValueError(
                f"expected float images of shape N×{self.in_channels}×H×W, "
                f"got {images.dtype} of shape {'×'.join(map(str, images.shape))}"
            )
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride or not height or not width:
            raise ValueError(
                f"expected images whose height and width are multiples of {self.stride} (the network's stride), "
                f"got {height}×{width}; crop or pad them to {_up(height, self.stride)}×{_up(width, self.stride)}"
            )


def forward_padded(network: nn.Module, images: Images) -> Logits:
    """The logits of images whose sides need not be multiples of the network's stride.

    The images are padded at the bottom and the right by repeating their edge, and the logits are cut to size.

    Shapes: N×3×H×W to N×C×H×W.

    Example:
        >>> network = SegmentationNetwork(nn.Conv2d(3, 5, 3, 2), classes=5, stride=8)
        >>> forward_padded(network, torch.rand(1, 3, 13, 17)).shape
        torch.Size([1, 5, 13, 17])
    """
    height, width = images.shape[-2:]
    stride = int(getattr(network, "stride", 1))
    below, right = _up(height, stride) - height, _up(width, stride) - width
    if below or right:
        images = F.pad(images, (0, right, 0, below), mode="replicate")
    return network(images).logits[..., :height, :width]


def _up(length: int, stride: int) -> int:
    return max(-(-length // stride), 1) * stride


def _explanation(text: str, asserted: bool, images: Images) -> str | None:
    """What a refusal from inside the module means for whoever chose the images; None if it is not about them."""
    batch, _, height, width = images.shape
    came = f"got a batch of {batch} of {height}×{width} pixels"
    if BATCH_NORM_TEXT in text:
        return (
            f"this network normalizes over the batch where its map is 1×1, which takes at least 2 images in "
            f"training; {came}. Use batches of 2 or more with drop_last on, larger images, or evaluation mode"
        )
    if "Output size is too small" in text:
        return f"expected images large enough for the network's pooling; {came}. Use larger images"
    if asserted:
        return f"expected images of the one size that this network is made for; {came}. It says: {text}"
    return None


def _refuses_one_image(module: nn.Module, in_channels: int, stride: int) -> bool:
    """Try one image in training mode on the meta device: no numbers are computed, no statistics move."""
    modes = [(part, part.training) for part in module.modules()]
    state = {name: value.to("meta") for name, value in (*module.named_parameters(), *module.named_buffers())}
    side = _up(256, stride)
    try:
        for part, _ in modes:
            part.training = True
        with torch.no_grad():
            functional_call(module, state, (torch.empty(1, in_channels, side, side, device="meta"),))
    except ValueError as error:
        return BATCH_NORM_TEXT in str(error)
    except (RuntimeError, AssertionError, TypeError):
        return False  # a module that cannot run without numbers; its first training step will tell
    finally:
        for part, training in modes:
            part.training = training
    return False
