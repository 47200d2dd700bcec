"""Draw embeddings before and after contrast, and the rate of the information bottleneck: `make docs`."""

from __future__ import annotations

import math

import numpy as np
import torch
from figure_style import Scene, Theme, new_figure, object_scene, show_map, write
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import normalize

from segmi.losses import bottleneck_rate, supervised_contrastive

PER_CLASS, STEPS, TEMPERATURE = 25, 150, 0.2
SIGNALS = (0.0, 1.0, 2.0)
NOISE = np.geomspace(0.05, 2, 60)


def anchors() -> tuple[Scene, Tensor, Tensor]:
    """Return a scene, flat indices of as many pixels of every class, and their classes."""
    scene = object_scene(16, 72)
    draw = torch.Generator().manual_seed(0)
    labels = scene.labels.flatten()
    chosen = []
    for label in range(len(scene.classes)):
        places = (labels == label).nonzero()[:, 0]
        chosen.append(places[torch.randperm(len(places), generator=draw)[:PER_CLASS]])
    index = torch.cat(chosen)
    return scene, index, labels[index]


def loss_of(vectors: Tensor, classes: Tensor) -> Tensor:
    """Return the mean contrastive loss of the anchors in nats."""
    losses, has_positive = supervised_contrastive(
        normalize(vectors), classes, torch.zeros_like(classes), temperature=TEMPERATURE, base_temperature=TEMPERATURE
    )
    return losses[has_positive].mean()


def embeddings() -> tuple[Tensor, Tensor]:
    """Return embeddings of the anchors in two dimensions, at the start from the pixels' colors, and after descent."""
    scene, index, classes = anchors()
    colors = torch.tensor(scene.image).reshape(-1, 3)[index].double() / 255
    centered = colors - colors.mean(0)
    start = normalize(centered @ torch.linalg.svd(centered)[2][:2].T)  # the first two principal components
    vectors = start.clone().requires_grad_()
    for _ in range(STEPS):
        (gradient,) = torch.autograd.grad(len(index) * loss_of(vectors, classes), vectors)
        vectors = (normalize(vectors) - 0.02 * gradient).detach().requires_grad_()
    return start, normalize(vectors).detach()


def rates() -> dict[float, np.ndarray]:
    """Return the rate of one channel in nats for `NOISE`, by signal."""
    variance = torch.from_numpy(NOISE**2).view(-1, 1, 1, 1)
    return {one: bottleneck_rate(torch.full_like(variance, one), variance).flatten().numpy() for one in SIGNALS}


def draw(theme: Theme) -> Figure:
    """Draw the anchors in the image and as embeddings, and the rate over the noise."""
    scene, index, classes = anchors()
    colors = np.array([theme.faint, theme.blue, theme.green, theme.orange])[classes]
    figure = new_figure(10.4, 3.1)
    axes = figure.subplots(1, 4, width_ratios=[1, 1, 1, 1.25])
    show_map(axes[0], scene.image, f"{PER_CLASS} pixels of each class")
    axes[0].scatter(index % 72, index // 72, color=colors, s=12, edgecolor="white", linewidth=0.5)
    for axis, vectors, title in zip(axes[1:], embeddings(), ("from colors", f"after {STEPS} steps"), strict=False):
        _draw_circle(axis, vectors, colors, theme)
        axis.set_title(f"{title}: loss {loss_of(vectors, classes):.2f} nats", fontsize=9)
    most = math.log(1 + (len(scene.classes) - 1) * PER_CLASS)
    axes[0].set_xlabel("72 × 72 pixels")
    axes[1].text(0, 0, f"no information:\n{most:.2f} nats", ha="center", va="center", fontsize=8.5)
    axes[1].set_ylabel("second dimension", labelpad=-4)
    for axis in axes[1:3]:
        axis.set_xlabel("first dimension of the embedding")
    axis = axes[3]
    for (signal, rate), color in zip(rates().items(), (theme.faint, theme.blue, theme.orange), strict=True):
        axis.plot(NOISE, rate, color=color, linewidth=1.8, label=f"|h| = {signal:.0f}")
    axis.set(xscale="log", xticks=[0.1, 1], ylim=(0, 5.2), xlabel="standard deviation of the noise σ")
    axis.set_xticklabels(["0.1", "1"])
    axis.set_ylabel("rate (nats per channel)")
    axis.set_title("information bottleneck", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend()
    return figure


def _draw_circle(axis: Axes, vectors: Tensor, colors: np.ndarray, theme: Theme) -> None:
    turn = np.linspace(0, 2 * np.pi, 200)
    axis.plot(np.cos(turn), np.sin(turn), color=theme.faint, linewidth=0.7)
    axis.scatter(*vectors.T.numpy(), color=colors, s=22, alpha=0.8, linewidth=0)
    axis.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), box_aspect=1, xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    axis.tick_params(labelsize=7.5)


if __name__ == "__main__":
    write(draw, "representation")
