"""The page of `segmi app`: a picture in, what each run makes of it out. Streamlit runs this file."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from segmi.data.decode import decode_image
from segmi.deploy.app import Answer, answer, bundles_below, confidence_picture, title_of
from segmi.deploy.bundle import load
from segmi.deploy.files import overlaid
from segmi.errors import SegmiError
from segmi.models import SegmentationNetwork

LAYERS = ("overlay", "mask", "confidence")


@st.cache_resource(max_entries=4)
def loaded(bundle: str, digest: float) -> SegmentationNetwork:
    """The network of a bundle, kept between pictures; another file is loaded anew."""
    return load(bundle)


def picture_of(name: str, content: bytes) -> NDArray[np.uint8]:
    """The picture that was dropped, decoded as files are."""
    with tempfile.NamedTemporaryFile(suffix=Path(name).suffix) as file:
        file.write(content)
        file.flush()
        return decode_image(Path(file.name))


def shown(pixels: NDArray[np.uint8], found: Answer, layer: str) -> NDArray[np.uint8]:
    """A layer of an answer as a picture."""
    palette = np.array(found.palette, dtype=np.uint8)
    if layer == "confidence":
        return confidence_picture(found.confidence)
    return palette[found.labels] if layer == "mask" else overlaid(pixels, found.labels, found.palette)


def column(place: object, bundle: Path, root: Path, pixels: NDArray[np.uint8], layer: str) -> None:
    """What one run makes of the picture."""
    with place:  # type: ignore[attr-defined]  # a container of Streamlit
        st.subheader(title_of(bundle, root))
        try:
            with st.spinner("predicting …"):
                found = answer(loaded(str(bundle), (bundle / "model.safetensors").stat().st_mtime), pixels)
        except (SegmiError, ValueError) as error:
            st.error(str(error))
            return
        st.image(shown(pixels, found, layer), width="stretch", alt=f"{layer} of {title_of(bundle, root)}")
        words = "; white is certain, black a guess" if layer == "confidence" else ""
        st.caption(f"mean confidence {found.confidence.mean():.0%}{words}")
        st.dataframe(
            {
                "class": [name for name, share in found.ranked()],
                "share": [share for name, share in found.ranked()],
            },
            column_config={"share": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)},
            hide_index=True,
            width="stretch",
        )
        data = io.BytesIO()
        mask = Image.fromarray(found.labels)
        mask.putpalette([channel for colour in found.palette for channel in colour])
        mask.save(data, format="PNG")
        st.download_button("mask as PNG", data.getvalue(), f"{bundle.name}.png", "image/png", key=str(bundle))


def page(root: Path) -> None:
    """The whole page."""
    st.set_page_config("segmi", layout="wide")
    st.title("What does a network see?")
    bundles = bundles_below(root)
    if not bundles:
        st.error(f"There is no trained network in {root}. `segmi train` writes one.")
        return
    names = {title_of(bundle, root): bundle for bundle in bundles}
    chosen = st.multiselect("runs", list(names), default=list(names)[:2], placeholder="choose runs")
    layer = st.radio("show", LAYERS, horizontal=True)
    given = st.file_uploader("drop a picture", type=["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "gif", "ppm"])
    if given is None:
        st.info("Drop a picture above; it stays on this machine.")
        return
    try:
        pixels = picture_of(given.name, given.getvalue())
    except SegmiError as error:
        st.error(error.message.rpartition(": ")[2] + (f". {error.remedy}" if error.remedy else ""))
        return
    places = st.columns(1 + len(chosen))
    with places[0]:
        st.subheader("picture")
        st.image(pixels, width="stretch", alt="the picture")
        st.caption(f"{pixels.shape[1]} × {pixels.shape[0]} pixels")
    for place, name in zip(places[1:], chosen, strict=True):
        column(place, names[name], root, pixels, str(layer))


if __name__ == "__main__":
    page(Path(sys.argv[1]))
