"""Diagnostics of losses: means over a row of the history, names of classes, resumption."""

from __future__ import annotations

import csv

import pytest
import torch
from torch import nn

from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.losses import region_information
from segmi.training import Cohort, fit, training_configs
from segmi.training.metric_sync import RunningMeans
from segmi.training.step import accumulate_gradient
from segmi.types import Batch, Output

OBJECTIVE = {"rmi_loss": {}, "region_mutual_information": {"weight": 0.1, "radius": 1, "variant": "corrected"}}
COLUMNS = [
    *(f"train/I_G/rmi_loss/net0/{name}" for name in ("background", "red", "green")),
    *(f"train/I_G/region_mutual_information/net0/{name}" for name in ("background", "red", "green")),
    "train/jittered/rmi_loss/net0", "train/jittered/region_mutual_information/net0",
]  # fmt: skip


class FourChannels(nn.Conv2d):
    stride = 1

    def __init__(self) -> None:
        super().__init__(3, 4, 1)

    def forward(self, images: torch.Tensor) -> Output:
        return Output(super().forward(images))


def run(make_cohort, make_loss, train, folder, *, cohort=None, progress=None, **settings):
    cohort = cohort or make_cohort()
    options = {"steps": 12, "batch_size": 3, "checkpoint_every": 4, "select_by": "last", "device": "cpu", **settings}
    return cohort, fit(cohort, make_loss(cohort, **OBJECTIVE), train, folder=folder, progress=progress,
                       **training_configs(options))  # fmt: skip


def stop_at(step: int):
    def stop(progress) -> None:
        if progress.step == step and progress.phase == "train":
            raise KeyboardInterrupt

    return stop


def test_diagnostics_are_rows_of_the_history(make_cohort, make_loss, train, run_folder):
    _, outcome = run(make_cohort, make_loss, train, run_folder, steps=30, validate_every=6,
                     learning_rate=0.02)  # fmt: skip
    assert {name for name in outcome.history[0] if "I_G" in name or "jittered" in name} == set(COLUMNS)
    first, last = outcome.history[0], outcome.history[-1]
    for name in COLUMNS[:3]:
        assert 0 < first[name] < last[name]
    assert all(row[name] == 0 for row in outcome.history for name in COLUMNS[6:])
    with (run_folder / "metrics.csv").open() as file:
        assert [float(row[COLUMNS[1]]) for row in csv.DictReader(file)] == [row[COLUMNS[1]] for row in outcome.history]


def test_diagnostics_are_logged_once_per_row(make_cohort, make_loss, train, run_folder):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    _, outcome = run(make_cohort, make_loss, train, run_folder, validate_every=4)
    events_file = events.EventAccumulator(str(run_folder / "tensorboard")).Reload()
    for name in COLUMNS:
        shown = [(event.step, event.value) for event in events_file.Scalars(name)]
        assert shown == [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in outcome.history]


def test_absent_class_has_no_value(make_cohort, make_loss, squares, run_folder):
    only_red = [sample for sample in squares.split("train") if sample.mask.index % 2 == 0]
    images = SegmentationDataset(squares, only_red, Processing(resize=18, crop=16))
    _, outcome = run(make_cohort, make_loss, images, run_folder, steps=3)
    assert COLUMNS[1] in outcome.history[-1]
    assert COLUMNS[2] not in outcome.history[-1]


def test_other_channels_are_numbered(make_cohort, make_loss, train, run_folder):
    cohort = Cohort({"net0": FourChannels()})
    _, outcome = run(make_cohort, make_loss, train, run_folder, cohort=cohort, steps=2)
    assert {"train/I_G/rmi_loss/net0/0", "train/I_G/rmi_loss/net0/2"} <= outcome.history[-1].keys()
    assert "train/I_G/rmi_loss/net0/3" not in outcome.history[-1]


@pytest.mark.parametrize("stops", [(1,), (6, 9)])
def test_resumed_diagnostics_are_bit_identical(make_cohort, make_loss, train, tmp_path, stops):
    settings = {"validate_every": 5, "accumulate": 2}
    whole, outcome = run(make_cohort, make_loss, train, tmp_path / "straight", **settings)
    for step in stops:
        with pytest.raises(KeyboardInterrupt):
            run(make_cohort, make_loss, train, tmp_path / "stopped", progress=stop_at(step), **settings)
    resumed, resumed_outcome = run(make_cohort, make_loss, train, tmp_path / "stopped", **settings)
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))
    assert resumed_outcome.history == outcome.history
    assert COLUMNS[0] in outcome.history[0]


def test_accumulation_gives_the_diagnostics_of_the_joint_batch(make_loss, make_cohort):
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(4, 12, 12, dtype=torch.long)
    labels[:3, 3:8, 2:9], labels[3, 5:, 5:] = 1, 2
    logits = torch.randn(4, 3, 12, 12, generator=generator)
    objective = make_loss(make_cohort(), region_mutual_information={})

    def shown(*parts: slice) -> dict[str, torch.Tensor]:
        batches = [Batch(logits[part], labels[part]) for part in parts]
        forward = lambda images: {"net0": Output(images.requires_grad_())}  # noqa: E731
        terms = accumulate_gradient(forward, objective, batches, torch.Tensor.backward)
        (term,) = terms.values()
        return {name: ratio.numerator / ratio.denominator for name, ratio in term.diagnostics.items()}

    joint, parts = shown(slice(0, 4)), shown(slice(0, 1), slice(1, 4))
    torch.testing.assert_close(parts, joint)
    information = region_information(logits, labels)
    expected = torch.stack([information[:, 0].mean(), information[:3, 1].mean(), information[3, 2]])
    torch.testing.assert_close(joint["I_G/region_mutual_information/net0"], expected)


def test_mean_of_ratios_is_the_ratio_of_sums():
    means = RunningMeans()
    for numerator, denominator in ((6.0, 2.0), (0.0, 0.0), (1.0, 5.0)):
        means.add_ratio("a", numerator, denominator)
        means.add_ratio("b", 0.0, 0.0)
    assert means.means() == {"a": 1.0}
    assert RunningMeans.from_state_dict(means.state_dict()) == means
