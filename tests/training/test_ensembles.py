"""Ensembles of the networks of a cohort: the mean of their probabilities, from logits that are computed once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.errors import UsageError
from segmi.metrics import PredictionDiagnostics
from segmi.metrics.details import Details
from segmi.models import SegmentationNetwork
from segmi.models.inference import with_ensembles
from segmi.training import Cohort, evaluate, fit, predict_labels, training_configs
from segmi.types import Output

MEMBERS = ("net0", "net1")


class Local(nn.Module):
    """Convolution whose predictions differ between seeds."""

    stride = 1

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layer = nn.Conv2d(3, 3, 3, padding=1)
        self.layer.weight.data.mul_(8).sub_(self.layer.weight.data.mean((1, 2, 3), keepdim=True))

    def forward(self, images: torch.Tensor) -> Output:
        return Output(self.layer(images))


@pytest.fixture
def resized(squares) -> SegmentationDataset:
    return SegmentationDataset(squares, squares.split("val"), Processing(resize=18, crop=16))


def pair(**ensembles: tuple[str, ...]) -> Cohort:
    return Cohort({"net0": Local(0), "net1": Local(1)}, ensembles=ensembles).eval()


def test_confusion_details_and_label_maps_are_of_the_mean_probabilities(squares, resized):
    cohort = pair(both=MEMBERS)
    expected, maps = np.zeros((3, 3), np.int64), []
    for index, sample in enumerate(resized.samples):
        image = resized[index].image[None].float() / 255
        with torch.no_grad():
            logits = [F.interpolate(net(image).logits, (20, 24), mode="bilinear") for net in cohort.networks.values()]
        mean = sum(one.softmax(1) for one in logits)[0] / 2  # C×H×W
        maps.append((mean.argmax(0).numpy(), mean.amax(0).numpy()))
        truth = squares.read_mask(sample)
        np.add.at(expected, (truth[truth != 255], maps[-1][0][truth != 255]), 1)
    details: dict[str, Details] = {}
    matrices = evaluate(cohort, resized, device="cpu", batch_size=3, details=details)
    assert list(matrices) == list(details) == ["net0", "net1", "both"]
    assert (matrices["both"].pooled().numpy() == expected).all()
    assert matrices["both"].names == matrices["net0"].names
    assert all((matrices[name].pooled().numpy() != expected).any() for name in MEMBERS)
    labels, confidence = predict_labels(cohort, resized, 1)["both"]
    assert (labels == maps[1][0]).all()
    np.testing.assert_allclose(confidence, maps[1][1], rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"window": 12}, {"tta": ("flips",)}, {"protocol": "paper", "passes": 2}])
def test_ensembles_leave_the_networks_and_their_number_of_forward_passes_unchanged(resized, options):
    if "tta" in options:
        networks = {name: SegmentationNetwork(Local(seed).layer, classes=3) for seed, name in enumerate(MEMBERS)}
        alone, cohort = Cohort(networks), Cohort(networks, ensembles={"both": MEMBERS})
    else:
        alone, cohort = pair(), pair(both=MEMBERS)
    calls, results = [], []
    for one in (alone, cohort):
        calls.append([])
        hooks = [
            layer.register_forward_hook(lambda *_: calls[-1].append(1))
            for layer in one.modules() if isinstance(layer, nn.Conv2d)
        ]  # fmt: skip
        results.append(evaluate(one, resized, device="cpu", **options))
        for hook in hooks:
            hook.remove()
    assert len(calls[0]) == len(calls[1]) > 0
    for name in MEMBERS:
        assert torch.equal(results[0][name].counts(), results[1][name].counts())
    own = [results[1][name].pooled() for name in MEMBERS]
    assert not any(torch.equal(results[1]["both"].pooled(), one) for one in own)
    assert results[1]["both"].pooled().sum() == own[0].sum()


def test_windows_give_the_same_ensemble_as_whole_images(squares):
    images = SegmentationDataset(squares, squares.split("val"), Processing(resize=None, crop=16))
    cohort = Cohort({"a": Local(0), "b": Local(1)}, ensembles={"both": ("a", "b")})
    for network in cohort.networks.values():
        network.layer = nn.Conv2d(3, 3, 1)  # without borders, windows change nothing but rounding
        nn.init.normal_(network.layer.weight, std=9)
    whole = predict_labels(cohort, images, 0)["both"]
    tiled = predict_labels(cohort, images, 0, window=16)["both"]
    np.testing.assert_allclose(tiled.confidence, whole.confidence, rtol=1e-4)
    assert (tiled.labels == whole.labels).mean() > 0.99


def test_one_logit_networks_have_an_ensemble_with_one_logit():
    first, second = (torch.tensor(p).logit().view(1, 1, 1, -1) for p in ([0.9, 0.2, 0.5], [0.3, 0.4, 0.5]))
    first[..., 2], second[..., 2] = 60, 80  # probabilities that round to 1
    both = with_ensembles({"a": first, "b": second}, {"both": ["a", "b"]})["both"]
    assert both.shape == (1, 1, 1, 3)
    torch.testing.assert_close(both.sigmoid().flatten(), torch.tensor([0.6, 0.3, 1.0]), atol=1e-6, rtol=0)
    two = torch.tensor([[0.5, 0.8, 0.0], [0.5, 0.2, 1.0]]).log().view(1, 2, 1, 3)
    mixed = with_ensembles({"a": first, "b": two}, {"both": ["a", "b"]})["both"]
    expected = torch.tensor([[0.3, 0.8, 0.0], [0.7, 0.2, 1.0]]).view(1, 2, 1, 3)
    torch.testing.assert_close(mixed.softmax(1), expected, atol=1e-6, rtol=0)


def test_divergence_compares_the_networks_without_their_ensemble():
    torch.manual_seed(3)
    labels = torch.randint(3, (2, 6, 5))
    own = {name: 2 * torch.randn(2, 3, 6, 5) for name in MEMBERS}
    alone, with_both = PredictionDiagnostics(3), PredictionDiagnostics(3)
    alone.update(own, labels)
    with_both.update(with_ensembles(own, {"both": MEMBERS}), labels, ensembles=["both"])
    expected, values = alone.values(), with_both.values()
    assert expected == {name: values[name] for name in expected}
    # I(K; Ŷ|X) = H(mean) - mean H; the bounds H(Y) - CE differ by the gain of the ensemble in cross-entropy
    probabilities = [z.softmax(1) for z in own.values()]
    mean = sum(probabilities) / 2
    entropies = [-(p * p.log()).sum(1).mean() for p in (mean, *probabilities)]
    assert values["jensen_shannon_divergence"] == pytest.approx(
        float(entropies[0] - (entropies[1] + entropies[2]) / 2), rel=1e-4
    )
    gain = F.cross_entropy(own["net0"], labels) - F.nll_loss(mean.log(), labels)
    found = values["barber_agakov_bound/both"] - values["barber_agakov_bound/net0"]
    assert found == pytest.approx(float(gain), abs=1e-5)
    twice = with_both.merge(with_both)
    assert twice.values() == pytest.approx(values)


def test_resumed_run_has_the_same_held_out_scores_of_the_ensemble(
    make_cohort, make_loss, train, val, tmp_path, stop_at
):
    def trained(folder, **more):
        cohort = Cohort(dict(make_cohort(2).networks), ensembles={"both": MEMBERS})
        options = {
            "batch_size": 3, "select_by": "last", "device": "cpu", "precision": "fp32", "steps": 6,
            "validate_every": 2, "checkpoint_every": 2,
        }  # fmt: skip
        configs = training_configs({**options, "resume": "stop" not in more})
        return fit(cohort, make_loss(cohort), train, holdout=val, folder=folder, progress=more.get("stop"), **configs)

    expected = trained(tmp_path / "straight").history
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "stopped", stop=stop_at(5))
    history = trained(tmp_path / "stopped").history
    assert history == expected
    assert [set(row) & {"holdout/mIoU/both", "holdout/mIoU/net0"} for row in history] == [
        {"holdout/mIoU/both", "holdout/mIoU/net0"}
    ] * 3


@pytest.mark.parametrize(
    ("ensembles", "message"),
    [
        ({"net0": MEMBERS}, "'net0' is the name of a network and of an ensemble"),
        ({"both": ("net0", "net7")}, "unknown network of the ensemble 'both': 'net7'\n.*Known: net0, net1"),
        ({"both": ("net0",)}, "at least two different networks for the ensemble 'both', got net0"),
        ({"both": ("net0", "net0")}, "got net0, net0"),
    ],
)
def test_impossible_ensembles_are_refused(ensembles, message):
    with pytest.raises(UsageError, match=message):
        pair(**ensembles)
