"""The gradient of the fused pass equals the gradient of a separate pass to the last bit."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from segmi.losses import (
    BinaryCrossEntropy,
    Loss,
    RegionCovarianceMatching,
    RegionErrorDeterminant,
    RegionLogMSE,
    RegionMutualInformation,
    RMILoss,
)

Scene = Any
Gradient = Callable[..., tuple[Tensor, Tensor]]
LOSSES: list[Callable[[], Loss]] = [
    RMILoss,
    lambda: RMILoss(variant="corrected"),
    lambda: RMILoss(class_reduction="mean", bce_weight=0.3),
    lambda: RMILoss(ignored="drop"),
    RMILoss.as_published,
    lambda: RMILoss(probability="softmax"),
    lambda: RMILoss(probability="softmax", pooling="max", stride=2, variant="corrected"),
    RegionMutualInformation,
    lambda: RegionMutualInformation(variant="corrected", ignored="zero"),
    RegionErrorDeterminant,
    lambda: RegionLogMSE(pooling="average", stride=2),
    lambda: RegionCovarianceMatching(variant="corrected"),
    BinaryCrossEntropy,
]


@pytest.fixture(params=range(len(LOSSES)))
def loss(request: pytest.FixtureRequest) -> Loss:
    return LOSSES[request.param]()


@pytest.fixture(params=["float32", "bfloat16"])
def data(request: pytest.FixtureRequest, scene: Scene) -> tuple[Tensor, Tensor]:
    labels = scene.labels(3, 4, 30, 26, ignored=True)
    return scene.logits(labels, 4).to(getattr(torch, request.param)), labels


def unfused(loss: Loss) -> Loss:
    """The same loss without a fused pass."""
    reference = copy.deepcopy(loss)
    reference._grad_scale.was_predicted_right = False  # type: ignore[union-attr]
    return reference


def test_equals_a_separate_pass(loss: Loss, data: tuple[Tensor, Tensor], gradient: Gradient) -> None:
    logits, labels = data
    fused = gradient(lambda z: loss(z, labels), logits)
    separate = gradient(lambda z: unfused(loss)(z, labels), logits)
    assert loss._grad_scale.was_predicted_right  # type: ignore[union-attr]
    assert torch.equal(fused[0], separate[0])
    assert torch.equal(fused[1], separate[1])
    assert fused[1].any()


def test_scaled_loss_has_the_scaled_gradient(loss: Loss, data: tuple[Tensor, Tensor], gradient: Gradient) -> None:
    logits, labels = data
    expected = gradient(lambda z: unfused(loss)(z, labels) * 4, logits)
    for _ in range(2):  # the second time no pass is fused
        got = gradient(lambda z: loss(z, labels) * 4, logits)
        assert not loss._grad_scale.was_predicted_right  # type: ignore[union-attr]
        assert torch.equal(got[1], expected[1])


def test_terms_with_other_denominators(loss: Loss, data: tuple[Tensor, Tensor], gradient: Gradient) -> None:
    logits, labels = data

    def accumulated(some: Loss) -> Callable[[Tensor], Tensor]:
        return lambda z: torch.stack(
            [t._replace(denominator=t.denominator * 3).value for t in some.terms(z, labels).values()]
        ).sum()

    assert torch.equal(gradient(accumulated(loss), logits)[1], gradient(accumulated(unfused(loss)), logits)[1])


def test_retained_graph_gives_the_gradient_twice(loss: Loss, data: tuple[Tensor, Tensor]) -> None:
    logits, labels = data[0].clone().requires_grad_(), data[1]
    value = loss(logits, labels)
    (first,) = torch.autograd.grad(value, logits, retain_graph=True)
    kept = first.clone()
    first.zero_()  # the caller may write to it
    (second,) = torch.autograd.grad(value, logits)
    assert torch.equal(second, kept)


def test_no_gradient_is_computed_without_requires_grad(loss: Loss, data: tuple[Tensor, Tensor]) -> None:
    logits, labels = data
    assert not loss(logits, labels).requires_grad
    assert loss._grad_scale.was_predicted_right  # type: ignore[union-attr]


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("width", [1, 7, 8, 20, 600])
def test_pixel_kernel_equals_torch(scene: Scene, gradient: Gradient, channels: int, width: int) -> None:
    labels = scene.labels(2, max(channels, 2), 11, width, ignored=True)
    for contrast in (1.0, 30.0, -30.0):
        logits = scene.logits(labels, channels, contrast=contrast).float()
        value, slope = gradient(lambda z: BinaryCrossEntropy(kernel="numba")(z, labels), logits)
        expected, truth = gradient(lambda z: BinaryCrossEntropy(kernel="torch")(z, labels), logits.double())
        assert value.double() == pytest.approx(float(expected), rel=1e-6)
        torch.testing.assert_close(slope.double(), truth, rtol=1e-6, atol=1e-12)


def test_second_derivative_of_the_pixel_kernel_equals_torch(scene: Scene) -> None:
    labels = scene.labels(1, 3, 8, 8, ignored=True)
    logits = scene.logits(labels, 3).float().requires_grad_()

    def second(kernel: Any) -> Tensor:
        value = BinaryCrossEntropy(kernel=kernel)(logits, labels)
        (slope,) = torch.autograd.grad(value, logits, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), logits)[0]

    assert second("torch").any()
    torch.testing.assert_close(second("numba"), second("torch"))


def test_unavailable_pixel_kernel_is_refused() -> None:
    logits, labels = torch.zeros(1, 2, 4, 4, dtype=torch.float64), torch.zeros(1, 4, 4, dtype=torch.long)
    with pytest.raises(ValueError, match=r"kernel: 'numba' expected logits of at most 32 bits, got torch.float64"):
        BinaryCrossEntropy(kernel="numba")(logits, labels)
    with pytest.raises(ValueError, match=r"kernel: expected 'auto', 'numba' or 'torch', got 'triton'"):
        BinaryCrossEntropy(kernel="triton")  # type: ignore[arg-type]


class TestGradientBuffer:
    """The buffer of the gradient is reused unless something refers to it."""

    @pytest.fixture
    def step(self, scene: Scene) -> Callable[[float], Tensor]:
        labels = scene.labels(2, 4, 192, 192, ignored=True)
        logits = scene.logits(labels, 4).float()
        loss = RMILoss()

        def step(factor: float) -> Tensor:
            leaf = (factor * logits).contiguous().requires_grad_()  # else the gradient is copied to its memory format
            loss(leaf, labels).backward()
            assert leaf.grad is not None
            return leaf.grad

        return step

    def test_free_buffer_is_reused(self, step: Callable[[float], Tensor]) -> None:
        first = step(1.0)
        assert first.nbytes > 2**20
        address, expected = first.data_ptr(), first.clone()
        del first
        again = step(1.0)
        assert again.data_ptr() == address
        assert torch.equal(again, expected)

    @pytest.mark.parametrize(
        "hold",
        [
            lambda gradient: gradient,
            lambda gradient: gradient[0, 0],
            lambda gradient: gradient.detach().view(-1),
            lambda gradient: gradient.numpy(),
            lambda gradient: torch.from_dlpack(gradient),
        ],
        ids=["itself", "a part", "a view", "an array", "shared memory"],
    )
    def test_referenced_buffer_is_not_reused(
        self, step: Callable[[float], Tensor], hold: Callable[[Tensor], Any]
    ) -> None:
        held = hold(step(1.0))
        before = copy.deepcopy(held)
        other = step(-2.0)
        assert (held == before).all()
        assert not torch.equal(other, step(1.0))


def test_softmax_needs_one_pass(data: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    from segmi.losses.rmi import cpu

    logits, labels = data
    loss = RMILoss(probability="softmax", pooling="average", stride=2, kernel="numba")
    logits.requires_grad_()
    (expected,) = torch.autograd.grad(loss(logits, labels), logits)
    monkeypatch.setattr(cpu, "backward", None)
    (found,) = torch.autograd.grad(loss(logits, labels), logits)
    assert torch.equal(found, expected)
