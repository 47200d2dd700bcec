"""Scenes, colors and files of the figures in docs/figures: `make docs`."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

# Kernels and threads change the last digits of results, and so the bytes of a figure.
os.environ["SEGMI_KERNELS"] = "off"
torch.set_num_threads(1)

from segmi.datasets import open_dataset  # noqa: E402
from segmi.types import IGNORE_INDEX  # noqa: E402

FOLDER = Path(__file__).parent / "figures"
LARGEST_SVG = 200_000  # bytes; a larger figure is a PNG


class Theme(NamedTuple):
    """Colors of a figure on a light or dark page. Figures are transparent."""

    name: str
    ink: str
    faint: str
    page: str  # the color that sequential and diverging maps start from
    blue: str
    orange: str
    green: str
    purple: str

    @property
    def sequential(self) -> LinearSegmentedColormap:
        """Return a color map from the page to blue."""
        return LinearSegmentedColormap.from_list("sequential", [self.page, self.blue])

    @property
    def diverging(self) -> LinearSegmentedColormap:
        """Return a color map from orange over the page to blue."""
        return LinearSegmentedColormap.from_list("diverging", [self.orange, self.page, self.blue])


THEMES = (
    Theme("light", "#1d2128", "#6b7280", "#f4f5f7", "#0072b2", "#d55e00", "#007a5a", "#a8568a"),
    Theme("dark", "#e6e8eb", "#9aa3ad", "#1e2228", "#56b4e9", "#f08c3a", "#3fc49a", "#dd93bd"),
)


class Scene(NamedTuple):
    """A generated image and its labels, numbered from 0 without gaps."""

    image: np.ndarray  # H×W×3, uint8
    labels: Tensor  # 1×H×W
    classes: tuple[str, ...]
    colors: np.ndarray  # classes×3, uint8

    @property
    def one_hot(self) -> Tensor:
        """Return the labels as 1×C×H×W zeros and ones."""
        return torch.nn.functional.one_hot(self.labels, len(self.classes)).movedim(-1, 1).float()


def object_scene(index: int, size: int = 96) -> Scene:
    """Return a training image of `object-scenes`; ignored pixels get the nearest label."""
    dataset = open_dataset("object-scenes", train=24, val=1, height=size, width=size)
    sample = dataset.split("train")[index]
    mask = sample.mask.draw()
    nearest = distance_transform_edt(mask == IGNORE_INDEX, return_distances=False, return_indices=True)
    present, labels = np.unique(mask[tuple(nearest)], return_inverse=True)
    names = tuple(dataset.info.classes[label] for label in present)
    colors = np.array(dataset.info.palette, np.uint8)[present]
    return Scene(sample.image.draw(), torch.from_numpy(labels.reshape(1, size, size)).long(), names, colors)


def blurred_logits(scene: Scene, *, blur: float, noise: float, scale: float, seed: int = 0) -> Tensor:
    """Return logits that resemble the output of a network: blurred labels and smooth noise."""
    draw = np.random.default_rng(seed)
    logits = np.empty(scene.one_hot.shape, np.float32)
    for channel, truth in enumerate(scene.one_hot[0].numpy()):
        smooth = gaussian_filter(draw.normal(size=truth.shape), 2.0)
        logits[0, channel] = scale * (2 * gaussian_filter(truth, blur) - 1) + noise * smooth / smooth.std()
    return torch.from_numpy(logits)


def show_map(axes: Axes, values: np.ndarray, title: str, **options: Any) -> Any:
    """Draw a map without ticks."""
    drawn = axes.imshow(values, interpolation="none", **options)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)
    return drawn


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def write(draw: Callable[[Theme], Figure], name: str, folder: Path = FOLDER) -> list[Path]:
    """Write a figure in both themes; equal bytes for equal code."""
    folder.mkdir(exist_ok=True)
    drawn = {}
    for theme in THEMES:
        with mpl.rc_context(_settings(theme)):
            drawn[theme.name] = _saved(draw(theme))
    kind = "svg" if max(len(svg) for svg, _ in drawn.values()) <= LARGEST_SVG else "png"
    paths = []
    for theme_name, (svg, png) in drawn.items():
        for old in folder.glob(f"{name}-{theme_name}.*"):
            old.unlink()
        paths.append(folder / f"{name}-{theme_name}.{kind}")
        paths[-1].write_bytes(svg if kind == "svg" else png)
        print(paths[-1], f"{paths[-1].stat().st_size / 1000:.0f} kB")
    return paths


def _saved(figure: Figure) -> tuple[bytes, bytes]:
    svg, png = io.BytesIO(), io.BytesIO()
    FigureCanvasSVG(figure)
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(svg, format="svg", transparent=True, metadata=metadata)
    FigureCanvasAgg(figure)
    figure.savefig(png, format="png", transparent=True, dpi=160, metadata={"Software": None})
    return _numbered_clips(svg.getvalue()), png.getvalue()


def _numbered_clips(svg: bytes) -> bytes:
    """Return an SVG with numbers for the names of clip paths, which depend on addresses in memory."""
    for number, name in enumerate(dict.fromkeys(re.findall(rb'<clipPath id="(\w+)"', svg))):
        svg = svg.replace(name, b"clip%d" % number)
    return svg


def _settings(theme: Theme) -> dict[str, Any]:
    faint = dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), theme.faint)
    ink = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), theme.ink)
    return faint | ink | {
        "font.family": "DejaVu Sans", "font.size": 9, "axes.linewidth": 0.7, "axes.titlecolor": theme.ink,
        "svg.hashsalt": "segmi", "svg.fonttype": "path", "legend.frameon": False, "legend.fontsize": 8.5,
    }  # fmt: skip
