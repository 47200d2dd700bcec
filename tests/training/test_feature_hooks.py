"""Hooks on layers of all networks, heads on their features, and their checkpoints."""

from __future__ import annotations

import pytest
import torch

from segmi.errors import UsageError
from segmi.losses import build_objective
from segmi.models import build_network
from segmi.training import Cohort, fit, training_configs
from segmi.training.cohort import register_feature_hooks
from segmi.types import Batch, Output

NETWORKS = {
    "unet": ({"architecture": "unet", "width": 2}, "decoders.1", 8),
    "smp_fpn": ({"architecture": "smp_fpn", "encoder": "tu-test_resnet"}, "encoder.model.layer2", None),
    "lraspp_mobilenet_v3_large": ({"architecture": "lraspp_mobilenet_v3_large"}, "classifier.cbr", 128),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_heads_match_the_layers_of_all_networks(name):
    spec, layer, width = NETWORKS[name]
    cohort = Cohort({"net": build_network(classes=3, **spec)})
    objective = build_objective({"pixel_contrast": {"layers": {"net": layer}, "dimensions": 4}}, networks=["net"])
    before = {key: value.clone() for key, value in cohort.state_dict().items()}
    register_feature_hooks(cohort, objective, device=torch.device("cpu"), side=64, seed=0)
    assert all(torch.equal(value, before[key]) for key, value in cohort.state_dict().items())
    assert cohort.training
    features = cohort(torch.rand(2, 3, 64, 64))["net"].features[layer]
    first, *_, last = (p for p in objective.parameters() if p.ndim == 4)
    assert first.shape[1] == features.shape[1] == (width or features.shape[1])
    assert last.shape[0] == 4
    assert not [key for key in cohort.state_dict() if "heads" in key]


@pytest.mark.parametrize("name", NETWORKS)
def test_all_feature_losses_train_all_networks(name):
    spec, layer, _ = NETWORKS[name]
    cohort = Cohort(
        {"net": build_network(classes=3, **spec), "old": build_network("unet", classes=3, width=3)}, frozen=("old",)
    )
    both = {"layers": {"net": layer, "old": "decoders.2"}}
    of_teachers = ("variational_information_distillation", "contrastive_distillation")
    named = {"pixel_contrast": {"layers": {"net": layer}}, "information_bottleneck": {"layers": {"net": [layer]}}}
    objective = build_objective({**named, **dict.fromkeys(of_teachers, both)}, networks=["net", "old"], frozen=["old"])
    register_feature_hooks(cohort, objective, device=torch.device("cpu"), side=64, seed=0)
    images, labels = torch.rand(2, 3, 64, 64), torch.arange(64).div(22, rounding_mode="floor").expand(2, 64, 64)
    terms = objective(cohort(images), Batch(images, labels))
    assert len(terms) == len(named) + len(of_teachers)
    for name, term in terms.items():
        cohort.zero_grad()
        term.value.backward(retain_graph=True)
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in cohort.networks["net"].parameters()), name
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.parameters())
    assert all(p.grad is None for p in cohort.networks["old"].parameters())


def test_features_are_the_outputs_of_the_layers(make_cohort):
    cohort, images = make_cohort(2).eval(), torch.rand(2, 3, 8, 8)
    cohort.hook_layers({"net1": ["layers.0", "layers.1"]})
    outputs = cohort(images)
    layers = cohort.networks["net1"].layers
    assert outputs["net0"].features == {}
    torch.testing.assert_close(outputs["net1"].features["layers.0"], layers[0](images))
    torch.testing.assert_close(outputs["net1"].features["layers.1"], layers[:2](images), msg="ReLU works on a copy")
    cohort.hook_layers({})
    assert cohort(images)["net1"].features == {}


def test_transform_applies_in_training_after_the_features(make_cohort):
    cohort, images = make_cohort().eval(), torch.rand(2, 3, 8, 8)
    plain = cohort(images)["net0"].logits
    cohort.hook_layers({"net0": ["layers.0"]}, lambda network, layer, output: torch.zeros_like(output))
    assert torch.equal(cohort(images)["net0"].logits, plain)
    outputs = cohort.train()(images)["net0"]
    assert not torch.allclose(outputs.logits, plain)
    torch.testing.assert_close(outputs.features["layers.0"], cohort.networks["net0"].layers[0](images))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"net0": ["layers.10"]}, r"unknown layer of net0: 'layers.10'\n.*did you mean 'layers.1'\? Known: layers, "),
        ({"net": ["layers.1"]}, r"unknown network 'net'\n.*did you mean 'net0'"),
    ],
)
def test_unknown_layers_are_refused_with_a_suggestion(make_cohort, layers, message):
    with pytest.raises(UsageError, match=message):
        make_cohort().hook_layers(layers)


class Idle(torch.nn.Module):
    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 3, 1)

    def forward(self, images):
        return Output(self.used(images))


def test_layer_that_is_not_run_is_refused_before_training():
    cohort = Cohort({"net": Idle()})
    objective = build_objective({"pixel_contrast": {"layers": {"net": "idle"}}}, networks=["net"])
    with pytest.raises(UsageError, match=r"layer 'idle' of net is not run in the forward pass"):
        register_feature_hooks(cohort, objective, device=torch.device("cpu"), side=8, seed=0)


LOOKING = {
    "cross_entropy": {},
    "pixel_contrast": {"layers": {"net0": "layers.0"}, "across": "image", "per_class": 9, "dimensions": 4},
    "variational_information_distillation": {"layers": {"net0": "layers.0", "net1": "layers.3"}},
    "contrastive_distillation": {"layers": {"net0": "layers.3", "net1": "layers.0"}, "per_class": 9, "dimensions": 4},
    "information_bottleneck": {"layers": {"net0": ["layers.0", "layers.2"]}, "weight": 1e-3},
}


def trained(make_cohort, make_loss, train, folder, *, progress=None, **settings):
    cohort = make_cohort(2, frozen=("net1",))
    objective = make_loss(cohort, **LOOKING)
    outcome = fit(cohort, objective, train, folder=folder, progress=progress, **training_configs({
                  "steps": 8, "batch_size": 3, "select_by": "last", "device": "cpu", "checkpoint_every": 2,
                  "validate_every": 2, **settings}))  # fmt: skip
    return cohort, objective, outcome


def bits(module):
    return [value.numpy().tobytes() for value in module.state_dict().values()]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_heads_are_trained_and_resumed_bit_identically(make_cohort, make_loss, train, tmp_path, stop_at, accumulate):
    settings = {"accumulate": accumulate}
    whole, heads, outcome = trained(make_cohort, make_loss, train, tmp_path / "straight", **settings)
    for step in (3, 6):
        with pytest.raises(KeyboardInterrupt):
            trained(make_cohort, make_loss, train, tmp_path / "stopped", progress=stop_at(step), **settings)
        torch.manual_seed(step)
    resumed, resumed_heads, again = trained(make_cohort, make_loss, train, tmp_path / "stopped", **settings)
    assert bits(resumed) == bits(whole)
    assert bits(resumed_heads) == bits(heads)
    assert again.history == outcome.history
    fresh = make_loss(whole, **LOOKING)
    register_feature_hooks(whole, fresh, device=torch.device("cpu"), side=train.processing.crop, seed=0)
    assert len(bits(fresh)) == len(bits(heads)) > 10
    moved = [a != b for a, b in zip(bits(fresh), bits(heads), strict=True)]
    assert all(moved)
    assert list(whole.state_dict()) == list(make_cohort(2).state_dict()), "heads are not part of the networks"


def test_objectives_get_fp32_features_in_bf16(make_cohort, make_loss, train, tmp_path):
    _, _, outcome = trained(make_cohort, make_loss, train, tmp_path, precision="bf16", steps=2)
    assert outcome.precision.dtype == "bf16"


@pytest.mark.slow
def test_compiled_cohort_returns_the_same_features(make_cohort):
    cohort, images = make_cohort().eval(), torch.rand(2, 3, 8, 8)
    cohort.hook_layers({"net0": ["layers.0"]}, lambda network, layer, output: 2 * output)
    compiled = torch.compile(cohort)
    for mode in (False, True):
        cohort.train(mode)
        cohort.networks["net0"].layers[3].p = 0.0
        plain, result = cohort(images)["net0"], compiled(images)["net0"]
        torch.testing.assert_close(result.logits, plain.logits)
        torch.testing.assert_close(result.features["layers.0"], plain.features["layers.0"])
