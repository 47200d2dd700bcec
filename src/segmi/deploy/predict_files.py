"""Prediction of image files with a bundle: masks, overlays, probabilities and shares of the classes."""

from __future__ import annotations

import glob
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmi.datasets.bands import decode_image
from segmi.datasets.decode import SUFFIXES, printable
from segmi.datasets.image_format import ImageArray, ImageFormat
from segmi.datasets.layout import walk
from segmi.datasets.outlines import UNREAD
from segmi.deploy.ensemble import BundlePath, Predictor, get_card, members_of
from segmi.deploy.mask_values import Values, value_converter
from segmi.deploy.prediction import DEFAULTS, format_of, open_predictor, predict_members
from segmi.errors import DataError, UsageError, together
from segmi.models import InferenceConfig, SegmentationNetwork
from segmi.models.inference import check_threshold
from segmi.models.network import resolve_device
from segmi.records.atomic import atomic_path

ROWS: Final = 64  # rows of an image that are blended together, which bounds the memory for floats
VIDEOS: Final = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})

# pathlib reduces the two slashes of a URL to one
_URL: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/{1,2}(?!/)")


class ImagePath(NamedTuple):
    """Image file, and the path of its results relative to the output folder, without suffix."""

    path: Path
    target: Path


class Prediction(NamedTuple):
    """Result for one image: its file, the file of its label map, width and height, and the share of each class."""

    image: Path
    mask: Path
    size: tuple[int, int]
    shares: dict[str, float]


def predict_files(
    network: Predictor | BundlePath | Sequence[SegmentationNetwork | BundlePath],
    images: Sequence[str | Path],
    out: str | Path,
    config: InferenceConfig = DEFAULTS,
    **options: Any,
) -> list[Path]:
    """Write the label maps of images, and return their files; see `iter_predictions` for the arguments."""
    return [prediction.mask for prediction in iter_predictions(network, images, out, config, **options)]


def iter_predictions(
    network: Predictor | BundlePath | Sequence[SegmentationNetwork | BundlePath],
    images: Sequence[str | Path],
    out: str | Path,
    config: InferenceConfig = DEFAULTS,
    *,
    overlay: bool = False,
    probabilities: bool = False,
    values: Values = "index",
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Prediction]:
    """Write the label map of every image as ``<name>.png`` in the dataset's palette, and yield the results.

    Args:
        network: a bundle, or a result of `segmi.load`; the probabilities of several are averaged.
        images: image files, folders (all images below them) and patterns.
        out: folder for the results; created if it is missing.
        config: as in `segmi.predict`.
        overlay: also write ``<name>.overlay.png``, the image blended with the colors of its label map.
        probabilities: also write ``<name>.npy``, the probabilities of all classes as float16, C×H×W.
        values: as in `segmi.predict`; ``original`` writes gray levels or RGB colors, without the palette.
        device: as in `segmi.models.network.resolve_device`.
        progress: called with (images done, total images).

    Raises:
        UsageError: for no images, two with the same name, a result that would overwrite an image, or invalid options.
        DataError: if the bundle cannot be loaded, or, after predicting the others, if images cannot be predicted.
        EnvironmentProblem: if the device does not exist, or ``out`` cannot be written.
    """
    loaded = open_predictor(network)
    card, networks = get_card(loaded), members_of(loaded)
    formats = [format_of(one) for one in networks]
    convert = value_converter(card, values)
    check_threshold(config.threshold, loaded.channels)
    files = find_images(images)
    masks = _mask_paths(files, Path(out), overlay)
    loaded.eval().to(resolve_device(device))
    problems: list[str] = []
    for first in range(0, len(files), config.batch_size):
        last = first + config.batch_size
        pixels: dict[Path, dict[ImageFormat, ImageArray]] = {}
        for image, mask in zip(files[first:last], masks[first:last], strict=True):
            try:  # a damaged image must not stop the others; the error comes at the end
                pixels[mask] = {format: decode_image(image.path, format) for format in dict.fromkeys(formats)}
            except DataError as error:
                problems.append(str(error).replace("\n ", " –"))
        by_size: dict[tuple[int, ...], list[Path]] = defaultdict(list)  # a forward pass takes images of one size
        for mask, array in pixels.items():
            by_size[array[formats[0]].shape[:2]].append(mask)
        for group in by_size.values():
            stores = [mask.with_suffix(".npy") if probabilities else None for mask in group]
            try:
                members = [(n, [pixels[mask][f] for mask in group]) for n, f in zip(networks, formats, strict=True)]
                label_maps = predict_members(members, config, probabilities=stores)
            except ValueError as error:
                problems += [f"{printable(files[masks.index(mask)].path)}: {error}" for mask in group]
                continue
            for mask, labels in zip(group, label_maps, strict=True):
                _save(Image.fromarray(convert(labels)), mask, card["palette"] if values == "index" else None)
                if overlay:
                    shown = formats[0].to_rgb(pixels[mask][formats[0]])
                    _save(Image.fromarray(overlay_labels(shown, labels, card["palette"])), _overlay_path(mask))
                size = (labels.shape[1], labels.shape[0])
                yield Prediction(files[masks.index(mask)].path, mask, size, class_shares(labels, card["classes"]))
        if progress is not None:
            progress(min(last, len(files)), len(files))
    if problems:
        raise DataError(
            f"{len(problems)} of {len(files)} images failed, the label maps of the others are in {out}:\n"
            f"{together(problems)}"
        )


def class_shares(labels: NDArray[np.uint8], classes: Sequence[str]) -> dict[str, float]:
    """Return the share of each class in the pixels of a label map.

    Example:
        >>> class_shares(np.array([[0, 1, 1, 1]], np.uint8), ["sky", "road", "car"])
        {'sky': 0.25, 'road': 0.75, 'car': 0.0}
    """
    counts = np.bincount(labels.ravel(), minlength=len(classes))
    return {name: float(count) / labels.size for name, count in zip(classes, counts, strict=False)}


def overlay_labels(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], palette: Sequence[Sequence[int]], *, strength: float = 0.5
) -> NDArray[np.uint8]:
    """Blend an image with the colors of its labels.

    Shapes: H×W×3 and H×W, uint8, to H×W×3 uint8.

    Example:
        >>> palette = [(0, 0, 0), (200, 100, 0)]
        >>> overlay_labels(np.zeros((1, 1, 3), np.uint8), np.ones((1, 1), np.uint8), palette).tolist()
        [[[100, 50, 0]]]
    """
    colors = np.asarray(palette, dtype=np.float32)  # 256×3
    result = np.empty_like(image)
    for first in range(0, len(image), ROWS):
        rows = slice(first, first + ROWS)
        blended = image[rows] * np.float32(1 - strength) + colors[labels[rows]] * np.float32(strength)
        np.rint(blended, out=result[rows], casting="unsafe")
    return result


def _mask_paths(images: Sequence[ImagePath], out: Path, overlay: bool) -> list[Path]:
    """Return the paths of the masks; raise if a result would overwrite another one or an image."""
    masks = [out / f"{image.target}.png" for image in images]
    sources = defaultdict(list)
    for image, mask in zip(images, masks, strict=True):
        for target in (mask, _overlay_path(mask)) if overlay else (mask,):
            sources[target].append(image.path)
    shared = {target: " and ".join(map(printable, paths)) for target, paths in sources.items() if paths[1:]}
    clashes = [f"{printable(target)} from {paths}" for target, paths in shared.items()]
    if clashes:
        raise UsageError(
            f"images of the same name would overwrite each other's label maps:\n{together(clashes)}",
            "predict them into different folders",
        )
    originals = {image.path.resolve() for image in images}  # links resolved, so that aliases are found
    if any(target.resolve() in originals for target in sources):
        problem = f"the label maps would overwrite the images in {printable(out)}"
        raise UsageError(problem, "choose another output folder")
    return masks


def _overlay_path(mask: Path) -> Path:
    return mask.with_name(f"{mask.stem}.overlay.png")


def _save(image: Image.Image, path: Path, palette: Sequence[Sequence[int]] | None = None) -> None:
    if palette is not None:
        image.putpalette([channel for color in palette for channel in color])
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def find_images(arguments: Sequence[str | Path]) -> list[ImagePath]:
    """Return the images named by files, folders (all images below them) and shell patterns.

    Results of a folder's images keep their relative paths; others have the name of the image.

    Raises:
        UsageError: for missing files, URLs, videos, and folders or patterns without images, all in one message; or no
            arguments.

    Example:
        >>> find_images(["https://example.org/a.jpg"])
        Traceback (most recent call last):
        segmi.errors.UsageError: https://example.org/a.jpg is a URL, not a file
          Fix: download it first, and pass the file
    """
    images: list[ImagePath] = []
    problems: list[UsageError] = []
    for argument in arguments:
        try:
            images += _expand(str(argument))
        except UsageError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        listing = together([error.message for error in problems])
        remedies = dict.fromkeys(str(error.remedy) for error in problems)
        raise UsageError(f"{len(problems)} arguments name no images:\n{listing}", "; ".join(remedies))
    if not images:
        raise UsageError("expected images to predict, got none", "pass image files or folders of them")
    return list(dict.fromkeys(images))


def _expand(argument: str) -> list[ImagePath]:
    path = Path(argument)
    if path.is_dir():
        files = (parent / name for parent, names in walk(path) for name in names)
        inside = sorted(one for one in files if one.suffix.lower() in SUFFIXES)
        if not inside:
            endings = ", ".join(sorted(SUFFIXES))
            raise UsageError(f"{printable(path)} contains no images", f"expected files ending in {endings}")
        return [ImagePath(one, one.relative_to(path).with_suffix("")) for one in inside]
    if _URL.match(argument) and not path.exists():
        raise UsageError(f"{printable(argument)} is a URL, not a file", "download it first, and pass the file")
    if path.suffix.lower() in VIDEOS:
        raise UsageError(
            f"{printable(path)} is a video, not an image",
            f"write its frames to a folder and pass that folder: ffmpeg -i {printable(path)} frames/%06d.png",
        )
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix  # .nii.gz
    if suffix in UNREAD and path.exists():
        raise UsageError(f"{printable(path)} is a {suffix} file, which is not read", UNREAD[suffix])
    if not path.exists() and glob.has_magic(argument):
        names = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - Path.glob accepts no absolute pattern
        matches = [p for p in map(Path, names) if p.suffix.lower() in SUFFIXES]
        if not matches:
            raise UsageError(f"no image matches {printable(argument)}", "correct the pattern, or pass a folder")
        return [ImagePath(one, Path(one.stem)) for one in matches]
    if not path.exists():
        raise UsageError(f"{printable(path)} does not exist", "check the path")
    return [ImagePath(path, Path(path.stem))]
