"""Every architecture and encoder of segmentation_models_pytorch, which is imported only when one is built (4 s)."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from segmi.errors import EnvironmentProblem, SegmiError, UsageError, unknown_name
from segmi.models.network import Parts, Statistics
from segmi.models.pretrained import (
    BUNDLED,
    BUNDLED_ENCODER,
    ensure_hub_files,
    explained_download,
    load_bundled,
    statistics_for,
)

if TYPE_CHECKING:
    from segmentation_models_pytorch.base import SegmentationModel

ARCHITECTURES: Final = {
    "smp_unet": "Unet",
    "smp_unetplusplus": "UnetPlusPlus",
    "smp_manet": "MAnet",
    "smp_linknet": "Linknet",
    "smp_fpn": "FPN",
    "smp_pspnet": "PSPNet",
    "smp_deeplabv3": "DeepLabV3",
    "smp_deeplabv3plus": "DeepLabV3Plus",
    "smp_pan": "PAN",
    "smp_upernet": "UPerNet",
    "smp_segformer": "Segformer",
    "smp_dpt": "DPT",
}
"""Our names for the library's classes: ``smp_`` and the class name in lower case."""

_OURS: Final = {"encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params", "kwargs"}


def options(name: str) -> dict[str, inspect.Parameter]:
    """What an architecture can be told beyond its encoder: the library's own arguments, with their defaults."""
    parameters = inspect.signature(_class(name)).parameters
    return {key: parameter for key, parameter in parameters.items() if key not in _OURS}


def encoders(*, timm: bool = True) -> list[str]:
    """The names of all encoders: the library's own, and those of timm as ``tu-…``."""
    import segmentation_models_pytorch as smp

    own = list(smp.encoders.get_encoder_names())
    if not timm:
        return own
    import timm as library

    return own + [f"tu-{model}" for model in library.list_models()]


def build(
    name: str,
    outputs: int,
    in_channels: int = 3,
    *,
    encoder: str | None = None,
    encoder_weights: str | None = None,
    encoder_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Parts:
    """A network of segmentation_models_pytorch.

    Args:
        name: one of `ARCHITECTURES`.
        outputs: number of logit channels.
        in_channels: number of channels of the images; pretrained first layers adapt.
        encoder: an encoder's name, ``tu-…`` for those of timm; None takes the library's default.
        encoder_weights: None starts from random weights; ``bundled`` needs no download (for tf_efficientnet_lite0);
            ``imagenet`` and the library's other names download unless its cache holds them.
        encoder_options: further arguments of a ``tu-…`` encoder, as timm names them; None lets those of ``smp_dpt``
            take images of any size, which timm's transformers otherwise refuse.
        options: further arguments of the library's class.

    Raises:
        UsageError: for unknown names, and for combinations that the library refuses.
        EnvironmentProblem: if weights would have to be downloaded and cannot be.
    """
    model = _class(name)
    encoder = encoder or inspect.signature(model).parameters["encoder_name"].default
    check_encoder(encoder)
    if encoder_weights == BUNDLED and encoder != BUNDLED_ENCODER:
        raise UsageError(
            f"encoder_weights 'bundled' fit {BUNDLED_ENCODER}, got encoder {encoder!r}",
            f"use encoder {BUNDLED_ENCODER!r}, or set encoder_weights to null",
        )
    if encoder_options is None:
        encoder_options = {"dynamic_img_size": True} if name == "smp_dpt" else {}
    elif encoder_options and not encoder.startswith("tu-"):
        raise UsageError(
            f"encoder_options are for the encoders of timm (tu-…), got encoder {encoder!r}", "leave encoder_options out"
        )
    download = encoder_weights is not None and encoder_weights != BUNDLED
    statistics = _fetch(encoder, str(encoder_weights), in_channels) if download else None
    weights: str | bool | None = (encoder_weights if not encoder.startswith("tu-") else True) if download else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the `timm-` names, which work
            module = model(
                encoder_name=encoder,
                encoder_weights=weights,
                in_channels=in_channels,
                classes=outputs,
                **options,
                **encoder_options,
            )
    except SegmiError:
        raise
    except Exception as error:  # the library's refusals have many types
        raise UsageError(
            f"{name} cannot be built with encoder {encoder!r} and options {options}: {type(error).__name__}: {error}",
            "choose another encoder (`segmi list models` names the architectures) or other options",
        ) from error
    if encoder_weights == BUNDLED:
        statistics = load_bundled(module.encoder, in_channels)
    return Parts(module, _stride(module), statistics)


def check_encoder(encoder: str) -> None:
    """Refuse a name that is no encoder, with the nearest one."""
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
    raise unknown_name("encoder", encoder, encoders())


def _class(name: str) -> type[SegmentationModel]:
    import segmentation_models_pytorch as smp

    return getattr(smp, ARCHITECTURES[name])


def _stride(module: SegmentationModel) -> int:
    return int(module.encoder.output_stride) if module.requires_divisible_input_shape else 1


def _fetch(encoder: str, weights: str, in_channels: int) -> Statistics:
    """Bring an encoder's weights into the cache of their library; returns what they expect of their images."""
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
        ensure_hub_files(source["repo_id"], files, source["revision"], what=what, library=library)
    with explained_download(what, library, "folder"):
        settings = smp.encoders.get_preprocessing_params(encoder, weights)
    return statistics_for(settings["mean"], settings["std"], in_channels)


def _fetch_timm(name: str, what: str) -> None:
    import timm

    config = timm.models.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise UsageError(f"timm has no pretrained weights for {name!r}", "set encoder_weights to null")
    if not config.hf_hub_id:
        raise EnvironmentProblem(
            f"{what} are not on the hub that segmi can check before a download", "set encoder_weights to null"
        )
    repository, _, revision = config.hf_hub_id.partition("@")
    file = config.hf_hub_filename or "model.safetensors"
    ensure_hub_files(repository, [file], revision or None, what=what, library="timm")
