"""Losses against direct reimplementations of the formulas in the code that their authors released."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmi.losses import (
    AffinityFields,
    ContrastiveDistillation,
    DeterminantInformation,
    NormalizedConditionalInformation,
    PixelContrast,
    VariationalInformationDistillation,
    affinity_fields,
    cross_entropy,
    determinant_information,
    dist,
    info_nce_per_pair,
    mutual_learning,
    normalized_conditional_information,
    probability_corrected,
    supervised_contrastive,
)
from segmi.types import Batch, Output

Scene = Any
Gradient = Callable[..., tuple[Tensor, Tensor]]
LAYERS = {"a": "body", "t": "body"}


def valid_rows(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities and classes of the valid pixels: K×C and K."""
    keep = labels != 255
    return logits.softmax(1).movedim(1, -1)[keep], labels[keep]


class TestDIST:
    @staticmethod
    def published(z: Tensor, teacher: Tensor) -> Tensor:
        """Of one image without ignored pixels: a similarity of rows, then of columns."""

        def similarity(a: Tensor, b: Tensor) -> Tensor:
            a, b = (one - one.mean(1, keepdim=True) for one in (a, b))
            return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-8)

        q, t = (one.softmax(1)[0].flatten(1).T for one in (z, teacher))  # pixels × classes
        return 2 - similarity(q, t).mean() - similarity(q.T, t.T).mean()

    @staticmethod
    def few_present(scene: Scene, seed: int) -> Tensor:
        """Logits of 21 classes, 17 of which have a probability of about 1e-4 everywhere."""
        labels = scene.labels(1, 4, 32, 32)
        logits = scene.logits(labels, 21, contrast=3.0, seed=seed)
        logits[:, 4:] -= 4.0
        return logits

    def test_equals_the_released_formula_with_absent_classes(self, scene: Scene, gradient: Gradient) -> None:
        z, teacher = self.few_present(scene, 1), self.few_present(scene, 2)
        value, slope = gradient(lambda own: dist(own, teacher, torch.zeros(1, 32, 32).long()), z)
        expected, exact = gradient(lambda own: self.published(own, teacher), z)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(slope, exact)

    def test_identical_teacher_is_nearly_zero(self, scene: Scene) -> None:
        z = self.few_present(scene, 1).float()
        assert dist(z, z, torch.zeros(1, 32, 32).long()) < 1e-2

    def test_scale_of_rare_probabilities_does_not_matter(self, scene: Scene) -> None:
        """Intra: the map of a rare class times 0.1 is perfectly correlated with the original."""
        teacher = self.few_present(scene, 1)
        q = teacher.softmax(1)
        rest = q[:, :4] * (1 - 0.1 * q[:, 4:].sum(1, keepdim=True)) / q[:, :4].sum(1, keepdim=True)
        z = torch.cat([rest, 0.1 * q[:, 4:]], 1).log()
        assert dist(z, teacher, torch.zeros(1, 32, 32).long(), inter=0.0) < 2e-2


class TestDeterminant:
    def test_offset_is_added_inside_the_logarithm(self, scene: Scene, gradient: Gradient) -> None:
        labels = scene.labels(2, 5, 14, 12, ignored=True)
        logits = scene.logits(labels, 5, contrast=0.3)

        def released(z: Tensor) -> Tensor:
            p, y = valid_rows(z, labels)
            return -torch.log((F.one_hot(y, 5).double().T @ p / len(y)).det().abs() + 1e-3)

        expected, exact = gradient(released, logits)
        value, slope = gradient(lambda z: determinant_information(z, labels, offset=1e-3), logits)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(slope, exact)
        torch.testing.assert_close(DeterminantInformation(offset=1e-3)(logits, labels), expected)
        _, plain = gradient(lambda z: determinant_information(z, labels), logits)
        assert plain.norm() > 100 * slope.norm()

    def test_counts_of_the_released_code_are_a_smaller_offset(self, scene: Scene, gradient: Gradient) -> None:
        labels = scene.labels(1, 3, 6, 6)
        logits = scene.logits(labels, 3, contrast=0.1)

        def of_counts(z: Tensor) -> Tensor:
            p, y = valid_rows(z, labels)
            return -torch.log((F.one_hot(y, 3).double().T @ p).det().abs() + 1e-3)

        expected, exact = gradient(of_counts, logits)
        value, slope = gradient(lambda z: determinant_information(z, labels, offset=1e-3 * 36**-3), logits)
        torch.testing.assert_close(value, expected + 3 * math.log(36))
        torch.testing.assert_close(slope, exact)

    def test_no_valid_pixel_is_zero(self) -> None:
        labels = torch.full((1, 4, 4), 255)
        assert determinant_information(torch.zeros(1, 3, 4, 4), labels, offset=1e-3) == 0
        with pytest.raises(ValueError, match="offset: expected a number above 0, got 0"):
            determinant_information(torch.zeros(1, 3, 4, 4), labels, offset=0)


class TestNormalizedInformation:
    @staticmethod
    def released(z: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
        """Mean over samples of the divergence to the own center over the mean of those from the others."""
        p, y = valid_rows(z, labels)
        log_p, log_q = p.log(), centers.log()
        to = (p[:, None] * (log_p[:, None] - log_q[None])).sum(2)
        back = (centers[:, None] * (log_q[:, None] - log_p[None])).sum(2)
        back = back.masked_fill(torch.arange(len(centers))[:, None] == y, 0.0)
        return ((to[torch.arange(len(y)), y] + 1e-10) / back.mean(0)).mean()

    def test_mean_of_ratios_with_stored_centers(self, scene: Scene, gradient: Gradient) -> None:
        loss = NormalizedConditionalInformation(ratio="pixels", momentum=0.7)
        sums = torch.zeros(4, 4, dtype=torch.float64)
        for number in range(3):
            labels = scene.labels(2, 4, 10, 12, ignored=True, seed=number)
            logits = scene.logits(labels, 4, contrast=0.7, seed=number)
            p, y = valid_rows(logits, labels)
            sums = 0.7 * sums + 0.3 * torch.stack([p[y == a].sum(0) for a in range(4)])
            centers = sums / sums.sum(1, keepdim=True)
            expected, exact = gradient(lambda z, y=labels, q=centers: self.released(z, y, q), logits)
            value, slope = gradient(lambda z, y=labels: loss(z, y), logits)
            torch.testing.assert_close(value, expected)
            torch.testing.assert_close(slope, exact)
        assert (normalized_conditional_information(logits, labels) - expected).abs() > 0.01

    @pytest.mark.parametrize("contrast", [0.0, 30.0, 1e4, -1e4])
    def test_extremes_stay_finite(self, scene: Scene, gradient: Gradient, contrast: float) -> None:
        labels = scene.labels(2, 4, 12, 12, ignored=True)
        logits = scene.logits(labels, 4, contrast=contrast, noise=0.0).float()
        value, slope = gradient(lambda z: normalized_conditional_information(z, labels, ratio="pixels"), logits)
        assert value.isfinite()
        assert slope.isfinite().all()
        assert slope[(labels == 255).unsqueeze(1).expand_as(slope)].abs().max() == 0

    def test_one_class_is_zero(self) -> None:
        z, labels = torch.randn(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)
        assert normalized_conditional_information(z, labels, ratio="pixels") == 0
        with pytest.raises(ValueError, match="ratio: expected 'means' or 'pixels', got 'sum'"):
            NormalizedConditionalInformation(ratio="sum")  # type: ignore[arg-type]


class TestAffinity:
    @staticmethod
    def released(p: Tensor, labels: Tensor, sizes: tuple[int, ...], margin: float, *, free: bool) -> float:
        """Pixel by pixel: all pairs of the batch, weighted by the true class of the center."""
        n, classes, height, width = p.shape
        parts = []
        for unlike in (False, True):
            best = torch.full((classes,), -1.0, dtype=torch.float64)
            for size in sizes:
                reach, total, count = (size - 1) // 2, torch.zeros(classes, dtype=torch.float64), 0

                def value(image: int, i: int, j: int) -> int:
                    inside = 0 <= i < height and 0 <= j < width
                    return int(labels[image, i, j]) if inside else 255

                for image, i, j, a, b in product(range(n), range(height), range(width), (-1, 0, 1), (-1, 0, 1)):
                    y = value(image, i, j)
                    other = value(image, i + a * reach, j + b * reach)
                    beyond = value(image, i - a * reach, j - b * reach)
                    if (a, b) == (0, 0) or 255 in (y, other) or (beyond == 255 and not free):
                        continue
                    for c in range(classes):
                        if ((y == c) != (other == c)) is not unlike:
                            continue
                        u, v = p[image, c, i, j], p[image, c, i + a * reach, j + b * reach]
                        u, v = (torch.stack([one, 1 - one]).clamp(1e-4, 1.0) for one in (u, v))
                        divergence = float((v * (v / u).log()).sum())
                        total[y] += max(0.0, margin - divergence) if unlike else divergence
                        count += 1
                best = torch.maximum(best, total / max(count, 1))
            parts.append(float(best.clamp(min=0).sum()))
        return sum(parts)

    @pytest.mark.parametrize("sizes", [(3,), (3, 5)])
    @pytest.mark.parametrize("opposite", ["required", "free"])
    def test_all_pairs_of_the_batch(self, scene: Scene, sizes: tuple[int, ...], opposite: Any) -> None:
        labels = scene.labels(2, 3, 7, 6, ignored=True)
        logits = scene.logits(labels, 3, contrast=1.0)
        expected = self.released(logits.softmax(1), labels, sizes, 1.5, free=opposite == "free")
        options: Any = {"sizes": sizes, "margin": 1.5, "opposite": opposite}
        assert affinity_fields(logits, labels, **options).item() == pytest.approx(expected, rel=1e-10)
        by_image = affinity_fields(logits, labels, over="image", **options).item()
        assert by_image != pytest.approx(expected, rel=1e-3)
        assert AffinityFields(**options)(logits, labels).item() == pytest.approx(expected, rel=1e-10)
        assert AffinityFields(sizes=sizes).scope == ("image" if len(sizes) == 1 else "batch")

    @pytest.mark.parametrize("option", ["over", "opposite"])
    def test_invalid_choices_raise(self, option: str) -> None:
        with pytest.raises(ValueError, match=f"{option}: expected .* got 'all'"):
            AffinityFields(**{option: "all"})


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def two_networks() -> tuple[dict[str, Output], Batch]:
    labels = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    labels[:, 0] = 255
    return {
        name: Output(features(2, 3, 8, 8, seed=seed), {"body": features(2, 6, 4, 4, seed=seed)})
        for seed, name in enumerate(LAYERS)
    }, Batch(torch.zeros(2, 3, 8, 8), labels)


def test_variational_heads_have_no_bias() -> None:
    loss = VariationalInformationDistillation(layers=LAYERS, frozen=["t"])
    loss.prepare(two_networks()[0], seed=0)
    kinds = [type(layer) for layer in loss.heads["a"]]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU, nn.Conv2d]
    assert all(layer.bias is None for layer in loss.heads["a"] if isinstance(layer, nn.Conv2d))


def test_contrastive_distillation_in_both_directions() -> None:
    outputs, batch = two_networks()
    loss = ContrastiveDistillation(layers=LAYERS, frozen=["t"], both_directions=True, dimensions=8)
    loss.prepare(outputs, seed=0)
    value = loss.double()(outputs, batch)["contrastive_distillation/a"].value
    cells = batch.labels[:, 1::2, 1::2]
    a, b = (
        F.normalize(loss.heads[head](outputs[name].features["body"]).movedim(1, -1)[cells != 255])
        for head, name in (("a", "a"), ("t for a", "t"))
    )
    image = torch.arange(2).view(2, 1, 1).expand(2, 4, 4)[cells != 255]
    one, other = (info_nce_per_pair(*pair, image, image).mean() for pair in ((a, b), (b, a)))
    torch.testing.assert_close(value, one + other)
    assert (one - other).abs() > 1e-3


def test_pixel_contrast_normalizes_the_hidden_layer() -> None:
    outputs, batch = two_networks()
    loss = PixelContrast(layers={"a": "body"}, batch_norm=True, dimensions=8)
    loss.prepare(outputs, seed=0)
    assert loss.scope == "batch"
    first, norm, relu, last = loss.double().heads["a"]
    assert (type(norm), type(relu)) == (nn.BatchNorm2d, nn.ReLU)
    hidden = first(outputs["a"].features["body"])
    spread, mean = torch.var_mean(hidden, (0, 2, 3), correction=0, keepdim=True)
    embedded = last(((hidden - mean) / (spread + norm.eps).sqrt()).relu())
    cells = batch.labels[:, 1::2, 1::2]
    vectors = F.normalize(embedded.movedim(1, -1)[cells != 255])
    losses, counted = supervised_contrastive(vectors, cells[cells != 255], torch.zeros(len(vectors)))
    torch.testing.assert_close(loss(outputs, batch)["pixel_contrast/a"].value, losses.sum() / counted.sum())


@pytest.mark.parametrize(("max_anchors", "each"), [(13, 2), (1, 1), (1024, 100)])
def test_pixel_contrast_limits_the_anchors_of_a_batch(max_anchors: int, each: int) -> None:
    """As released: the limit over the number of classes in all images, six here, for every class and image."""
    outputs, batch = two_networks()
    loss = PixelContrast(layers={"a": "body"}, max_anchors=max_anchors, dimensions=8)
    loss.prepare(outputs, seed=0)
    cells = batch.labels[:, 1::2, 1::2]
    expected = sum(min(each, int((image == c).sum())) for image in cells for c in range(3))
    assert loss._sample("a", outputs["a"], batch)[1].included.sum() == expected
    with pytest.raises(ValueError, match="max_anchors: expected a number above 0, got 0"):
        PixelContrast(layers={}, max_anchors=0)


def test_prior_correction_differs_from_the_published_loss_by_a_constant(scene: Scene, gradient: Gradient) -> None:
    """And has the gradient of logit adjustment: cross-entropy of the logits plus the logarithm of the prior."""
    labels = scene.labels(2, 4, 12, 12, ignored=True)
    logits = scene.logits(labels, 4)
    prior = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)

    def published(z: Tensor) -> Tensor:
        rows, y = z.movedim(1, -1)[labels != 255], labels[labels != 255]
        return -(rows[torch.arange(len(y)), y].exp() / (prior * rows.exp()).sum(1)).log().mean()

    value, slope = gradient(lambda z: probability_corrected(z, labels, prior), logits)
    expected, exact = gradient(published, logits)
    torch.testing.assert_close(value + prior.log()[labels[labels != 255]].mean(), expected)
    torch.testing.assert_close(slope, exact)
    _, adjusted = gradient(lambda z: cross_entropy(z + prior.log().view(1, -1, 1, 1), labels), logits)
    torch.testing.assert_close(slope, adjusted)


def test_mutual_learning_keeps_the_gradient_below_the_released_constant(gradient: Gradient) -> None:
    """At a probability of 1e-12 the constants of 1e-8 in the released code remove the gradient; here it is p - q."""
    z = torch.tensor([math.log(1e-12), 0.0], dtype=torch.float64).view(1, 2, 1, 1)
    peer = torch.zeros(1, 2, 1, 1, dtype=torch.float64)
    labels = torch.zeros(1, 1, 1, dtype=torch.long)

    def released(own: Tensor) -> Tensor:
        q, p = own.softmax(1), peer.softmax(1)
        return (p * (1e-8 + p / (q + 1e-8)).log()).sum()

    _, slope = gradient(lambda own: mutual_learning(own, [peer], labels), z)
    _, theirs = gradient(released, z)
    assert slope[0, 0].item() == pytest.approx(-0.5)
    assert theirs[0, 0].abs().item() < 1e-3
