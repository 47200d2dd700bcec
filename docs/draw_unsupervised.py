"""Draw predictions and the unsupervised losses that they have: `make docs`."""

from __future__ import annotations

import torch
from figure_style import Scene, Theme, blurred_logits, new_figure, object_scene, show_map, write
from matplotlib.figure import Figure
from torch import Tensor

from segmi.losses import (
    entropy_minimization,
    information_maximization,
    local_invariant_information,
    marginal_prior,
)


def predictions() -> tuple[Scene, dict[str, Tensor]]:
    """Return a scene and logits: right, right but uncertain, unrelated to the image, and one class everywhere."""
    scene = object_scene(16, 72)
    classes = len(scene.classes)
    stripes = (torch.arange(72) // (72 // classes)).expand(1, 72, 72)

    def certain(labels: Tensor) -> Tensor:
        return 30.0 * torch.nn.functional.one_hot(labels, classes).movedim(-1, 1)

    return scene, {
        "right": certain(scene.labels),
        "right, uncertain": blurred_logits(scene, blur=1.0, noise=0.7, scale=1.2),
        "stripes": certain(stripes),
        "one class": certain(torch.zeros_like(scene.labels)),
    }


def values() -> dict[str, dict[str, float]]:
    """Return entropy, information, divergence and shared information of the predictions, in nats."""
    scene, maps = predictions()
    shares = scene.labels.flatten().bincount() / scene.labels.numel()
    unlabeled = torch.zeros_like(scene.labels)
    return {
        name: {
            "mean entropy": entropy_minimization(logits, unlabeled).item(),
            "information $I(X; \\hat{Y})$": -information_maximization(logits, unlabeled).item(),
            "information of neighbors": -local_invariant_information(logits, logits, unlabeled, displacement=1).item(),
            "divergence from class frequencies": marginal_prior(logits, unlabeled, shares).item(),
        }
        for name, logits in maps.items()
    }


def draw(theme: Theme) -> Figure:
    """Draw the predictions, and below each the quantities that the losses minimize or maximize."""
    scene, maps = predictions()
    figure = new_figure(10.4, 4.0)
    axes = figure.subplots(2, 5, height_ratios=[1, 1.1], sharey="row")
    show_map(axes[0, 0], scene.image, "image")
    axes[0, 0].set_xlabel("72 × 72 pixels", fontsize=8)
    axes[1, 0].set_axis_off()
    colors = (theme.faint, theme.blue, theme.green, theme.orange)
    for column, (name, measured) in enumerate(values().items(), 1):
        show_map(axes[0, column], scene.colors[maps[name][0].argmax(0).numpy()], name)
        axis = axes[1, column]
        heights = [abs(value) for value in measured.values()]  # -0.0
        axis.bar(range(4), heights, color=colors, width=0.72)
        for k, value in enumerate(heights):
            axis.text(k, value + 0.03, f"{value:.2f}", ha="center", va="bottom", fontsize=8)
        axis.set(xticks=[], ylim=(0, 1.65))
        axis.spines[["top", "right"]].set_visible(False)
    axes[1, 1].set_ylabel("nats")
    axes[1, 1].tick_params(labelleft=True)
    signs = ("minimized", "maximized", "maximized", "minimized")
    handles = [(name, color, sign) for name, color, sign in zip(measured, colors, signs, strict=True)]
    for k, (name, color, sign) in enumerate(handles):
        text = name.replace(" from", "\n    from").replace(" of neigh", "\n    of neigh")
        axes[1, 0].text(0, 0.98 - 0.27 * k, f"■ {text}\n    {sign}", color=color, va="top", fontsize=8.5,
            transform=axes[1, 0].transAxes)  # fmt: skip
    return figure


if __name__ == "__main__":
    write(draw, "unsupervised")
