"""Validation of logits and labels, once for all losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from segmi.types import IGNORE_INDEX, Labels, Logits

_NOTHING_IGNORED: Final = -(2**63)  # smaller than any label


class Targets(NamedTuple):
    """Labels after `read_targets`."""

    classes: Tensor  # N×H×W int64 class indices, 0 at ignored pixels
    valid: Tensor  # N×H×W bool, False at ignored pixels
    # float32 scalar, 0 for valid input and NaN otherwise. Losses add it to their numerator, so that invalid input gives
    # NaN without a synchronization of the GPU
    invalid: Tensor


def read_targets(logits: Logits, labels: Labels, ignore_index: int | None) -> Targets:
    """Check logits against labels and separate ignored pixels.

    NaN in the logits, at ignored pixels too, makes `Targets.invalid` NaN. So does an unknown id on other devices than
    the CPU, where an error would need a synchronization.

    Shapes:
        logits: N×C×H×W, floating point; C = 1 is a binary problem with labels {0, 1}.
        labels: N×H×W, integer.
    Raises:
        TypeError, ValueError: as `check_targets`; ValueError, on the CPU, for an id that is neither a class nor
            ``ignore_index``.
    """
    check_targets(logits, labels, ignore_index)
    classes = class_count(logits)
    index = labels.long()
    valid = is_valid(labels, ignore_index)
    unknown = valid & ((index < 0) | (index >= classes))
    # checked on the device, without a synchronization
    invalid = nan_marker(logits)
    if is_readable(unknown):
        if unknown.any():
            raise ValueError(_unknown_ids(index[unknown], classes, ignore_index))
    else:
        invalid = invalid + _nan_if(unknown.any())
    return Targets(index.masked_fill(~valid | unknown, 0), valid, invalid)


def nan_marker(logits: Logits) -> Tensor:
    """Return a float32 scalar, NaN if a logit is NaN and 0 otherwise; see `Targets.invalid`."""
    return _nan_if(logits.detach().amax().isnan()) if logits.numel() else logits.new_zeros((), dtype=torch.float32)


def plain(tensor: Tensor) -> Tensor:
    """Return a tensor of a subclass as a plain one; subclasses with their own dispatch, and other objects, unchanged.

    The subclasses of fastai and MONAI only carry metadata, which losses do not need.
    """
    if type(tensor) is Tensor or torch.compiler.is_compiling() or not isinstance(tensor, Tensor):
        return tensor
    dispatched = type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__
    return tensor if dispatched else tensor.as_subclass(Tensor)


def is_valid(labels: Labels, ignore_index: int | None) -> Tensor:
    """Return where labels are not ``ignore_index``, bool; True everywhere if it is None."""
    return labels.long() != ignore_value(ignore_index)  # uint8 would wrap a negative value around


def ignore_value(ignore_index: int | None) -> int:
    """Return the label of ignored pixels; for None one that does not occur."""
    return _NOTHING_IGNORED if ignore_index is None else ignore_index


def check_targets(logits: Logits, labels: Labels, ignore_index: int | None) -> None:
    """Check types, dtypes, shapes and devices, without reading any value of valid input.

    Raises:
        TypeError: other objects than tensors, logits that are not floating point, labels that are not integer or are on
            another device, an ``ignore_index`` that is not an integer.
        ValueError: shapes that do not match; an ``ignore_index`` of 255 that is also a class.
    """
    check_logits("logits", logits)
    if not isinstance(labels, Tensor):
        raise TypeError(_not_a_tensor(labels))
    if not logits.is_floating_point():
        raise TypeError(
            f"logits: expected a floating-point tensor, got {logits.dtype}. Fix: pass the output of the network"
        )
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(
            f"labels: expected class indices of an integer type, got {labels.dtype}. Fix: use {_indices_of(labels)}"
        )
    if logits.ndim != 4 or logits.shape[1] == 0:
        fix = "pass logits of images, in 2D"
        if logits.ndim == 3:
            added = "[None]" if labels.shape == logits.shape[1:] else "[..., None]"  # N×C×L is a batch of sequences
            fix = f"pass logits{added} and labels{added}" + (" for one image" if added == "[None]" else "")
        raise ValueError(f"logits: expected shape N×C×H×W with C ≥ 1, got {tuple(logits.shape)}. Fix: {fix}")
    expected = (logits.shape[0], *logits.shape[2:])
    if tuple(labels.shape) != expected:
        raise ValueError(
            f"labels: expected shape N×H×W = {expected} to match logits of shape {tuple(logits.shape)}, got "
            f"{tuple(labels.shape)}. Fix: {_matching_shape(logits, labels)}"
        )
    if labels.device != logits.device:
        raise TypeError(
            f"labels: expected device {logits.device} as the logits, got {labels.device}. "
            "Fix: use labels.to(logits.device)"
        )
    if ignore_index is not None and (isinstance(ignore_index, bool) or not isinstance(ignore_index, Integral)):
        raise TypeError(
            f"ignore_index: expected one integer or None, got {ignore_index!r}. Fix: pass an integer; map several "
            "values to one, such as labels.masked_fill(labels == 254, 255)"
        )
    if ignore_index == IGNORE_INDEX < logits.shape[1]:
        raise ValueError(
            f"ignore_index: expected a value that is none of the {logits.shape[1]} classes, got {ignore_index}. "
            "Fix: use ignore_index=None if no pixel is ignored, or a value that is not a class, such as -1"
        )


def check_logits(name: str, logits: object) -> None:
    """Raise ``TypeError`` unless ``logits`` is a tensor, with the part of an output of another library to pass."""
    if isinstance(logits, Tensor):
        return
    got, fix = type(logits).__name__, "pass the output of the network, a tensor"
    inner = getattr(logits, "logits", None)  # of the outputs of transformers
    if isinstance(inner, Tensor):
        fix = "pass output.logits, resized to the labels by torch.nn.functional.interpolate"
    elif isinstance(logits, Mapping) and logits:
        got += " with the keys " + ", ".join(map(repr, logits))
        fix = f"pass output[{next((key for key in ('out', 'logits') if key in logits), next(iter(logits)))!r}]"
    elif isinstance(logits, list | tuple) and logits:
        got += f" of {len(logits)}"
        maps = [index for index, one in enumerate(logits) if isinstance(one, Tensor) and one.ndim == 4]
        first = maps[0] if maps else 0
        fix = f"pass output[{first}], and add the loss of auxiliary logits with a separate weight"
    raise TypeError(f"{name}: expected a tensor, got {got}. Fix: {fix}")


def _not_a_tensor(labels: object) -> str:
    got, fix = type(labels).__name__, "torch.as_tensor(labels, device=logits.device)"
    if labels is None:
        fix = "the labels of the images"
    elif isinstance(labels, Mapping) and labels:
        got += " with the keys " + ", ".join(map(repr, labels))
        known = ("labels", "masks", "mask", "semantic")
        fix = f"labels[{next((key for key in known if key in labels), next(iter(labels)))!r}]"
    elif (
        not isinstance(labels, list | tuple) and hasattr(labels, "__array_interface__") and not hasattr(labels, "ndim")
    ):
        fix = "torch.as_tensor(numpy.array(labels), device=logits.device)[None]"  # an image of Pillow
    return f"labels: expected a tensor of class indices, got {got}. Fix: pass {fix}"


def _matching_shape(logits: Logits, labels: Labels) -> str:
    # the expression that makes the shapes match
    count, classes, *size = logits.shape
    shape = tuple(labels.shape)
    if shape == (count, 1, *size):
        return "pass labels[:, 0]"
    if shape == (count, classes, *size):
        return "pass labels.argmax(1) for one-hot labels"
    if shape == (count, *size, classes):
        return "pass labels.argmax(-1) for one-hot labels"
    if shape == tuple(logits.shape[:3]):
        return "pass logits.permute(0, 3, 1, 2) if the classes are last"
    if count == 1 and shape == tuple(size):
        return "pass labels[None]"
    if len(shape) == 3 and shape[0] == count:
        return "pass torch.nn.functional.interpolate(logits, labels.shape[-2:], mode='bilinear') to resize the logits"
    return "pass the labels of the same images, with one class index per pixel"


def _indices_of(labels: Tensor) -> str:
    # the expression that gives N×H×W class indices from labels of a floating-point type
    if labels.ndim == 4 and labels.shape[1] > 1:
        return "labels.argmax(1) for one-hot labels"
    name = "labels" if labels.ndim < 4 else "labels[:, 0]"
    values: Any = torch.zeros(0)
    if labels.device.type != "meta" and not is_traced(labels):
        values = labels.detach().flatten().double()
    whole, scaled = (bool(((one - one.round()).abs() < 1e-3).all()) for one in (values, 255 * values))
    if whole:
        return f"{name}.long()"
    if scaled:  # the transform ToTensor of torchvision divides by 255
        return f"({name} * 255).round().long()"
    return f"({name} > 0.5).long() for probabilities of class 1"


def is_transformed() -> bool:
    """Return whether a transform of `torch.func` or `torch.compile` is active, where values may not be readable."""
    return torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None


def is_traced(tensor: Tensor) -> bool:
    """Return whether values cannot be read: in `torch.compile`, or a tensor of a transform of `torch.func`."""
    return torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def is_readable(tensor: Tensor) -> bool:
    """Return whether reading values is free: on the CPU and outside transforms; elsewhere it synchronizes or fails."""
    return tensor.device.type == "cpu" and not is_traced(tensor)


def class_count(logits: Logits) -> int:
    """Return the number of classes: the number of channels, or 2 for the single channel of a binary problem."""
    return max(logits.shape[1], 2)


def upcast(logits: Logits) -> Tensor:
    """Return logits in at least float32."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _nan_if(condition: Tensor) -> Tensor:
    return torch.where(condition, math.nan, 0.0)


def _unknown_ids(ids: Tensor, classes: int, ignore_index: int | None) -> str:
    known = f"class ids 0 to {classes - 1}" + (
        "" if ignore_value(ignore_index) == _NOTHING_IGNORED else f" or the ignore value {ignore_index}"
    )
    unknown = ids.unique().tolist()
    listing = ", ".join(map(str, unknown[:10])) + (f", … ({len(unknown)} in all)" if len(unknown) > 10 else "")
    negative = [value for value in unknown if value < 0]
    fix = "map them to classes or to the ignore value, or give the network one channel per class"
    fix = f"pass ignore_index={negative[0]} to the loss if such pixels are ignored" if unknown == negative[:1] else fix
    return f"labels: expected {known}, got also {listing}. Fix: {fix}"
