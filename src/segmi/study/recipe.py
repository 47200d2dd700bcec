"""Default recipe of ``segmi train``: decisions, each a function of the data and the machine with values and a reason.

Study files do not use the recipe. Explicit options override it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from segmi.datasets.reader import DatasetReader
from segmi.datasets.workers import processors
from segmi.errors import counted
from segmi.models.network import resolve_device
from segmi.models.pretrained import Weights, available_weights
from segmi.study.environment import memory_gb
from segmi.study.run_config import HELD_OUT
from segmi.types import IGNORE_INDEX

MINUTES: Final = 20.0
"""Budget if none is given."""

MEASURED_IMAGES: Final = 48
"""Training images that are read to measure sizes and orientation, evenly spaced."""

NETWORK: Final = "network."
"""Prefix of the fields of the network; ``loss`` is the field of the losses; others are paths in the study."""

_HELD_OUT: Final = 0.2  # share of train that is held out without ``val``
_BUDGETS: Final = tuple(f"training.{unit}" for unit in ("steps", "epochs", "images", "minutes"))


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Properties of a dataset and a machine that the recipe depends on."""

    images: int  # training images
    classes: int
    splits: tuple[str, ...]
    drawn: tuple[str, ...] = ()  # splits that are drawn from train
    groups: int  # groups of the training images (clips, places, patients)
    shared_groups: int = 0  # groups of val that train has too
    height: int  # median in pixels
    width: int  # median in pixels
    largest: int  # longest side in pixels
    upright: bool  # see `is_upright`
    transforms: tuple[dict[str, Any], ...] = ()  # of segmi.toml
    device: str  # cpu, cuda or mps
    cores: int
    memory_gb: float | None  # of the device, GiB
    weights: Weights | None  # available pretrained encoder

    @property
    def trained(self) -> int:
        """Number of images that are trained on: without ``val``, a part of train is held out."""
        return self.images if "val" in self.splits else max(1, int(self.images * (1 - _HELD_OUT)))


class Decision(NamedTuple):
    """Values of some settings, and the reason for them."""

    fields: dict[str, Any]
    text: str  # the values for the user
    reason: str
    whole: bool = False  # whether any explicit value replaces all fields
    yields_to: tuple[str, ...] = ()  # further settings that replace all fields if they are explicit


def measure(dataset: DatasetReader, device: str) -> Facts:
    """Return the facts about a dataset and this machine, from evenly spaced training images.

    Args:
        dataset: an opened dataset.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    """
    train = dataset.split("train")
    groups = {sample.group for sample in train}
    val = {sample.group for sample in dataset.split("val")} if "val" in dataset.splits else set()
    count = min(MEASURED_IMAGES, len(train))
    pairs = [dataset.read(train[int((part + 0.5) * len(train) / count)]) for part in range(count)]
    sizes = np.array([mask.shape for _, mask in pairs])
    target = resolve_device(device)
    memory = memory_gb()
    if target.type == "cuda":
        memory = torch.cuda.get_device_properties(target).total_memory / 2**30
    config: Any = getattr(dataset, "config", None)
    return Facts(
        images=len(train), classes=len(dataset.info.classes), splits=tuple(dataset.splits), groups=len(groups),
        drawn=tuple(config.drawn) if config is not None else (), shared_groups=len(groups & val),
        height=int(np.median(sizes[:, 0])), width=int(np.median(sizes[:, 1])), largest=int(sizes.max()),
        upright=is_upright(pairs), transforms=config.transforms if config is not None else (), device=target.type,
        cores=processors(), memory_gb=memory, weights=available_weights(target.type),
    )  # fmt: skip


def is_upright(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> bool:
    """Return whether images have a top and a bottom, so that they must not be flipped vertically.

    The upper and the lower halves of all images together are compared, and the left and the right halves. The images
    are upright if the shares of the classes, or the mean colors, differ more than twice as much vertically as
    horizontally, and by more than 0.03. A scene that is seen from above differs in neither direction.

    Args:
        pairs: H×W×C images, uint8 or in [0, 1], and H×W labels.

    Example:
        >>> sky = np.arange(8).reshape(8, 1).repeat(8, 1) < 3  # above everything else
        >>> is_upright([(np.zeros((8, 8, 3), np.uint8), sky.astype(np.uint8))])
        True
    """
    labels, colors = np.zeros((2, 2, 256)), np.zeros((2, 2))  # axis, half, class; axis, half
    for image, mask in pairs:
        scaled = image / 255 if image.dtype == np.uint8 else image
        for axis in (0, 1):
            halves = (np.array_split(part, 2, axis=axis) for part in (mask, scaled))
            for half, (values, pixels) in enumerate(zip(*halves, strict=True)):
                labels[axis, half] += np.bincount(values.ravel(), minlength=256)
                colors[axis, half] += pixels.mean() / len(pairs)
    labels[..., IGNORE_INDEX] = 0
    shares = labels / np.maximum(labels.sum(-1, keepdims=True), 1)
    of_labels = np.abs(shares[:, 0] - shares[:, 1]).sum(-1) / 2  # total variation distance
    of_colors = np.abs(colors[:, 0] - colors[:, 1])
    return any(vertical > max(0.03, 2 * horizontal) for vertical, horizontal in (of_labels, of_colors))


def _network(facts: Facts, given: Mapping[str, Any]) -> Decision:
    weights = facts.weights
    if facts.device == "cpu":
        network: dict[str, Any] = {"architecture": "smp_segformer", "decoder_segmentation_channels": 64}
        decoder = "the light decoder of SegFormer takes half the time of a U-Net on a CPU"
    else:
        network, decoder = {"architecture": "smp_unet"}, f"the decoder of a U-Net on {facts.device}"
    if weights is None:
        fields = {**network, "encoder": "tu-tf_efficientnet_lite0"}
        text = "from scratch"
        reason = "pretrained weights are neither installed, cached nor downloadable; expect lower scores"
    else:
        fields = {**network, "encoder": weights.encoder, "encoder_weights": weights.name}
        text, reason = f"{weights.name} weights", f"the weights are {weights.source}; {decoder}"
    if f"{NETWORK}encoder" in given:  # the weights are of another encoder
        fields, text, reason = network, "your encoder", decoder
    named = f"{fields['architecture']} with {fields.get('encoder', given.get(NETWORK + 'encoder'))}, {text}"
    values = {NETWORK + key: value for key, value in fields.items()}
    return Decision(values, named, reason, yields_to=(f"{NETWORK}architecture", f"{NETWORK}width"))


def _size(facts: Facts, given: Mapping[str, Any]) -> Decision:
    shorter = min(facts.height, facts.width)
    most = 224 if facts.device == "cpu" or (facts.memory_gb or 0) < 8 else 512
    crop = given.get("processing.crop") or max(64, min(most, 32 * round(shorter / 32)))
    kind = "tiles" if shorter > 2 * crop else "images"
    text = f"{kind} of {facts.width} × {facts.height} at full resolution, crops of {crop}"
    fields: dict[str, Any] = {"processing.resize": None, "processing.crop": crop}
    reason = "nothing is resized, the aspect ratio is kept; the crop is near the median shorter side"
    return Decision(fields, text, f"{reason}, and at most {most} on {facts.device}", yields_to=("processing.resize",))


def _windows(facts: Facts, given: Mapping[str, Any]) -> Decision:
    fields: dict[str, Any] = {}
    text, reason = "whole images", f"the longest side is {facts.largest}"
    side = facts.largest
    if side > 1024:
        side = 1024
        fields["evaluation.window"] = side
        text, reason = f"windows of {side}", f"the longest side is {facts.largest}; windows limit the memory"
    # The logits of a batch take at most half a GiB.
    batch = max(1, min(8, 2**27 // (facts.classes * side * side)))
    return Decision(fields | {"evaluation.batch_size": batch}, f"{text}, {batch} at a time", reason)


def _augmentation(facts: Facts, given: Mapping[str, Any]) -> Decision:
    large = min(facts.height, facts.width) >= 448
    scale = [0.5, 2.0] if large else [0.7, 1.5]
    fields: dict[str, Any] = {"processing.flip": 0.5, "processing.scale": scale, "processing.color": 0.2}
    fields["processing.vertical_flip"] = 0.0 if facts.upright else 0.5
    reason = "upper and lower halves differ in classes or colors: upright images" if facts.upright else (
        "upper and lower halves are alike: seen from above, microscopy or textures"
    )  # fmt: skip
    flips = "horizontal flips" if facts.upright else "horizontal and vertical flips"
    if facts.transforms:
        fields["processing.transforms"] = list(facts.transforms)
    more = f", {len(facts.transforms)} transforms of segmi.toml" if facts.transforms else ""
    return Decision(fields, f"{flips}, scale {scale[0]} to {scale[1]}, mild color{more}", reason)


def _loss(facts: Facts, given: Mapping[str, Any]) -> Decision:
    return Decision(
        {"loss": LOSSES}, " + ".join(LOSSES), "best score per second among three losses on three datasets", whole=True
    )


LOSSES: Final = ("cross_entropy", "dice")
"""Losses of the recipe; docs/guides/recipe.md has the comparison."""


def _batch(facts: Facts, given: Mapping[str, Any]) -> Decision:
    usual = 16 if facts.device != "cpu" and (facts.memory_gb or 0) >= 12 else 8
    if facts.memory_gb is not None and facts.memory_gb < 4:
        usual = 4
    batch = max(1, min(usual, facts.trained))
    limit = counted(facts.trained, "training image") if batch < usual else f"{facts.memory_gb or 0:.0f} GiB of memory"
    size = given.get("training.batch_size") or batch
    rate = float(f"{3e-3 * math.sqrt(size / 8):.2g}")
    fields = {"training.batch_size": batch, "training.optimizer": "AdamW", "training.learning_rate": rate}
    reasons = {
        "training.batch_size": limit, "training.learning_rate": "the learning rate follows the square root of the batch"
    }  # fmt: skip
    reason = "; ".join(text for field, text in reasons.items() if not given.get(field)) or "as given"
    used, shown = given.get("training.optimizer") or "AdamW", given.get("training.learning_rate") or rate
    return Decision(fields, f"batches of {size}, {used} with a learning rate of {shown}", reason)


def _budget(facts: Facts, given: Mapping[str, Any]) -> Decision:
    text = f"{MINUTES:g} minutes on {_machine(facts.device, facts.cores)}"
    fields = {"training.minutes": MINUTES}
    reason = "--minutes, --steps or --epochs set another budget"
    return Decision(fields, text, reason, whole=True, yields_to=_BUDGETS)


def _machine(device: str, cores: int) -> str:
    return f"this CPU with {cores} core{'s' if cores != 1 else ''}" if device == "cpu" else f"this device ({device})"


def describe_time() -> str:
    """Return how long the default budget is on this machine."""
    machine = _machine(resolve_device().type, processors())
    return f"takes {MINUTES:g} minutes on {machine}, and the time to evaluate val; --minutes sets another budget"


def _schedule(facts: Facts, given: Mapping[str, Any]) -> Decision:
    batch = given.get("training.batch_size") or _batch(facts, given).fields["training.batch_size"]
    per_epoch = max(1, facts.trained // batch)
    steps = given.get("training.steps") or given.get("training.epochs", 0) * per_epoch
    steps = steps or -(-given.get("training.images", 0) // batch)
    unit, steps = ("steps", steps) if steps else ("parts of the time", 1000)  # of a budget in minutes
    warmup = int(steps) // 20
    fields = {
        "training.schedule": "PolynomialLR", "training.schedule_options": {"power": 0.9},
        "training.warmup_steps": warmup,
    }  # fmt: skip
    text = f"warm-up over 1/20 of the budget ({warmup} of {steps} {unit}), then polynomial decay"
    text = text if warmup else f"polynomial decay, without warm-up over {steps} steps"
    reason = "the learning rate reaches zero when the budget ends"
    return Decision(fields, text, reason, whole=True)


def _selection(facts: Facts, given: Mapping[str, Any]) -> Decision:
    fields: dict[str, Any] = {"training.weight_average": True, "training.estimate": True}
    groups = f"{facts.groups} groups" if facts.groups < facts.images else "single images without groups"
    if "val" not in facts.splits:
        fields |= {"training.holdout": _HELD_OUT, "evaluation.split": HELD_OUT}
        return Decision(
            fields, "the better of weights and moving average on a fifth of train, which is also evaluated",
            f"val is missing; images are held out in whole groups of train ({groups})",
        )  # fmt: skip
    fields |= {"training.holdout": 0.0, "training.selection_split": "val"}
    text, shared = "the better of weights and moving average on val", facts.shared_groups
    reason = "val is drawn from train" + ("" if shared else " in whole groups")
    if "val" not in facts.drawn:
        reason = "val is the dataset's own"
    if shared:
        reason += f", but shares {counted(shared, 'group')} with train, so its scores are too high for new ones"
    elif facts.groups == facts.images and "val" in facts.drawn:
        reason += ", each image its own group: set `group` in segmi.toml if images depend on each other"
    if "test" in facts.splits:
        fields["evaluation.split"] = "test"
        text += "; test is evaluated"
    else:
        reason += "; it is also evaluated, which is slightly optimistic: a split test would be evaluated instead"
    return Decision(fields, text, reason, yields_to=("training.select_by", "training.holdout"))


DECISIONS: Final[dict[str, Callable[[Facts, Mapping[str, Any]], Decision]]] = {
    "network": _network, "size": _size, "augmentation": _augmentation, "loss": _loss, "batch": _batch,
    "schedule": _schedule, "budget": _budget, "selection": _selection, "inference": _windows,
}  # fmt: skip
"""Decisions by name, in printing order. Each gets the facts and the explicit settings."""


def decide(facts: Facts, given: Mapping[str, Any]) -> dict[str, Decision]:
    """Return the decisions by name, without the settings that are explicit.

    Args:
        facts: from `measure`.
        given: explicit settings: paths in the study, ``network.…`` for the options of the network, and ``loss``.
    """
    decisions = {}
    for name, function in DECISIONS.items():
        decision = function(facts, given)
        replaced = (*decision.yields_to, *(decision.fields if decision.whole else ()))
        sections = {field.partition(".")[0] for field in decision.fields}  # a whole section can be explicit
        left = {field: value for field, value in decision.fields.items() if field not in given}
        if left and not any(field in given for field in replaced) and not sections & given.keys():
            decisions[name] = decision._replace(fields=left)
    return decisions
