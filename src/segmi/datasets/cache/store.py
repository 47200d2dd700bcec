"""The files of a cache entry: one memory-mapped file per column of arrays, and a manifest."""

from __future__ import annotations

import itertools
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from segmi.datasets.cache.identity import EntryKey
from segmi.datasets.image_format import ImageArray

MANIFEST: Final = "manifest.json"
_CHUNK: Final = 1 << 24  # bytes per step of a checksum


class DamagedError(Exception):
    """An entry that does not match its manifest; the message says how."""


class Store:
    """An open cache entry: arrays by column and row, read from disk on access.

    Args:
        folder: folder of the entry.
        digest: the expected digest of its `EntryKey`; None accepts any.

    Raises:
        FileNotFoundError: the entry does not exist.
        DamagedError: the entry has another digest, or files are missing or of another size.
    """

    def __init__(self, folder: Path, digest: str | None = None) -> None:
        self.folder = folder
        self.manifest = _read_manifest(folder, digest)
        self.names: list[str] = self.manifest["names"]
        self._row = {name: row for row, name in enumerate(self.names)}
        self._columns = {name: _Column.open(folder, name, facts) for name, facts in self.manifest["columns"].items()}

    def __len__(self) -> int:
        return len(self.names)

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.folder, self.manifest["digest"])  # worker processes map the files instead of copying them

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self._columns)

    @property
    def nbytes(self) -> int:
        """The size of all columns in bytes."""
        return sum(column.data.nbytes for column in self._columns.values())

    @property
    def label_counts(self) -> NDArray[np.int64]:
        """The number of pixels of each train id (256 entries) in all masks at their original size."""
        return np.array(self.manifest["label_counts"], dtype=np.int64)

    def rows(self, names: Sequence[str]) -> list[int]:
        """Return the rows of samples by their names."""
        return [self._row[name] for name in names]

    def array(self, column: str, row: int) -> ImageArray:
        """Return the array of a row, read-only and without a copy: C×H×W for images, otherwise H×W uint8."""
        return self._columns[column].array(row)

    def verify(self) -> None:
        """Compare every byte with the checksums of the manifest.

        Raises:
            DamagedError: a checksum differs; names the file.
        """
        for name, column in self._columns.items():
            if column.checksum() != self.manifest["columns"][name]["crc32"]:
                raise DamagedError(f"{_file(name)}: expected the checksum of the manifest, got another")


@dataclass
class _Column:
    data: ImageArray  # flat
    offsets: list[int]
    shapes: list[tuple[int, ...]]

    @classmethod
    def open(cls, folder: Path, name: str, facts: dict[str, Any]) -> _Column:
        channels = (facts["channels"],) if facts["channels"] else ()
        shapes = [(*channels, height, width) for height, width in facts["sizes"]]
        offsets = [0, *itertools.accumulate(math.prod(shape) for shape in shapes)]
        path, dtype = folder / _file(name), np.dtype(facts["dtype"])
        size = path.stat().st_size if path.is_file() else None
        expected = offsets[-1] * dtype.itemsize
        if size != expected:
            given = "no file" if size is None else f"{size:,} bytes"
            raise DamagedError(f"{path.name}: expected {expected:,} bytes, got {given}")
        return cls(np.memmap(path, dtype=dtype, mode="r").view(np.ndarray), offsets, shapes)

    def array(self, row: int) -> ImageArray:
        return self.data[self.offsets[row] : self.offsets[row + 1]].reshape(self.shapes[row])

    def checksum(self) -> int:
        checksum = 0
        data = self.data.view(np.uint8)
        for start in range(0, len(data), _CHUNK):
            checksum = zlib.crc32(data[start : start + _CHUNK].data, checksum)
        return checksum


def _read_manifest(folder: Path, digest: str | None) -> dict[str, Any]:
    text = (folder / MANIFEST).read_text(encoding="utf-8", errors="replace")
    try:
        manifest = json.loads(text)
        counts = {len(facts["sizes"]) for facts in manifest["columns"].values()}
        valid = counts == {len(manifest["names"])} and len(manifest["label_counts"]) == 256 and manifest["digest"]
    except (ValueError, KeyError, TypeError, AttributeError):
        valid = False
    if not valid:
        raise DamagedError(f"{MANIFEST} is damaged")
    if digest is not None and manifest["digest"] != digest:
        raise DamagedError(f"{MANIFEST} has another digest")
    return dict(manifest)


def _file(column: str) -> str:
    return f"{column}.bin"


@dataclass
class StoreWriter:
    """Writes the files of an entry row by row; a context manager that closes them."""

    folder: Path  # an empty folder
    key: EntryKey  # the identity of the entry
    label_counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))

    def __enter__(self) -> Self:
        self._files: dict[str, IO[bytes]] = {c: (self.folder / _file(c)).open("wb") for c in self.key.columns}
        self._sizes: dict[str, list[list[int]]] = {column: [] for column in self._files}
        self._types: dict[str, tuple[str, int]] = dict.fromkeys(self._files, ("uint8", 0))  # dtype, channels
        self._checksums = dict.fromkeys(self._files, 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def add(self, arrays: Sequence[ImageArray], counts: NDArray[np.int64]) -> None:
        """Write the next row: an array per column, and the label counts of the sample."""
        for (column, file), array in zip(self._files.items(), arrays, strict=True):
            data = np.ascontiguousarray(array)
            self._types[column] = (data.dtype.name, len(data) if data.ndim == 3 else 0)
            file.write(data.data)
            self._checksums[column] = zlib.crc32(data.data, self._checksums[column])
            self._sizes[column].append([int(side) for side in data.shape[-2:]])
        self.label_counts += counts

    def finish(self) -> None:
        """Write the manifest, which completes the entry."""
        facts = ("dataset", "split", "resize", "resize_mode", "slot", "digest")
        manifest = {
            **{name: getattr(self.key, name) for name in facts},
            "built": datetime.now(UTC).isoformat(timespec="seconds"),
            "label_counts": self.label_counts.tolist(),
            "columns": {
                name: {"dtype": dtype, "channels": channels, "crc32": self._checksums[name], "sizes": self._sizes[name]}
                for name, (dtype, channels) in self._types.items()
            },
            "names": list(self.key.names),
        }
        (self.folder / MANIFEST).write_text(json.dumps(manifest, separators=(",", ":")), encoding="utf-8", newline="\n")
