"""Contract of every loss in training loops of its users: arguments, transforms, copies and compilation."""

import copy
import inspect
import pickle
import re
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from segmi.losses import (
    LOSSES,
    BinaryCrossEntropy,
    ClassCounts,
    CrossEntropy,
    JensenShannon,
    Loss,
    MMSegmentationLoss,
    MutualLearning,
    Objective,
    RMILoss,
    first_batch,
    jensen_shannon,
    mutual_learning,
)
from segmi.types import Batch, Output

Scene = Any
LAYERS = {"net": "body", "peer": "body"}


def build(name: str, channels: int = 4, **options: Any) -> Loss | Objective:
    """Return a loss of the table, prepared for a network ``net`` and a frozen network ``peer``."""
    accepted = inspect.signature(LOSSES[name]).parameters
    given = {"layers": LAYERS, "target": -50.0, "dimensions": 8, "frozen": ("peer",)}
    given = {key: value for key, value in given.items() if key in accepted and key != "target"}
    if name == "region_matched_bound":
        given["target"] = -50.0
    loss: Any = LOSSES[name](**given, **options)
    for part in loss.modules():
        if isinstance(part, ClassCounts):
            part.set_counts(torch.arange(1, max(channels, 2) + 1))
    if isinstance(loss, Objective):
        loss.prepare(outputs(torch.zeros(1, channels, 4, 4)), seed=0)
    return loss


def outputs(logits: Tensor) -> dict[str, Output]:
    peer = 0.5 * logits.detach().flip(1)
    return {"net": Output(logits, {"body": logits}), "peer": Output(peer, {"body": peer})}


def value(loss: Any, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the value of a loss on the network ``net``."""
    if isinstance(loss, Loss):
        return loss(logits, labels)
    if "two views" in loss.requires:
        return loss.between(logits, outputs(logits)["peer"].logits, labels).value
    found = loss(outputs(logits), Batch(logits, labels))
    return sum(term.weight * term.value for term in found.values())  # type: ignore[return-value]


@pytest.fixture(params=LOSSES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def inputs(scene: Scene) -> tuple[Tensor, Tensor]:
    labels = scene.labels(2, 4, 12, 12, ignored=True)
    return scene.logits(labels, 4).float(), labels


LOSS_NAMES = [name for name, kind in LOSSES.items() if issubclass(kind, Loss)]


class ModelOutput(dict):  # type: ignore[type-arg]
    """An output of the library transformers: a dictionary with attributes."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(name)


class TestWrongArguments:
    @pytest.mark.parametrize("name", LOSS_NAMES)
    @pytest.mark.parametrize(
        ("wrap", "message"),
        [
            (lambda z: {"aux": z, "out": z}, r"got dict with the keys 'aux', 'out'. Fix: pass output\['out'\]"),
            (lambda z: ModelOutput(loss=None, logits=z), r"got ModelOutput. Fix: pass output.logits, resized"),
            (lambda z: {"logits": z}, r"got dict with the keys 'logits'. Fix: pass output\['logits'\]"),
            (lambda z: (z, z), r"got tuple of 2. Fix: pass output\[0\], and add the loss of auxiliary"),
            (lambda z: z.numpy(), "got ndarray. Fix: pass the output of the network, a tensor"),
        ],
    )
    def test_logits(self, name: str, inputs: Any, wrap: Callable[[Tensor], Any], message: str) -> None:
        logits, labels = inputs
        with pytest.raises(TypeError, match=f"logits: expected a tensor, {message}"):
            build(name)(wrap(logits), labels)

    @pytest.mark.parametrize("name", LOSS_NAMES)
    def test_labels(self, name: str, inputs: Any) -> None:
        logits, labels = inputs
        with pytest.raises(TypeError, match=r"class indices, got ndarray. Fix: pass torch.as_tensor\(labels, device"):
            build(name)(logits, labels.numpy())
        with pytest.raises(TypeError, match=r"labels: expected device cpu as the logits, got meta. Fix: use labels.to"):
            build(name)(logits, labels.to("meta"))

    def test_functions_check_as_the_modules(self, inputs: Any) -> None:
        import segmi.losses

        logits, labels = inputs
        for name in set(LOSS_NAMES) & set(vars(segmi.losses)):
            extra = (
                [torch.ones(4)] if name in ("weighted_cross_entropy", "probability_corrected", "marginal_prior") else []
            )
            options = {"target": -50.0} if name == "region_matched_bound" else {}
            with pytest.raises(TypeError, match=r"logits: expected a tensor, got dict with the keys 'out'"):
                getattr(segmi.losses, name)({"out": logits}, labels, *extra, **options)

    @pytest.mark.parametrize(
        ("labels", "remedy", "expected"),
        [
            # a mask of 0 and 1 with a channel dimension, whose argmax would be 0 everywhere
            (torch.tensor([[[[0.0, 1.0]]]]), "labels[:, 0].long()", [[[0, 1]]]),
            (torch.tensor([[[[0.0, 3.0]]]]), "labels[:, 0].long()", [[[0, 3]]]),
            (torch.tensor([[[[0.0, 3 / 255]]]]), "(labels[:, 0] * 255).round().long()", [[[0, 3]]]),
            (torch.tensor([[[[0.2, 0.7]]]]), "(labels[:, 0] > 0.5).long()", [[[0, 1]]]),
            (torch.tensor([[[0.0, 2.0]]]), "labels.long()", [[[0, 2]]]),
            (torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]]), "labels.argmax(1)", [[[0, 1]]]),
        ],
    )
    def test_float_masks_get_a_remedy_that_works(self, labels: Tensor, remedy: str, expected: Any) -> None:
        with pytest.raises(TypeError, match="labels: expected class indices of an integer type") as error:
            CrossEntropy()(torch.zeros(1, 4, 1, 2), labels)
        assert f"Fix: use {remedy}" in str(error.value)
        mended = eval(remedy, {"labels": labels})
        assert mended.tolist() == expected
        CrossEntropy()(torch.zeros(1, 4, 1, 2), mended)


class TestPeers:
    def test_mutual_learning_of_one_network_and_its_peers(self, inputs: Any) -> None:
        logits, labels = inputs
        peers = [logits.flip(1), 0.1 * logits]
        found = MutualLearning(weight=2.0, temperature=3.0)(logits, peers, labels)
        torch.testing.assert_close(found, 2 * mutual_learning(logits, peers, labels, temperature=3.0))
        torch.testing.assert_close(JensenShannon()(logits, peers, labels), jensen_shannon([logits, *peers], labels))

    def test_wrong_arguments(self, inputs: Any) -> None:
        logits, labels = inputs
        loss = MutualLearning()
        with pytest.raises(TypeError, match=r"got two arguments. Fix: pass labels as the third one"):
            loss(logits, [logits])
        with pytest.raises(TypeError, match=r"peers: expected a list of tensors, got a tensor. Fix: pass \[peer\]"):
            loss(logits, logits, labels)
        with pytest.raises(TypeError, match=r"peers\[0\]: expected a tensor, got dict with the keys 'out'"):
            loss(logits, [{"out": logits}], labels)
        with pytest.raises(TypeError, match="logits: expected a tensor, got tuple of 1"):
            loss((logits,), [logits], labels)


class TestProbabilities:
    @staticmethod
    def said(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor) -> list[str]:
        labels = torch.randint(0, 3, (2, 8, 8))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(2):
                loss(logits, labels)
        return [str(one.message) for one in caught if "probabilities" in str(one.message)]

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("name", ["cross_entropy", "dice", "rmi_loss"])
    def test_probabilities_give_one_warning(self, name: str, dtype: torch.dtype) -> None:
        logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
        assert self.said(build(name), logits) == []
        (message,) = self.said(build(name), logits.softmax(1))
        assert "logits: expected the output of the network before the softmax, got probabilities" in message
        assert "Fix: remove the softmax" in message

    def test_sigmoids_and_other_positive_logits_give_none(self) -> None:
        logits = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        assert self.said(CrossEntropy(), logits) == []
        with pytest.raises(TypeError, match="logits: expected a floating-point tensor"):
            CrossEntropy()(torch.ones(2, 3, 8, 8, dtype=torch.long), torch.zeros(2, 8, 8, dtype=torch.long))


class TestUnknownOptions:
    def test_every_loss_names_them(self, name: str) -> None:
        with pytest.raises(TypeError, match=r"^xyz: expected an option of the loss\. Fix: use one of .*ignore_index"):
            LOSSES[name](xyz=1)

    def test_options_of_pytorch_get_a_remedy(self) -> None:
        with pytest.raises(TypeError, match=r"^weight: expected an option of the loss\. Fix: for class weights, use "):
            CrossEntropy(weight=torch.ones(3))
        for loss in (CrossEntropy, RMILoss):
            with pytest.raises(TypeError, match=r"^reduction: expected an option of the loss\. Fix: omit it"):
                loss(reduction="none")
        with pytest.raises(TypeError, match=r"Fix: did you mean 'ignore_index'\?"):
            CrossEntropy(ignore_indx=0)

    def test_signatures_stay(self) -> None:
        assert list(inspect.signature(LOSSES["focal"]).parameters) == ["focus", "ignore_index"]


class TestBinaryLabels:
    @staticmethod
    def said(loss: Loss, labels: Tensor, calls: int = 3, channels: int = 1) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(calls):
                loss(torch.randn(len(labels), channels, 8, 8), labels)
        return [str(one.message) for one in caught if "binary problem" in str(one.message)]

    @pytest.mark.parametrize("name", LOSS_NAMES)
    def test_labels_of_0_and_255_give_one_warning(self, name: str) -> None:
        labels = 255 * torch.randint(0, 2, (2, 8, 8), generator=torch.Generator().manual_seed(0))
        (message,) = self.said(build(name, channels=1), labels)  # type: ignore[arg-type]
        assert "got only 0 and 255 in the first batch, and 255 is ignored" in message
        assert "pass (labels > 0).long()" in message

    @pytest.mark.parametrize(("channels", "warned"), [(2, 1), (3, 0)])
    def test_two_channels_are_a_binary_problem(self, channels: int, warned: int) -> None:
        labels = 255 * torch.randint(0, 2, (2, 8, 8), generator=torch.Generator().manual_seed(0))
        assert len(self.said(CrossEntropy(), labels, channels=channels)) == warned

    @pytest.mark.parametrize("kind", [torch.uint8, torch.long])
    def test_no_warning_with_foreground_or_without_ignored_pixels(self, kind: torch.dtype) -> None:
        labels = torch.zeros(2, 8, 8, dtype=kind)
        assert self.said(RMILoss(), labels) == []
        labels[0, 0] = 255
        labels[1, 1] = 1
        assert self.said(RMILoss(), labels) == []

    def test_on_a_gpu_a_thread_waits_for_the_result(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The event is one whose work is not done until the caller has continued."""
        done, said = threading.Event(), list[str]()
        monkeypatch.setattr(first_batch.warnings, "warn", lambda text, **_: said.append(text))
        event = type("Event", (), {"synchronize": lambda self: done.wait(10)})()
        waiting = threading.Thread(
            target=first_batch._warn_after, args=(event, torch.tensor(True), "text"), daemon=True
        )
        waiting.start()
        assert said == []
        done.set()
        waiting.join(10)
        assert len(said) == 1


class TestRemediesThatWork:
    def test_logits_of_sequences(self) -> None:
        logits, labels = torch.randn(2, 4, 9), torch.randint(0, 4, (2, 9))
        with pytest.raises(ValueError, match=r"Fix: pass logits\[\.\.\., None\] and labels\[\.\.\., None\]$"):
            CrossEntropy()(logits, labels)
        expected = torch.nn.functional.cross_entropy(logits, labels)
        torch.testing.assert_close(CrossEntropy()(logits[..., None], labels[..., None]), expected)

    def test_logits_of_one_image(self) -> None:
        logits, labels = torch.randn(4, 3, 9), torch.randint(0, 4, (3, 9))
        with pytest.raises(ValueError, match=r"Fix: pass logits\[None\] and labels\[None\] for one image$"):
            CrossEntropy()(logits, labels)
        expected = torch.nn.functional.cross_entropy(logits[None], labels[None])
        torch.testing.assert_close(CrossEntropy()(logits[None], labels[None]), expected)

    def test_logits_after_a_loss(self) -> None:
        logits, labels = torch.randn(2, 4, 3, 9), torch.randint(0, 4, (2, 3, 9))
        with pytest.raises(TypeError, match=r"got tuple of 2\. Fix: pass output\[1\]"):
            CrossEntropy()((logits.mean(), logits), labels)  # type: ignore[arg-type]

    def test_no_labels(self) -> None:
        with pytest.raises(TypeError, match=r"got NoneType\. Fix: pass the labels of the images"):
            CrossEntropy()(torch.randn(2, 4, 3, 9), None)  # type: ignore[arg-type]


class TestIgnoreIndex:
    @pytest.mark.parametrize("given", ["255", [255, 0], 255.0, True])
    def test_is_one_integer(self, given: object) -> None:
        loss, labels = CrossEntropy(ignore_index=given), torch.ones(1, 2, 2, dtype=torch.long)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"ignore_index: expected one integer or None, got .*Fix: pass an integer"):
            loss(torch.zeros(1, 3, 2, 2), labels)

    def test_none_ignores_nothing(self, name: str, scene: Scene) -> None:
        labels = scene.labels(2, 4, 12, 12)
        logits = scene.logits(labels, 4).float()
        expected = value(build(name), logits, labels)
        torch.testing.assert_close(value(build(name, ignore_index=None), logits, labels.to(torch.uint8)), expected)

    @pytest.mark.parametrize("name", LOSS_NAMES)
    def test_none_makes_255_an_unknown_class(self, name: str, inputs: Any) -> None:
        with pytest.raises(ValueError, match=r"labels: expected class ids 0 to 3, got also 255"):
            build(name, ignore_index=None)(*inputs)

    @pytest.mark.parametrize("name", LOSS_NAMES)
    def test_more_than_255_classes_with_the_default_are_refused(self, name: str) -> None:
        logits, labels = torch.zeros(1, 256, 4, 4), torch.full((1, 4, 4), 255)
        with pytest.raises(ValueError, match=r"none of the 256 classes, got 255. Fix: use ignore_index=None"):
            build(name, channels=256)(logits, labels)

    def test_class_255_counts_without_an_ignored_value(self) -> None:
        logits = torch.zeros(1, 300, 4, 4, requires_grad=True)
        labels = torch.full((1, 4, 4), 255)
        loss = CrossEntropy(ignore_index=None)(logits, labels)
        loss.backward()
        assert loss.item() == pytest.approx(np.log(300))
        assert logits.grad is not None
        assert logits.grad[0, 255].sum().item() == pytest.approx(1 / 300 - 1, rel=1e-5)
        BinaryCrossEntropy(ignore_index=-1)(logits, labels)

    def test_a_negative_value_is_no_class_of_uint8_labels(self) -> None:
        """156 equals -100 modulo 256."""
        logits, labels = torch.zeros(1, 200, 2, 2), torch.full((1, 2, 2), 156, dtype=torch.uint8)
        for loss in (CrossEntropy(ignore_index=-100), BinaryCrossEntropy(ignore_index=-100)):
            assert loss.denominators(logits, labels)[""] == 4


def with_gradient(loss: Any, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    found = value(loss, leaf, labels)
    return found.detach(), torch.autograd.grad(found, leaf)[0]


class TestTransforms:
    def test_function_gradient(self, name: str, inputs: Any) -> None:
        logits, labels = inputs
        loss = build(name)
        _, expected = with_gradient(loss, logits, labels)
        slope = torch.func.grad(lambda z: value(loss, z, labels))(logits)
        torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-6)

    def test_batched_networks_and_per_sample_gradients(self, name: str, inputs: Any) -> None:
        """Batched logits with the same labels, then the gradients of single images."""
        logits, labels = inputs
        loss = build(name)
        networks = torch.stack([logits, logits.flip(1)])
        found = torch.func.vmap(lambda z: value(loss, z, labels))(networks)
        torch.testing.assert_close(found, torch.stack([value(loss, z, labels) for z in networks]), rtol=1e-4, atol=1e-6)

        def of_image(z: Tensor, y: Tensor) -> Tensor:
            return value(loss, z.unsqueeze(0), y.unsqueeze(0))

        per_sample = torch.func.vmap(torch.func.grad(of_image))
        expected = [with_gradient(loss, z[None], y[None])[1][0] for z, y in zip(logits, labels, strict=True)]
        torch.testing.assert_close(per_sample(logits, labels), torch.stack(expected), rtol=1e-4, atol=1e-6)

    def test_no_state_is_left(self, name: str, inputs: Any) -> None:
        logits, labels = inputs
        loss = build(name)
        expected, slope = with_gradient(loss, logits, labels)
        torch.func.vmap(lambda z: value(loss, z, labels))(torch.stack([logits, logits]))
        torch.func.grad(lambda z: value(loss, z, labels))(logits)

        def failing(z: Tensor) -> Tensor:
            return value(loss, z, labels) + bool(z.sum() > 0)

        with pytest.raises(RuntimeError):
            torch.func.vmap(failing)(torch.stack([logits, logits]))
        for one in (loss, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
            again, same = with_gradient(one, logits, labels)
            torch.testing.assert_close(again, expected, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(same, slope, rtol=1e-5, atol=1e-7)

    def test_moving_averages_keep_their_value(self, inputs: Any) -> None:
        logits, labels = inputs
        loss = build("soft_confusion", momentum=0.5)
        with_gradient(loss, logits, labels)
        before = loss.memory.sums.clone()  # type: ignore[union-attr]
        torch.func.grad(lambda z: value(loss, z, labels))(logits.flip(1))
        assert torch.equal(loss.memory.sums, before)  # type: ignore[union-attr]
        pickle.dumps(loss)

    @pytest.mark.parametrize("options", [{"pooling": "average", "stride": 2}, {"probability": "softmax"}], ids=str)
    def test_options_of_the_region_term(self, inputs: Any, options: Any) -> None:
        logits, labels = inputs
        loss = RMILoss(**options)
        expected = with_gradient(loss, logits, labels)
        slope, found = torch.func.grad_and_value(lambda z: loss(z, labels))(logits)
        torch.testing.assert_close((found, slope), expected, rtol=1e-4, atol=1e-6)
        batch = torch.func.vmap(lambda z: loss(z, labels))(torch.stack([logits, logits]))
        torch.testing.assert_close(batch, expected[0].expand(2), rtol=1e-4, atol=1e-6)

    def test_unknown_ids_give_nan_where_they_cannot_be_read(self) -> None:
        labels = torch.tensor([[[0, 1]], [[0, 9]]])
        found = torch.func.vmap(lambda z, y: CrossEntropy()(z[None], y[None]))(torch.zeros(2, 4, 1, 2), labels)
        assert found.isnan().tolist() == [False, True]


class TestState:
    def test_copies_and_state(self, name: str, inputs: Any) -> None:
        logits, labels = inputs
        loss = build(name)
        expected = value(loss, logits, labels)
        for one in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
            torch.testing.assert_close(value(one, logits, labels), expected, rtol=1e-6, atol=1e-7)
        other = build(name)
        other.load_state_dict(loss.state_dict(), strict=True)
        torch.testing.assert_close(value(other, logits, labels), expected, rtol=1e-6, atol=1e-7)


def test_compiles_as_one_graph(name: str, inputs: Any) -> None:
    logits, labels = inputs
    loss = build(name)
    expected, slope = with_gradient(loss, logits, labels)
    torch._dynamo.reset()
    # the gradient is traced too for one loss of PyTorch operations and those with operators of their own
    backend = "aot_eager" if name in ("cross_entropy", "rmi_loss", "region_cka") else "eager"
    compiled = torch.compile(lambda z, y: value(loss, z, y), fullgraph=True, backend=backend)
    leaf = logits.clone().requires_grad_()
    found = compiled(leaf, labels)
    torch.testing.assert_close(found.detach(), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.autograd.grad(found, leaf)[0], slope, rtol=1e-4, atol=1e-6)


class Tagged(Tensor):
    """A tensor with metadata that all operations keep, as those of fastai and MONAI."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(function, types, args, kwargs or {})
        if isinstance(result, Tagged):
            result.tag = next((one.tag for one in args if isinstance(one, Tagged) and hasattr(one, "tag")), None)
        return result


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_tensor_subclasses_give_the_same_value_and_gradient(name: str, inputs: Any) -> None:
    logits, labels = inputs
    loss = build(name)
    expected, slope = with_gradient(loss, logits, labels)
    leaf = logits.clone().as_subclass(Tagged).requires_grad_()
    found = loss(leaf, labels.as_subclass(Tagged))
    found.backward()
    assert type(found) is Tensor
    assert torch.equal(found.detach(), expected)
    assert leaf.grad is not None
    assert torch.equal(leaf.grad.as_subclass(Tensor), slope)


class TestMMSegmentation:
    def test_call_of_a_decode_head(self, inputs: Any) -> None:
        logits, labels = inputs
        loss = MMSegmentationLoss("rmi_loss", loss_weight=0.4, loss_name="loss_rmi", radius=3)
        assert loss.loss_name == "loss_rmi"
        found = loss(logits, labels, weight=None, ignore_index=255)
        torch.testing.assert_close(found, 0.4 * RMILoss()(logits, labels))
        renamed = labels.masked_fill(labels == 255, 77)
        torch.testing.assert_close(loss(logits, renamed, ignore_index=77), found)

    def test_weights_of_a_sampler_and_average_factor(self, inputs: Any) -> None:
        logits, labels = inputs
        loss = MMSegmentationLoss(CrossEntropy())
        weight = (torch.rand(labels.shape) > 0.5).float()
        chosen = labels.masked_fill(weight == 0, 255)
        torch.testing.assert_close(loss(logits, labels, weight=weight), CrossEntropy()(logits, chosen))
        total = torch.nn.functional.cross_entropy(logits, labels, ignore_index=255, reduction="sum")
        torch.testing.assert_close(loss(logits, labels, avg_factor=100), total / 100)

    def test_wrong_arguments(self, inputs: Any) -> None:
        logits, labels = inputs
        loss = MMSegmentationLoss("cross_entropy")
        with pytest.raises(ValueError, match="weight: expected 0 and 1 only"):
            loss(logits, labels, weight=torch.full(labels.shape, 0.5))
        with pytest.raises(ValueError, match="reduction_override: expected None or 'mean', got 'none'"):
            loss(logits, labels, reduction_override="none")
        with pytest.raises(ValueError, match="expected the name of a loss of one network, got 'mutual_learning'"):
            MMSegmentationLoss("mutual_learning")


@pytest.mark.parametrize(
    ("logits", "labels", "error", "fix"),
    [
        ((2, 3, 8, 9), torch.zeros(2, 1, 8, 9, dtype=torch.long), ValueError, "pass labels[:, 0]"),
        ((2, 3, 8, 9), torch.ones(2, 3, 8, 9, dtype=torch.long), ValueError, "pass labels.argmax(1)"),
        ((2, 3, 8, 9), torch.ones(2, 8, 9, 3, dtype=torch.long), ValueError, "pass labels.argmax(-1)"),
        ((2, 8, 9, 3), torch.ones(2, 8, 9, dtype=torch.long), ValueError, "pass logits.permute(0, 3, 1, 2)"),
        (
            (2, 3, 8, 9),
            torch.ones(2, 4, 5, dtype=torch.long),
            ValueError,
            "pass torch.nn.functional.interpolate(logits, labels.shape[-2:], mode='bilinear')",
        ),
        ((1, 3, 8, 9), torch.ones(8, 9, dtype=torch.long), ValueError, "pass labels[None]"),
        ((3, 8, 9), torch.ones(8, 9, dtype=torch.long), ValueError, "pass logits[None] and labels[None]"),
        ((2, 3, 8, 9), {"image": 0, "labels": 1}, TypeError, "pass labels['labels']"),
        ((2, 3, 8, 9), Image.new("L", (9, 8)), TypeError, "pass torch.as_tensor(numpy.array(labels), device"),
        ((2, 3, 8, 9), torch.full((2, 8, 9), -100), ValueError, "pass ignore_index=-100"),
    ],
)
def test_the_fix_is_the_expression_to_pass(logits, labels, error, fix):
    loss = CrossEntropy()
    given = torch.randn(logits)
    with pytest.raises(error, match=re.escape(f"Fix: {fix}")) as caught:
        loss(given, labels)
    expression = str(caught.value).partition("Fix: pass ")[2]
    names = {"logits": given, "labels": labels, "torch": torch, "numpy": np}
    if expression.startswith(("labels[:", "labels.argmax", "labels[None]")):
        assert loss(given, eval(expression.partition(" ")[0] if "argmax" in expression else expression, names)) > 0
    if expression.startswith("ignore_index"):
        assert CrossEntropy(ignore_index=-100)(given, labels) == 0
