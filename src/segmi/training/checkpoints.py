"""Checkpoints of a run: one folder per step, written atomically, with checksums.

``checkpoints/step-00001200/`` contains ``networks.safetensors`` (weights), ``state.pt`` (optimizer and counters, loaded
with ``weights_only``) and ``checkpoint.json`` (step, and the SHA-256 of both files). The last two checkpoints are kept,
in case one is damaged. ``checkpoints/best.safetensors`` contains the selected weights.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from segmi.errors import RunError, first_line
from segmi.records.atomic import atomic_folder, atomic_write, sweep
from segmi.records.serialization import read_json

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
KEPT = 2
# Errors that a damaged file can cause in json, torch.load and safetensors.
UNREADABLE = (
    OSError, ValueError, LookupError, EOFError, RuntimeError, TypeError, AttributeError, MemoryError,
    pickle.UnpicklingError, SafetensorError,
)  # fmt: skip
DIGEST = "sha256"
WEIGHTS, STATE, MANIFEST = "networks.safetensors", "state.pt", "checkpoint.json"


class Checkpoint(NamedTuple):
    """Weights and state of a run after a step."""

    step: int
    weights: dict[str, Tensor]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints in a folder.

    Args:
        folder: usually ``<run>/checkpoints``; created with the first checkpoint.
        writes: whether this process writes; otherwise, saving does nothing.
    """

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        self.folder, self.writes = folder, writes
        if writes:
            sweep(folder)

    @property
    def best_path(self) -> Path:
        """File of the selected weights."""
        return self.folder / "best.safetensors"

    def save(self, step: int, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write the checkpoint of ``step``, and remove all but the last two."""
        if not self.writes:
            return
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        files = {WEIGHTS: _serialize(weights), STATE: buffer.getvalue()}
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        manifest = {"schema_version": SCHEMA_VERSION, "step": step, "sha256": sums}
        # The manifest is one of the files, so that a folder without it is not a checkpoint.
        files[MANIFEST] = json.dumps(manifest, indent=2).encode()
        with atomic_folder(self._path(step), replace=True) as folder:
            for name, content in files.items():
                (folder / name).write_bytes(content)
        # Only after the new checkpoint is complete.
        for old in self._steps()[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)  # Windows keeps files that are open; the next call removes them

    def save_best(self, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        """Write the selected weights with metadata."""
        if self.writes:
            atomic_write(self.best_path, _serialize(weights, {**metadata, DIGEST: _digest(weights)}))

    def load_best(self) -> dict[str, Tensor]:
        """Return the selected weights.

        Raises:
            RunError: if they are damaged or missing.
        """
        try:
            with safe_open(self.best_path, "pt") as file:
                expected = (file.metadata() or {}).get(DIGEST)
            weights = load_file(self.best_path)
            if _digest(weights) != expected:
                raise ValueError("it does not match its checksum")
        except UNREADABLE as error:
            problem = f"the selected weights {self.best_path} are damaged: {first_line(error)}"
            raise RunError(problem, "put the file back, or start over with --overwrite") from error
        return weights

    def newest(self) -> Checkpoint | None:
        """Return the newest intact checkpoint, None if the folder has none. Warn about damaged ones.

        Raises:
            RunError: if all checkpoints are damaged, since starting over would discard them.
        """
        damaged: list[str] = []
        for folder in reversed(self._steps()):
            try:
                checkpoint = _read(folder)
            except UNREADABLE as error:
                damaged.append(f"{folder} ({first_line(error)})")
                continue
            for problem in damaged:
                log.warning("checkpoint %s is damaged; continuing from %s instead", problem, folder)
            return checkpoint
        if not damaged:
            return None
        problem = f"every checkpoint is damaged: {'; '.join(damaged)}"
        raise RunError(problem, "start over with --overwrite, or put an intact checkpoint folder back")

    def read(self, step: int) -> Checkpoint:
        """Return the checkpoint of ``step``, which must be intact."""
        return _read(self._path(step))

    def _path(self, step: int) -> Path:
        return self.folder / _name(step)

    def _steps(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir())


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _serialize(weights: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    return save(content, metadata={"format": "pt", **(metadata or {})})


def _digest(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        # Names, types and shapes too, since equal bytes can be other weights.
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read(folder: Path) -> Checkpoint:
    manifest = read_json(folder / MANIFEST)
    version = manifest["schema_version"]
    if type(version) is not int or version != SCHEMA_VERSION:
        raise ValueError(f"schema version {version}, this segmi reads {SCHEMA_VERSION}")
    if manifest["sha256"].keys() != {WEIGHTS, STATE}:
        raise ValueError(f"{MANIFEST} has checksums of {', '.join(manifest['sha256']) or 'nothing'}")
    if folder.name != _name(manifest["step"]):
        raise ValueError(f"{MANIFEST} belongs to step {manifest['step']}")
    # Before the files are opened: a damaged file might still load.
    for name, digest in manifest["sha256"].items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise ValueError(f"{name} does not match its checksum")
    state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not isinstance(state.get("optimizer"), dict):
        raise ValueError(f"{STATE} has no optimizer")
    return Checkpoint(step=manifest["step"], weights=load_file(folder / WEIGHTS), state=state)
