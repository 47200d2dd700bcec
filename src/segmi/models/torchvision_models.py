"""The segmentation networks of torchvision: FCN, DeepLabV3 and LR-ASPP."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torchvision import models as tv

from segmi.errors import UsageError, unknown_name
from segmi.models.network import Parts, Statistics
from segmi.models.pretrained import ensure_torchvision, explained_download

COCO_CLASSES: Final = 21
"""Classes of the pretrained heads: background and the 20 of PASCAL VOC, in VOC's order."""

WEIGHTS: Final = ("imagenet", "coco")

_BACKBONES: Final = {
    "resnet50": tv.ResNet50_Weights.IMAGENET1K_V1,
    "resnet101": tv.ResNet101_Weights.IMAGENET1K_V1,
    "mobilenet_v3_large": tv.MobileNet_V3_Large_Weights.IMAGENET1K_V1,
}


def build(name: str, outputs: int, in_channels: int = 3, *, encoder_weights: str | None = None) -> Parts:
    """A segmentation network of torchvision by its own name, without auxiliary head.

    Args:
        name: as in ``torchvision.models.segmentation``.
        outputs: number of logit channels.
        in_channels: number of channels of the images.
        encoder_weights: None starts from random weights; ``imagenet`` loads the backbone's; ``coco`` loads the whole
            network as trained on COCO with the classes of VOC. Its head is kept if ``outputs`` is 21 and is new
            otherwise. Both are downloaded by torchvision unless its cache holds them.

    Raises:
        UsageError: for unknown weights, or for weights with other than 3 channels.
        EnvironmentProblem: if weights would have to be downloaded and cannot be.
    """
    if encoder_weights is not None and encoder_weights not in WEIGHTS:
        raise unknown_name(f"encoder weights of {name}", encoder_weights, WEIGHTS)
    if encoder_weights is not None and in_channels != 3:
        raise UsageError(
            f"the {encoder_weights} weights of {name} are for images of 3 channels, got in_channels={in_channels}",
            "set encoder_weights to null, or use an smp_ architecture, whose first layer adapts",
        )
    backbone = next(weights for ending, weights in _BACKBONES.items() if name.endswith(ending))
    coco = tv.get_model_weights(name).COCO_WITH_VOC_LABELS_V1
    weights = {"imagenet": backbone, "coco": coco, None: None}[encoder_weights]
    if weights is not None:
        what = f"the {encoder_weights} weights of {name}"
        ensure_torchvision(weights, what)
        with explained_download(what, "torchvision", str(torch.hub.get_dir())):
            weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    module = tv.get_model(
        name, weights=None, num_classes=outputs, weights_backbone=backbone if encoder_weights == "imagenet" else None
    )
    if encoder_weights == "coco":
        _load_coco(module, coco.get_state_dict(progress=False, check_hash=True, weights_only=True))
    if in_channels != 3:
        _replace_first_convolution(module, in_channels)
    if weights is None:
        return Parts(module)
    preset = weights.transforms()
    return Parts(module, statistics=Statistics(tuple(preset.mean), tuple(preset.std)))


def _load_coco(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load all that fits: everything but the auxiliary head, and but the last layer where the classes differ."""
    own = module.state_dict()
    fitting = {
        name: value
        for name, value in weights.items()
        if not name.startswith("aux_classifier.")
        and not (name.startswith("classifier.") and own[name].shape != value.shape)
    }
    missing, unexpected = module.load_state_dict(fitting, strict=False)
    if unexpected or any(not name.startswith("classifier.") for name in missing):
        raise RuntimeError(f"torchvision's weights do not fit its network: missing {missing}, unexpected {unexpected}")


def _replace_first_convolution(module: nn.Module, in_channels: int) -> None:
    name, first = next((n, m) for n, m in module.named_modules() if isinstance(m, nn.Conv2d))
    new = nn.Conv2d(
        in_channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out")
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, new)
