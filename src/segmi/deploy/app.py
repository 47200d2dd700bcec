"""Local web page of `segmi app`: masks of an image by several networks, with confidence and shares of the classes."""

from __future__ import annotations

import contextlib
import html
import importlib.util
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segmi.datasets.image_format import ImageArray
from segmi.deploy.bundle_paths import CARD, WEIGHTS
from segmi.deploy.ensemble import Ensemble
from segmi.deploy.predict_files import class_shares
from segmi.deploy.prediction import predict_members
from segmi.errors import EnvironmentProblem, UsageError
from segmi.models import InferenceConfig, SegmentationNetwork
from segmi.models.inference import check_threshold, confidences
from segmi.types import THRESHOLD, Logits

PAGE: Final = Path(__file__).with_name("app_page.py")
SECONDS_TO_END: Final = 3.0  # after a signal, for predictions that are running


class Result(NamedTuple):
    """Prediction of a network for an image."""

    labels: NDArray[np.uint8]  # H×W class indices
    confidence: NDArray[np.float32]  # H×W, the probability of the predicted class
    shares: dict[str, float]  # share of each class, by name
    palette: list[list[int]]  # 256 colors

    def ranked(self) -> list[tuple[str, float]]:
        """Return the classes in the image and their shares, the largest first."""
        return sorted(((n, s) for n, s in self.shares.items() if s > 0), key=lambda pair: -pair[1])


def predict_with_confidence(
    members: Sequence[tuple[SegmentationNetwork, ImageArray]],
    threshold: float = THRESHOLD,
    tta: tuple[str, ...] = (),
) -> Result:
    """Predict an image with its confidence, in memory that the window bounds.

    Args:
        members: networks, each with its own channels of the image; the probabilities of several are averaged.
        threshold, tta: as in `segmi.deploy.predict`.

    Raises:
        DataError: if the networks have different classes.
        ValueError: if the image is too small for a network.
    """
    card, pixels = Ensemble([network for network, _ in members]).card, members[0][1]
    confidence = np.empty(pixels.shape[:2], dtype=np.float32)

    def store(index: int, rows: slice, columns: slice, logits: Logits) -> None:
        confidence[rows, columns] = confidences(logits, threshold)[0].cpu().numpy()

    config = InferenceConfig(threshold=threshold, tta=tta)
    (labels,) = predict_members([(network, [image]) for network, image in members], config, visit=store)
    return Result(labels, confidence, class_shares(labels, card["classes"]), card["palette"])


def confidence_image(confidence: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return H×W confidence as an H×W×3 image in gray; white is 1."""
    gray = np.rint(confidence.clip(0, 1) * 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def find_bundles(root: Path) -> list[Path]:
    """Return the bundles in a folder, or the folder itself if it is a bundle."""
    if (root / CARD).is_file():
        return [root]
    return sorted(card.parent for card in root.rglob(CARD) if (card.parent / WEIGHTS).is_file())


def bundle_titles(bundles: Sequence[Path], root: Path) -> list[str]:
    """Return the titles of bundles from their paths, without the parts that all of them share.

    Example:
        >>> paths = [Path(f"runs/demo/camvid/{method}/seed0/bundles/network") for method in ("ce", "rmi")]
        >>> bundle_titles(paths, Path("runs"))
        ['ce', 'rmi']
    """
    relative = [bundle.relative_to(root).parts or (bundle.name,) for bundle in bundles]
    parts = [[part for part in path if part != "bundles"] for path in relative]
    # Shared parts are dropped only if the remaining titles are unique.
    shared = set(parts[0]).intersection(*parts) if parts[1:] else set()
    short = [" / ".join(part for part in title if part not in shared) for title in parts]
    return short if all(short) and len(set(short)) == len(short) else [" / ".join(title) for title in parts]


def default_selection(bundles: Sequence[Path], count: int = 2) -> list[int]:
    """Return the indices of the bundles to show first: one seed of each method, at most ``count``.

    Example:
        >>> paths = [Path(f"{method}/seed{seed}/bundles/network") for method in ("ce", "rmi") for seed in range(3)]
        >>> default_selection(paths)
        [0, 3]
    """
    methods: dict[tuple[str, ...], int] = {}
    for index, bundle in enumerate(bundles):
        methods.setdefault(tuple(part for part in bundle.parts if not re.fullmatch(r"seed\d+", part)), index)
    return list(methods.values())[:count]


def legend_html(result: Result) -> str:
    """Return the classes of a result as an HTML table with color, name and share."""
    colors = {name: ",".join(map(str, color)) for name, color in zip(result.shares, result.palette, strict=False)}
    rows = "".join(
        f'<tr><td><i class="swatch" style="background:rgb({colors[name]})"></i></td>'
        f'<th scope="row">{html.escape(name)}</th>'
        f'<td class="bar"><i style="width:{share:.2%};background:rgb({colors[name]})"></i></td>'
        f'<td class="number">{share:.1%}</td></tr>'
        for name, share in result.ranked()
    )
    return f'<table class="shares"><caption>Share of the pixels</caption>{rows}</table>'


def serve(
    root: Path, *, port: int, threshold: float = THRESHOLD, browser: bool = True,
    notify: Callable[[str], None] | None = None,
) -> int:  # fmt: skip
    """Serve the page on the loopback address until SIGINT or SIGTERM, and return the exit code.

    ``threshold`` is the initial value of the page's slider for networks with one logit; ``notify`` receives a line
    with the address of the page.

    Raises:
        EnvironmentProblem: if Streamlit is not installed.
        UsageError: if ``root`` contains no bundle.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise EnvironmentProblem("the page needs Streamlit, which is not installed", "pip install 'segmi[app]'")
    if not root.is_dir() or not find_bundles(root):
        raise UsageError(f"{root} contains no trained network", "pass the folder of runs that `segmi train` writes")
    check_threshold(threshold)
    options = {
        "server.address": "127.0.0.1",  # images stay on this machine
        "server.port": str(port),
        "server.headless": "false" if browser else "true",
        "server.showEmailPrompt": "false",  # the first start would wait for an address
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "theme.primaryColor": "#2f6690",
    }
    if notify is not None:
        notify(f"the page is at http://127.0.0.1:{port}")
    flags = [f"--{name}={value}" for name, value in options.items()]
    from click.exceptions import Abort
    from streamlit.web.cli import main as streamlit

    # In this process, so that no server remains however the process ends; Streamlit handles SIGTERM and SIGINT.
    with contextlib.suppress(Abort):
        streamlit(["run", str(PAGE), *flags, "--", str(root), str(threshold)], standalone_mode=False)
    _end_predictions()
    return 0


def _end_predictions() -> None:
    """Wait a moment for predictions in other threads, then end the process, which would wait for them."""
    running = [one for one in threading.enumerate() if one is not threading.current_thread() and not one.daemon]
    deadline = time.monotonic() + SECONDS_TO_END
    for thread in running:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in running):
        sys.stdout.flush()
        os._exit(0)
