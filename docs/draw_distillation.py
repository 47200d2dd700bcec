"""Draw the pull between two networks that learn from each other: `make docs`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from figure_style import Theme, new_figure, write
from matplotlib.figure import Figure
from torch import Tensor

from segmi.losses import cross_entropy, jensen_shannon, mutual_learning

STEPS = 21  # grid points per axis

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
TERMS: dict[str, Loss] = {
    "cross-entropy": lambda own, _, labels: cross_entropy(own, labels),
    "mutual learning": lambda own, peer, labels: mutual_learning(own, [peer], labels),
    "cross-entropy + mutual learning": lambda own, peer, labels: (
        cross_entropy(own, labels) + mutual_learning(own, [peer], labels)
    ),
}


def grid() -> tuple[Tensor, Tensor, Tensor]:
    """Return probabilities of the true class as 1×H×W, by column for network 1 and by row for network 2."""
    p = torch.linspace(0.02, 0.98, STEPS, dtype=torch.float64)
    return p, p.expand(1, STEPS, STEPS), p[:, None].expand(1, STEPS, STEPS)


def logits_of(p: Tensor) -> Tensor:
    """Return logits of two classes, 1×2×H×W; the true class is 1."""
    half = torch.logit(p) / 2
    return torch.stack([-half, half], 1)


def step(loss: Loss, own: Tensor, peer: Tensor) -> np.ndarray:
    """Return the velocity of network's probability of the true class under gradient descent on its logits, H×W."""
    leaf = logits_of(own).requires_grad_()
    labels = torch.ones(own.shape, dtype=torch.long)
    loss(leaf, logits_of(peer), labels).backward()
    descent = -leaf.grad * own.numel()  # the losses are means over pixels
    # dp/dt = p (1 - p) (dz_1/dt - dz_0/dt)
    return (own * (1 - own) * (descent[:, 1] - descent[:, 0]))[0].numpy()


def disagreement() -> np.ndarray:
    """Return the Jensen–Shannon divergence of the two networks in nats, H×W."""
    p, first, second = grid()
    one = torch.ones(1, 1, 1, dtype=torch.long)
    values = [jensen_shannon([logits_of(a.view(1, 1, 1)), logits_of(b.view(1, 1, 1))], one).item()
        for b in second[0, :, 0] for a in first[0, 0]]  # fmt: skip
    return np.reshape(values, (len(p), len(p)))


def draw(theme: Theme) -> Figure:
    """Draw the paths of two networks' predictions at a pixel for each loss, over their disagreement."""
    p, first, second = grid()
    figure = new_figure(10.4, 3.7)
    axes = figure.subplots(1, 3, sharey=True)
    divergence = disagreement()
    for axis, (name, loss) in zip(axes, TERMS.items(), strict=True):
        across, up = step(loss, first, second), step(loss, second, first)
        drawn = axis.contourf(p, p, divergence, levels=np.arange(0, 0.71, 0.1), cmap=theme.sequential)
        axis.streamplot(p.numpy(), p.numpy(), across, up, color=theme.ink, linewidth=0.9, density=0.5, arrowsize=0.9)
        axis.plot([0, 1], [0, 1], color=theme.orange, linewidth=1, linestyle=(0, (4, 3)))
        axis.set(xlim=(0, 1), ylim=(0, 1), box_aspect=1, xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("probability of the true class, network 1")
    axes[0].set_ylabel("probability of the true class, network 2")
    figure.colorbar(drawn, ax=axes, shrink=0.8, label="disagreement, $I(K; \\hat{Y})$ (nats)")
    return figure


if __name__ == "__main__":
    write(draw, "mutual-learning")
