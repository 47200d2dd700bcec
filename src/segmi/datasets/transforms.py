"""Transforms of torchvision and albumentations as plain data, applied to image and mask together.

``{"name": "RandomRotation", "degrees": 10}`` is ``torchvision.transforms.v2.RandomRotation(degrees=10)``, and
``{"name": "albumentations.GaussNoise", "p": 0.3}`` is ``albumentations.GaussNoise(p=0.3)``.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from segmi.errors import EnvironmentProblem, UsageError, unknown_name
from segmi.types import IGNORE_INDEX

_PREFIX: Final = "albumentations."


def apply_transforms(
    specs: Sequence[Mapping[str, Any]], image: Tensor, mask: Tensor, seed: int
) -> tuple[Tensor, Tensor]:
    """Apply transforms in their order, as a function of the seed and of the state of PyTorch's CPU generator.

    Shapes: C×H×W uint8 or float32 and H×W uint8, which stay the same.

    Args:
        specs: the transforms, each with ``name`` and its arguments.
        seed: seed of the transforms of albumentations.

    Raises:
        UsageError: a transform fails, or changes the size or the number format.
    """
    for spec in specs:
        transform = _build(json.dumps(dict(spec), sort_keys=True))
        before = (image.shape, image.dtype, mask.shape)
        try:
            if spec["name"].startswith(_PREFIX):
                image, mask = _albumentations(transform, image, mask, seed)
            else:
                image, mask = transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
        except (RuntimeError, TypeError, ValueError) as error:
            raise UsageError(f"transform {spec['name']} failed: {error}", "correct or remove it") from error
        after = (image.shape, image.dtype, mask.shape)
        if after != before:
            raise UsageError(
                f"transform {spec['name']}: expected crops of {_describe(before)} as before, got {_describe(after)}",
                "remove it: size, normalization and number format are set by segmi",
            )
    return image.as_subclass(Tensor), mask.as_subclass(Tensor)


def check_transforms(specs: Sequence[Mapping[str, Any]]) -> None:
    """Build all transforms.

    Raises:
        UsageError: an unknown name, or arguments that a transform does not accept.
        EnvironmentProblem: albumentations is not installed.
    """
    for spec in specs:
        if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
            raise UsageError(
                f"transforms: expected mappings with a name, got {spec!r}", 'write {name = "RandomRotation"}'
            )
        _build(json.dumps(dict(spec), sort_keys=True))


def transform_specs(transforms: Sequence[Any]) -> list[dict[str, Any]]:
    """Return transforms as plain data.

    Args:
        transforms: objects of torchvision's v2 or albumentations, or plain data.

    Raises:
        UsageError: an object cannot be described by the arguments of its class.

    Example:
        >>> transform_specs([v2.RandomGrayscale(0.25)])
        [{'name': 'RandomGrayscale', 'p': 0.25}]
    """
    return [dict(one) if isinstance(one, Mapping) else _spec_of(one) for one in transforms]


def _spec_of(transform: Any) -> dict[str, Any]:
    kind = type(transform)
    prefix = _PREFIX if kind.__module__.startswith(_PREFIX) else ""
    spec = _attributes(transform)
    try:
        json.dumps(spec)
        same = _attributes(kind(**_from_plain(spec))) == spec and kind.__name__ in vars(_library(prefix))
    except (TypeError, ValueError):
        same = False
    if not same:
        raise UsageError(
            f"the transform {transform!r} cannot be stored as plain data",
            'write it as a mapping, such as {"name": "RandomRotation", "degrees": 10}',
        )
    return {"name": prefix + kind.__name__, **spec}


def _attributes(transform: Any) -> dict[str, Any]:
    """Return the attributes with the names of the arguments, except defaults."""
    parameters = inspect.signature(type(transform)).parameters
    stored = {name: _plain(getattr(transform, name, None)) for name in parameters}
    return {name: value for name, value in stored.items() if value not in (None, _plain(parameters[name].default))}


def _plain(value: Any) -> Any:
    """Return enums of torchvision as their value, and sequences as lists."""
    if isinstance(value, v2.InterpolationMode):
        return value.value
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _from_plain(spec: Mapping[str, Any]) -> dict[str, Any]:
    mode = spec.get("interpolation")
    return {**spec, "interpolation": v2.InterpolationMode(mode)} if isinstance(mode, str) else dict(spec)


def _library(name: str) -> Any:
    """Return torchvision's v2, or albumentations if the name has its prefix."""
    if not name.startswith(_PREFIX):
        return v2
    try:
        return importlib.import_module("albumentations")
    except ImportError as error:
        raise EnvironmentProblem(
            f"transform {name} needs albumentations, which is not installed", "run `pip install albumentations`"
        ) from error


@cache
def _build(text: str) -> Any:
    spec = json.loads(text)
    name = spec.pop("name")
    library = _library(name)
    kind = getattr(library, name.removeprefix(_PREFIX), None)
    if not inspect.isclass(kind):
        raise unknown_name("transform", name, [key for key, one in vars(library).items() if inspect.isclass(one)])
    known = inspect.signature(kind).parameters
    # Pixels that come from outside are ignored, not class 0.
    if library is v2 and "fill" in known:
        spec["fill"] = {tv_tensors.Image: spec.get("fill", 0), tv_tensors.Mask: IGNORE_INDEX}
    elif "fill_mask" in known:
        spec.setdefault("fill_mask", IGNORE_INDEX)
    try:
        built = kind(**_from_plain(spec))
    except (TypeError, ValueError) as error:
        raise UsageError(f"transform {name} refuses its arguments: {error}", "correct them") from error
    return built if library is v2 else library.Compose([built])


def _albumentations(transform: Any, image: Tensor, mask: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    transform.set_random_seed(seed % 2**32)
    changed = transform(image=np.ascontiguousarray(image.permute(1, 2, 0).numpy()), mask=mask.numpy())
    return torch.from_numpy(changed["image"]).permute(2, 0, 1), torch.from_numpy(changed["mask"])


def _describe(state: tuple[torch.Size, torch.dtype, torch.Size]) -> str:
    image, dtype, mask = state
    return f"{'×'.join(map(str, image))} {str(dtype).removeprefix('torch.')} with masks of {'×'.join(map(str, mask))}"
