"""Diagnostics of predictions against scikit-learn, loops over pixels and the formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, mutual_info_score

from segmi.information import (
    conditional_prediction_mutual_information,
    jensen_shannon_divergence,
    prediction_sums,
    soft_confusion_mutual_information,
)
from segmi.metrics import PredictionDiagnostics
from segmi.metrics.diagnostics import sums_by_maps, sums_of

IGNORE_INDEX = 255
NAMES = (
    "mutual_information", "mutual_information_share", "barber_agakov_bound", "soft_confusion_mutual_information",
    "conditional_mutual_information",
)  # fmt: skip


def batch(seed: int, n: int = 3, classes: int = 4) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n, 7, 5), generator=draw)
    logits = {
        name: torch.randn(n, classes, 7, 5, generator=draw)
        + 2 * torch.nn.functional.one_hot(labels, classes).movedim(-1, 1)
        for name in ("a", "b")
    }
    labels[:, :2, :2] = IGNORE_INDEX
    return logits, labels.to(torch.uint8)


def collected(*batches: tuple[dict[str, torch.Tensor], torch.Tensor]) -> PredictionDiagnostics:
    diagnostics = PredictionDiagnostics(4)
    for logits, labels in batches:
        diagnostics.update(logits, labels)
    return diagnostics


def same(a: dict[str, float], b: dict[str, float], rel: float = 1e-6) -> None:
    assert list(a) == list(b)
    assert a == pytest.approx(b, rel=rel, abs=1e-7)


def test_values_equal_scikit_learn_and_the_formulas():
    logits, labels = batch(0)
    values = collected((logits, labels)).values()
    valid = labels != IGNORE_INDEX
    truth = labels[valid].long()
    for name in ("a", "b"):
        log_p = logits[name].double().log_softmax(1).movedim(1, -1)[valid]
        told = mutual_info_score(truth, log_p.argmax(-1))
        whole = mutual_info_score(truth, truth)
        assert values[f"mutual_information/{name}"] == pytest.approx(told)
        assert values[f"mutual_information_share/{name}"] == pytest.approx(told / whole)
        bound = whole - log_loss(truth, log_p.exp(), labels=range(4))
        assert values[f"barber_agakov_bound/{name}"] == pytest.approx(bound, abs=1e-6)
        sums = prediction_sums(log_p, truth)
        soft = soft_confusion_mutual_information(sums).item()
        assert values[f"soft_confusion_mutual_information/{name}"] == pytest.approx(soft, abs=1e-6)
        spread = conditional_prediction_mutual_information(sums).item()
        assert values[f"conditional_mutual_information/{name}"] == pytest.approx(spread, abs=1e-6)
    peers = [logits[name].double().softmax(1).movedim(1, -1)[valid] for name in ("a", "b")]
    apart = jensen_shannon_divergence(*peers, check=False).mean().item()
    assert values["jensen_shannon_divergence"] == pytest.approx(apart, abs=1e-6)


def test_batches_merge_and_reduce():
    first, second = batch(1), batch(2, n=2)
    whole = collected(first, second).values()
    joint = (
        {name: torch.cat([first[0][name], second[0][name]]) for name in ("a", "b")},
        torch.cat([first[1], second[1]]),
    )
    same(collected(joint).values(), whole)
    same(collected(first).merge(collected(second)).values(), whole)
    same(PredictionDiagnostics(4).merge(collected(first, second)).values(), whole)
    same(collected(first).reduce(lambda sums: 2 * sums).values(), collected(first, first).values())


@pytest.mark.parametrize(("networks", "pixels"), [(1, 1), (1, 200), (3, 130)])
def test_compiled_sums_equal_pytorch(networks: int, pixels: int):
    draw = torch.Generator().manual_seed(pixels)
    logits = [6 * torch.randn(5, pixels, generator=draw) for _ in range(networks)]
    logits[0][:, 0] = 1e4 * torch.eye(5)[0]  # saturated
    labels = torch.randint(5, (pixels,), generator=draw)
    labels[labels == 4] = IGNORE_INDEX
    plain, divergence = sums_by_maps(logits, labels, IGNORE_INDEX)
    for kind in (torch.int64, torch.uint8):
        fast, fast_divergence = sums_of(logits, labels.to(kind), IGNORE_INDEX)
        torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(fast_divergence, divergence, rtol=1e-5, atol=1e-5)


def test_every_second_row_and_column_is_close():
    logits, labels = batch(4)
    sparse = PredictionDiagnostics(4, every=2)
    sparse.update(logits, labels)
    few = {name: z[:, :, ::2, ::2] for name, z in logits.items()}
    same(sparse.values(), collected((few, labels[:, ::2, ::2])).values())


def test_ignored_pixels_and_empty_results():
    logits, labels = batch(3)
    spoiled = {name: torch.where((labels == IGNORE_INDEX)[:, None], math.nan, z) for name, z in logits.items()}
    same(collected((spoiled, labels)).values(), collected((logits, labels)).values())
    assert collected((logits, torch.full_like(labels, IGNORE_INDEX))).values() == {}
    assert PredictionDiagnostics(4).values() == {}
    empty = {name: z[:0] for name, z in logits.items()}, labels[:0]
    assert collected(empty).values() == {}


def test_constant_and_perfect_predictions_of_one_network():
    labels = torch.tensor([[[0, 1, 1, 3]]])
    diagnostics = PredictionDiagnostics(4)
    diagnostics.update({"a": torch.zeros(1, 4, 1, 4)}, labels)
    assert diagnostics.values() == pytest.approx(
        {
            "mutual_information/a": 0, "mutual_information_share/a": 0, "barber_agakov_bound/a": 1.5 * math.log(2) -
            math.log(4), "soft_confusion_mutual_information/a": 0, "conditional_mutual_information/a": 0,
        },
        abs=1e-6,
    )  # fmt: skip
    diagnostics.reset()
    perfect = 200.0 * torch.nn.functional.one_hot(labels, 4).movedim(-1, 1)
    diagnostics.update({"a": perfect.bfloat16()}, labels)
    entropy = 1.5 * math.log(2)
    assert [diagnostics.values()[f"{name}/a"] for name in NAMES] == pytest.approx([entropy, 1, entropy, entropy, 0])
    one = PredictionDiagnostics(4)
    one.update({"a": perfect}, torch.zeros_like(labels))
    assert [one.values()[f"{name}/a"] for name in NAMES[:2]] == [0, 0]  # one class: no information, and a share of 0


def test_single_channel_equals_two():
    draw = torch.Generator().manual_seed(0)
    z, labels = torch.randn(2, 1, 4, 4, generator=draw), torch.randint(2, (2, 4, 4), generator=draw)
    single, double = PredictionDiagnostics(2), PredictionDiagnostics(2)
    single.update({"a": z}, labels)
    double.update({"a": torch.cat([torch.zeros_like(z), z], 1)}, labels)
    same(single.values(), double.values(), rel=1e-5)


def test_upper_bounds_of_the_values():
    values = collected(batch(5), batch(6)).values()
    truth = np.concatenate([batch(seed)[1].numpy().ravel() for seed in (5, 6)])
    entropy = mutual_info_score(truth[truth != IGNORE_INDEX], truth[truth != IGNORE_INDEX])
    for name in NAMES[:1] + NAMES[2:4]:
        assert values[f"{name}/a"] <= entropy
    assert 0 < values["jensen_shannon_divergence"] < math.log(2)


def test_invalid_arguments_raise():
    logits, labels = batch(0)
    diagnostics = collected((logits, labels))
    with pytest.raises(ValueError, match=r"logits: expected the networks \['a', 'b'\], as before, got \['a'\]"):
        diagnostics.update({"a": logits["a"]}, labels)
    with pytest.raises(ValueError, match=r"logits of 'a': expected shape N×C×H×W with C = 4 .* got \(3, 4, 6, 5\)"):
        diagnostics.update({name: z[:, :, 1:] for name, z in logits.items()}, labels)
    with pytest.raises(ValueError, match="classes: expected at least 1, got 0"):
        PredictionDiagnostics(0)
    with pytest.raises(ValueError, match="every: expected at least 1, got 0"):
        PredictionDiagnostics(2, every=0)
    with pytest.raises(ValueError, match="expected diagnostics of the same classes, ignore value and networks"):
        diagnostics.merge(PredictionDiagnostics(3))
