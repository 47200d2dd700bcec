"""Draw the joint table of label and predicted class, and the parts of its information: `make docs`."""

from __future__ import annotations

import numpy as np
from figure_style import Scene, Theme, blurred_logits, new_figure, object_scene, write
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from segmi import information
from segmi.losses import conditional_information, cross_entropy, information_maximization, soft_confusion

SCALES = np.geomspace(0.1, 20, 25)  # factors of the logits


def noisy_prediction() -> tuple[Scene, Tensor]:
    """Return a scene of three objects and logits that are wrong at some pixels."""
    scene = object_scene(16, 72)
    return scene, blurred_logits(scene, blur=1.5, noise=0.7, scale=1.2)


def permuted(logits: Tensor) -> Tensor:
    """Return the logits with every class named like the next one."""
    return logits.roll(1, 1)


def table(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the joint probabilities of label (rows) and drawn class (columns)."""
    log_p = logits.log_softmax(1).movedim(1, -1).flatten(0, -2)
    return information.soft_confusion(information.prediction_sums(log_p, labels.flatten()))


def parts() -> dict[str, np.ndarray]:
    """Return the information of the prediction, about the label and beyond it, in nats, for `SCALES`."""
    scene, logits = noisy_prediction()
    losses = {
        "all": lambda one: -information_maximization(one, scene.labels),
        "label": lambda one: -soft_confusion(one, scene.labels),
        "beyond": lambda one: conditional_information(one, scene.labels),
    }
    return {name: np.array([loss(logits * float(scale)).item() for scale in SCALES]) for name, loss in losses.items()}


def draw(theme: Theme) -> Figure:
    """Draw the table of a prediction and of its permutation, and the information for more certain predictions."""
    scene, logits = noisy_prediction()
    figure = new_figure(10.4, 3.5)
    tables, areas = figure.subfigures(1, 2, width_ratios=[5.6, 4.8])
    axes = tables.subplots(1, 2, sharey=True)
    for axis, one, title in ((axes[0], logits, "prediction"), (axes[1], permuted(logits), "classes permuted")):
        _draw_table(axis, one, scene, title, theme)
    axes[0].set_ylabel("label")
    axis = areas.subplots()
    values = parts()
    axis.fill_between(SCALES, values["label"], color=theme.blue, alpha=0.75, linewidth=0)
    axis.fill_between(SCALES, values["label"], values["all"], color=theme.orange, alpha=0.75, linewidth=0)
    axis.plot(SCALES, values["all"], color=theme.ink, linewidth=1.8)
    shares = scene.labels.flatten().bincount() / scene.labels.numel()
    entropy = information.entropy(shares).item()
    axis.axhline(entropy, color=theme.faint, linewidth=1, linestyle=(0, (4, 3)))
    axis.text(0.11, entropy + 0.015, "entropy of the label, $H(Y)$", color=theme.ink, fontsize=8.5)
    axis.text(6, 0.42 * values["label"][-1], "$I(Y; \\hat{Y})$\nabout the label", ha="center", color=theme.page)
    axis.annotate("$I(X; \\hat{Y} | Y)$\nbeyond the label", (3.2, 0.55 * (values["label"] + values["all"])[17]),
        xytext=(0.35, 0.62), arrowprops={"arrowstyle": "-", "color": theme.faint}, ha="center")  # fmt: skip
    axis.set(xscale="log", xlim=(SCALES[0], SCALES[-1]), ylim=(0, 1.15 * entropy), xticks=[0.1, 1, 10])
    axis.set_xticklabels(["0.1", "1", "10"])
    axis.set(xlabel="factor of the logits", ylabel="information (nats)")
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_table(axis: Axes, logits: Tensor, scene: Scene, title: str, theme: Theme) -> None:
    joint = table(logits, scene.labels).numpy()
    rows = joint / joint.sum(1, keepdims=True)
    axis.imshow(rows, cmap=theme.sequential, vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(rows):
        color = theme.page if value > 0.55 else theme.ink
        axis.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=color, fontsize=8.5)
    places = range(len(scene.classes))
    axis.set(xticks=places, yticks=places, yticklabels=scene.classes)
    axis.set_xticklabels(scene.classes, rotation=35, ha="right", rotation_mode="anchor")
    loss, shared = cross_entropy(logits, scene.labels), -soft_confusion(logits, scene.labels)
    axis.set_title(f"{title}\n$I(Y; \\hat{{Y}})$ = {shared:.2f} nats\ncross-entropy {loss:.2f} nats", fontsize=9)
    axis.set_xlabel("predicted class (% of the label)")


if __name__ == "__main__":
    write(draw, "label-information")
