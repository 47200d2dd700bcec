"""A small local page: an image in, masks of several runs side by side, with confidence and class shares."""

from __future__ import annotations

import html
import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segmi.deploy.bundle import CARD, WEIGHTS
from segmi.deploy.files import shares_of
from segmi.deploy.image import card_of, predict_image
from segmi.errors import EnvironmentProblem, UsageError
from segmi.models import SegmentationNetwork

PAGE: Final = Path(__file__).with_name("page.py")

_ROWS: Final = 64


class Answer(NamedTuple):
    """What a network makes of an image.

    Args:
        labels: H×W class indices.
        confidence: H×W, the probability of the class that is shown, float32.
        shares: of each class, by name.
        palette: 256 colors.
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    shares: dict[str, float]
    palette: list[list[int]]

    def ranked(self) -> list[tuple[str, float]]:
        """The classes that are there, the largest first."""
        return sorted(((n, s) for n, s in self.shares.items() if s > 0), key=lambda pair: -pair[1])


def answer(network: SegmentationNetwork, pixels: NDArray[np.uint8]) -> Answer:
    """Predict an image with its confidence, in memory that the window bounds; the probabilities lie on the disk.

    Raises:
        ValueError: the image is too small for the network.
    """
    card = card_of(network)
    with TemporaryDirectory(prefix="segmi-app-") as folder:
        file = Path(folder) / "probabilities.npy"
        labels = predict_image(network, pixels, probabilities=file)
        stored = np.load(file, mmap_mode="r")
        confidence = np.empty(labels.shape, dtype=np.float32)
        for first in range(0, len(labels), _ROWS):
            rows = slice(first, first + _ROWS)
            confidence[rows] = np.asarray(stored[:, rows]).max(0)
    return Answer(labels, confidence, shares_of(labels, card["classes"]), card["palette"])


def confidence_image(confidence: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Confidence in gray: white is certain, black is a guess.

    Shapes: H×W to H×W×3.
    """
    gray = np.rint(confidence.clip(0, 1) * 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def bundles_below(root: Path) -> list[Path]:
    """The bundles in a folder, itself included, by their path."""
    if (root / CARD).is_file():
        return [root]
    return sorted(card.parent for card in root.rglob(CARD) if (card.parent / WEIGHTS).is_file())


def title_of(bundle: Path, root: Path) -> str:
    """A bundle by the part of its path that tells it from the others.

    Example:
        >>> title_of(Path("runs/demo/camvid/model-2/seed0/bundles/network"), Path("runs"))
        'demo / camvid / model-2 / seed0 / network'
    """
    inside = bundle.relative_to(root).parts or (bundle.name,)
    return " / ".join(part for part in inside if part != "bundles")


def titles_of(bundles: Sequence[Path], root: Path) -> list[str]:
    """The titles of several bundles, without the parts that all of them have.

    Example:
        >>> paths = [Path(f"runs/demo/camvid/{method}/seed0/bundles/network") for method in ("ce", "rmi")]
        >>> titles_of(paths, Path("runs"))
        ['ce', 'rmi']
    """
    parts = [title_of(bundle, root).split(" / ") for bundle in bundles]
    shared = set(parts[0]).intersection(*parts) if parts[1:] else set()
    short = [" / ".join(part for part in one if part not in shared) for one in parts]
    return short if all(short) and len(set(short)) == len(short) else [" / ".join(one) for one in parts]


def first_shown(bundles: Sequence[Path], count: int = 2) -> list[int]:
    """The places of the bundles that are shown at first: of every method one seed, as long as there is room.

    Example:
        >>> paths = [Path(f"{method}/seed{seed}/bundles/network") for method in ("ce", "rmi") for seed in range(3)]
        >>> first_shown(paths)
        [0, 3]
    """
    methods: dict[tuple[str, ...], int] = {}
    for place, bundle in enumerate(bundles):
        methods.setdefault(tuple(p for p in bundle.parts if not re.fullmatch(r"seed\d+", p)), place)
    return list(methods.values())[:count]


def legend_of(found: Answer) -> str:
    """The classes of an answer as HTML: each with its color, its name and its share as a bar."""
    colors = {name: ",".join(map(str, color)) for name, color in zip(found.shares, found.palette, strict=False)}
    rows = "".join(
        f'<tr><td><i class="swatch" style="background:rgb({colors[name]})"></i></td>'
        f'<th scope="row">{html.escape(name)}</th>'
        f'<td class="bar"><i style="width:{share:.2%};background:rgb({colors[name]})"></i></td>'
        f'<td class="number">{share:.1%}</td></tr>'
        for name, share in found.ranked()
    )
    return f'<table class="shares"><caption>share of the pixels</caption>{rows}</table>'


def serve(root: Path, *, port: int, browser: bool = True) -> int:
    """Serve the page on loopback until it is stopped, and return the exit code.

    Raises:
        EnvironmentProblem: Streamlit is not installed.
        UsageError: there is no bundle below ``root``.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise EnvironmentProblem("the page needs Streamlit, which is not installed", "pip install 'segmi[app]'")
    if not root.is_dir() or not bundles_below(root):
        raise UsageError(
            f"{root} holds no trained network", "give the folder of your runs; `segmi train` writes networks there"
        )
    options = {
        "server.address": "127.0.0.1",
        "server.port": str(port),
        "server.headless": "false" if browser else "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "theme.primaryColor": "#2f6690",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "streamlit", "run", str(PAGE), *flags, "--", str(root)]
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return 0
