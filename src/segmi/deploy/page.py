"""The page of `segmi app`: an image in, what each run makes of it out. Streamlit runs this file."""

from __future__ import annotations

import html
import io
import sys
import tempfile
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from segmi.datasets.decode import decode_image
from segmi.deploy.app import Answer, answer, bundles_below, confidence_image, first_shown, legend_of, titles_of
from segmi.deploy.bundle import load
from segmi.deploy.files import overlaid
from segmi.errors import SegmiError
from segmi.models import SegmentationNetwork

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
def loaded(bundle: str, digest: float) -> SegmentationNetwork:
    """The network of a bundle, kept between images; another file is loaded anew."""
    return load(bundle)


def image_of(name: str, content: bytes) -> NDArray[np.uint8]:
    """The image that was dropped, decoded as files are."""
    with tempfile.NamedTemporaryFile(suffix=Path(name).suffix) as file:
        file.write(content)
        file.flush()
        return decode_image(Path(file.name))


def shown(pixels: NDArray[np.uint8], found: Answer, layer: str) -> NDArray[np.uint8]:
    """A layer of an answer as an image."""
    palette = np.array(found.palette, dtype=np.uint8)
    if layer == "confidence":
        return confidence_image(found.confidence)
    return palette[found.labels] if layer == "mask" else overlaid(pixels, found.labels, found.palette)


def titled(text: str) -> None:
    """A heading, as it stands: names of runs are no Markdown."""
    st.html(f'<h2 class="title">{html.escape(text)}</h2>')


def column(place: object, bundle: Path, title: str, pixels: NDArray[np.uint8], layer: str) -> None:
    """What one run makes of the image."""
    with place:  # type: ignore[attr-defined]  # a container of Streamlit
        titled(title)
        try:
            with st.spinner("predicting …"):
                network = loaded(str(bundle), (bundle / "model.safetensors").stat().st_mtime)
                found = answer(network, pixels)
        except (SegmiError, ValueError) as error:
            st.error(str(error))
            return
        st.image(shown(pixels, found, layer), width="stretch", alt=f"{layer} of {title}")
        words = "; white is certain, black a guess" if layer == "confidence" else ""
        st.caption(f"mean confidence {found.confidence.mean():.0%}{words}")
        st.html(legend_of(found))
        card = network.card or {}
        st.caption(f"{card['architecture']}, trained on {card['dataset']['title']}".replace("_", r"\_"))
        data = io.BytesIO()
        mask = Image.fromarray(found.labels)
        mask.putpalette([channel for color in found.palette for channel in color])
        mask.save(data, format="PNG")
        st.download_button("mask as PNG", data.getvalue(), f"{bundle.name}.png", "image/png", key=str(bundle))


def page(root: Path) -> None:
    """The whole page."""
    st.set_page_config("segmi", layout="wide")
    st.html(STYLE)
    st.title("What does a network see?", anchor=False)
    bundles = bundles_below(root)
    if not bundles:
        st.error(f"There is no trained network in {root}. `segmi train` writes one.")
        return
    names = dict(zip(titles_of(bundles, root), bundles, strict=True))
    shown_first = [list(names)[place] for place in first_shown(bundles)]
    chosen = st.multiselect("runs", list(names), default=shown_first, placeholder="choose runs")
    layer = st.radio("show", LAYERS, horizontal=True)
    given = st.file_uploader("drop an image", type=["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "gif", "ppm"])
    if given is None:
        st.info("Drop an image above; it stays on this machine.")
        return
    try:
        pixels = image_of(given.name, given.getvalue())
    except SegmiError as error:
        st.error(error.message.rpartition(": ")[2] + (f". {error.remedy}" if error.remedy else ""))
        return
    places = st.columns(1 + len(chosen))
    with places[0]:
        titled("image")
        st.image(pixels, width="stretch", alt="the image")
        st.caption(f"{pixels.shape[1]} × {pixels.shape[0]} pixels")
    for place, name in zip(places[1:], chosen, strict=True):
        column(place, names[name], name, pixels, str(layer))


if __name__ == "__main__":
    page(Path(sys.argv[1]))
