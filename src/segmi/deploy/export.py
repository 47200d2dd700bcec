"""Export of a bundle as ONNX, a torch.export program or one safetensors file, compared with PyTorch."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from segmi.datasets import open_dataset
from segmi.datasets.bands import decode_image
from segmi.datasets.crops import to_unit
from segmi.datasets.image_format import ImageArray, ImageFormat
from segmi.deploy.bundle import load
from segmi.deploy.bundle_paths import find_bundle
from segmi.deploy.ensemble import get_card
from segmi.deploy.predict_files import find_images
from segmi.deploy.prediction import format_of, prepare_image
from segmi.errors import EnvironmentProblem, RunError, UsageError, counted, first_line, unknown_name
from segmi.models import SegmentationNetwork, build_network, predict_labels
from segmi.models.inference import check_threshold, pad_to_stride
from segmi.records.atomic import atomic_path
from segmi.types import THRESHOLD, Images, Logits

__all__ = ["FORMATS", "Exported", "Parity", "export"]

FORMATS: Final = {"onnx": ".onnx", "torch-export": ".pt2", "safetensors": ".safetensors"}
"""File suffix of each format."""

MAX_SIDE: Final = 8192  # upper bound of the sides of images, which tracing requires
FALLBACK_STRIDE: Final = 32  # for networks whose internal padding cannot be traced at their own stride
TOLERANCE: Final = 1e-4  # largest accepted difference of a logit
MAX_COMPARED_SIDE: Final = 1024  # larger images are cropped to this side, which bounds the time of the comparison

Program: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From N×B×H×W images to N×C×H×W logits."""


class Parity(NamedTuple):
    """Result of the comparison."""

    images: int
    sizes: int  # number of different image sizes
    difference: float  # largest absolute difference of a logit
    same_class: float  # share of pixels with the same predicted class
    source: str

    def __str__(self) -> str:
        return (
            f"largest difference to PyTorch {self.difference:.1e} over {counted(self.images, 'image')} of "
            f"{counted(self.sizes, 'size')} ({self.source}), {self.same_class:.4%} of pixels in the same class"
        )


class Exported(NamedTuple):
    """Result of an export: the file, a key of `FORMATS`, and the comparison with PyTorch."""

    path: Path
    format: str
    bytes: int
    stride: int  # divisor of height and width that the program requires
    parity: Parity


def export(
    bundle: str | Path | SegmentationNetwork,
    path: str | Path,
    *,
    format: str = "onnx",
    images: Sequence[str | Path] = (),
    threshold: float = THRESHOLD,
) -> Exported:
    """Write a bundle in another format, after comparing it with PyTorch on images.

    Programs accept any batch size, height and width (multiples of the stride), normalize the images and return logits.
    The file's metadata contain the preprocessing, classes, palette and threshold, under ``segmi.…`` as JSON.

    Args:
        bundle: its folder, or a network that `segmi.load` returned.
        path: the file, with the suffix of the format.
        format: ``onnx``, ``torch-export`` or ``safetensors`` (weights and description in one file; no program).
        images: files and folders for the comparison; generated scenes if empty.
        threshold: for a network with one logit, stored in the metadata and used in the comparison.

    Raises:
        UsageError: for an unknown format, a wrong suffix, or a threshold that does not fit the network.
        EnvironmentProblem: if a package is missing (``pip install segmi[export]``), or the file cannot be written.
        RunError: if the network cannot be traced, or the program differs from PyTorch; nothing is written then.
    """
    path = Path(path)
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if path.suffix != FORMATS[format]:
        problem = f"expected a file ending in {FORMATS[format]} for {format}, got {path}"
        raise UsageError(problem, "change the suffix or the format")
    check_packages(format)
    network = (bundle if isinstance(bundle, SegmentationNetwork) else load(find_bundle(bundle))).eval().cpu()
    check_threshold(threshold, network.channels)
    write = {"onnx": _write_onnx, "torch-export": _write_torch_export, "safetensors": _write_safetensors}[format]
    with atomic_path(path) as temporary, _quiet_exporters():
        program, stride = write(network, temporary, threshold)
        parity = check_parity(network, program, images, stride, threshold)
        size = temporary.stat().st_size
    return Exported(path, format, size, stride, parity)


def trace(network: SegmentationNetwork) -> tuple[ExportedProgram, int]:
    """Trace a network with dynamic batch size, height and width; return the program and its stride."""
    module = _LogitsOnly(network).eval()
    problems = []
    # dict.fromkeys tries a stride of 32 only once
    for stride in dict.fromkeys((network.stride, FALLBACK_STRIDE)):
        # Two images that are not square: sizes that are 1 or equal in the example become constants.
        example = torch.rand(2, network.in_channels, 4 * max(stride, 16), 6 * max(stride, 16))
        sizes = {2: _dynamic_side("height", stride), 3: _dynamic_side("width", stride)}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch warns about its own rewriting
                program = torch.export.export(
                    module, (example,), dynamic_shapes=({0: Dim("batch", min=1, max=MAX_SIDE), **sizes},), strict=False
                )
            return program, stride
        except Exception as error:  # tracing raises many types
            problems.append(f"sides of multiples of {stride}: {first_line(error)}")
    problem = f"{network.specification.get('architecture')} cannot be traced:\n  - " + "\n  - ".join(problems)
    raise RunError(problem, "export it as safetensors, or choose another architecture")


def check_packages(format: str) -> list[ModuleType]:
    """Return the packages that a format needs, imported; raises EnvironmentProblem if one is missing."""
    names = ("onnxruntime", "onnx", "onnxscript") if format == "onnx" else ()
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        problem = f"exporting as ONNX needs the package {error.name}, which is not installed"
        raise EnvironmentProblem(problem, "pip install 'segmi[export]'") from error


class _LogitsOnly(nn.Module):
    """Network that returns a tensor instead of an `Output`."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Images) -> Logits:
        return self.network(images).logits


def _dynamic_side(name: str, stride: int) -> Any:
    if stride == 1:
        return Dim(name, min=16, max=MAX_SIDE)
    return stride * Dim(f"{name}_{stride}", min=2, max=MAX_SIDE // stride)


def metadata(network: SegmentationNetwork, stride: int, threshold: float = THRESHOLD) -> dict[str, str]:
    """Return everything that a program needs to prepare images and interpret logits, as JSON strings."""
    card = get_card(network)
    one_logit = f"; one logit, class 1 where its sigmoid exceeds {threshold}" if network.one_logit else ""
    shared = ("classes", "palette", "ignore_index", "dataset", "architecture", "specification", "segmi_version")
    entries: dict[str, Any] = {
        **{key: card[key] for key in (*shared, "schema_version")},
        "preprocessing": {
            **card["preprocessing"],
            "resizing": "bilinear with antialiasing, as Pillow's BILINEAR; exact: to resize × resize, shorter: the "
            "shorter side to resize; null: not resized. Resize the logits bilinearly to the image's size, then predict",
            "input": f"float32 N×C×H×W, {format_of(network).describe()}; the program normalizes",
            "output": f"logits N×C×H×W{one_logit}",
            "sides": f"multiples of {stride}; pad below and right by repeating the edge, crop the logits",
            "stride": stride,
        },
        **({"threshold": threshold} if network.one_logit else {}),
    }
    return {f"segmi.{name}": json.dumps(value, ensure_ascii=False) for name, value in entries.items()}


def _write_onnx(network: SegmentationNetwork, path: Path, threshold: float) -> tuple[Program, int]:
    onnxruntime = check_packages("onnx")[0]
    traced, stride = trace(network)
    exported = torch.onnx.export(traced, dynamo=True, verbose=False, input_names=["images"], output_names=["logits"])
    if exported is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    exported.model.metadata_props.update(metadata(network, stride, threshold))
    exported.save(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0], stride


def _write_torch_export(network: SegmentationNetwork, path: Path, threshold: float) -> tuple[Program, int]:
    traced, stride = trace(network)
    with path.open("wb") as file:
        torch.export.save(traced, file, extra_files=metadata(network, stride, threshold))
    # From memory, because torch.export expects the suffix .pt2, which the temporary file lacks.
    return _as_program(torch.export.load(io.BytesIO(path.read_bytes())).module()), stride


def _write_safetensors(network: SegmentationNetwork, path: Path, threshold: float) -> tuple[Program, int]:
    # Copies, because safetensors rejects tensors that share memory.
    state = {name: value.detach().contiguous().clone() for name, value in network.state_dict().items()}
    save_file(state, path, metadata=metadata(network, network.stride, threshold))
    rebuilt = build_network(**{**network.specification, "encoder_weights": None}).eval()
    with safe_open(path, "pt") as file:
        rebuilt.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - not a mapping
    return _as_program(lambda images: rebuilt(images).logits), network.stride


def _as_program(module: Callable[[Any], Any]) -> Program:
    return torch.inference_mode()(lambda images: module(torch.from_numpy(images)).numpy())


@contextlib.contextmanager
def _quiet_exporters() -> Iterator[None]:
    """Suppress the progress messages of PyTorch's exporters."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def check_parity(
    network: SegmentationNetwork, program: Program, images: Sequence[str | Path], stride: int, threshold: float
) -> Parity:
    """Run a program and the network on images, one by one and in batches of two, and compare their logits.

    Raises:
        RunError: if a logit differs by more than `TOLERANCE`, or is NaN.
    """
    source = "given images" if images else "generated images"
    largest, same, pixels, count = 0.0, 0, 0, 0
    sizes: set[tuple[int, ...]] = set()
    for batch in _batches(network, _decode(images, format_of(network)), stride):
        with torch.inference_mode():
            expected = network(batch).logits
        actual = torch.from_numpy(program(batch.numpy()))
        if actual.shape != expected.shape:
            raise RunError(f"the exported program returns {tuple(actual.shape)}, PyTorch {tuple(expected.shape)}")
        # Written so that NaN fails the comparison below: max() would drop it.
        difference = float((actual - expected).abs().max())
        largest = difference if np.isnan(difference) else max(largest, difference)
        count, sizes = count + len(batch), sizes | {tuple(batch.shape[-2:])}
        if not largest <= TOLERANCE:
            break
        labels = [predict_labels(logits, threshold=threshold) for logits in (actual, expected)]
        same, pixels = same + int((labels[0] == labels[1]).sum()), pixels + labels[0].numel()
    parity = Parity(count, len(sizes), largest, same / max(pixels, 1), source)
    if not largest <= TOLERANCE:
        raise RunError(
            f"the exported program does not agree with PyTorch: {parity}; expected at most {TOLERANCE:.0e}",
            "nothing was written; try another format, or another version of the packages onnx and onnxruntime",
        )
    return parity


def _decode(images: Sequence[str | Path], format: ImageFormat) -> Iterator[ImageArray]:
    if images:
        yield from (decode_image(image.path, format) for image in find_images(images))
        return
    if format.channels != 3 or format.value_range is not None:
        rng = np.random.default_rng(0)
        yield from (rng.random((*side, format.channels), dtype=np.float32) for side in ((192, 256), (160, 224)))
        return
    for height, width in ((192, 256), (160, 224)):
        scenes = open_dataset("street-scenes", train=2, val=1, height=height, width=width)
        yield from (scenes.read_image(sample) for sample in scenes.split("train"))


def _batches(network: SegmentationNetwork, images: Iterable[ImageArray], stride: int) -> Iterator[Tensor]:
    # Yield every image, or a pair of consecutive images if their padded sizes agree.
    previous: Tensor | None = None
    for pixels in images:
        image = to_unit(prepare_image(network, pixels)[None, :, :MAX_COMPARED_SIDE, :MAX_COMPARED_SIDE])
        padded = pad_to_stride(image, stride)
        if previous is not None and previous.shape == padded.shape:
            yield torch.cat((previous, padded))
            previous = None
        else:
            yield padded
            previous = padded
