"""Draw what a window is, docs/images/windows.svg, from nothing but segmi's own window arithmetic."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

SIDE, RADIUS, TOP, LEFT = 16, 3, 5, 9
BLUE, ORANGE = "#0072b2", "#d55e00"


def maps() -> tuple[np.ndarray, np.ndarray]:
    """A disc as a label map, and a blurred, shifted, noisy prediction of it."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    label = ((rows - 8) ** 2 + (columns - 7) ** 2 < 22).astype(float)
    distance = np.sqrt((rows - 8) ** 2 + (columns - 7.6) ** 2) - np.sqrt(22)
    noise = np.random.default_rng(0).normal(0, 0.7, label.shape)
    return label, 1 / (1 + np.exp(1.6 * distance + noise))


def windows(image: np.ndarray) -> np.ndarray:
    """d × n: every window as a point with d coordinates."""
    view = np.lib.stride_tricks.sliding_window_view(image, (RADIUS, RADIUS))
    return view.reshape(-1, RADIUS**2).T


def draw_map(axes: Axes, image: np.ndarray, title: str, color: str) -> None:
    """One map, and where the window lies on it."""
    axes.imshow(image, cmap="Grays", vmin=-0.05, vmax=2.2)
    axes.add_patch(Rectangle((LEFT - 0.5, TOP - 0.5), RADIUS, RADIUS, fill=False, edgecolor=color, linewidth=2.5))
    axes.set(title=title, xticks=[], yticks=[])


def draw_vector(axes: Axes, vector: np.ndarray, name: str, color: str) -> None:
    """The pixels of the window as one column."""
    axes.imshow(vector[:, None], cmap="Grays", vmin=-0.05, vmax=2.2)
    for k, value in enumerate(vector):
        axes.text(0, k, f"{value:.1f}".rstrip("0").rstrip("."), ha="center", va="center", color="black", fontsize=9)
    axes.set(title=name, xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=2)


def main() -> None:
    """Two maps, a window of each as a point, and what a regression over all windows finds."""
    label, probability = maps()
    y, p = windows(label), windows(probability)
    place = TOP * (SIDE - RADIUS + 1) + LEFT
    centered_y, centered_p = y - y.mean(1, keepdims=True), p - p.mean(1, keepdims=True)
    ridge = 5e-4 * np.eye(len(p))
    told = (centered_y @ centered_p.T) @ np.linalg.inv(centered_p @ centered_p.T + ridge) @ centered_p
    middle = RADIUS**2 // 2

    figure, axes = plt.subplots(1, 5, figsize=(11, 3.2), width_ratios=[4, 0.8, 4, 0.8, 4], layout="constrained")
    draw_map(axes[0], label, "label map of one class", BLUE)
    draw_vector(axes[1], y[:, place], "y", BLUE)
    draw_map(axes[2], probability, "its predicted probability", ORANGE)
    draw_vector(axes[3], p[:, place], "p", ORANGE)
    axes[4].scatter(told[middle] + y.mean(1)[middle], y[middle], s=9, color="#555555", alpha=0.4)
    axes[4].plot([0, 1], [0, 1], color=ORANGE, linewidth=1.5)
    axes[4].set(title=f"all n = {y.shape[1]} windows", xlabel="what p tells of the middle pixel of y")
    axes[4].set(ylabel="the middle pixel", yticks=[0, 1], box_aspect=1)
    figure.savefig(Path(__file__).parent / "images" / "windows.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
