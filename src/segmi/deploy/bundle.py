"""A finished model as a folder of two files: its weights, and all that is needed to use them, as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from segmi import __version__
from segmi.datasets.processing import Processing
from segmi.deploy.hub import fetched, repository
from segmi.errors import DataError, SegmiError, UsageError
from segmi.models import SegmentationNetwork, build_network
from segmi.models.allocation import AllocationError, BoundedAllocation
from segmi.records.atomic import atomic_folder
from segmi.records.serialization import read_json
from segmi.types import IGNORE_INDEX

SCHEMA_VERSION: Final = 1
WEIGHTS: Final = "model.safetensors"
CARD: Final = "model.json"

ROOM: Final = 2**26
"""Bytes that building a network may take beyond twice its weights, for what libraries make on the way."""

_PICKLES: Final = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")
_CARD_TYPES: Final[dict[str, type]] = {
    "specification": dict,
    "preprocessing": dict,
    "classes": list,
    "palette": list,
    "ignored": int,
    "sha256": str,
}


def save_bundle(
    folder: str | Path,
    network: SegmentationNetwork,
    *,
    dataset: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
) -> Path:
    """Write a network as a bundle; a bundle that is there is replaced as a whole.

    Args:
        folder: the bundle's folder; its parents are made.
        network: as `segmi.models.build_network` makes them.
        dataset: ``name``, ``title``, ``classes``, ``palette`` (256 colors) and ``ignored`` of the labels it predicts.
        preprocessing: the fields of `segmi.datasets.processing.Processing` that it was trained with.

    Returns: the folder.

    Raises:
        UsageError: if the network cannot be rebuilt from its specification, or does not fit the dataset.
        EnvironmentProblem: if the folder cannot be written.
    """
    folder = Path(folder)
    card = _new_card(network, dataset, preprocessing)
    # Copies, since safetensors refuses arrays that share memory.
    state = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    with atomic_folder(folder, replace=True) as temporary:
        save_file(state, temporary / WEIGHTS)
        card["sha256"] = _sha256(temporary / WEIGHTS)
        (temporary / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def load(folder: str | Path, *, device: str | torch.device = "cpu") -> SegmentationNetwork:
    """The network of a bundle, in evaluation mode, with the bundle's description as its ``card``.

    Nothing is executed: the weights are plain arrays, the architecture is looked up by name. Nothing is downloaded but
    the two files of a repository, where one is named.

    Args:
        folder: the bundle's folder, as a run leaves it under ``bundles/<network>`` or `segmi publish` writes it; or a
            repository of the Hugging Face Hub, ``owner/name`` or ``owner/name@revision``.
        device: where the network goes.

    Raises:
        DataError: the folder is no bundle, of a newer schema, damaged, or its two files do not belong together; or
            there is no such repository.
        EnvironmentProblem: the Hub cannot be reached.
    """
    folder = _on_disk(folder)
    card = _read_card(folder)
    weights = folder / WEIGHTS
    if _sha256(weights) != card["sha256"]:
        raise DataError(
            f"{weights} is not the file that {CARD} was written with: its SHA-256 differs",
            "copy both files of the bundle again from the run that wrote them",
        )
    try:
        state = load_file(weights)
    except SafetensorError as error:
        raise DataError(f"{weights} is damaged: {error}", "copy the bundle again from its run") from error
    if unfinished := [
        name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()
    ]:
        raise DataError(
            f"{weights} holds numbers that are not finite, first in {unfinished[0]}: such a network predicts nothing",
            "copy the bundle again from its run, or train it again",
        )
    network = _rebuilt(folder, card)
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise DataError(
            f"the weights in {folder} do not fit the network that {CARD} describes: {_first_lines(error)}",
            f"restore {CARD} as the run wrote it",
        ) from error
    network.card = card
    return network.eval().to(device)


def _on_disk(named: str | Path) -> Path:
    """The folder that is named, or that a repository was downloaded into."""
    wanted = repository(str(named)) if isinstance(named, str) else None
    here = Path(named)
    # A path that begins in a folder that is here is a path, though the end of it may be misspelt.
    if wanted is None or here.exists() or Path(here.parts[0]).exists():
        return here
    return fetched(wanted, [WEIGHTS, CARD])


def _new_card(
    network: SegmentationNetwork, dataset: Mapping[str, Any], preprocessing: Mapping[str, Any]
) -> dict[str, Any]:
    if not isinstance(network, SegmentationNetwork) or not network.specification:
        raise UsageError(
            f"a bundle is written from a network that build_network made, got {type(network).__name__}",
            "build the network with segmi.models.build_network, which records how to build it again",
        )
    missing = [key for key in ("name", "title", "classes", "palette") if key not in dataset]
    if missing:
        raise UsageError(f"the description of the dataset lacks {', '.join(missing)}", "give all of its fields")
    classes = list(dataset["classes"])
    if len(classes) != network.classes:
        raise UsageError(f"the network has {network.classes} classes, the dataset {dataset['name']} has {len(classes)}")
    card = {
        "schema_version": SCHEMA_VERSION,
        "segmi_version": __version__,
        "architecture": network.specification["architecture"],
        "parameters": network.parameter_count,
        "specification": network.specification,
        "preprocessing": dict(preprocessing),
        "dataset": {"name": dataset["name"], "title": dataset["title"]},
        "classes": classes,
        "palette": [list(color) for color in dataset["palette"]],
        "ignored": dataset.get("ignored", IGNORE_INDEX),
        "sha256": "",
    }
    try:
        card = json.loads(json.dumps(card))
    except TypeError as error:
        raise UsageError(f"the bundle's description must be plain JSON: {error}") from error
    _check_card(card, Path(CARD), UsageError)
    return card


def _read_card(folder: Path) -> dict[str, Any]:
    if folder.suffix in _PICKLES or (folder.is_dir() and not (folder / WEIGHTS).is_file() and _pickles_in(folder)):
        raise DataError(
            f"{folder} holds pickled weights, which can run any program when they are opened; segmi does not open them",
            f"use a bundle: a folder with {WEIGHTS} and {CARD}, as `segmi study run` and `segmi train` leave them",
        )
    missing = [name for name in (WEIGHTS, CARD) if not (folder / name).is_file()]
    if missing:
        what = "no such folder" if not folder.is_dir() else f"{' and '.join(missing)} missing"
        raise DataError(
            f"{folder} is no bundle: {what}",
            f"name a folder with {WEIGHTS} and {CARD}, for instance bundles/<network> of a finished run",
        )
    path = folder / CARD
    try:
        card = read_json(path)
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}", "copy the bundle again from its run") from error
    version = card.get("schema_version") if isinstance(card, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:
        newer = type(version) is int and version > SCHEMA_VERSION
        raise DataError(
            f"{path} has schema_version {version!r}, this segmi ({__version__}) reads {SCHEMA_VERSION}",
            "install a newer segmi" if newer else "use a bundle that segmi wrote",
        )
    _check_card(card, path, DataError)
    return card


def _check_card(card: Mapping[str, Any], path: Path, kind: type[SegmiError]) -> None:
    """Everything that prediction will rely on, checked before it starts."""
    wrong = [
        f"{key} should be a {wanted.__name__}, got {type(card.get(key)).__name__}"
        for key, wanted in _CARD_TYPES.items()
        if not isinstance(card.get(key), wanted)
    ]
    if not wrong:
        if len(card["classes"]) != card["specification"].get("classes") or len(card["classes"]) > IGNORE_INDEX:
            wrong.append(f"{len(card['classes'])} classes for a network of {card['specification'].get('classes')}")
        if not all(isinstance(name, str) for name in card["classes"]):
            wrong.append("the classes should be names")
        wrong += _wrong_preprocessing(card["preprocessing"])
        if len(card["palette"]) != 256 or not all(_is_color(color) for color in card["palette"]):
            wrong.append("the palette should be 256 colors of three numbers from 0 to 255")
    if wrong:
        raise kind(f"{path}: {'; '.join(wrong)}", "restore the description as segmi wrote it")


def _wrong_preprocessing(stored: Mapping[str, Any]) -> list[str]:
    known = {name: stored[name] for name in ("resize", "resize_mode") if name in stored}
    try:
        Processing(**known, crop=1)
    except (SegmiError, TypeError) as error:
        return [f"preprocessing cannot be {known}: {_first_lines(error, 1)}"]
    return []


def _is_color(color: Any) -> bool:
    return isinstance(color, list) and len(color) == 3 and all(type(c) is int and 0 <= c <= 255 for c in color)


def _pickles_in(folder: Path) -> bool:
    return any(path.suffix in _PICKLES for path in folder.iterdir())


def _rebuilt(folder: Path, card: Mapping[str, Any]) -> SegmentationNetwork:
    try:
        # The weights drawn here are thrown away; nobody's draws should move.
        with torch.random.fork_rng(devices=[]), BoundedAllocation(2 * (folder / WEIGHTS).stat().st_size + ROOM):
            return build_network(**{**card["specification"], "encoder_weights": None})
    except AllocationError as error:
        raise DataError(
            f"the weights in {folder} do not fit the network that {CARD} describes, which is far larger: {error}",
            f"restore {CARD} as the run wrote it",
        ) from error
    except Exception as error:  # whatever the libraries of networks raise is about this description
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
