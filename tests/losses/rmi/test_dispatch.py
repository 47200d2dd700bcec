"""The choice of a routine, and the operators of the compiled routines."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segmi.losses import (
    RegionMutualInformation,
    RMILoss,
    region_kernel,
    region_mutual_information,
    region_mutual_information_plain,
    rmi_loss,
)
from segmi.losses.rmi import operators
from segmi.losses.rmi.operators import region_kernel_result, sums_description, sums_integers
from segmi.losses.rmi.rmi_config import RMIConfig

Scene = Any
Gradient = Callable[..., tuple[Tensor, Tensor]]


# --- the choice


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_compiled_routine_is_chosen_if_available(dtype: torch.dtype) -> None:
    logits = torch.zeros(1, 2, 8, 8, dtype=dtype)
    assert region_kernel(logits) == "numba"
    assert region_kernel(logits, probability="softmax", pooling="max") == "numba"


@pytest.mark.parametrize(
    ("logits", "options"),
    [
        (torch.zeros(1, 2, 8, 8, dtype=torch.float64), {}),
        (torch.zeros(1, 2, 8, 8, device="meta"), {}),
    ],
)
def test_torch_is_chosen_otherwise(logits: Tensor, options: dict[str, Any]) -> None:
    assert region_kernel(logits, **options) == "torch"


def test_torch_is_chosen_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segmi.losses.compiled.find_spec", lambda _: None)
    logits = torch.zeros(1, 2, 8, 8)
    assert region_kernel(logits) == "torch"
    with pytest.raises(ValueError, match=r"^kernel: 'numba' expected the package numba .* got none. Fix: use"):
        region_kernel(logits, kernel="numba")


@pytest.mark.parametrize(
    ("logits", "options", "message"),
    [
        (torch.zeros(1, 2, 8, 8, dtype=torch.float64), {"kernel": "numba"}, "at most 32 bits, got torch.float64"),
        (torch.zeros(1, 2, 8, 8), {"kernel": "triton"}, "a device of type 'cuda', got 'cpu'|package triton"),
        (torch.zeros(1, 2, 8, 8), {"kernel": "fast"}, "expected 'auto', 'numba', 'triton' or 'torch', got 'fast'"),
    ],
)
def test_unavailable_kernels_are_refused(logits: Tensor, options: dict[str, Any], message: str) -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    for call in (region_mutual_information, rmi_loss):
        with pytest.raises(ValueError, match=message):
            call(logits, labels, **options)


def test_requested_routines_agree(scene: Scene, gradient: Gradient) -> None:
    labels = scene.labels(2, 3, 24, 26, ignored=True)
    logits = scene.logits(labels, 3).float()
    slow, compiled = (
        gradient(lambda z, kernel=kernel: RMILoss(kernel=kernel)(z, labels), logits) for kernel in ("torch", "numba")
    )
    torch.testing.assert_close(compiled, slow, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((9, 0), "float64: float64 is fast at compute capability 9.0"),
        ((8, 9), "64-bit integers: float64 is slow at compute capability 8.9"),
        ((10, 3), "64-bit integers: float64 is slow at compute capability 10.3"),
    ],
)
def test_sums_follow_the_rate_of_float64(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(operators, "_slow_float64", {})
    assert sums_description(device) == expected
    assert sums_integers(device) == (capability != (9, 0))
    traced = torch.compile(lambda x: x + sums_integers(device), fullgraph=True, backend="eager")
    assert traced(torch.zeros(())) == (capability != (9, 0))
    monkeypatch.setenv("SEGMI_SUMS", "float64")
    assert not sums_integers(device)
    assert sums_description(device) == "float64, set by SEGMI_SUMS"
    monkeypatch.setenv("SEGMI_SUMS", "double")
    with pytest.raises(ValueError, match=r"SEGMI_SUMS: expected 'integer' or 'float64', got 'double'"):
        sums_integers(device)


# --- operators


def test_operators_pass_opcheck(scene: Scene) -> None:
    labels = scene.labels(2, 3, 12, 14, ignored=True)
    for logits in (scene.logits(labels, 3).float().requires_grad_(), scene.logits(labels, 3).half()):
        text = RMIConfig().text
        torch.library.opcheck(torch.ops.segmi.region_forward, (logits, labels, text, True, 255))
        result = region_kernel_result(logits.detach(), labels, RMIConfig(), 255, pixels=True)
        scale = torch.rand(2, 3, dtype=torch.float64)
        kept = (result.counted, result.coefficients, result.offsets)
        torch.library.opcheck(
            torch.ops.segmi.region_backward, (logits.detach(), labels, *kept, scale, scale, text, 255)
        )


@pytest.mark.parametrize(
    "loss",
    [RMILoss(), RegionMutualInformation(), RMILoss(variant="corrected"), RMILoss.as_published(stride=2)],
    ids=repr,
)
def test_compiles_as_one_graph(scene: Scene, gradient: Gradient, loss: nn.Module) -> None:
    labels = scene.labels(2, 3, 20, 22, ignored=True)
    logits = scene.logits(labels, 3).float()
    expected = gradient(lambda z: loss(z, labels), logits)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    got = gradient(lambda z: compiled(z, labels), logits)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9)


def test_autocast_has_no_effect(scene: Scene) -> None:
    labels = scene.labels(1, 3, 20, 22)
    images = torch.randn(1, 4, 20, 22)
    network = nn.Conv2d(4, 3, 1)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(images)
        loss = rmi_loss(logits, labels)
    assert logits.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    assert loss == rmi_loss(logits.float(), labels)
    loss.backward()
    assert network.weight.grad is not None
    assert network.weight.grad.isfinite().all()


@pytest.mark.cuda
def test_loss_scaler_gives_the_same_step(scene: Scene, device: torch.device) -> None:
    """Training in half precision with `torch.amp.GradScaler`: scaled gradients, unscaled before the step."""
    labels, images = scene.labels(2, 3, 20, 22).to(device), torch.randn(2, 4, 20, 22).to(device)
    network = nn.Conv2d(4, 3, 1).to(device)
    optimizer, scaler = torch.optim.SGD(network.parameters(), 0.1), torch.amp.GradScaler(device.type, 2.0**12)
    with torch.autocast(device.type, torch.float16 if device.type == "cuda" else torch.bfloat16):
        loss = rmi_loss(network(images), labels)
    plain = torch.autograd.grad(loss, network.weight, retain_graph=True)[0]
    before = network.weight.detach().clone()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**12  # no gradient overflowed
    torch.testing.assert_close(network.weight.detach(), before - 0.1 * plain, rtol=1e-3, atol=1e-5)


@pytest.mark.cuda
def test_data_parallel_gradient(scene: Scene, tmp_path: Path, device: torch.device) -> None:
    labels = scene.labels(2, 3, 20, 22).to(device)
    images = torch.randn(2, 4, 20, 22).to(device)
    network = nn.Conv2d(4, 3, 1).to(device)
    rmi_loss(network(images), labels).backward()
    expected = network.weight.grad
    network.weight.grad = None
    backend = "nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(network)
        rmi_loss(wrapped(images), labels).backward()
    finally:
        torch.distributed.destroy_process_group()
    torch.testing.assert_close(network.weight.grad, expected)


def test_second_derivative_is_refused_except_by_the_reference(scene: Scene) -> None:
    labels = scene.labels(1, 2, 12, 12)
    logits = scene.logits(labels, 2).float().requires_grad_()
    (slope,) = torch.autograd.grad(region_mutual_information(logits, labels), logits, create_graph=True)
    with pytest.raises(RuntimeError, match=r"expected to be differentiated once.*region_mutual_information_plain"):
        slope.square().sum().backward()
    (slope,) = torch.autograd.grad(region_mutual_information_plain(logits, labels), logits, create_graph=True)
    assert torch.autograd.grad(slope.square().sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize("position", ["valid", "ignored"])
@pytest.mark.parametrize("kernel", ["numba", "torch"])
def test_nan_logits_give_nan(scene: Scene, kernel: str, position: str) -> None:
    labels = scene.labels(1, 3, 12, 12)
    labels[0, 0, 0] = 255 if position == "ignored" else labels[0, 0, 0]
    logits = scene.logits(labels, 3).float()
    logits[0, 1, 0, 0] = math.nan
    for call in (region_mutual_information, rmi_loss):
        assert call(logits, labels, kernel=kernel).isnan()


def test_unknown_ids_are_listed_in_the_error(scene: Scene) -> None:
    labels = scene.labels(1, 3, 12, 12)
    labels[0, 5, 5] = 200
    with pytest.raises(ValueError, match=r"expected class ids 0 to 2 or the ignore value 255, got also 200. Fix:"):
        rmi_loss(torch.zeros(1, 3, 12, 12), labels, kernel="numba")
