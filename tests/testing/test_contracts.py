"""`segmi.testing` finds violations, and says which rule is violated and how to fix it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segmi.datasets import DatasetReader, open_dataset
from segmi.errors import UsageError
from segmi.losses import Dice, Focal, Loss, MutualLearning, Objective, PixelLoss, Term
from segmi.losses.probabilities import pixel_cross_entropies
from segmi.losses.targets import read_targets
from segmi.testing import DATASET_RULES, LOSS_RULES, MODEL_RULES, check_dataset, check_loss, check_model


class CrossEntropy(PixelLoss):
    """A loss that keeps the contract, with switches that break it."""

    invariances = ("logit shift", "class permutation", "pixel permutation")

    def __init__(self, broken: str = "", *, ignore_index: int | None = 255) -> None:
        super().__init__(ignore_index=ignore_index)
        self.broken = broken
        match broken:
            case "invariances":
                self.invariances = ("logit shift", "prediction permutation", "pixel permutation")

    def term(self, logits: Tensor, labels: Tensor) -> Term:
        ignored = 255 if self.broken == "ignore_values" else self.ignore_index
        targets = read_targets(logits, labels, ignored)
        total = pixel_cross_entropies(logits, targets).sum()
        count = targets.valid.sum().to(total.dtype)
        match self.broken:
            case "scalar":
                total = pixel_cross_entropies(logits, targets)
            case "derivative":
                total = total + 0.1 * (logits.double() ** 2).sum().detach() * total
            case "precision":
                total = total.bfloat16().to(total.dtype) if total.dtype == torch.float32 else total
            case "extremes":
                total = (
                    -logits.double().softmax(1).amax(1).log1p().sum() - (1 - logits.double().softmax(1)).log().mean()
                )
            case "ignored_pixels":
                total = total + logits.double().square().sum().to(total.dtype)
            case "image_order":
                total = total + (pixel_cross_entropies(logits, targets).sum((1, 2)) * torch.arange(len(labels))).sum()
            case "half_batches":
                total = total / count.clamp(min=1)
                count = torch.ones_like(count)
            case "repeatable":
                total = total * (1 + 1e-3 * torch.rand(()))
            case "nan_logits":
                return Term(total.nan_to_num(), count)
            case "denominators":
                count = count + logits.detach().abs().sum().to(count.dtype)
        return Term(total + targets.invalid, count)


@pytest.mark.parametrize("loss", [CrossEntropy, CrossEntropy(), Dice, Dice(over="image"), MutualLearning])
def test_losses_that_keep_the_contract_pass(loss: type[Loss] | Loss | type[Objective]) -> None:
    check_loss(loss)


def test_functions_and_plain_modules_are_checked() -> None:
    check_loss(lambda logits, labels: CrossEntropy()(logits, labels), name="mine")
    check_loss(lambda **options: Focal(focus=1.0, **options), rules=["ignore_values", "scalar"])
    with pytest.raises(
        AssertionError, match=r"^CrossEntropyLoss violates 1 of 17 rules:\n  scalar: expected no exception"
    ):
        check_loss(nn.CrossEntropyLoss())
    with pytest.raises(
        AssertionError, match=r"all_ignored: expected a finite value for torch.float32 .* got nan. Fix: "
    ):
        check_loss(nn.CrossEntropyLoss(ignore_index=255), channels=[4])
    with pytest.raises(TypeError, match=r"expected a loss, its class, or a function, got str. Fix: pass the loss"):
        check_loss("cross_entropy")


EXPECTED = {
    "scalar": "expected a floating-point tensor without dimensions, got a tensor of shape (2, 12, 12). Fix: return",
    "derivative": "expected the numerical derivative for 1 channels, got: ",
    "precision": "value for torch.float32 logits: expected ",
    "extremes": "logits of 10,000 as torch.float64: expected a finite value and gradient, got the value inf",
    "ignored_pixels": "expected gradient 0 at ignored pixels, got ",
    "ignore_values": "expected no exception, got ValueError: labels: expected class ids 0 to 3",
    "image_order": "value in another order of images: expected ",
    "half_batches": "value of the summed terms of two parts of a batch: expected ",
    "invariances": "prediction permutation: expected ",
    "repeatable": "expected equal results of two calls, got ",
    "nan_logits": "expected NaN for NaN at a valid pixel, got ",
    "denominators": ": expected ",
}


@pytest.mark.parametrize("rule", EXPECTED)
def test_broken_losses_are_found(rule: str) -> None:
    with pytest.raises(
        AssertionError, match=rf"CrossEntropy violates \d+ of 17 rules:(.|\n)*{re.escape(rule)}"
    ) as caught:
        check_loss(lambda **options: CrossEntropy(rule, **options), name="CrossEntropy")
    (line, *_) = [one for one in str(caught.value).splitlines()[1:] if rule in one.partition(":")[0]]
    assert EXPECTED[rule] in str(caught.value)
    assert "Fix: " in line
    with pytest.raises(AssertionError, match=f"violates 1 of 1 rules:\n  {rule}: "):
        check_loss(lambda **options: CrossEntropy(rule, **options), rules=[rule])


def test_the_undeclared_invariance_is_named() -> None:
    with pytest.raises(
        AssertionError, match=r"class permutation: expected a change .* Fix: add 'class permutation' to"
    ):
        check_loss(lambda **options: CrossEntropy("invariances", **options), rules=["invariances"])


@pytest.mark.parametrize("check", [check_loss, check_dataset, check_model])
def test_unknown_rules_are_named(check: object) -> None:
    subject = {check_loss: Dice, check_dataset: small(), check_model: "unet"}[check]
    with pytest.raises(UsageError, match=r"unknown rule 'no_such_rule'"):
        check(subject, rules=["no_such_rule"])  # type: ignore[operator]


@pytest.mark.parametrize("rules", [LOSS_RULES, DATASET_RULES, MODEL_RULES])
def test_every_rule_states_itself(rules: dict[str, object]) -> None:
    assert all((rule.__doc__ or "").endswith(".") for rule in rules.values())


def small() -> DatasetReader:
    return open_dataset("street-scenes", train=2, val=1, height=48, width=64)


class Broken(DatasetReader):
    """A dataset with switches that break it."""

    def __init__(self, broken: str) -> None:
        self.own, self.broken = small(), broken
        self.info, self.splits = self.own.info, self.own.splits
        if broken == "splits":
            self.splits = ("train",)
        if broken == "interface":
            del self.splits

    def listing(self, split: str) -> object:
        listing = self.own.listing(split)
        if self.broken == "samples":
            return listing._replace(samples=[sample._replace(name="one") for sample in listing.samples])
        return listing

    def read(self, sample: object) -> tuple[np.ndarray, np.ndarray]:
        image, mask = self.own.read(sample)
        if self.broken == "pixels":
            return image[:, :, 0], mask
        if self.broken == "copies":
            return image + np.random.default_rng().integers(0, 9, image.shape, dtype=np.uint8), mask
        return image, mask


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("interface", "expected `info` and `splits`, got no splits. Fix: set them in the constructor"),
        ("splits", "expected the splits train and val, got ['train']. Fix: add val to `splits`"),
        ("samples", "train: expected unique names, got ['one'] twice. Fix: add the folder to the names"),
        ("pixels", "expected an image of uint8 of shape (48, 64, 3), got uint8 of (48, 64). Fix: convert it"),
        (
            "copies",
            "expected the same pixels from a pickled copy, got others. Fix: make `read` a function of the sample",
        ),
    ],
)
def test_broken_datasets_are_found(rule: str, message: str) -> None:
    with pytest.raises(AssertionError, match=rf"Broken violates 1 of \d rules:\n  {rule}: .*") as caught:
        check_dataset(Broken(rule))
    assert message in str(caught.value)


def test_another_object_is_not_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(
        AssertionError, match=r"interface: expected a segmi.datasets.DatasetReader, got list. Fix: derive"
    ):
        check_dataset([])  # type: ignore[arg-type]


class Network(nn.Sequential):
    def __init__(self, broken: str, outputs: int, channels: int) -> None:
        channels = 3 if broken == "binary" else channels
        super().__init__(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, outputs, 1))
        self.broken, self.offset = broken, 0.0 if broken != "bundles" else torch.rand(()).item()
        if broken == "gradients":
            self.idle = nn.Parameter(torch.zeros(2))

    def forward(self, images: Tensor) -> Tensor:
        if self.broken == "features":
            return nn.functional.conv2d(images, torch.ones(len(self[2].weight), images.shape[1], 1, 1)) + sum(
                parameter.sum() for parameter in self.parameters()
            )
        logits = super().forward(images) + self.offset
        match self.broken:
            case "output":
                return logits[:, :1]
            case "evaluation":
                return logits + logits.sum()
        return logits


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("output", "expected float32 logits of shape (2, 3, 64, 64), got torch.float32 of (2, 1, 64, 64). Fix: return"),
        ("gradients", "got none for ['module.idle']. Fix: remove these parameters"),
        ("evaluation", "expected equal logits of an image alone and in a batch, got a difference of "),
        ("features", "expected the feature '0', got []. Fix: call submodules instead of their functions"),
        ("binary", "expected no exception, got RuntimeError: "),
        ("bundles", "expected equal logits of a rebuilt network with the same weights, got others. Fix: register"),
    ],
)
def test_broken_models_are_found(rule: str, message: str) -> None:
    def network(outputs: int, in_channels: int = 3) -> nn.Module:
        built = Network(rule, outputs, in_channels)
        if rule == "bundles":
            built.offset = math.fmod(id(built), 7919) / 7919  # state that is not saved
        return built

    with pytest.raises(AssertionError, match=rf"network under test violates 1 of \d rules:\n  {rule}: ") as caught:
        check_model(network)
    assert message in str(caught.value)
