"""Export of a bundle as ONNX, a torch.export program or one safetensors file, compared with PyTorch."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.export import Dim, ExportedProgram

from segmi.deploy.bundle import load
from segmi.deploy.parity import Parity, Program, check_parity
from segmi.deploy.prediction import get_card
from segmi.errors import EnvironmentProblem, RunError, UsageError, unknown_name
from segmi.models import SegmentationNetwork, build_network
from segmi.models.inference import THRESHOLD, check_threshold
from segmi.records.atomic import atomic_path
from segmi.types import Images, Logits

__all__ = ["FORMATS", "Exported", "Parity", "export"]

FORMATS: Final = {"onnx": ".onnx", "torch-export": ".pt2", "safetensors": ".safetensors"}
"""File suffix of each format."""

MAX_SIDE: Final = 8192  # upper bound of the sides of images, which tracing requires
FALLBACK_STRIDE: Final = 32  # for networks whose internal padding cannot be traced at their own stride


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
    network = (bundle if isinstance(bundle, SegmentationNetwork) else load(bundle)).eval().cpu()
    check_threshold(threshold, network.channels)
    write = {"onnx": _write_onnx, "torch-export": _write_torch_export, "safetensors": _write_safetensors}[format]
    with atomic_path(path) as temporary, _quiet_exporters():
        program, stride = write(network, temporary, threshold)
        parity = check_parity(network, program, images, stride, threshold)
        size = temporary.stat().st_size
    return Exported(path, format, size, stride, parity)


def trace(network: SegmentationNetwork) -> tuple[ExportedProgram, int]:
    """Trace a network with dynamic batch size, height and width; return the program and its stride.

    Raises:
        RunError: if its operations cannot be traced for dynamic sizes.
    """
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
            problems.append(f"sides of multiples of {stride}: {str(error).splitlines()[0]}")
    problem = f"{network.specification.get('architecture')} cannot be traced:\n  - " + "\n  - ".join(problems)
    raise RunError(problem, "export it as safetensors, or choose another architecture")


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
            "input": "float32 N×3×H×W, RGB, values 0–255 divided by 255; the program normalizes",
            "output": f"logits N×C×H×W{one_logit}",
            "sides": f"multiples of {stride}; pad below and right by repeating the edge, crop the logits",
            "stride": stride,
        },
        **({"threshold": threshold} if network.one_logit else {}),
    }
    return {f"segmi.{name}": json.dumps(value, ensure_ascii=False) for name, value in entries.items()}


def _write_onnx(network: SegmentationNetwork, path: Path, threshold: float) -> tuple[Program, int]:
    try:
        onnxruntime, _, _ = (importlib.import_module(name) for name in ("onnxruntime", "onnx", "onnxscript"))
    except ImportError as error:
        problem = f"exporting as ONNX needs the package {error.name}, which is not installed"
        raise EnvironmentProblem(problem, "pip install 'segmi[export]'") from error
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
    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits: NDArray[np.float32] = module(torch.from_numpy(images)).numpy()
        return logits

    return run


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
