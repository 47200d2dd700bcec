"""One optimizer step: fused optimizers, and no synchronization with the device."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from segmi.losses import PerNetwork
from segmi.models import build_network
from segmi.training import Cohort, fit, training_configs
from segmi.training.optimization import build_optimizer, can_be_fused
from segmi.training.precision import ResolvedPrecision
from segmi.training.session import Runtime, Session
from segmi.types import Batch, Output, Views


class Waits(TorchDispatchMode):
    """Record operations that synchronize a GPU: reading values, and shapes that depend on values."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = function.__name__.split(".")[0]
        if name in self.FORBIDDEN:
            self.operations.append(name)
        return function(*arguments, **(options or {}))


def session(make_cohort, clip_norm=None, **options) -> tuple[Session, Cohort]:
    cohort = make_cohort(2)
    # a loss of PyTorch, since the losses of segmi check the labels on a CPU, which reads values
    objective = PerNetwork(nn.CrossEntropyLoss(ignore_index=255), "ce")
    optimizer = build_optimizer(cohort.parameters(), "Adam", 1e-3)
    runtime = Runtime(device=torch.device("cpu"), precision=ResolvedPrecision("fp32", "channels_last"))
    return Session(cohort, objective, optimizer, None, runtime=runtime, seed=0, clip_norm=clip_norm, **options), cohort


@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_step_does_not_wait_for_the_device(make_cohort, train, clip_norm):
    running, _ = session(make_cohort, clip_norm)
    batches = itertools.repeat(train.batch([(0, 0), (0, 1), (0, 2)]))
    running.train_step(batches, 2)
    with Waits() as waits:
        for _ in range(3):
            running.train_step(batches, 2)
    assert waits.operations == []
    assert running.latest == {}
    with Waits() as waits:
        float(torch.zeros(()))
    assert waits.operations == ["_local_scalar_dense"], "fetching synchronizes"
    running.fetch_metrics()
    assert running.means.count == 4
    assert ("gradient_norm" in running.latest) == (clip_norm is not None)


def test_batches_are_copied_from_pinned_memory(monkeypatch, make_cohort, train):
    running, _ = session(make_cohort)
    running.device = torch.device("cuda")
    pinned, sent = [], []

    def pin(tensor):
        pinned.append(tensor.clone())
        return pinned[-1]

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(Batch, "to", lambda batch, *where, **how: sent.append((batch, *where, how)))
    batch = train.batch([(0, 0), (0, 1)])
    batch = replace(batch, views=Views(torch.ones(1, 16, 16, dtype=torch.bool), torch.ones(1, dtype=torch.bool)))
    running._to_device(batch)
    ((copied, device, how),) = sent
    assert (device, how) == (running.device, {"non_blocking": True})
    tensors = [copied.images, copied.labels, *copied.views]
    assert all(any(tensor is one for one in pinned) for tensor in tensors)
    assert torch.equal(copied.images, batch.images)
    assert torch.equal(copied.labels, batch.labels)
    assert (copied.names, copied.groups) == (batch.names, batch.groups)


def test_infinite_loss_is_named_when_fetched_late(make_cohort, train):
    from segmi.errors import Diverged

    running, _ = session(make_cohort)
    good, bad = train.batch([(0, 0), (0, 1)]), train.batch([(0, 2), (0, 3)])
    bad.images[1, 0, 0, 0] = float("nan")
    for batch in (good, bad, good):
        running.train_step(iter([batch]), 1)
    with pytest.raises(Diverged, match=r"NaN or infinite at step 2: loss = nan.*images of the batch: train-2, train-3"):
        running.fetch_metrics()


class Counting(nn.Module):
    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)
        self.calls = 0

    def forward(self, images: torch.Tensor) -> Output:
        self.calls += 1
        return Output(self.layer(images))


def test_each_network_runs_once_per_batch(make_loss, train, run_folder):
    cohort = Cohort({name: Counting() for name in ("a", "b", "c")})
    objective = make_loss(cohort, cross_entropy={}, mutual_learning={}, rmi_loss={"weight": 0.1})
    fit(cohort, objective, train, folder=run_folder, **training_configs({"steps": 3, "batch_size": 3,
        "accumulate": 2, "select_by": "last", "device": "cpu", "precision": "fp32"}))  # fmt: skip
    assert [network.calls for network in cohort.networks.values()] == [6, 6, 6]


@pytest.mark.parametrize(
    ("name", "options", "fused"),
    [
        ("Adam", {}, True),
        ("AdamW", {"weight_decay": 0.1}, True),
        ("SGD", {"momentum": 0.9}, True),
        ("Adam", {"fused": False}, False),
        ("Adam", {"foreach": True}, None),
        ("NAdam", {}, None),
    ],
)
def test_optimizers_are_fused_by_default(name, options, fused):
    parameters = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2), requires_grad=False)]
    optimizer = build_optimizer(parameters, name, 0.1, options)
    assert optimizer.defaults.get("fused") is fused
    assert optimizer.param_groups[0]["params"] == parameters[:1]


@pytest.mark.parametrize(
    ("name", "device", "precision", "clipped", "fused"),
    [
        ("Adam", "cuda", "fp16", True, False),
        ("Adam", "cuda", "fp16", False, True),
        ("Adam", "mps", "fp32", True, True),
        ("Adagrad", "mps", "fp32", False, False),
        ("Adagrad", "cuda", "auto", True, True),
    ],
)
def test_can_be_fused(name, device, precision, clipped, fused):
    assert can_be_fused(name, torch.device(device), precision=precision, clipped=clipped) == fused


def test_fused_steps_equal_plain_steps():
    steps = []
    for fused in (True, False):
        parameter = nn.Parameter(torch.linspace(-1, 1, 50))
        optimizer = build_optimizer([parameter], "AdamW", 0.01, {"weight_decay": 0.1, "fused": fused})
        for _ in range(5):
            optimizer.zero_grad()
            parameter.pow(4).sum().backward()
            optimizer.step()
        steps.append(parameter.detach())
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["tiny", "unet"])
def test_compiled_cohort_has_the_same_losses(make_cohort, make_loss, train, tmp_path, network):
    def untrained() -> Cohort:
        if network == "unet":
            torch.manual_seed(0)
            return Cohort({"net0": build_network("unet", classes=3, width=2)})
        cohort = make_cohort().eval()
        cohort.networks["net0"].layers[3].p = 0.0  # compiled dropout has other random numbers
        return cohort

    losses = []
    for compiled in (False, True):
        cohort = untrained()
        outcome = fit(cohort, make_loss(cohort), train, folder=tmp_path / str(compiled), **training_configs({
                      "steps": 4, "batch_size": 3, "select_by": "last", "device": "cpu", "precision": "fp32",
                      "validate_every": 1, "optimizer": "SGD", "compile": compiled}))  # fmt: skip
        losses.append([row["train/loss"] for row in outcome.history])
        assert list(cohort.state_dict()) == list(untrained().state_dict())
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
