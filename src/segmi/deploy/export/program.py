"""The network of a bundle as one traced program with a free batch, height and width."""

from __future__ import annotations

import json
import warnings
from typing import Any, Final, NamedTuple

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from segmi.deploy.image import card_of
from segmi.errors import RunError
from segmi.models import SegmentationNetwork
from segmi.types import Images, Logits

LARGEST: Final = 8192
"""Sides up to which a program is traced; it must know some bound."""

USUAL_STRIDE: Final = 32
"""What sides must be multiples of where a network pads inside in a way that cannot be traced."""


class Program(NamedTuple):
    """A traced network.

    Args:
        traced: from N×3×H×W float32 images in [0, 1] to N×C×H×W logits, normalization inside.
        stride: what H and W must be multiples of.
    """

    traced: ExportedProgram
    stride: int


class LogitsOnly(nn.Module):
    """A network without its features: a tensor in, a tensor out."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Images) -> Logits:
        """N×3×H×W to N×C×H×W."""
        return self.network(images).logits


def traced(network: SegmentationNetwork) -> Program:
    """Trace a network.

    Raises:
        RunError: its operations cannot be traced for free sizes.
    """
    module = LogitsOnly(network).eval()
    problems = []
    for stride in dict.fromkeys((network.stride, USUAL_STRIDE)):
        # Two images that are not square: what is 1, or equal, in the example would become a constant.
        example = torch.rand(2, network.in_channels, 4 * max(stride, 16), 6 * max(stride, 16))
        sizes = {2: _side("height", stride), 3: _side("width", stride)}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what PyTorch says about its own rewriting
                program = torch.export.export(
                    module, (example,), dynamic_shapes=({0: Dim("batch", min=1, max=LARGEST), **sizes},), strict=False
                )
            return Program(program, stride)
        except Exception as error:  # whatever tracing raises is about this architecture
            problems.append(f"sides of multiples of {stride}: {str(error).splitlines()[0]}")
    raise RunError(
        f"{network.specification.get('architecture')} cannot be traced:\n  - " + "\n  - ".join(problems),
        "export it as safetensors, or choose another architecture",
    )


def metadata(network: SegmentationNetwork, stride: int) -> dict[str, str]:
    """What a program carries with it: whatever is needed to prepare images and to read its results, as JSON texts."""
    card = card_of(network)
    facts: dict[str, Any] = {
        "classes": card["classes"],
        "palette": card["palette"],
        "ignored": card["ignored"],
        "preprocessing": {
            **card["preprocessing"],
            "resizing": "bilinear with antialiasing, as Pillow's BILINEAR; exact: to resize × resize, shorter: the "
            "shorter side to resize; no resize: as it is. Logits go back to the image's size bilinearly, then decide",
            "input": "float32 N×3×H×W, RGB, values 0–255 divided by 255; normalization is inside",
            "output": "logits N×C×H×W" + ("; one logit, class 1 where it exceeds 0" if network.one_logit else ""),
            "sides": f"multiples of {stride}; pad below and right by repeating the edge, cut the logits back",
            "stride": stride,
        },
        "dataset": card["dataset"],
        "architecture": card["architecture"],
        "specification": card["specification"],
        "segmi_version": card["segmi_version"],
        "schema_version": card["schema_version"],
    }
    return {f"segmi.{name}": json.dumps(value, ensure_ascii=False) for name, value in facts.items()}


def _side(name: str, stride: int) -> Any:
    if stride == 1:
        return Dim(name, min=16, max=LARGEST)
    return stride * Dim(f"{name}_{stride}", min=2, max=LARGEST // stride)
