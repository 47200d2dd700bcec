"""Draw the gradients of four losses on the same mistakes: `make docs`."""

from __future__ import annotations

import numpy as np
import torch
from figure_style import Scene, Theme, blurred_logits, new_figure, object_scene, show_map, write
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch
from scipy.ndimage import binary_dilation, binary_erosion
from torch import Tensor

from segmi.losses import balanced_cross_entropy, cross_entropy, dice, region_mutual_information

CAT, UMBRELLA = 1, 3
HOLE, FALSE, RADIUS = (40, 56), (22, 56), 5  # (row, column) of the wrong discs, and their radius, in pixels
LOSSES = {
    "cross-entropy": (cross_entropy, {}),
    "balanced cross-entropy": (balanced_cross_entropy, {}),
    "Dice": (dice, {}),
    "region mutual information": (region_mutual_information, {"variant": "corrected"}),
}


def mistakes() -> tuple[Scene, Tensor, dict[str, np.ndarray]]:
    """Return a scene, logits with a missing and a false part, and masks of the parts of the image."""
    scene = object_scene(16, 72)
    rows, columns = np.mgrid[:72, :72]
    hole, false = ((rows - r) ** 2 + (columns - c) ** 2 <= RADIUS**2 for r, c in (HOLE, FALSE))
    labels = scene.labels[0].numpy()
    hole &= labels == UMBRELLA
    false &= labels == 0
    predicted = labels.copy()
    predicted[hole], predicted[false] = 0, CAT
    logits = blurred_logits(scene._replace(labels=torch.from_numpy(predicted)[None]), blur=0.8, noise=0.5, scale=3.0)
    inner = np.zeros_like(hole)
    for label in range(len(scene.classes)):
        inner |= binary_erosion(labels == label, iterations=2, border_value=1)
    wrong = binary_dilation(hole | false)
    hole, false = binary_dilation(hole), binary_dilation(false)
    parts = {
        "missing part": hole,
        "false object": false & ~hole,
        "true borders": ~inner & ~wrong,
        "elsewhere": inner & ~wrong,
    }
    return scene, logits, parts


def gradients() -> dict[str, np.ndarray]:
    """Return the size of the gradient of each loss with respect to the logits of a pixel, summed over classes."""
    scene, logits, _ = mistakes()
    sizes = {}
    for name, (loss, options) in LOSSES.items():
        leaf = logits.clone().requires_grad_()
        loss(leaf, scene.labels, **options).backward()
        sizes[name] = leaf.grad[0].abs().sum(0).numpy()
    return sizes


def shares() -> dict[str, dict[str, float]]:
    """Return the share of each part of the image in the gradient of each loss, and in the pixels."""
    parts = mistakes()[2]
    sizes = {"pixels": np.ones((72, 72))} | gradients()
    return {name: {part: float(size[mask].sum() / size.sum()) for part, mask in parts.items()}
            for name, size in sizes.items()}  # fmt: skip


def draw(theme: Theme) -> Figure:
    """Draw label, prediction, the gradients and the shares of the parts of the image in them."""
    scene, logits, parts = mistakes()
    figure = new_figure(10.4, 4.4)
    upper, lower = figure.subfigures(2, 1, height_ratios=[2.5, 2])
    axes = upper.subplots(1, 6)
    show_map(axes[0], scene.colors[scene.labels[0].numpy()], "label")
    axes[0].set_xlabel("72 × 72 pixels", fontsize=8)
    show_map(axes[1], scene.colors[logits[0].argmax(0).numpy()], "prediction")
    for (row, column), text, side in ((HOLE, "missing", 1), (FALSE, "false", -1)):
        axes[1].add_patch(Circle((column, row), RADIUS + 2.5, fill=False, color="white", linewidth=1.2))
        axes[1].text(column, row + side * (RADIUS + 8), text, color="white", ha="center", va="center", fontsize=8)
    for axis, (name, size) in zip(axes[2:], gradients().items(), strict=True):
        show_map(axis, size / size.max(), name.replace(" ", "\n", 1), cmap=theme.sequential, vmin=0, vmax=1)
        axis.set_xlabel(f"at most {1000 * size.max():.1f} · 10⁻³", fontsize=8)
    axis = lower.subplots()
    colors = dict(zip(parts, (theme.blue, theme.orange, theme.green, theme.faint), strict=True))
    names = list(shares())
    for row, values in enumerate(shares().values()):
        left = 0.0
        for part, value in values.items():
            axis.barh(row, 100 * value, left=left, color=colors[part], height=0.66)
            if value > 0.04:
                axis.text(left + 50 * value, row, f"{100 * value:.0f}", ha="center", va="center", color=theme.page)
            left += 100 * value
    axis.set(yticks=range(len(names)), yticklabels=names, xlim=(0, 100), xlabel="share of the gradient (%)")
    axis.invert_yaxis()
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(left=False)
    handles = [Patch(color=color, label=part) for part, color in colors.items()]
    axis.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return figure


if __name__ == "__main__":
    write(draw, "same-mistakes")
