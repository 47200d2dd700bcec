"""Every architecture by name, and the one function that builds them."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import entry_points
from typing import Any, Literal

from torch import nn

from segmi.errors import UsageError, unknown_name
from segmi.models import smp_models, torchvision_models
from segmi.models.network import Parts, SegmentationNetwork, Statistics
from segmi.models.pretrained import BUNDLED
from segmi.models.unet import UNet

ENTRY_POINTS = "segmi.models"
"""Other packages add architectures under this group: ``name = module:build``, see `Architecture.build`."""


@dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Args:
        library: where the network comes from.
        title: its name in print.
        build: ``build(outputs, in_channels, **options) → Parts``, or a plain torch module from images to logits.
        weights: the names that ``encoder_weights`` may hold; ``…`` says that the encoder knows more.
        library_options: the options that hide behind ``**options`` of ``build``, if any.
    """

    library: str
    title: str
    build: Callable[..., Parts | nn.Module]
    weights: tuple[str, ...] = ()
    library_options: Callable[[], dict[str, inspect.Parameter]] | None = None

    def options(self) -> dict[str, inspect.Parameter]:
        """The arguments of `build_network` that are this architecture's own, with their defaults."""
        own = {
            name: parameter
            for name, parameter in inspect.signature(self.build).parameters.items()
            if name not in ("name", "outputs", "in_channels") and parameter.kind is not parameter.VAR_KEYWORD
        }
        return own | (self.library_options() if self.library_options else {})


def _unet(outputs: int, in_channels: int = 3, *, width: int = 32) -> Parts:
    return Parts(UNet(outputs, in_channels, width), UNet.stride)


def _torchvision(name: str, title: str) -> Architecture:
    return Architecture("torchvision", title, partial(torchvision_models.build, name), torchvision_models.WEIGHTS)


def _smp(name: str) -> Architecture:
    return Architecture(
        "segmentation_models_pytorch",
        smp_models.ARCHITECTURES[name],
        partial(smp_models.build, name),
        (BUNDLED, "imagenet", "…"),
        partial(smp_models.options, name),
    )


MODELS: dict[str, Architecture] = {
    "unet": Architecture("segmi", "U-Net of the paper", _unet),
    "fcn_resnet50": _torchvision("fcn_resnet50", "FCN, ResNet-50"),
    "fcn_resnet101": _torchvision("fcn_resnet101", "FCN, ResNet-101"),
    "deeplabv3_resnet50": _torchvision("deeplabv3_resnet50", "DeepLabV3, ResNet-50"),
    "deeplabv3_resnet101": _torchvision("deeplabv3_resnet101", "DeepLabV3, ResNet-101"),
    "deeplabv3_mobilenet_v3_large": _torchvision("deeplabv3_mobilenet_v3_large", "DeepLabV3, MobileNetV3-Large"),
    "lraspp_mobilenet_v3_large": _torchvision("lraspp_mobilenet_v3_large", "LR-ASPP, MobileNetV3-Large"),
    **{name: _smp(name) for name in smp_models.ARCHITECTURES},
}
"""Every architecture that segmi knows by itself; `architecture_named` also looks at the entry points."""


def architecture_named(name: str) -> Architecture:
    """The row of an architecture.

    Raises:
        UsageError: for an unknown name, with the nearest known one.
    """
    if name in MODELS:
        return MODELS[name]
    added = _added()
    if name not in added:
        raise unknown_name("architecture", name, [*MODELS, *added])
    return added[name]


@cache
def _added() -> dict[str, Architecture]:
    found = entry_points(group=ENTRY_POINTS)
    return {e.name: Architecture(e.dist.name if e.dist else e.module, e.name, e.load()) for e in found}


def list_models() -> list[dict[str, Any]]:
    """One row per architecture: name, title, library, whether it takes an encoder, and its pretrained weights.

    Example:
        >>> list_models()[0]["name"]
        'unet'
    """
    return [
        {
            "name": name,
            "title": row.title,
            "library": row.library,
            "encoder": row.library == "segmentation_models_pytorch",
            "weights": list(row.weights),
        }
        for name, row in (MODELS | _added()).items()
    ]


def build_network(
    architecture: str,
    *,
    classes: int,
    in_channels: int = 3,
    width: int | None = None,
    encoder: str | None = None,
    encoder_weights: str | None = None,
    one_logit: bool = False,
    normalize: Literal["weights", "none"] | Mapping[str, Sequence[float]] = "weights",
    features: Sequence[str] = (),
    batch_norm_momentum: float | None = None,
    **options: Any,
) -> SegmentationNetwork:
    """A segmentation network by name.

    Args:
        architecture: one of `MODELS`, or a name that another package adds.
        classes: number of classes, at least 2.
        in_channels: number of channels of the images.
        width: features of the first block of ``unet``; None takes its default.
        encoder: the encoder of an ``smp_`` architecture; None takes its default.
        encoder_weights: None starts from random weights; ``bundled``, ``imagenet``, ``coco`` … where the
            architecture has them.
        one_logit: give a problem of two classes one logit channel, that of class 1 against class 0.
        normalize: ``weights`` normalizes the images by the statistics of the weights that are loaded, and leaves
            them in [0, 1] where none are; ``none`` always leaves them; ``{"mean": …, "std": …}`` says it outright.
        features: names of inner modules whose outputs are wanted beside the logits.
        batch_norm_momentum: the weight of a batch in the running statistics of batch normalization; None leaves what
            the architecture has, mostly 0.1. A batch that is seen three times moves them as one of 0.271 does.
        options: further arguments of the architecture, as its library names them.

    Raises:
        UsageError: for unknown names and arguments that the architecture does not take.
        EnvironmentProblem: for weights that are neither installed nor in a cache nor to be had from the network.

    Example:
        >>> network = build_network("unet", classes=21, width=8)
        >>> network.stride, network.channels, network.specification["width"]
        (16, 21, 8)
    """
    row = architecture_named(architecture)
    named = {"width": width, "encoder": encoder, "encoder_weights": encoder_weights}
    arguments = {name: value for name, value in named.items() if value is not None} | options
    _check(architecture, row, arguments, classes, in_channels, one_logit)
    outputs = 1 if one_logit else classes
    built = row.build(outputs, in_channels, **arguments)
    parts = built if isinstance(built, Parts) else Parts(built, int(getattr(built, "stride", 1)))
    statistics = _statistics(normalize, parts.statistics, in_channels)
    if batch_norm_momentum is not None:
        _set_momentum(parts.module, architecture, batch_norm_momentum)
    arguments.pop("encoder_weights", None)  # whoever rebuilds it loads a trained state
    specification = {
        "architecture": architecture,
        "classes": classes,
        "in_channels": in_channels,
        "one_logit": one_logit,
        "normalize": {"mean": list(statistics.mean), "std": list(statistics.std)} if statistics else "none",
        "features": list(features),
        **({} if batch_norm_momentum is None else {"batch_norm_momentum": batch_norm_momentum}),
        **arguments,
    }
    return SegmentationNetwork(
        parts.module,
        classes=classes,
        in_channels=in_channels,
        one_logit=one_logit,
        stride=parts.stride,
        statistics=statistics,
        features=features,
        specification=_plain(architecture, specification),
    )


def _set_momentum(module: nn.Module, architecture: str, momentum: float) -> None:
    layers = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if not 0 < momentum <= 1:
        raise UsageError(f"batch_norm_momentum: expected more than 0 and at most 1, got {momentum}", "try 0.1")
    if not layers:
        raise UsageError(f"{architecture} has no batch normalization", "leave batch_norm_momentum out")
    for layer in layers:
        layer.momentum = momentum


def _check(
    name: str, row: Architecture, arguments: Mapping[str, Any], classes: int, in_channels: int, one_logit: bool
) -> None:
    if classes < 2:
        raise UsageError(
            f"a network needs at least 2 classes, got {classes}",
            "for a binary problem with one logit use classes=2 and one_logit=True",
        )
    if one_logit and classes != 2:
        raise UsageError(f"one_logit is for problems of 2 classes, got {classes}", "leave one_logit off")
    if in_channels < 1:
        raise UsageError(f"in_channels must be at least 1, got {in_channels}")
    if "encoder_weights" in arguments and not row.weights:
        raise UsageError(
            f"{name} has no pretrained weights, got encoder_weights={arguments['encoder_weights']!r}",
            "set encoder_weights to null",
        )
    known = row.options()
    for option in arguments:
        if option not in known:
            raise unknown_name(f"option of {name}", option, known)


def _statistics(
    normalize: str | Mapping[str, Sequence[float]], own: Statistics | None, in_channels: int
) -> Statistics | None:
    if normalize == "weights":
        return own
    if normalize == "none":
        return None
    wanted = f'"weights", "none" or {{"mean": [{in_channels} numbers], "std": [{in_channels} numbers]}}'
    if isinstance(normalize, str) or set(normalize) != {"mean", "std"}:
        raise UsageError(f"normalize must be {wanted}, got {normalize!r}")
    mean, std = tuple(map(float, normalize["mean"])), tuple(map(float, normalize["std"]))
    if not len(mean) == len(std) == in_channels or not min(std) > 0 or not all(map(math.isfinite, mean + std)):
        raise UsageError(f"normalize must be {wanted}, finite and with positive std, got {dict(normalize)}")
    return Statistics(mean, std)


def _plain(architecture: str, specification: dict[str, Any]) -> dict[str, Any]:
    """The specification as it will be read back from JSON: tuples become lists, anything else is refused."""
    try:
        return json.loads(json.dumps(specification, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the options of {architecture} must be numbers, texts, lists and mappings: {error}",
            "name things instead of passing objects",
        ) from error
