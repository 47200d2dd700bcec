"""Label maps of pictures of any size, at their own resolution, with a bundle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from segmi.data.decode import SUFFIXES, decode_image, shown
from segmi.deploy.bundle import load
from segmi.deploy.picture import card_of, predict_picture
from segmi.errors import DataError, EnvironmentProblem, UsageError, together
from segmi.models import SegmentationNetwork
from segmi.models.windows import check_windows
from segmi.records.atomic import atomic_path

ROWS: Final = 64
"""Rows of a picture that are mixed with their colours together."""


def predict_files(
    network: str | Path | SegmentationNetwork,
    images: Sequence[str | Path],
    out: str | Path,
    *,
    overlay: bool = False,
    probabilities: bool = False,
    window: int | None = None,
    overlap: int | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write the predicted label map of every picture as ``<name>.png`` in the data set's palette.

    Args:
        network: a bundle's folder, or a network that `segmi.load` returned.
        images: picture files; folders stand for the pictures in them.
        out: the folder of the results; made if it is missing.
        overlay: also write ``<name>.overlay.png``, the picture under its label map.
        probabilities: also write ``<name>.npy``, the probabilities of all classes as float16, C×H×W.
        window: side of the windows in which larger pictures are predicted, as in `predict_picture`.
        overlap: pixels that neighbouring windows share.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        progress: called with (pictures done, pictures in all).

    Returns: the label maps, in the order of the pictures.

    Raises:
        UsageError: no pictures, two of the same name, a result that would overwrite a picture, or impossible windows.
        DataError: the bundle is refused, or pictures are; those that can be read are predicted all the same.
        EnvironmentProblem: no such device, or ``out`` cannot be written.
    """
    ready = network if isinstance(network, SegmentationNetwork) else load(network)
    card = card_of(ready)
    check_windows(window, overlap)
    pictures = _pictures(images)
    masks = _targets(pictures, Path(out), overlay)
    ready = ready.eval().to(_device(device))
    written, refused = [], []
    for done, (picture, mask) in enumerate(zip(pictures, masks, strict=True), start=1):
        try:
            pixels = decode_image(picture)
            store = mask.with_suffix(".npy") if probabilities else None
            labels = predict_picture(ready, pixels, window=window, overlap=overlap, probabilities=store)
        except DataError as error:
            refused.append(str(error).replace("\n ", " –"))
        except ValueError as error:
            refused.append(f"{shown(picture)}: {error}")
        else:
            _save(Image.fromarray(labels), mask, card["palette"])
            if overlay:
                _save(Image.fromarray(overlaid(pixels, labels, card["palette"])), _overlay_name(mask))
            written.append(mask)
        if progress is not None:
            progress(done, len(pictures))
    if refused:
        raise DataError(
            f"{len(refused)} of {len(pictures)} pictures were refused, the label maps of the others are in {out}:\n"
            f"{together(refused)}"
        )
    return written


def overlaid(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], palette: Sequence[Sequence[int]], *, strength: float = 0.5
) -> NDArray[np.uint8]:
    """A picture mixed with the colours of its labels.

    Shapes: H×W×3 and H×W, uint8, to H×W×3 uint8.

    Example:
        >>> overlaid(np.zeros((1, 1, 3), np.uint8), np.ones((1, 1), np.uint8), [(0, 0, 0), (200, 100, 0)]).tolist()
        [[[100, 50, 0]]]
    """
    colours = np.asarray(palette, dtype=np.float32)
    mixed = np.empty_like(image)
    for first in range(0, len(image), ROWS):  # as floats, a large picture would be larger by far
        rows = slice(first, first + ROWS)
        np.rint(
            image[rows] * np.float32(1 - strength) + colours[labels[rows]] * np.float32(strength),
            out=mixed[rows],
            casting="unsafe",
        )
    return mixed


def _pictures(images: Sequence[str | Path]) -> list[Path]:
    found: list[Path] = []
    for path in map(Path, images):
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise UsageError(
                f"{shown(path)} holds no pictures", f"expected files ending in {', '.join(sorted(SUFFIXES))}"
            )
        found += inside
    if not found:
        raise UsageError("there are no pictures to predict", "name picture files or folders of them")
    return found


def _targets(pictures: Sequence[Path], out: Path, overlay: bool) -> list[Path]:
    """The names of the results, refused before anything is written if one would fall on another or on a picture."""
    masks = [out / f"{picture.stem}.png" for picture in pictures]
    sources = defaultdict(list)
    for picture, mask in zip(pictures, masks, strict=True):
        for target in (mask, _overlay_name(mask)) if overlay else (mask,):
            sources[target].append(picture)
    clashes = [
        f"{shown(target)} from {' and '.join(shown(p) for p in from_)}"
        for target, from_ in sources.items()
        if from_[1:]
    ]
    if clashes:
        raise UsageError(
            f"pictures of the same name would overwrite each other's label maps:\n{together(clashes)}",
            "predict them into different folders",
        )
    originals = {picture.resolve() for picture in pictures}
    if any(target.resolve() in originals for target in sources):
        raise UsageError(f"the label maps would overwrite the pictures in {shown(out)}", "choose another output folder")
    return masks


def _overlay_name(mask: Path) -> Path:
    return mask.with_name(f"{mask.stem}.overlay.png")


def _save(image: Image.Image, path: Path, palette: Sequence[Sequence[int]] | None = None) -> None:
    if palette is not None:
        image.putpalette([channel for colour in palette for channel in colour])
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def _device(name: str) -> torch.device:
    if name == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return found if found is not None else torch.device("cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise EnvironmentProblem(f"this machine has no device {name!r}: {reason}", "use auto or cpu") from error
