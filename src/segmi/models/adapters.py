"""Adapters for the networks of torchvision and segmentation_models_pytorch (smp), which is imported lazily (4 s)."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torchvision import models as tv

from segmi.errors import EnvironmentProblem, SegmiError, UsageError, unknown_name
from segmi.models import pretrained
from segmi.models.network import BuiltModule, Normalization

if TYPE_CHECKING:
    from segmentation_models_pytorch.base import SegmentationModel

TORCHVISION_WEIGHTS: Final = ("imagenet", "coco")

_BACKBONES: Final = {
    "resnet50": tv.ResNet50_Weights.IMAGENET1K_V1,
    "resnet101": tv.ResNet101_Weights.IMAGENET1K_V1,
    "mobilenet_v3_large": tv.MobileNet_V3_Large_Weights.IMAGENET1K_V1,
}

_SMP_SHARED: Final = {"encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params", "kwargs"}


def build_torchvision(
    name: str, outputs: int, in_channels: int = 3, *, encoder_weights: str | None = None
) -> BuiltModule:
    """Build a network of torchvision without its auxiliary head.

    Args:
        name: as in ``torchvision.models.segmentation``.
        outputs: number of logit channels.
        in_channels: number of channels of the images; pretrained first layers are adapted.
        encoder_weights: None initializes randomly; ``imagenet`` loads the backbone; ``coco`` loads the network as
            trained on COCO with the 21 classes of VOC, and its last layer if ``outputs`` is 21. Both are downloaded
            unless torchvision's cache contains them.

    Raises:
        UsageError: for unknown weights.
        EnvironmentProblem: if weights cannot be downloaded.
    """
    if encoder_weights is not None and encoder_weights not in TORCHVISION_WEIGHTS:
        raise unknown_name(f"encoder weights of {name}", encoder_weights, TORCHVISION_WEIGHTS)
    backbone = next(weights for ending, weights in _BACKBONES.items() if name.endswith(ending))
    coco = tv.get_model_weights(name).COCO_WITH_VOC_LABELS_V1
    weights = {"imagenet": backbone, "coco": coco, None: None}[encoder_weights]
    if weights is not None:
        what = f"the {encoder_weights} weights of {name}"
        pretrained.check_torchvision_weights(weights, what)
        with pretrained.explain_download_errors(what, "torchvision", str(torch.hub.get_dir())):
            weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    module = tv.get_model(
        name, weights=None, num_classes=outputs, weights_backbone=backbone if encoder_weights == "imagenet" else None
    )
    if encoder_weights == "coco":
        # Loaded here and not by torchvision, which requires 21 classes and builds the auxiliary head.
        _load_coco(module, coco.get_state_dict(progress=False, check_hash=True, weights_only=True))
    if in_channels != 3:
        _replace_first_convolution(module, in_channels, pretrained=weights is not None)
    if weights is None:
        return BuiltModule(module)
    preset = weights.transforms()
    return BuiltModule(module, normalization=pretrained.adapt_normalization(preset.mean, preset.std, in_channels))


def _load_coco(module: nn.Module, weights: dict[str, Tensor]) -> None:
    # Load the weights except the auxiliary head, and except the last layer if the number of classes differs.
    own = module.state_dict()
    fitting = {name: value for name, value in weights.items() if not name.startswith("aux_classifier.")}
    fitting = {n: v for n, v in fitting.items() if not n.startswith("classifier.") or own[n].shape == v.shape}
    missing, unexpected = module.load_state_dict(fitting, strict=False)
    if unexpected or any(not name.startswith("classifier.") for name in missing):
        raise RuntimeError(f"torchvision's weights do not fit its network: missing {missing}, unexpected {unexpected}")


def _replace_first_convolution(module: nn.Module, in_channels: int, *, pretrained: bool) -> None:
    name, first = next((n, m) for n, m in module.named_modules() if isinstance(m, nn.Conv2d))
    # Conv2d stores pairs but declares tuples of any length.
    new = nn.Conv2d(
        in_channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    if pretrained:
        from timm.models import adapt_input_conv

        new.load_state_dict({**first.state_dict(), "weight": adapt_input_conv(in_channels, first.weight.detach())})
    else:  # the initialization of torchvision's ResNets
        nn.init.kaiming_normal_(new.weight, mode="fan_out")
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, new)


def smp_options(class_name: str) -> dict[str, inspect.Parameter]:
    """Return the arguments of an smp class besides those for its encoder, with their defaults."""
    parameters = inspect.signature(_smp_class(class_name)).parameters
    return {key: parameter for key, parameter in parameters.items() if key not in _SMP_SHARED}


def list_encoders(*, timm: bool = True) -> list[str]:
    """Return the names of all encoders of smp, and of timm as ``tu-…``."""
    import segmentation_models_pytorch as smp

    names = list(smp.encoders.get_encoder_names())
    if not timm:
        return names
    import timm as timm_library

    return names + [f"tu-{model}" for model in timm_library.list_models()]


def build_smp(
    class_name: str,
    outputs: int,
    in_channels: int = 3,
    *,
    encoder: str | None = None,
    encoder_weights: str | None = None,
    encoder_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> BuiltModule:
    """Build a network of segmentation_models_pytorch.

    Args:
        class_name: name of the library's class.
        outputs: number of logit channels.
        in_channels: number of channels of the images; pretrained first layers are adapted.
        encoder: an encoder's name, ``tu-…`` for timm's; None uses the library's default.
        encoder_weights: None initializes randomly; ``bundled`` needs no download (for tf_efficientnet_lite0);
            ``imagenet`` and the library's other names download unless its cache contains them.
        encoder_options: further arguments of a ``tu-…`` encoder, with timm's names; None lets DPT's encoders
            accept images of any size.
        options: further arguments of the library's class.

    Raises:
        UsageError: for unknown names, and combinations that the library rejects.
        EnvironmentProblem: if weights cannot be downloaded.
    """
    model = _smp_class(class_name)
    encoder = encoder or inspect.signature(model).parameters["encoder_name"].default
    check_encoder(encoder)
    if encoder_weights == pretrained.BUNDLED and encoder != pretrained.BUNDLED_ENCODER:
        problem = f"encoder_weights 'bundled' fit {pretrained.BUNDLED_ENCODER}, got encoder {encoder!r}"
        raise UsageError(problem, f"use encoder {pretrained.BUNDLED_ENCODER!r}, or set encoder_weights to null")
    if encoder_options is None:
        encoder_options = {"dynamic_img_size": True} if class_name == "DPT" else {}
    elif encoder_options and not encoder.startswith("tu-"):
        raise UsageError(
            f"encoder_options are for the encoders of timm (tu-…), got encoder {encoder!r}", "leave encoder_options out"
        )
    # Bundled weights are loaded after building; all others are fetched first, so that errors come within seconds.
    download = encoder_weights is not None and encoder_weights != pretrained.BUNDLED
    normalization = _fetch(encoder, str(encoder_weights), in_channels) if download else None
    weights: str | bool | None = (encoder_weights if not encoder.startswith("tu-") else True) if download else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the old `timm-` names still work
            module = model(
                encoder_name=encoder, encoder_weights=weights, in_channels=in_channels, classes=outputs, **options,
                **encoder_options,
            )  # fmt: skip
    except SegmiError:
        raise
    except Exception as error:  # the library raises many types
        raise UsageError(
            f"smp_{class_name.lower()} cannot be built with encoder {encoder!r} and options {options}: "
            f"{type(error).__name__}: {error}",
            "choose another encoder (`segmi list models` names the architectures) or other options",
        ) from error
    if encoder_weights == pretrained.BUNDLED:
        normalization = pretrained.load_bundled(module.encoder, in_channels)
    stride = int(module.encoder.output_stride) if module.requires_divisible_input_shape else 1
    return BuiltModule(module, stride, normalization)


def check_encoder(encoder: str) -> None:
    """Check that an encoder exists; the error suggests the most similar name."""
    import segmentation_models_pytorch as smp
    import timm

    if encoder in smp.encoders.get_encoder_names():
        return
    if encoder.startswith("tu-"):
        base, _, tag = encoder.removeprefix("tu-").partition(".")
        if timm.models.is_model(base):
            tags = timm.list_pretrained(f"{base}.*")
            if tag and f"{base}.{tag}" not in tags:
                raise unknown_name("encoder", encoder, [f"tu-{known}" for known in tags])
            return
    raise unknown_name("encoder", encoder, list_encoders())


def _smp_class(class_name: str) -> type[SegmentationModel]:
    import segmentation_models_pytorch as smp

    return getattr(smp, class_name)


def _fetch(encoder: str, weights: str, in_channels: int) -> Normalization:
    """Download an encoder's weights into its library's cache, and return their normalization."""
    import segmentation_models_pytorch as smp

    what = f"the {weights} weights of encoder {encoder}"
    library = "segmentation_models_pytorch"
    if encoder.startswith("tu-"):
        if weights != "imagenet":
            raise unknown_name(f"encoder weights of {encoder}", weights, ["imagenet"])
        _fetch_timm(encoder.removeprefix("tu-"), what)
        library = "timm"
    else:
        known = smp.encoders.encoders[encoder]["pretrained_settings"]
        if weights not in known:
            raise unknown_name(f"encoder weights of {encoder}", weights, known)
        source = known[weights]
        files = ("config.json", "model.safetensors")
        pretrained.fetch_hub_files(source["repo_id"], files, source["revision"], what=what, library=library)
    with pretrained.explain_download_errors(what, library, "folder"):
        settings = smp.encoders.get_preprocessing_params(encoder, weights)
    return pretrained.adapt_normalization(settings["mean"], settings["std"], in_channels)


def _fetch_timm(name: str, what: str) -> None:
    import timm

    config = timm.models.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise UsageError(f"timm has no pretrained weights for {name!r}", "set encoder_weights to null")
    if not config.hf_hub_id:
        raise EnvironmentProblem(f"{what} are not on the Hugging Face Hub", "set encoder_weights to null")
    repository, _, revision = config.hf_hub_id.partition("@")
    file = config.hf_hub_filename or "model.safetensors"
    pretrained.fetch_hub_files(repository, [file], revision or None, what=what, library="timm")
