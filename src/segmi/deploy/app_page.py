"""Page of `segmi app`, run by Streamlit: predictions of an uploaded image by the selected networks."""

from __future__ import annotations

import html
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from segmi.datasets.bands import decode_image
from segmi.datasets.image_format import RGB, ImageArray, ImageFormat
from segmi.deploy import app
from segmi.deploy.bundle import load
from segmi.deploy.bundle_paths import CARD
from segmi.deploy.mask_values import VALUES, value_converter
from segmi.deploy.predict_files import overlay_labels
from segmi.errors import DataError, SegmiError
from segmi.models import SegmentationNetwork
from segmi.models.inference import TTA
from segmi.records.serialization import read_json
from segmi.types import THRESHOLD

LAYERS = ("overlay", "mask", "confidence")

STYLE = """<style>
.stMainBlockContainer { padding-top: 2.5rem; padding-bottom: 2rem; }
.shares { width: 100%; border-collapse: collapse; font-size: 0.9rem; }
.shares caption { text-align: left; opacity: 0.7; padding-bottom: 0.2rem; }
.shares td, .shares th { border: 0; padding: 0.15rem 0.4rem 0.15rem 0; font-weight: 400; text-align: left; }
.shares .swatch { display: block; width: 1rem; height: 1rem; border: 1px solid #8888; border-radius: 3px; }
.shares td:first-child { width: 1.6rem; }
.shares .bar { width: 45%; }
.shares .bar i { display: block; height: 0.6rem; min-width: 1px; outline: 1px solid #8886; }
.shares .number { text-align: right; font-variant-numeric: tabular-nums; }
.title { font-size: 1.15rem; line-height: 1.3; margin: 0.5rem 0 0; padding: 0; overflow-wrap: anywhere; }
</style>"""


@st.cache_resource(max_entries=4)
def load_cached(bundle: str, modified: float) -> SegmentationNetwork:
    """Load a bundle and keep it between images; a new modification time loads it again."""
    return load(bundle)


def decode_upload(name: str, content: bytes, format: ImageFormat = RGB) -> ImageArray:
    """Decode an uploaded image like a file."""
    with tempfile.TemporaryDirectory() as folder:  # Windows cannot open a temporary file twice
        path = Path(folder, "image").with_suffix(Path(name).suffix)
        path.write_bytes(content)
        try:
            return decode_image(path, format)
        except DataError as error:  # without the name of the temporary file
            raise DataError(error.message.removeprefix(f"{path}: "), error.remedy) from error


def format_of_bundle(bundle: Path) -> ImageFormat:
    """Return the format of the images that a bundle was trained on; RGB if it cannot be read."""
    try:
        return ImageFormat.from_plain(read_json(bundle / CARD)["preprocessing"].get("image_format", {}))
    except (SegmiError, ValueError, KeyError, TypeError, AttributeError):
        return RGB  # loading the bundle shows the error


def render_layer(pixels: NDArray[np.uint8], result: app.Result, layer: str) -> NDArray[np.uint8]:
    """Return a layer of a result as an image."""
    if layer == "confidence":
        return app.confidence_image(result.confidence)
    if layer == "mask":
        return np.array(result.palette, dtype=np.uint8)[result.labels]
    return overlay_labels(pixels, result.labels, result.palette)


def heading(text: str) -> None:
    """Write a heading as HTML, because names of runs are not Markdown."""
    st.html(f'<h2 class="title">{html.escape(text)}</h2>')


def show_result(
    bundles: list[Path], title: str, upload: Any, layer: str, threshold: float, tta: tuple[str, ...], values: str
) -> None:
    """Show the prediction of a network, or the mean of several, for an uploaded file."""
    heading(title)
    try:
        with st.spinner("Predicting …"):
            formats = [format_of_bundle(bundle) for bundle in bundles]
            images = [decode_upload(upload.name, upload.getvalue(), format) for format in formats]
            networks = [load_cached(str(one), (one / "model.safetensors").stat().st_mtime) for one in bundles]
            binary = all(network.one_logit for network in networks)
            members = list(zip(networks, images, strict=True))
            result = app.predict_with_confidence(members, threshold if binary else THRESHOLD, tta)
            format, pixels, network = formats[0], images[0], networks[0]
    except (SegmiError, ValueError) as error:
        st.error(str(error))
        return
    st.image(render_layer(format.to_rgb(pixels), result, layer), width="stretch", alt=f"{layer} of {title}")
    scale = ". White: 1, black: 0" if layer == "confidence" else ""
    st.caption(f"Mean confidence {result.confidence.mean():.0%}{scale}")
    st.html(app.legend_html(result))
    card = network.card or {}
    kind = card["architecture"] if len(bundles) == 1 else f"mean of {len(bundles)} networks"
    st.caption(f"{kind}, trained on {card['dataset']['title']}".replace("_", r"\_"))
    data = io.BytesIO()
    # same PNG as `segmi predict` writes
    try:
        mask = Image.fromarray(value_converter(card, values)(result.labels))
    except SegmiError as error:  # the bundle has no original values
        st.error(error.message)
        return
    if values == "index":
        mask.putpalette([channel for color in result.palette for channel in color])
    mask.save(data, format="PNG")
    name = bundles[0].name if len(bundles) == 1 else "ensemble"
    st.download_button("Download mask", data.getvalue(), f"{name}.png", "image/png", key="+".join(map(str, bundles)))


def is_binary(bundle: Path) -> bool:
    """Return whether a bundle's network has one logit, so that the threshold applies."""
    try:
        return bool(read_json(bundle / CARD)["specification"]["one_logit"])
    except (ValueError, KeyError, TypeError):
        return False  # loading the bundle shows the error


def page(root: Path, threshold: float = THRESHOLD) -> None:
    """Show the whole page; ``threshold`` is the initial value of the slider for networks with one logit."""
    st.set_page_config("segmi", layout="wide")
    st.html(STYLE)
    st.title("Compare segmentations", anchor=False)
    bundles = app.find_bundles(root)
    if not bundles:
        st.error(f"No trained network in {root}. `segmi train` writes one.")
        return
    by_title = dict(zip(app.bundle_titles(bundles, root), bundles, strict=True))
    selected = [list(by_title)[index] for index in app.default_selection(bundles)]
    chosen = st.multiselect("Networks", list(by_title), default=selected, placeholder="Select networks")
    together = st.checkbox("Ensemble", help="Also averages the probabilities of the selected networks.")
    layer = st.radio("Layer", LAYERS, horizontal=True)
    tta = tuple(st.multiselect("Test-time augmentation", TTA, help="Averages over mirrored or resized copies."))
    values = st.radio("Values of downloaded masks", VALUES, horizontal=True)
    if any(is_binary(by_title[title]) for title in chosen):
        threshold = st.slider("Threshold of binary networks", 0.01, 0.99, threshold, 0.01)
    upload = st.file_uploader("Image", type=["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "gif", "ppm"])
    if upload is None:
        st.info("Drop an image above. It stays on this machine.")
        return
    format = format_of_bundle(by_title[chosen[0]]) if chosen else RGB
    try:
        pixels = decode_upload(upload.name, upload.getvalue(), format)
    except SegmiError as error:
        st.error(error.message + (f". {error.remedy}" if error.remedy else ""))
        return
    shown = {title: [by_title[title]] for title in chosen}
    if together and chosen[1:]:
        shown["Ensemble"] = [by_title[title] for title in chosen]
    columns = st.columns(1 + len(shown))
    with columns[0]:
        heading("Image")
        st.image(format.to_rgb(pixels), width="stretch", alt="uploaded image")
        st.caption(f"{pixels.shape[1]} × {pixels.shape[0]} pixels")
    for column, (title, some) in zip(columns[1:], shown.items(), strict=True):
        with column:
            show_result(some, title, upload, str(layer), threshold, tta, str(values))


if __name__ == "__main__":
    page(Path(sys.argv[1]), float(sys.argv[2]))
