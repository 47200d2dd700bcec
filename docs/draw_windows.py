"""Draw docs/images/windows.svg, an explanation of the windows of region mutual information: `make docs`."""

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
    """Return a disc as a label map, and a blurred, shifted, noisy prediction of it."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    label = ((rows - 8) ** 2 + (columns - 7) ** 2 < 22).astype(float)
    distance = np.sqrt((rows - 8) ** 2 + (columns - 7.6) ** 2) - np.sqrt(22)
    noise = np.random.default_rng(0).normal(0, 0.7, label.shape)
    return label, 1 / (1 + np.exp(1.6 * distance + noise))


def windows(image: np.ndarray) -> np.ndarray:
    """Return all windows as points with d coordinates, d × n."""
    view = np.lib.stride_tricks.sliding_window_view(image, (RADIUS, RADIUS))
    return view.reshape(-1, RADIUS**2).T


def draw_map(axes: Axes, image: np.ndarray, title: str, color: str) -> None:
    """Draw a map and the position of the window."""
    axes.imshow(image, cmap="Grays", vmin=-0.05, vmax=2.2)
    axes.add_patch(Rectangle((LEFT - 0.5, TOP - 0.5), RADIUS, RADIUS, fill=False, edgecolor=color, linewidth=2.5))
    axes.set(title=title, xticks=[], yticks=[])


def draw_vector(axes: Axes, vector: np.ndarray, name: str, color: str) -> None:
    """Draw the pixels of the window as one column."""
    axes.imshow(vector[:, None], cmap="Grays", vmin=-0.05, vmax=2.2)
    for k, value in enumerate(vector):
        axes.text(0, k, f"{value:.1f}".rstrip("0").rstrip("."), ha="center", va="center", color="black", fontsize=9)
    axes.set(title=name, xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=2)


def main() -> None:
    """Draw two maps, a window of each as a vector, and the regression over all windows."""
    label, probability = maps()
    y, p = windows(label), windows(probability)
    index = TOP * (SIDE - RADIUS + 1) + LEFT
    centered_y, centered_p = y - y.mean(1, keepdims=True), p - p.mean(1, keepdims=True)
    ridge = 5e-4 * np.eye(len(p))
    predicted = (centered_y @ centered_p.T) @ np.linalg.inv(centered_p @ centered_p.T + ridge) @ centered_p
    center = RADIUS**2 // 2

    figure, axes = plt.subplots(1, 5, figsize=(11, 3.2), width_ratios=[4, 0.8, 4, 0.8, 4], layout="constrained")
    draw_map(axes[0], label, "label map of one class", BLUE)
    draw_vector(axes[1], y[:, index], "y", BLUE)
    draw_map(axes[2], probability, "its predicted probability", ORANGE)
    draw_vector(axes[3], p[:, index], "p", ORANGE)
    axes[4].scatter(predicted[center] + y.mean(1)[center], y[center], s=9, color="#555555", alpha=0.4)
    axes[4].plot([0, 1], [0, 1], color=ORANGE, linewidth=1.5)
    axes[4].set(title=f"all n = {y.shape[1]} windows", xlabel="prediction of the center pixel of y from p")
    axes[4].set(ylabel="center pixel of y", yticks=[0, 1], box_aspect=1)
    figure.savefig(Path(__file__).parent / "images" / "windows.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
