"""Region information of each class: equal to the formula of the loss, over images with the class."""

from __future__ import annotations

import csv
import math
import pickle

import pytest
import torch

from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.losses import RegionMutualInformation, region_information
from segmi.metrics import PredictionDiagnostics
from segmi.training import evaluate, fit, region_diagnostics, training_configs
from segmi.training.region_diagnostics import diagnostics_of

NAMES = ("sky", "road", "car", "pole")


def scene(n: int = 3, size: int = 14) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits correlated with the labels; only the first image has a car, and none has a pole."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.zeros(n, size, size, dtype=torch.long)
    labels[:, size // 2 :] = 1
    labels[0, 6:11, 3:9] = 2
    logits = torch.randn(n, 4, size, size, generator=draw) + 2 * torch.nn.functional.one_hot(labels, 4).movedim(-1, 1)
    labels[:, :3, :4] = 255
    return logits, labels


def shown(logits: torch.Tensor, labels: torch.Tensor, **options) -> dict[str, float]:
    diagnostics = diagnostics_of(NAMES, **options)
    diagnostics.update({"net": logits}, labels)
    prefix = "region_information/net/"
    return {name.removeprefix(prefix): v for name, v in diagnostics.values().items() if name.startswith(prefix)}


def test_mean_is_over_images_where_the_class_varies():
    logits, labels = scene()
    nats = region_information(logits, labels, variant="corrected", probability="softmax")
    expected = {"sky": nats[:, 0].mean(), "road": nats[:, 1].mean(), "car": nats[0, 2]}
    assert shown(logits, labels) == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-4)
    assert min(expected.values()) > 0.1


def test_offsets_ignored_pixels_and_constants_have_no_effect():
    logits, labels = scene()
    before = shown(logits, labels)
    offset = logits + torch.linspace(-3, 3, labels.numel()).view_as(labels).unsqueeze(1)
    assert shown(offset, labels) == pytest.approx(before, rel=1e-3)
    ignored = (labels == 255).unsqueeze(1)
    assert shown(logits.masked_fill(ignored, math.nan), labels.to(torch.uint8)) == before
    assert shown(torch.zeros_like(logits), labels) == pytest.approx(dict.fromkeys(before, 0), abs=1e-12)
    assert shown(1e4 * logits, labels).keys() == before.keys()
    assert all(math.isfinite(value) for value in shown(1e4 * logits, labels).values())


def test_pieces_and_small_images_have_no_value():
    logits, labels = scene()
    assert shown(logits[..., :2], labels[..., :2]) == {}
    pieces = diagnostics_of(4)
    pieces.update({"net": logits}, labels, whole=False)
    assert not [name for name in pieces.values() if name.startswith("region_information")]
    with torch.inference_mode():
        assert shown(logits.double().float(), labels) == shown(logits, labels)


def test_batches_processes_and_copies_do_not_change_the_values():
    logits, labels = scene()
    parts = []
    for part in (slice(0, 1), slice(1, 3)):
        diagnostics = diagnostics_of(NAMES)
        diagnostics.update({"net": logits[part]}, labels[part])
        parts.append(pickle.loads(pickle.dumps(diagnostics)))
    whole = diagnostics_of(NAMES)
    whole.update({"net": logits}, labels)
    assert parts[0].merge(parts[1]).values() == pytest.approx(whole.values(), rel=1e-6)
    assert whole.reduce(lambda sums: 2 * sums).values() == pytest.approx(whole.values(), rel=1e-6)
    other = diagnostics_of(NAMES)
    other.take(whole)
    assert other.values() == whole.values()
    whole.reset()
    assert whole.values() == {}


def test_binary_problems_and_unnamed_classes():
    logits, labels = scene()
    one, two = diagnostics_of(2), diagnostics_of(2)
    binary = torch.where(labels == 255, 255, labels % 2)
    z = logits[:, 1:2] - logits[:, :1]
    one.update({"net": z}, binary)
    two.update({"net": torch.cat([torch.zeros_like(z), z], 1)}, binary)
    assert one.values() == pytest.approx(two.values(), rel=1e-4)
    assert {"region_information/net/0", "region_information/net/1"} < one.values().keys()
    plain = PredictionDiagnostics(2)
    plain.update({"net": z}, binary)
    assert plain.values() == {name: value for name, value in one.values().items() if "region" not in name}


def test_region_information_is_in_rows_and_evaluation(make_cohort, make_loss, train, squares, run_folder):
    cohort = make_cohort()
    outcome = fit(cohort, make_loss(cohort, cross_entropy={}), train, folder=run_folder, holdout=train,
                  **training_configs({"steps": 4, "batch_size": 3, "validate_every": 2, "device": "cpu"}))  # fmt: skip
    columns = {f"holdout/region_information/net0/{name}" for name in ("background", "red", "green")}
    assert all(columns <= row.keys() for row in outcome.history)
    with (run_folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(float(row[name]) >= 0 for row in rows for name in columns)
    diagnostics = diagnostics_of(squares.info.classes)
    images = SegmentationDataset(squares, squares.split("val"), Processing(resize=18, crop=16))
    evaluate(cohort, images, device="cpu", diagnostics=diagnostics)
    assert {name.partition("/")[2] for name in columns} <= diagnostics.values().keys()


@pytest.mark.parametrize(("size", "expected"), [(14, "torch"), (255, "torch"), (256, "numba")])
def test_small_maps_use_the_torch_kernel(monkeypatch, size, expected):
    asked = []

    class Asked(RegionMutualInformation):
        def __init__(self, **options) -> None:
            asked.append(options["kernel"])
            super().__init__(**{**options, "kernel": "torch"})

    monkeypatch.setattr(region_diagnostics, "RegionMutualInformation", Asked)
    shown(*scene(1, size))
    assert asked == [expected]
