"""Averages of networks and sequential steps, compared with plain loops."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from segmi.errors import UsageError
from segmi.losses import mutual_learning
from segmi.losses.pixel.cross_entropy import cross_entropy
from segmi.training import Average, Cohort, fit, training_configs
from segmi.types import Output


def plain(seed: int = 0) -> nn.Module:
    class Plain(nn.Module):
        stride = 1

        def __init__(self) -> None:
            super().__init__()
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                self.layers = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, 3, 1))

        def forward(self, images: torch.Tensor) -> Output:
            return Output(self.layers(images))

    return Plain()


def settings(folder, *, progress=None, **more):
    options = {"batch_size": 3, "select_by": "last", "device": "cpu", "precision": "fp32", **more}
    return {"folder": folder, "progress": progress, **training_configs(options)}


@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_average_equals_the_formula(make_loss, train, tmp_path, decay):
    states = []
    for steps in range(1, 5):
        cohort = Cohort({"net": plain(), "mean": plain(1)}, averages={"mean": Average("net", decay)})
        fit(cohort, make_loss(cohort), train, **settings(tmp_path / str(steps), steps=steps))
        states.append({name: value.clone() for name, value in cohort.networks["net"].state_dict().items()})
    assert cohort.frozen == ("mean",)
    expected = states[0]
    for number, state in enumerate(states[1:], 1):
        kept = min(decay, 1 - 1 / (number + 1))
        expected = {
            name: kept * value + (1 - kept) * state[name] if value.is_floating_point() else state[name]
            for name, value in expected.items()
        }
    for name, value in cohort.networks["mean"].state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
    if decay == 1:
        mean = torch.stack([state["layers.0.weight"] for state in states]).mean(0)
        torch.testing.assert_close(expected["layers.0.weight"], mean)


def test_average_starts_as_a_copy_and_is_a_teacher(make_loss, train, run_folder):
    cohort = Cohort({"net": plain(), "mean": plain(1)}, averages={"mean": Average("net", 0.9)})
    objective = make_loss(cohort, cross_entropy={}, distillation={})
    outcome = fit(cohort, objective, train, **settings(run_folder, steps=6, validate_every=1))
    values = [row["train/loss/distillation/net"] for row in outcome.history]
    # in training mode, the network uses batch statistics and the average running statistics
    assert all(value > 0 for value in values)
    cohort.average(None)
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            cohort.networks["net"].state_dict().values(), cohort.networks["mean"].state_dict().values(), strict=True
        )
    )


@pytest.mark.parametrize("step_order", ["simultaneous", "sequential"])
def test_resumed_run_with_averages_is_bit_identical(make_cohort, make_loss, train, tmp_path, stop_at, step_order):
    def trained(folder, **more):
        networks = dict(make_cohort(3).networks)
        cohort = Cohort(networks, averages={"net2": Average("net0", 0.9)})
        objective = make_loss(cohort, cross_entropy={}, mutual_learning={}, distillation={})
        options = {"steps": 8, "checkpoint_every": 3, "step_order": step_order, **more}
        fit(cohort, objective, train, **settings(folder, **options))
        return [value.numpy().tobytes() for value in cohort.state_dict().values()]

    whole = trained(tmp_path / "straight")
    for step in (2, 5):
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "stopped", progress=stop_at(step))
    assert trained(tmp_path / "stopped") == whole


def by_hand(train, steps: int, *, sequential: bool, accumulate: int = 1) -> list[nn.Module]:
    """Train two networks with two optimizers by the published algorithm."""
    peers = [plain(0).train(), plain(1).train()]
    optimizers = [torch.optim.SGD(peer.parameters(), 0.05, momentum=0.9, weight_decay=1e-3) for peer in peers]
    from segmi.datasets.loader import training_batches

    batches = training_batches(train, batch_size=3, first=0, last=steps, drop_last=True, workers=0)
    for batch in batches:
        if sequential:
            for own, other, optimizer in ((0, 1, optimizers[0]), (1, 0, optimizers[1])):
                statistics = {name: value.clone() for name, value in peers[other].named_buffers()}
                with torch.no_grad():
                    targets = peers[other](batch.images).logits
                for name, value in peers[other].named_buffers():
                    value.copy_(statistics[name])
                logits = peers[own](batch.images).logits
                optimizer.zero_grad()
                (cross_entropy(logits, batch.labels) + mutual_learning(logits, [targets], batch.labels)).backward()
                optimizer.step()
        else:
            outputs = [peer(batch.images).logits for peer in peers]
            losses = [
                cross_entropy(own, batch.labels) + mutual_learning(own, [other], batch.labels)
                for own, other in (outputs, outputs[::-1])
            ]
            for optimizer, loss in zip(optimizers, losses, strict=True):
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return peers


@pytest.mark.parametrize("step_order", ["simultaneous", "sequential"])
def test_step_orders_equal_plain_loops(make_loss, train, run_folder, step_order):
    cohort = Cohort({"a": plain(0), "b": plain(1)})
    objective = make_loss(cohort, cross_entropy={}, mutual_learning={})
    fit(cohort, objective, train, **settings(run_folder, steps=6, optimizer="SGD", learning_rate=0.05,
        optimizer_options={"momentum": 0.9, "weight_decay": 1e-3}, step_order=step_order))  # fmt: skip
    loops = {mode: by_hand(train, 6, sequential=mode == "sequential") for mode in ("simultaneous", "sequential")}
    for network, mine, other in zip(
        cohort.networks.values(), loops.pop(step_order), next(iter(loops.values())), strict=True
    ):
        for name, value in network.state_dict().items():
            torch.testing.assert_close(value, mine.state_dict()[name], rtol=1e-4, atol=1e-6)
        assert not torch.allclose(network.layers[0].weight, other.layers[0].weight, rtol=1e-3, atol=1e-4)


def test_sequential_steps_clip_the_gradient_per_network(make_cohort, make_loss, train, run_folder):
    cohort = make_cohort(2)
    outcome = fit(cohort, make_loss(cohort, cross_entropy={}, mutual_learning={}), train,
                  **settings(run_folder, steps=2, clip_norm=1e-3, step_order="sequential"))  # fmt: skip
    assert outcome.history[-1]["train/gradient_norm"] > 1e-3


@pytest.mark.parametrize(
    ("averages", "frozen", "message"),
    [
        ({"net7": Average("net0")}, (), "unknown averaged network 'net7'"),
        ({"net1": Average("net7")}, (), "unknown averaged network 'net7'"),
        ({"net1": Average("net0")}, ("net0",), "net1 averages net0, which is not trained"),
        ({"net1": Average("net0", 0.0)}, (), "decay of net1: expected more than 0 and at most 1, got 0"),
        ({"wide": Average("net0")}, (), "wide averages net0, which has another architecture"),
    ],
)
def test_invalid_averages_are_refused(make_cohort, averages, frozen, message):
    networks = {**dict(make_cohort(2).networks), "wide": nn.Conv2d(3, 3, 1)}
    with pytest.raises(UsageError, match=message):
        Cohort(networks, frozen, averages)


def test_network_without_a_term_is_named(make_cohort, train, run_folder):
    from segmi.losses import CrossEntropy, PerNetwork

    cohort = make_cohort(2)
    with pytest.raises(UsageError, match="the objective has no term for the network net1"):
        fit(cohort, PerNetwork(CrossEntropy(), "ce", frozen=("net1",)), train,
            **settings(run_folder, steps=1, step_order="sequential"))  # fmt: skip
    with pytest.raises(UsageError, match="unknown step_order 'together'"):
        fit(cohort, PerNetwork(CrossEntropy(), "ce"), train, **settings(run_folder, steps=1, step_order="together"))
