"""Contract of every loss, see `segmi.testing.check_loss`. A new loss needs one entry in `CASES`."""

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import segmi.losses
from segmi.losses import (
    LOSSES,
    BinaryCrossEntropy,
    CrossEntropy,
    Loss,
    MutualLearning,
    Objective,
    PerNetwork,
    RegionMatchedBound,
    RegionMutualInformation,
    RMILoss,
    Term,
)
from segmi.testing import LOSS_RULES, check_loss
from segmi.testing.loss_subject import LossSubject, output_of, outputs_of, total
from segmi.types import Batch, Output

Scene = Any
Gradient = Callable[..., tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class LossCase:
    """A loss under test.

    Args:
        make: makes it; ``ignore_index`` is its only argument.
        constant: the value on all-ignored images, of C channels.
    """

    name: str
    make: Callable[..., Loss | Objective]
    constant: Callable[[int], float] = field(default=lambda channels: 0.0)


def _looking(name: str, **options: Any) -> Callable[..., Objective]:
    """A loss on the layer ``body`` of both networks, narrow for speed."""
    own = {"dimensions": 8} if "dimensions" in inspect.signature(LOSSES[name]).parameters else {}
    return partial(LOSSES[name], layers={"net": "body", "peer": "body"}, **own, **options)  # type: ignore[return-value]


class _OneImage(Objective):
    """A loss on two views, whose second view is the output of the other network."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__()
        self.views: Any = LOSSES[name](**options)
        self.name, self.scope, self.invariances = name, self.views.scope, self.views.invariances

    def forward(self, outputs: Any, batch: Batch) -> dict[str, Term]:
        return {self.name: self.views.between(outputs["net"].logits, outputs["peer"].logits, batch.labels)}


ABSENT = torch.log(torch.tensor(5e-4, dtype=torch.float64).sqrt() + 1e-8).item()
CASES = [
    LossCase("cross_entropy", CrossEntropy),
    LossCase("binary_cross_entropy", BinaryCrossEntropy),
    LossCase("region_mutual_information", RegionMutualInformation, lambda channels: channels * ABSENT),
    LossCase("region_mutual_information-corrected", lambda **k: RegionMutualInformation(variant="corrected", **k)),
    LossCase("rmi_loss", RMILoss, lambda channels: channels * ABSENT / 2),
    LossCase("rmi_loss-corrected", lambda **k: RMILoss(variant="corrected", **k)),
    *(
        LossCase(f"{name}{mode and '-'}{mode}", made, constant if not mode else (lambda channels: 0.0))
        for name, constant in {
            "region_permuted_pixels": lambda channels: channels * ABSENT,
            "region_shuffled_labels": lambda channels: channels * ABSENT,
            "region_diagonal": lambda channels: channels * math.log(5e-4) / 2,
            "region_own_pixel": lambda channels: channels * math.log(5e-4) / 2,
            "region_error_determinant": lambda channels: channels * math.log(1e-3) / 2,
            "region_log_mse": lambda channels: channels * math.log(1e-3) / 2,
            "region_cca_trace": lambda channels: 0.0,
            "region_cka": lambda channels: 0.0,
            "region_covariance_matching": lambda channels: 0.0,
        }.items()
        for mode in ("", "corrected")
        for made in (partial(LOSSES[name], **({"variant": mode} if mode else {})),)
    ),
    # below all values, so that both halves of a batch are on the same side of it
    LossCase("region_matched_bound", partial(RegionMatchedBound, target=-50.0), lambda c: c * ABSENT + 50),
    LossCase("region_matched_bound-corrected", partial(RegionMatchedBound, target=-50.0, variant="corrected")),
    *(
        LossCase(name, LOSSES[name])
        for name in (
            "soft_confusion",
            "determinant_information",
            "conditional_information",
            "normalized_conditional_information",
            "probability_corrected",
            "weighted_cross_entropy",
            "balanced_cross_entropy",
            "focal",
            "dice",
            "lovasz_softmax",
            "label_smoothing",
            "confidence_penalty",
            "affinity_fields",
            "information_maximization",
            "marginal_prior",
            "entropy_minimization",
        )
    ),
    LossCase("conditional_information-CMIC", lambda **k: LOSSES["conditional_information"](separation=0.1, **k)),
    LossCase("conditional_information-MCMI", lambda **k: LOSSES["conditional_information"](direction="spread", **k)),
    LossCase("weighted_cross_entropy-root", lambda **k: LOSSES["weighted_cross_entropy"](power=0.5, **k)),
    LossCase("focal-soft", lambda **k: LOSSES["focal"](focus=0.5, **k)),
    LossCase("dice-image", lambda **k: LOSSES["dice"](over="image", smooth=1.0, **k)),
    LossCase("lovasz_softmax-image", lambda **k: LOSSES["lovasz_softmax"](over="image", **k)),
    LossCase("affinity_fields-adaptive", lambda **k: LOSSES["affinity_fields"](sizes=(3, 5, 7), **k)),
    LossCase("affinity_fields-image", lambda **k: LOSSES["affinity_fields"](over="image", opposite="free", **k)),
    LossCase("determinant_information-offset", lambda **k: LOSSES["determinant_information"](offset=1e-3, **k)),
    LossCase("information_maximization-TIM", lambda **k: LOSSES["information_maximization"](certainty=0.1, **k)),
    LossCase("invariant_information", partial(_OneImage, "invariant_information")),
    LossCase("invariant_information-diverse", partial(_OneImage, "invariant_information", entropy_weight=1.5)),
    LossCase("local_invariant_information", partial(_OneImage, "local_invariant_information")),
    LossCase(
        "local_invariant_information-windows",
        partial(_OneImage, "local_invariant_information", displacement=2, window=5),
    ),
    LossCase("mutual_learning", MutualLearning),
    LossCase("mutual_learning-logits", lambda **k: MutualLearning(target="logits", class_reduction="mean", **k)),
    LossCase("ensemble_teacher", LOSSES["ensemble_teacher"]),
    LossCase("ensemble_teacher-logits", partial(LOSSES["ensemble_teacher"], average="logits", temperature=2.0)),
    LossCase("jensen_shannon", LOSSES["jensen_shannon"]),
    LossCase("distillation", partial(LOSSES["distillation"], temperature=2.0)),
    LossCase("shuffled_teacher", LOSSES["shuffled_teacher"]),
    LossCase("shuffled_teacher-nothing", partial(LOSSES["shuffled_teacher"], keep="nothing")),
    LossCase("channel_wise_distillation", LOSSES["channel_wise_distillation"]),
    LossCase("dist", LOSSES["dist"]),
    LossCase("variational_information_distillation", _looking("variational_information_distillation")),
    LossCase("contrastive_distillation", _looking("contrastive_distillation", per_class=9)),
    LossCase(
        "contrastive_distillation-classes",
        _looking("contrastive_distillation", per_class=9, negatives="other_classes"),
    ),
    LossCase("pixel_contrast", _looking("pixel_contrast", per_class=9)),
    LossCase("pixel_contrast-image", _looking("pixel_contrast", per_class=9, across="image")),
    LossCase("pixel_contrast-limited", _looking("pixel_contrast", per_class=9, max_anchors=64)),
    LossCase("contrastive_distillation-both", _looking("contrastive_distillation", per_class=9, both_directions=True)),
    LossCase("information_bottleneck", _looking("information_bottleneck")),
    LossCase("mutual_learning-warm", lambda **k: MutualLearning(temperature=3.0, peer_reduction="sum", **k)),
]


@pytest.fixture(params=CASES, ids=lambda info: info.name)
def info(request: pytest.FixtureRequest) -> LossCase:
    return request.param


def value(info: LossCase, logits: Tensor, labels: Tensor) -> Tensor:
    return LossSubject(info.make, info.name).value(logits, labels)


def test_the_table_is_complete() -> None:
    assert {info.name.split("-")[0] for info in CASES} == set(LOSSES)


@pytest.mark.parametrize("rule", LOSS_RULES)
def test_the_contract(info: LossCase, rule: str) -> None:
    assert LossSubject(info.make).makes_any, "the loss is checked with several values of ignore_index"
    check_loss(info.make, rules=[rule], name=info.name)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_computes_in_at_least_float32_on_the_device(
    info: LossCase, scene: Scene, gradient: Gradient, dtype: torch.dtype, device: torch.device
) -> None:
    """Compared with float64 on the CPU."""
    labels = scene.labels(2, 4, 20, 18, ignored=True)
    logits = scene.logits(labels, 4).to(dtype)
    exact, exact_slope = gradient(lambda z: value(info, z, labels), logits.double())
    objective = LossSubject(info.make, info.name).objective(logits).to(device)

    def on_device(z: Tensor) -> Tensor:
        return total(objective(outputs_of(z), Batch(z, labels.to(device))))

    with torch.autocast(device.type, dtype=torch.bfloat16):
        got, slope = gradient(on_device, logits.to(device))
    assert got.dtype == torch.float32
    assert slope.dtype == dtype
    torch.testing.assert_close(got.double().cpu(), exact, rtol=2e-5, atol=1e-6)
    half = dtype != torch.float32
    assert (slope.double().cpu() - exact_slope).norm() <= (1e-2 if half else 1e-5) * exact_slope.norm()


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_all_ignored_is_a_constant_attached_to_the_graph(
    info: LossCase, gradient: Gradient, channels: int, dtype: torch.dtype
) -> None:
    labels = torch.full((2, 8, 8), 255)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        got, slope = gradient(lambda z: value(info, z, labels), torch.randn(2, channels, 8, 8, dtype=dtype))
    exact = dtype == torch.float64
    assert got.item() == pytest.approx(info.constant(channels), abs=1e-12, rel=1e-12 if exact else 1e-6)
    assert slope.abs().max() == 0


SECTIONS = ("Assumes:", "Invariances:", "Degenerate solutions:", "Cost:", "Args:")


def test_docstring_has_all_sections(info: LossCase) -> None:
    kind = LOSSES[info.name.split("-")[0]]
    if kind.family not in ("label_information", "pixel", "unsupervised") or "teacher" in kind.requires:
        pytest.skip("documented by its function and its page")
    said = [line.strip().partition(":")[0] + ":" for line in (kind.__doc__ or "").splitlines()]
    assert [section for section in said if section in SECTIONS] == list(SECTIONS)


def test_no_gpu_synchronization(info: LossCase, no_synchronization: Any) -> None:
    cpu = torch.randn(2, 4, 12, 12)
    objective = LossSubject(info.make, info.name).objective(cpu).to("meta")
    batch = Batch(cpu.to("meta"), torch.zeros(2, 12, 12, dtype=torch.int64, device="meta"))
    logits = cpu.to("meta").requires_grad_()

    def update() -> list[str]:
        with no_synchronization() as found:
            objective.denominators(outputs_of(logits), batch)
            terms = objective(outputs_of(logits), batch)
            sum(term.weight * term.value for term in terms.values()).backward()  # type: ignore[union-attr]
            if isinstance(objective, PerNetwork):
                objective.loss.term(logits, batch.labels)  # type: ignore[operator]
        shown = [part for term in terms.values() for ratio in term.diagnostics.values() for part in ratio]
        counted = [part for term in terms.values() for part in (term.numerator, term.denominator)]
        assert {part.device.type for part in shown + counted} == {"meta"}
        return found

    assert update() == []


def _step(info: LossCase, scene: Scene, device: torch.device) -> tuple[Callable[[], list[Tensor]], Tensor]:
    """Return a function that computes terms and gradient of logits on a device, without other work, and the logits.

    Class 1 is absent from the first image.
    """
    labels = scene.labels(2, 4, 14, 13, ignored=True)
    labels[0] = labels[0].masked_fill(labels[0] == 1, 0)
    logits = scene.logits(labels, 4).to(device).requires_grad_()
    objective = LossSubject(info.make, info.name).objective(logits.detach().cpu()).to(device)
    batch, fixed = Batch(logits, labels.to(device)), outputs_of(logits.detach().clone())["peer"]

    def step() -> list[Tensor]:
        outputs = {"net": output_of(logits), "peer": fixed}
        result = total(objective(outputs, batch))
        slope = torch.autograd.grad(result, logits)[0]
        return [result.detach(), slope, *objective.denominators(outputs, batch).values()]

    return step, logits


@pytest.mark.cuda
def test_same_result_without_synchronization(
    info: LossCase, scene: Scene, no_waiting: Any, device: torch.device
) -> None:
    step, _ = _step(info, scene, torch.device("cpu"))
    expected = step()
    on_device = _step(info, scene, device)[0]
    if device.type == "cuda":
        on_device()  # compiles and checks kernels
    with no_waiting():
        found = on_device()
    torch.testing.assert_close([one.cpu() for one in found], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.cuda
def test_runs_in_a_cuda_graph(info: LossCase, scene: Scene, device: torch.device) -> None:
    if device.type != "cuda":
        pytest.skip("CUDA graphs need a GPU; the CPU checks that nothing is read, which graphs do not allow")
    step, logits = _step(info, scene, device)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        logits.mul_(0.5)
    expected = step()
    graph.replay()
    torch.testing.assert_close(captured, expected, rtol=1e-9, atol=1e-12)


OPTIONS_OF_RMI: list[dict[str, Any]] = [
    {"variant": variant, "ignored": ignored, **pooled, "probability": probability}
    for variant in ("published", "corrected")
    for ignored in ("zero", "drop")
    for pooled in (
        {}, {"pooling": "average", "stride": 2}, {"pooling": "max", "stride": 2},
        {"pooling": "interpolation", "stride": 2, "legacy_interpolation": True},
    )
    for probability in ("sigmoid", "softmax")
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS_OF_RMI, ids=lambda options: "-".join(map(str, options.values())))
@pytest.mark.parametrize("name", ["rmi_loss", "region_permuted_pixels", "region_log_mse"])
def test_same_result_of_rmi_without_reading_values(
    name: str, options: dict[str, Any], scene: Scene, gradient: Gradient, no_reads: Any
) -> None:
    labels = scene.labels(2, 4, 14, 13, ignored=True)
    labels[0] = labels[0].masked_fill(labels[0] == 1, 0)
    logits, loss = scene.logits(labels, 4), LOSSES[name](**options)
    expected = gradient(lambda z: loss(z, labels), logits)
    with no_reads():
        found = gradient(lambda z: loss(z, labels), logits)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"variant": "corrected"}, {"ignored": "drop"}, {"pooling": "average", "stride": 2},
        {"probability": "softmax", "pooling": "interpolation", "stride": 2, "variant": "corrected"},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", ["rmi_loss", "region_mutual_information", "region_log_mse", "region_permuted_pixels"])
def test_no_gpu_synchronization_of_triton_kernels(
    monkeypatch: pytest.MonkeyPatch, no_synchronization: Any, name: str, options: dict[str, Any]
) -> None:
    """Of the kernels themselves only shapes are known here; see `region_triton_cases.py` for them on a GPU."""
    from segmi.losses.rmi import dispatch, maps
    from segmi.losses.rmi.rmi_config import RMIConfig
    from segmi.losses.targets import Targets

    monkeypatch.setattr(dispatch, "kernel_obstacle", lambda kernel, logits: "")
    objective = PerNetwork(LOSSES[name](kernel="triton", **options), name)  # type: ignore[arg-type]
    logits = torch.randn(2, 4, 12, 12, device="meta", requires_grad=True)
    labels = torch.zeros(2, 12, 12, dtype=torch.int64, device="meta")
    config = RMIConfig(radius=3, class_reduction="present", **options)
    with no_synchronization() as found:
        objective.denominators({"net": Output(logits)}, Batch(logits, labels))
        terms = objective({"net": Output(logits)}, Batch(logits, labels))
        sum(term.weight * term.value for term in terms.values()).backward()  # type: ignore[union-attr]
        objective.loss.term(logits, labels)  # type: ignore[operator]
        maps.counted_pairs(Targets(labels, labels != 255, torch.zeros((), device="meta")), 4, config)
    assert found == []


READS: list[Callable[[Tensor], Any]] = [
    lambda z: z.sum().item(),
    lambda z: z[z > 0],
    lambda z: bool((z > 0).any()),
    lambda z: torch.bincount(z.flatten().long(), minlength=9),
]


@pytest.mark.parametrize("waiting", [*READS, lambda z: z.cpu()])
def test_reads_of_values_are_detected(no_synchronization: Any, waiting: Callable[[Tensor], Any]) -> None:
    with pytest.raises(RuntimeError), no_synchronization():
        waiting(torch.zeros(3, 3, device="meta"))


@pytest.mark.parametrize("waiting", [*READS, lambda z: z.index_put((z > 0,), z.new_ones(()))])
def test_reads_of_values_are_refused(no_reads: Any, waiting: Callable[[Tensor], Any]) -> None:
    with pytest.raises(AssertionError, match="no operation that reads values"), no_reads():
        waiting(torch.zeros(3, 3))


@pytest.mark.parametrize(
    "copying",
    [lambda z: z.new_tensor(3.0), lambda z: torch.tensor([1.0], device=z.device), lambda z: torch.ones(3).to(z)],
)
def test_copies_to_the_device_are_detected(no_synchronization: Any, copying: Callable[[Tensor], Any]) -> None:
    with no_synchronization() as found:
        copying(torch.zeros(3, 3, device="meta"))
    assert found


def test_unknown_ids_are_named(info: LossCase, scene: Scene) -> None:
    labels = scene.labels(1, 4, 12, 12)
    labels[0, 0, :2] = torch.tensor([200, 9])
    with pytest.raises(ValueError, match=r"class ids 0 to 3 or the ignore value 255, got also 9, 200. Fix: map"):
        value(info, torch.zeros(1, 4, 12, 12), labels)
    labels[0, 0, :2] = torch.tensor([0, 2])
    with pytest.raises(ValueError, match=r"class ids 0 to 1 .* got also 2"):
        value(info, torch.zeros(1, 1, 12, 12), labels.clamp(max=2))


def test_shapes_must_match(info: LossCase) -> None:
    with pytest.raises(ValueError, match=r"labels: expected shape N×H×W = \(1, 8, 8\).* got \(1, 8, 9\). Fix: pass"):
        value(info, torch.zeros(1, 4, 8, 8), torch.zeros(1, 8, 9, dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels: expected shape .* got \(1, 1, 8, 8\)"):
        value(info, torch.zeros(1, 4, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.long))
    with pytest.raises(ValueError, match=r"logits: expected shape N×C×H×W"):
        value(info, torch.zeros(4, 8, 8), torch.zeros(8, 8, dtype=torch.long))


def test_types_must_match(info: LossCase) -> None:
    with pytest.raises(TypeError, match=r"labels: expected class indices of an integer type, got torch.float32"):
        value(info, torch.zeros(1, 4, 8, 8), torch.zeros(1, 8, 8))
    with pytest.raises(TypeError, match=r"logits: expected a floating-point tensor, got torch.int64"):
        CrossEntropy()(torch.zeros(1, 4, 8, 8, dtype=torch.long), torch.zeros(1, 8, 8, dtype=torch.long))


@pytest.mark.parametrize("name", LOSSES)
def test_documentation_is_complete(name: str) -> None:
    function = getattr(segmi.losses, name, None)
    text = "".join(inspect.getdoc(one) or "" for one in (LOSSES[name], function) if one is not None)
    for said in (
        "Use:",
        "Assum(es|ptions):",
        "Invariances:",
        "Degenerate solutions:",
        "Cost:",
        "Unit and sign:",
        "Source:",
    ):
        assert re.search(said, " ".join(text.split())), said
