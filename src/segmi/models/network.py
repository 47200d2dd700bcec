"""Common interface of all networks: logits at the size of the images, and named features on request."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from segmi.errors import EnvironmentProblem, UsageError, unknown_name
from segmi.models.layer_outputs import capture_outputs
from segmi.models.sliding_window import round_up
from segmi.types import Images, Output

# Part of torch's error for batch normalization of a single value per channel.
BATCH_NORM_TEXT = "Expected more than 1 value per channel"


class Normalization(NamedTuple):
    """Mean and standard deviation per channel, for images in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class BuiltModule(NamedTuple):
    """Return value of an architecture's builder.

    The module maps images to logits of any size, or to a mapping with the logits under ``out``.
    """

    module: nn.Module
    stride: int = 1  # divisor of height and width that the module requires
    normalization: Normalization | None = None  # as the loaded weights expect it; None without loaded weights


class SegmentationNetwork(nn.Module):
    """Segmentation network that normalizes its images and returns logits at their size.

    Build one by name with `build_network`.

    Shapes: N×in_channels×H×W images in [0, 1] to an `Output` with N×C×H×W logits; C = 1 for two classes with one logit
        (class 1 against class 0), otherwise the number of classes.

    Args:
        module: the wrapped module; smaller logits are resized bilinearly to the size of the images.
        classes: number of classes, at least 2.
        in_channels: number of channels of the images.
        one_logit: use one logit channel for two classes.
        stride: divisor of height and width that the module requires.
        normalization: applied to the images; None leaves them in [0, 1].
        features: names of inner modules whose outputs are returned, see ``feature_names``.
        specification: arguments of `build_network` that rebuild this network.

    Raises:
        UsageError: for an unknown feature name.
        ValueError: in ``forward``, for images of the wrong shape.

    Example:
        >>> network = SegmentationNetwork(nn.Conv2d(3, 5, 1), classes=5)
        >>> network(torch.rand(2, 3, 8, 8)).logits.shape
        torch.Size([2, 5, 8, 8])
    """

    card: dict[str, Any] | None = None
    """Contents of ``model.json`` for a network loaded from a bundle, otherwise None."""

    def __init__(
        self,
        module: nn.Module,
        *,
        classes: int,
        in_channels: int = 3,
        one_logit: bool = False,
        stride: int = 1,
        normalization: Normalization | None = None,
        features: Sequence[str] = (),
        specification: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.classes, self.in_channels, self.one_logit = classes, in_channels, one_logit
        self.stride, self.normalization = stride, normalization
        self.features = tuple(features)
        self.specification: dict[str, Any] = dict(specification or {})
        for name in self.features:
            if name not in self.feature_names:
                raise unknown_name("feature", name, self.feature_names)
        for name, values in zip(Normalization._fields, normalization or (None, None), strict=True):
            # Not in the state dict: the specification stores them.
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
        """Names that ``features`` accepts: the dotted names of the inner modules."""
        return tuple(name for name, _ in self.module.named_modules() if name)

    @property
    def parameter_count(self) -> int:
        """Number of parameters, including frozen ones."""
        return sum(parameter.numel() for parameter in self.parameters())

    @functools.cached_property
    def needs_batch_of_two(self) -> bool:
        """Whether training on a batch of one image fails, because a map pooled to 1×1 is batch-normalized."""
        # In training mode on the meta device, which computes no values and changes no statistics.
        module, side = self.module, round_up(256, self.stride)
        modes = [(part, part.training) for part in module.modules()]
        state = {name: value.to("meta") for name, value in (*module.named_parameters(), *module.named_buffers())}
        try:
            for part, _ in modes:
                part.training = True
            with torch.no_grad():
                functional_call(module, state, (torch.empty(1, self.in_channels, side, side, device="meta"),))
        except ValueError as error:
            return BATCH_NORM_TEXT in str(error)
        except (RuntimeError, AssertionError, TypeError):
            return False  # the module cannot run on the meta device; its first training step shows the error
        finally:
            for part, training in modes:
                part.training = training
        return False

    def forward(self, images: Images) -> Output:
        """Return the logits at the size of the images, and the requested features."""
        self._check(images)
        if self.mean is not None and self.std is not None:
            images = (images - self.mean) / self.std
        features: dict[str, Tensor] = {}
        with capture_outputs(self.module, self.features, features):
            try:
                result = self.module(images)
            except (ValueError, AssertionError, RuntimeError) as error:
                explanation = _explain(str(error), isinstance(error, AssertionError), images)
                if explanation is None:
                    raise
                raise ValueError(explanation) from error
        # torchvision returns a mapping with the logits under "out"
        logits = result["out"] if isinstance(result, Mapping) else result
        if logits.shape[-2:] != images.shape[-2:]:
            logits = F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return Output(logits, features)

    def _check(self, images: Images) -> None:
        if images.ndim != 4 or images.shape[1] != self.in_channels or not images.is_floating_point():
            raise ValueError(
                f"expected float images of shape N×{self.in_channels}×H×W, "
                f"got {images.dtype} of shape {'×'.join(map(str, images.shape))}"
            )
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride or not height or not width:
            padded = f"{round_up(height, self.stride)}×{round_up(width, self.stride)}"
            raise ValueError(
                f"expected images whose height and width are multiples of {self.stride} (the network's stride), "
                f"got {height}×{width}; crop or pad them to {padded}"
            )


def _explain(message: str, is_assertion: bool, images: Images) -> str | None:
    # None if the images did not cause the error
    batch, _, height, width = images.shape
    actual = f"got a batch of {batch} of {height}×{width} pixels"
    if BATCH_NORM_TEXT in message:
        return (
            f"this network normalizes over the batch where its map is 1×1, which takes at least 2 images in "
            f"training; {actual}. Fix: use batches of 2 or more with drop_last, larger images, or evaluation mode"
        )
    if "Output size is too small" in message:
        return f"expected images large enough for the network's pooling; {actual}. Fix: use larger images"
    if is_assertion:
        return f"this network accepts one fixed image size; {actual}. Its message: {message}"
    return None


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Set evaluation mode inside the context, and restore the previous mode on exit."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        UsageError: if the name is not a device.
        EnvironmentProblem: if the machine does not have this device.
    """
    # Without an index, each process of a node uses the GPU of its local rank.
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"unknown device {name!r}", "use one of: auto, cpu, cuda, cuda:N, mps") from error
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(device.type, False):
        raise EnvironmentProblem(f"this machine has no {device.type} device", "use auto or cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise EnvironmentProblem(f"device {name} does not exist, this machine has {count} CUDA device(s)", "use auto")
    return device


_FACTORIES: Final[frozenset[Callable[..., Any]]] = frozenset(
    {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.eye}
)


class MemoryLimitError(Exception):
    """More memory was requested than the limit allows."""


class MemoryLimit(TorchFunctionMode):
    """Context manager that limits the total size of new tensors to ``limit`` bytes.

    Raises:
        MemoryLimitError: inside the context, before the tensor that exceeds the limit is allocated.

    Example:
        >>> with MemoryLimit(1000):
        ...     torch.zeros(10_000)
        Traceback (most recent call last):
        ...
        segmi.models.network.MemoryLimitError: more than 1,000 bytes
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit, self.used = limit, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Add up the sizes of new tensors; other calls are unchanged."""
        kwargs = kwargs or {}
        if func in _FACTORIES:
            options = {name: value for name, value in kwargs.items() if name not in ("generator", "out")}
            try:
                result = func(*args, **{**options, "device": "meta"})  # the meta device allocates nothing
                self.used += result.numel() * result.element_size()
            except (RuntimeError, TypeError):  # the size overflows
                self.used = self.limit + 1
            if self.used > self.limit:
                raise MemoryLimitError(f"more than {self.limit:,} bytes")
        return func(*args, **kwargs)
