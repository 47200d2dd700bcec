"""Bundles: folders with a trained network's weights and the description that is needed to use them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, overload

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from segmi import __version__
from segmi.datasets.image_format import ImageFormat
from segmi.datasets.processing import Processing
from segmi.deploy.bundle_paths import CARD, WEIGHTS, find_bundles, list_bundles
from segmi.deploy.ensemble import BundlePath, Ensemble
from segmi.deploy.mask_values import is_color, values_problem
from segmi.errors import DataError, EnvironmentProblem, SegmiError, UsageError
from segmi.models import SegmentationNetwork, build_network
from segmi.models.network import MemoryLimit, MemoryLimitError
from segmi.plugins import plugin_names, used_plugins
from segmi.records.atomic import atomic_folder
from segmi.records.serialization import plain, read_json
from segmi.types import IGNORE_INDEX

SCHEMA_VERSION: Final = 2

# Bytes that building a network may allocate beyond twice its weights, for temporary tensors of its library.
EXTRA_MEMORY: Final = 2**26

RECORDS: Final = ("training", "evaluation")
"""Optional fields of a card, see `segmi.deploy.description.training_record`."""

_PICKLES: Final = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")
_CARD_TYPES: Final[dict[str, type]] = {
    "specification": dict, "preprocessing": dict, "classes": list, "palette": list, "ignore_index": int, "sha256": str,
}  # fmt: skip


def save_bundle(
    folder: str | Path,
    network: SegmentationNetwork,
    *,
    dataset: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    record: Mapping[str, Any] | None = None,
) -> Path:
    """Write a network as a bundle, replacing an existing one, and return the folder.

    Args:
        folder: created with its parents.
        network: built by `segmi.models.build_network`.
        dataset: ``name``, ``title``, ``classes``, ``palette`` (256 colors) and ``ignore_index`` of the labels; optional
            ``values``, the number or color of each class in the mask files.
        preprocessing: fields of `segmi.datasets.processing.Processing` used in training, and as ``image_format`` the
            bands and value range of the images (`ImageFormat.plain`) if they are not 8-bit RGB.
        record: how the network was trained and its scores, see `segmi.deploy.description.training_record`.

    Raises:
        UsageError: if the network cannot be rebuilt from its specification, or does not fit the dataset.
        EnvironmentProblem: if the folder cannot be written.
    """
    folder = Path(folder)
    card = _new_card(network, dataset, preprocessing, record or {})
    # Copies, because safetensors rejects tensors that share memory.
    state = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    with atomic_folder(folder, replace=True) as temporary:
        save_file(state, temporary / WEIGHTS)
        card["sha256"] = _sha256(temporary / WEIGHTS)
        text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
        (temporary / CARD).write_text(text, encoding="utf-8", newline="\n")
    return folder


# A str is also a sequence of str; the first overload applies to it.
@overload
def load(  # type: ignore[overload-overlap]
    folder: BundlePath, *, device: str | torch.device = "cpu"
) -> SegmentationNetwork: ...
@overload
def load(folder: Sequence[BundlePath], *, device: str | torch.device = "cpu") -> Ensemble: ...
def load(
    folder: BundlePath | Sequence[BundlePath], *, device: str | torch.device = "cpu"
) -> SegmentationNetwork | Ensemble:
    """Return the network of a bundle, in evaluation mode, with the bundle's description as its ``card``.

    No code from the bundle is executed: the weights are plain arrays, and the architecture is looked up by name.

    Args:
        folder: the bundle's folder, as in a run's ``bundles/<network>`` or written by `segmi publish`; a run with one
            bundle; or a repository of the Hugging Face Hub, ``owner/name`` or ``owner/name@revision``, whose two files
            are downloaded. A list of bundles, or a folder with ``ensemble.json``, is loaded as an `Ensemble`.
        device: device for the network.

    Raises:
        DataError: if the folder is not a bundle, has another schema version, is damaged, or its two files do not belong
            together; if the repository does not exist; or if the bundles of an ensemble differ in their classes.
        UsageError: if the folder contains no bundle, or several.
        EnvironmentProblem: if the Hub cannot be reached, or another package that adds the architecture is missing.
    """
    if not isinstance(folder, str | Path):
        folders = [bundle for one in folder for bundle in find_bundles(one)]
        return Ensemble([_load(one).to(device) for one in folders], folders)
    bundles = list_bundles(folder) or [Path(folder)]  # reading a folder that is not a bundle explains why
    return load(bundles, device=device) if bundles[1:] else _load(bundles[0]).to(device)


def _load(folder: Path) -> SegmentationNetwork:
    card = read_card(folder)
    weights = folder / WEIGHTS
    # Before parsing, so that a damaged file cannot reach the parser.
    if _sha256(weights) != card["sha256"]:
        problem = f"{weights} does not belong to {CARD}: its SHA-256 differs"
        raise DataError(problem, "copy both files of the bundle again from the run that wrote them")
    try:
        state = load_file(weights)
    except SafetensorError as error:
        raise DataError(f"{weights} is damaged: {error}", "copy the bundle again from its run") from error
    for name, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            problem = f"{weights} contains values that are not finite, first in {name}"
            raise DataError(problem, "copy the bundle again from its run, or train it again")
    network = _rebuild(folder, card)
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        problem = f"the weights in {folder} do not fit the network that {CARD} describes: {_first_lines(error)}"
        raise DataError(problem, f"restore {CARD} as the run wrote it") from error
    network.card = card
    return network.eval()


def _new_card(
    network: SegmentationNetwork,
    dataset: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    record: Mapping[str, Any],
) -> dict[str, Any]:
    if not isinstance(network, SegmentationNetwork) or not network.specification:
        raise UsageError(
            f"expected a network built by build_network, got {type(network).__name__}",
            "build the network with segmi.models.build_network, which stores its specification",
        )
    missing = [key for key in ("name", "title", "classes", "palette") if key not in dataset]
    if missing:
        raise UsageError(f"the description of the dataset lacks {', '.join(missing)}", "set all of its fields")
    classes = list(dataset["classes"])
    if len(classes) != network.classes:
        raise UsageError(f"the network has {network.classes} classes, the dataset {dataset['name']} has {len(classes)}")
    architecture = network.specification["architecture"]
    losses = (record.get("training") or {}).get("loss", {})
    names = {"segmi.models": [architecture], "segmi.losses": losses, "segmi.datasets": [dataset["name"]]}
    plugins = used_plugins(names)
    card = {
        "schema_version": SCHEMA_VERSION,
        "segmi_version": __version__,
        "architecture": architecture,
        "parameters": network.parameter_count,
        "specification": network.specification,
        "preprocessing": dict(preprocessing),
        "dataset": {"name": dataset["name"], "title": dataset["title"]},
        "classes": classes,
        "palette": [list(color) for color in dataset["palette"]],
        "ignore_index": dataset.get("ignore_index", IGNORE_INDEX),
        **({"values": list(dataset["values"])} if "values" in dataset else {}),
        **({"plugins": plugins} if plugins else {}),
        **plain(dict(record)),
        "sha256": "",
    }
    try:  # tuples become lists, as in the file
        card = json.loads(json.dumps(card))
    except TypeError as error:
        raise UsageError(f"the bundle's description must be plain JSON: {error}") from error
    _check_card(card, Path(CARD), UsageError)
    return card


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of a bundle, checked.

    Raises:
        DataError: if the folder is not a bundle, has another schema version or is damaged.
    """
    files = folder.iterdir() if folder.is_dir() and not (folder / WEIGHTS).is_file() else ()
    if any(path.suffix in _PICKLES for path in (folder, *files)):
        raise DataError(
            f"{folder} contains pickled weights, which can execute any code when loaded; segmi does not load them",
            f"use a bundle: a folder with {WEIGHTS} and {CARD}, as `segmi study run` and `segmi train` write it",
        )
    missing = [name for name in (WEIGHTS, CARD) if not (folder / name).is_file()]
    if missing:
        what = "no such folder" if not folder.is_dir() else f"{' and '.join(missing)} missing"
        raise DataError(
            f"{folder} is not a bundle: {what}",
            f"choose a folder with {WEIGHTS} and {CARD}, for instance bundles/<network> of a finished run",
        )
    path = folder / CARD
    try:
        card = read_json(path)
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}", "copy the bundle again from its run") from error
    # type(...) is int, because True == 1 in Python
    version = card.get("schema_version") if isinstance(card, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:
        newer = type(version) is int and version > SCHEMA_VERSION
        problem = f"{path} has schema_version {version!r}, this segmi ({__version__}) reads {SCHEMA_VERSION}"
        raise DataError(problem, "install a newer segmi" if newer else "use a bundle that segmi wrote")
    _check_card(card, path, DataError)
    return card


def _check_card(card: Mapping[str, Any], path: Path, kind: type[SegmiError]) -> None:
    """Check all fields that prediction uses."""
    problems = [
        f"{key} should be a {expected.__name__}, got {type(card.get(key)).__name__}"
        for key, expected in _CARD_TYPES.items()
        if not isinstance(card.get(key), expected)
    ]
    if not problems:
        classes, expected_classes = card["classes"], card["specification"].get("classes")
        if len(classes) != expected_classes or len(classes) > IGNORE_INDEX:
            problems.append(f"{len(classes)} classes for a network of {expected_classes}")
        if not all(isinstance(name, str) for name in classes):
            problems.append("the classes should be strings")
        known = {name: value for name, value in card["preprocessing"].items() if name in ("resize", "resize_mode")}
        try:
            Processing(**known, crop=1)
        except (SegmiError, TypeError) as error:
            problems.append(f"invalid preprocessing {known}: {_first_lines(error, 1)}")
        problems += _format_problems(card)
        if len(card["palette"]) != 256 or not all(is_color(color) for color in card["palette"]):
            problems.append("the palette should be 256 colors of three numbers from 0 to 255")
        if "values" in card and (problem := values_problem(card["values"], len(classes))) is not None:
            problems.append(problem)
        problems += [
            f"{key} should be a dict" for key in (*RECORDS, "plugins") if not isinstance(card.get(key, {}), dict)
        ]
    if problems:
        raise kind(f"{path}: {'; '.join(problems)}", "restore the file as segmi wrote it")


def _format_problems(card: Mapping[str, Any]) -> list[str]:
    given = card["preprocessing"].get("image_format")
    if given is None:
        return []
    try:
        channels, expected = ImageFormat.from_plain(given).channels, card["specification"].get("in_channels", 3)
    except (SegmiError, TypeError, ValueError, AttributeError, LookupError) as error:
        return [f"invalid image_format {given}: {_first_lines(error, 1)}"]
    return [] if channels == expected else [f"image_format has {channels} channels, the network {expected}"]


def _rebuild(folder: Path, card: Mapping[str, Any]) -> SegmentationNetwork:
    try:
        # Initial weights are drawn and overwritten; the caller's random state must not change.
        limit = 2 * (folder / WEIGHTS).stat().st_size + EXTRA_MEMORY
        with torch.random.fork_rng(devices=[]), MemoryLimit(limit):
            return build_network(**{**card["specification"], "encoder_weights": None})
    except MemoryLimitError as error:
        raise DataError(
            f"the weights in {folder} do not fit the network that {CARD} describes, which is far larger: {error}",
            f"restore {CARD} as the run wrote it",
        ) from error
    except Exception as error:  # the libraries raise many types
        architecture = card["specification"].get("architecture")
        package = card.get("plugins", {}).get(f"model {architecture}")
        if package and architecture not in plugin_names("segmi.models"):
            raise EnvironmentProblem(
                f"{folder / CARD} describes the network {architecture!r} of the package {package!r}, which is missing",
                "install this package",
            ) from error
        raise DataError(
            f"{folder / CARD} describes a network that this segmi ({__version__}) cannot build: {_first_lines(error)}",
            f"install segmi {card.get('segmi_version', 'as it was')} or newer, and the package that adds the network",
        ) from error


def _first_lines(error: Exception, count: int = 4) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(lines[:count]) + (" …" if len(lines) > count else "")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
