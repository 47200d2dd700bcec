"""Writing a bundle as ONNX, as a program of torch.export, or as one file of weights."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file

from segmi.deploy.bundle import load
from segmi.deploy.export.check import TOLERANCE, Agreement, compared
from segmi.deploy.export.program import metadata, traced
from segmi.errors import EnvironmentProblem, UsageError, unknown_name
from segmi.models import SegmentationNetwork, build_network
from segmi.records.atomic import atomic_path

FORMATS: Final = {"onnx": ".onnx", "torch-export": ".pt2", "safetensors": ".safetensors"}
"""The ending of each format."""

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Exported(NamedTuple):
    """What was written.

    Args:
        path: the file.
        format: of `FORMATS`.
        bytes: its size.
        stride: what the sides of images must be multiples of.
        agreement: with PyTorch.
    """

    path: Path
    format: str
    bytes: int
    stride: int
    agreement: Agreement


def export(
    bundle: str | Path | SegmentationNetwork,
    path: str | Path,
    *,
    format: str = "onnx",
    images: Sequence[str | Path] = (),
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write a bundle in another format, after comparing it with PyTorch on images.

    Programs take any batch, height and width (multiples of the network's stride); normalization is inside, the rest of
    the preparation and the names of the classes are in the metadata of the file, under ``segmi.…``, as JSON.

    Args:
        bundle: its folder, or a network that `segmi.load` returned.
        path: the file; its ending should be that of the format.
        format: ``onnx``, ``torch-export`` or ``safetensors`` (weights and description in one file; no program).
        images: files and folders to compare on; none: generated scenes.
        tolerance: the greatest difference of a logit that is let pass.

    Raises:
        UsageError: no such format, or an ending of another one.
        EnvironmentProblem: a package is missing (``pip install segmi[export]``), or the file cannot be written.
        RunError: the network cannot be traced, or the program does not agree; nothing is written then.
    """
    path = Path(path)
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if path.suffix != FORMATS[format]:
        raise UsageError(
            f"expected a file ending in {FORMATS[format]} for {format}, got {path}", "change the ending or --format"
        )
    network = (bundle if isinstance(bundle, SegmentationNetwork) else load(bundle)).eval().cpu()
    write = {"onnx": _onnx, "torch-export": _torch_export, "safetensors": _safetensors}[format]
    with atomic_path(path) as temporary, _quiet():
        run, stride = write(network, temporary)
        agreement = compared(network, run, images, stride, tolerance)
        size = temporary.stat().st_size
    return Exported(path, format, size, stride, agreement)


def _onnx(network: SegmentationNetwork, path: Path) -> tuple[Run, int]:
    onnxruntime = _package("onnxruntime")
    for name in ("onnx", "onnxscript"):
        _package(name)
    program = traced(network)
    exported = torch.onnx.export(
        program.traced, dynamo=True, verbose=False, input_names=["images"], output_names=["logits"]
    )
    if exported is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    exported.model.metadata_props.update(metadata(network, program.stride))
    exported.save(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0], program.stride


def _torch_export(network: SegmentationNetwork, path: Path) -> tuple[Run, int]:
    program = traced(network)
    with path.open("wb") as file:
        torch.export.save(program.traced, file, extra_files=metadata(network, program.stride))
    return _of_module(torch.export.load(io.BytesIO(path.read_bytes())).module()), program.stride


def _safetensors(network: SegmentationNetwork, path: Path) -> tuple[Run, int]:
    state = {name: value.detach().contiguous().clone() for name, value in network.state_dict().items()}
    save_file(state, path, metadata=metadata(network, network.stride))
    again = build_network(**{**network.specification, "encoder_weights": None}).eval()
    with safe_open(path, "pt") as file:
        again.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping
    return _of_module(lambda images: again(images).logits), network.stride


def _of_module(module: Callable[[Any], Any]) -> Run:
    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found: NDArray[np.float32] = module(torch.from_numpy(images)).numpy()
        return found

    return run


def _package(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EnvironmentProblem(
            f"exporting as ONNX needs the package {name}, which is not installed", "pip install 'segmi[export]'"
        ) from error


@contextlib.contextmanager
def _quiet() -> Any:
    """Without the running commentary of PyTorch's exporter."""
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
