"""Draw the figures of region mutual information, its windows and its ablations: `make docs`."""

from __future__ import annotations

import numpy as np
import torch
from figure_style import Scene, Theme, blurred_logits, new_figure, object_scene, show_map, write
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from segmi.information import conditional_cholesky
from segmi.information.laws import windows
from segmi.losses import (
    region_information,
    region_mutual_information,
    region_own_pixel,
    region_permuted_pixels,
    region_shuffled_labels,
)

RADIUS, RIDGE = 3, 1e-3  # the defaults of RMIConfig
TOP, LEFT, SIZE = 17, 32, 48  # the window that is drawn, and the side of the image
SHIFTS = tuple(range(6))  # pixels


def boat() -> tuple[Scene, Tensor]:
    """Return a scene of a boat and logits with blurred, displaced borders; channel 1 is the boat."""
    scene = object_scene(17, SIZE)
    return scene, blurred_logits(scene, blur=0.8, noise=1.2, scale=4.0).roll(1, -1)


def covariances(scene: Scene, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the covariances S_yy + εI of the label's windows and M + εI of their residuals, d×d."""
    label, probability = (one.double() for one in (scene.one_hot[:, 1], logits[:, 1].sigmoid()))
    joint = torch.cov(torch.cat([windows(probability, RADIUS), windows(label, RADIUS)], 1).T, correction=0)
    d = RADIUS**2
    joint = joint + RIDGE * joint[d:, d:].diagonal().mean() * torch.eye(2 * d, dtype=joint.dtype)
    factor = conditional_cholesky(joint, d)
    return joint[d:, d:], factor @ factor.mT


def half_log_determinant(matrix: Tensor) -> float:
    """Return the log-volume of a covariance in nats."""
    return 0.5 * torch.logdet(matrix).item()


def draw_windows(theme: Theme) -> Figure:
    """Draw a window of label and probability as vectors, and the covariances that the loss compares."""
    scene, logits = boat()
    label, probability = scene.one_hot[0, 1].numpy(), logits[0, 1].sigmoid().numpy()
    before, after = covariances(scene, logits)
    information = region_information(logits, scene.labels, variant="corrected")[0, 1].item()

    figure = new_figure(10.4, 3.2)
    maps, matrices = figure.subfigures(1, 2, width_ratios=[5.3, 5.1])
    axes = [*maps.subplots(1, 4, width_ratios=[4, 0.55, 4, 0.55]), *matrices.subplots(1, 2)]
    for k, (values, title, color) in enumerate(
        ((label, "label of one class", theme.blue), (probability, "its predicted probability", theme.orange))
    ):
        show_map(axes[2 * k], values, title, cmap=theme.sequential, vmin=0, vmax=1.25)
        frame = Rectangle((LEFT - 0.5, TOP - 0.5), RADIUS, RADIUS, fill=False, edgecolor=color, linewidth=2)
        axes[2 * k].add_patch(frame)
        vector = values[TOP : TOP + RADIUS, LEFT : LEFT + RADIUS].reshape(-1)
        _draw_vector(axes[2 * k + 1], vector, "yp"[k], theme, color)
    axes[0].set_xlabel(f"{SIZE} × {SIZE} pixels")
    axes[2].set_xlabel(f"{(SIZE - RADIUS + 1) ** 2:,} windows of 3 × 3")
    limit = before.abs().max().item()
    for axis, matrix, title in ((axes[4], before, "covariance of y"), (axes[5], after, "left after regression on p")):
        drawn = axis.imshow(matrix.numpy(), cmap=theme.diverging, vmin=-limit, vmax=limit)
        axis.set_title(title, fontsize=9)
        axis.set(xticks=[0, 4, 8], xticklabels=[1, 5, 9], yticks=[0, 4, 8], yticklabels=[1, 5, 9])
        axis.set_xlabel(f"pixel of the window\n½ log det = {half_log_determinant(matrix):.1f} nats".replace("-", "−"))
    bar = matrices.colorbar(drawn, ax=axes[4:], shrink=0.72, label="covariance")
    bar.outline.set_linewidth(0.4)
    matrices.suptitle(f"difference of the log-volumes: $I_G$ = {information:.1f} nats per window", fontsize=9)
    return figure


def _draw_vector(axes: Axes, vector: np.ndarray, name: str, theme: Theme, color: str) -> None:
    axes.imshow(vector[:, None], cmap=theme.sequential, vmin=0, vmax=1.25)
    for row, value in enumerate(vector):
        axes.text(0, row, f"{value:.1f}", ha="center", va="center", fontsize=8)
    axes.set(xticks=[], yticks=[])
    axes.set_title(name, fontsize=10, fontstyle="italic")
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=1.6)


LOSSES = (
    ("region mutual information, 3 × 3", region_mutual_information, {}, "blue"),
    ("each pixel from its own only", region_own_pixel, {}, "purple"),
    ("both shuffled in the same order", region_permuted_pixels, {}, "orange"),
    ("single pixels, R = 1", region_mutual_information, {"radius": 1}, "ink"),
    ("only the label shuffled", region_shuffled_labels, {}, "faint"),
)


def information_after_shifts() -> dict[str, list[float]]:
    """Return minus each loss, nats per window pixel, for a perfect prediction that is displaced by `SHIFTS`."""
    scene = object_scene(17, SIZE)
    perfect = 20 * (2 * scene.one_hot - 1)
    return {
        name: [
            -loss(perfect.roll(shift, -1), scene.labels, variant="corrected", **options).item() for shift in SHIFTS
        ]
        for name, loss, options, _ in LOSSES
    }  # fmt: skip


def draw_shuffles(theme: Theme) -> Figure:
    """Draw shuffled maps, and the values of the losses on them for a displaced prediction."""
    scene, logits = boat()
    label, probability = scene.one_hot[0, 1], logits[0, 1].sigmoid()
    order = torch.randperm(label.numel(), generator=torch.Generator().manual_seed(0))
    mixed_label, mixed = (one.flatten()[order].view_as(one) for one in (label, probability))
    figure = new_figure(10.4, 3.5)
    maps, curves = figure.subfigures(1, 2, width_ratios=[5, 5.4])
    axes = maps.subplots(2, 3)
    columns = (
        ("as they are", label, probability),
        ("both shuffled,\nin the same order", mixed_label, mixed),
        ("only the label\nshuffled", mixed_label, probability),
    )
    for k, (title, upper, lower) in enumerate(columns):
        show_map(axes[0, k], upper.numpy(), title, cmap=theme.sequential, vmin=0, vmax=1.25)
        show_map(axes[1, k], lower.numpy(), "", cmap=theme.sequential, vmin=0, vmax=1.25)
    axes[0, 0].set_ylabel("label")
    axes[1, 0].set_ylabel("probability")
    axes[1, 0].set_xlabel(f"{SIZE} × {SIZE} pixels", fontsize=8)
    axis = curves.subplots()
    values = information_after_shifts()
    for name, _, _, color in LOSSES:
        line = axis.plot(SHIFTS, values[name], color=getattr(theme, color), marker="o", ms=4, lw=1.8, label=name)[0]
        if color == "ink":  # it covers another line
            line.set(linestyle=(0, (2, 3)), marker="")
    axis.set(xlabel="displacement of a perfect prediction (pixels)", xticks=SHIFTS)
    axis.set_ylabel("minus the loss (nats per window pixel)")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="upper right")
    return figure


if __name__ == "__main__":
    write(draw_windows, "windows")
    write(draw_shuffles, "shuffles")
