"""Table of all architectures, and the function that builds a network by name."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from torch import nn

from segmi.errors import UsageError, unknown_name
from segmi.models import adapters
from segmi.models.depthwise import use_fast_gradients
from segmi.models.network import BuiltModule, Normalization, SegmentationNetwork
from segmi.models.pretrained import BUNDLED
from segmi.models.unet import UNet
from segmi.plugins import load_plugin, load_plugins, plugin_names, plugin_package

_PLUGINS: Final = ("segmi.models", callable, "a function that builds a module")
"""Entry points of architectures in other packages: ``name = module:build``, see `Architecture.build`."""


@dataclass(frozen=True)
class Architecture:
    """Row of `MODELS`.

    ``build(outputs, in_channels, **options)`` returns a `BuiltModule`, or a torch module from images to logits.
    """

    library: str  # package that implements the network
    title: str  # name in reports
    build: Callable[..., BuiltModule | nn.Module]
    weights: tuple[str, ...] = ()  # values of ``encoder_weights``; ``…`` means that the encoder has further ones
    library_options: Callable[[], dict[str, inspect.Parameter]] = dict  # those that ``build`` accepts as ``**options``

    def options(self) -> dict[str, inspect.Parameter]:
        """Return the arguments of `build_network` that are specific to this architecture, with their defaults."""
        own = {
            name: parameter
            for name, parameter in inspect.signature(self.build).parameters.items()
            if name not in ("name", "outputs", "in_channels") and parameter.kind is not parameter.VAR_KEYWORD
        }
        return own | self.library_options()


def _unet(outputs: int, in_channels: int = 3, *, width: int = 32) -> BuiltModule:
    return BuiltModule(UNet(outputs, in_channels, width), UNet.stride)


def _torchvision(name: str, title: str) -> Architecture:
    return Architecture("torchvision", title, partial(adapters.build_torchvision, name), adapters.TORCHVISION_WEIGHTS)


def _smp(class_name: str) -> Architecture:
    build, options = partial(adapters.build_smp, class_name), partial(adapters.smp_options, class_name)
    return Architecture("segmentation_models_pytorch", class_name, build, (BUNDLED, "imagenet", "…"), options)


MODELS: dict[str, Architecture] = {
    # name on the command line and in study files: row
    "unet": Architecture("segmi", "U-Net of the paper", _unet),
    "fcn_resnet50": _torchvision("fcn_resnet50", "FCN, ResNet-50"),
    "fcn_resnet101": _torchvision("fcn_resnet101", "FCN, ResNet-101"),
    "deeplabv3_resnet50": _torchvision("deeplabv3_resnet50", "DeepLabV3, ResNet-50"),
    "deeplabv3_resnet101": _torchvision("deeplabv3_resnet101", "DeepLabV3, ResNet-101"),
    "deeplabv3_mobilenet_v3_large": _torchvision("deeplabv3_mobilenet_v3_large", "DeepLabV3, MobileNetV3-Large"),
    "lraspp_mobilenet_v3_large": _torchvision("lraspp_mobilenet_v3_large", "LR-ASPP, MobileNetV3-Large"),
    **{f"smp_{name.lower()}": _smp(name) for name in (
        "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet",
        "Segformer", "DPT",
    )},
}  # fmt: skip
"""Architectures of segmi by name; `get_architecture` also searches the entry points of other packages."""


def get_architecture(name: str) -> Architecture:
    """Return the table row of an architecture.

    Raises:
        UsageError: for an unknown name, with the most similar known one.
        EnvironmentProblem: for an architecture of another package that cannot be used.
    """
    if name in MODELS:
        return MODELS[name]
    build = load_plugin(_PLUGINS[0], name, *_PLUGINS[1:])
    if build is None:
        raise unknown_name("architecture", name, [*MODELS, *plugin_names(_PLUGINS[0])])
    return _plugin(name, build)


def _plugin(name: str, build: Callable[..., BuiltModule | nn.Module]) -> Architecture:
    return Architecture(plugin_package(_PLUGINS[0], name) or "", name, build)


def list_models() -> list[dict[str, Any]]:
    """Return name, title, library, pretrained weights and whether there is a choice of encoder, per architecture.

    Example:
        >>> list_models()[0]["name"]
        'unet'
    """
    others = {name: _plugin(name, build) for name, build in load_plugins(*_PLUGINS, own=MODELS).items()}
    return [
        {"name": name, "title": row.title, "library": row.library, "weights": list(row.weights),
         "encoder": row.library == "segmentation_models_pytorch"}
        for name, row in (MODELS | others).items()
    ]  # fmt: skip


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
    """Build a segmentation network by name.

    Args:
        architecture: a key of `MODELS`, or a name that another package adds.
        classes: number of classes, at least 2.
        in_channels: number of channels of the images.
        width: channels of the first block of ``unet``; None uses its default.
        encoder: encoder of an ``smp_`` architecture; None uses its default.
        encoder_weights: ``bundled``, ``imagenet``, ``coco`` … where available; None initializes randomly.
        one_logit: give two classes one logit channel (class 1 against class 0).
        normalize: ``weights`` normalizes images with the statistics of the loaded weights, if any; ``none`` leaves
            images in [0, 1]; ``{"mean": …, "std": …}`` sets the values.
        features: names of inner modules whose outputs are returned beside the logits.
        batch_norm_momentum: weight of a batch in the running statistics of batch normalization; None keeps the
            architecture's, usually 0.1. Three forward passes of one batch with 0.1 move them as one pass with 0.271.
        options: further arguments of the architecture, with the names of its library.

    Raises:
        UsageError: for unknown names, and arguments that the architecture does not accept.
        EnvironmentProblem: for weights that are neither installed nor cached and cannot be downloaded.

    Example:
        >>> network = build_network("unet", classes=21, width=8)
        >>> network.stride, network.channels, network.specification["width"]
        (16, 21, 8)
    """
    row = get_architecture(architecture)
    shared = {"width": width, "encoder": encoder, "encoder_weights": encoder_weights}
    # None means "not set", so that architectures without such an argument accept it.
    arguments = {name: value for name, value in shared.items() if value is not None} | options
    _check(architecture, row, arguments, classes, in_channels, one_logit)
    outputs = 1 if one_logit else classes
    built = row.build(outputs, in_channels, **arguments)
    if not isinstance(built, BuiltModule):
        stride = getattr(built, "stride", 1)  # a tuple is the stride of a single convolution
        built = BuiltModule(built, stride if isinstance(stride, int) else 1)
    use_fast_gradients(built.module)
    normalization = _normalization(normalize, built.normalization, in_channels)
    if batch_norm_momentum is not None:
        _set_momentum(built.module, architecture, batch_norm_momentum)
    arguments.pop("encoder_weights", None)  # a rebuilt network loads its trained state instead
    specification = {
        "architecture": architecture,
        "classes": classes,
        "in_channels": in_channels,
        "one_logit": one_logit,
        "normalize": {"mean": list(normalization.mean), "std": list(normalization.std)} if normalization else "none",
        "features": list(features),
        **({} if batch_norm_momentum is None else {"batch_norm_momentum": batch_norm_momentum}),
        **arguments,
    }
    try:  # tuples become lists, as in a file
        specification = json.loads(json.dumps(specification, allow_nan=False))
    except (TypeError, ValueError) as error:
        problem = f"the options of {architecture} must be numbers, strings, lists and mappings: {error}"
        raise UsageError(problem, "pass names instead of objects") from error
    return SegmentationNetwork(
        built.module, classes=classes, in_channels=in_channels, one_logit=one_logit, stride=built.stride,
        normalization=normalization, features=features, specification=specification,
    )  # fmt: skip


def _set_momentum(module: nn.Module, architecture: str, momentum: float) -> None:
    layers = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if not 0 < momentum <= 1:
        raise UsageError(f"batch_norm_momentum: expected a value in (0, 1], got {momentum}", "try 0.1")
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
        raise UsageError(f"one_logit is for problems of 2 classes, got {classes}", "set one_logit to False")
    if in_channels < 1:
        raise UsageError(f"in_channels must be at least 1, got {in_channels}")
    if "encoder_weights" in arguments and not row.weights:
        problem = f"{name} has no pretrained weights, got encoder_weights={arguments['encoder_weights']!r}"
        raise UsageError(problem, "set encoder_weights to null")
    known = row.options()
    for option in arguments:
        if option not in known:
            raise unknown_name(f"option of {name}", option, known)


def _normalization(
    normalize: str | Mapping[str, Sequence[float]], of_weights: Normalization | None, in_channels: int
) -> Normalization | None:
    if normalize == "weights":
        return of_weights
    if normalize == "none":
        return None
    expected = f'"weights", "none" or {{"mean": [{in_channels} numbers], "std": [{in_channels} numbers]}}'
    if isinstance(normalize, str) or set(normalize) != {"mean", "std"}:
        raise UsageError(f"normalize must be {expected}, got {normalize!r}")
    mean, std = tuple(map(float, normalize["mean"])), tuple(map(float, normalize["std"]))
    if not len(mean) == len(std) == in_channels or not min(std) > 0 or not all(map(math.isfinite, mean + std)):
        raise UsageError(f"normalize must be {expected}, finite and with positive std, got {dict(normalize)}")
    return Normalization(mean, std)
