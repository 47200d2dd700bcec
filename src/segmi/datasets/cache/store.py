"""The files of a cache entry: columns of arrays, mapped into memory, and a manifest of their sizes."""

from __future__ import annotations

import itertools
import json
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from segmi.datasets.cache.content import Content
from segmi.datasets.reader import Pixels

MANIFEST: Final = "manifest.json"
_CHANNELS: Final = {"images": 3}
_CHUNK: Final = 1 << 24


class DamagedError(Exception):
    """An entry that is not what its manifest says; its text says why."""


class Store:
    """A cache entry, opened: arrays by column and row, read from the disk as they are looked at.

    Args:
        folder: of the entry.
        digest: what its content must be; None takes it as it is.

    Raises:
        FileNotFoundError: there is no entry.
        DamagedError: the entry is of another content or format, or files are missing or of another size.
    """

    def __init__(self, folder: Path, digest: str | None = None) -> None:
        self.folder = folder
        self.manifest = _manifest(folder, digest)
        self.names: list[str] = self.manifest["names"]
        self._row = {name: row for row, name in enumerate(self.names)}
        self._columns = {name: _Column.mapped(folder, name, facts) for name, facts in self.manifest["columns"].items()}

    def __len__(self) -> int:
        return len(self.names)

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.folder, self.manifest["digest"])  # worker processes map the files, they get no copy

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self._columns)

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(column.offsets[-1] for column in self._columns.values())

    @property
    def label_counts(self) -> NDArray[np.int64]:
        """How many pixels of each train id (256 entries) all masks have together, at their original size."""
        return np.array(self.manifest["label_counts"], dtype=np.int64)

    def rows(self, names: Sequence[str]) -> list[int]:
        """The rows of samples by their names."""
        return [self._row[name] for name in names]

    def array(self, column: str, row: int) -> Pixels:
        """What stands in a row, read-only and without a copy: 3×H×W for images, H×W otherwise, uint8."""
        return self._columns[column].array(row)

    def verify(self) -> None:
        """Read everything and compare it with the checksums that were taken when it was written.

        Raises:
            DamagedError: naming the file.
        """
        for name, column in self._columns.items():
            if column.checksum() != self.manifest["columns"][name]["crc32"]:
                raise DamagedError(f"{_file(name)} is not what was written: its checksum differs")


@dataclass
class _Column:
    data: Pixels
    offsets: list[int]
    shapes: list[tuple[int, ...]]

    @classmethod
    def mapped(cls, folder: Path, name: str, facts: dict[str, Any]) -> _Column:
        channels = (_CHANNELS[name],) if name in _CHANNELS else ()
        shapes = [(*channels, height, width) for height, width in facts["sizes"]]
        offsets = [0, *itertools.accumulate(math.prod(shape) for shape in shapes)]
        path = folder / _file(name)
        found = path.stat().st_size if path.is_file() else None
        if found != offsets[-1]:
            size = "no file" if found is None else f"{found:,} bytes"
            raise DamagedError(f"{path.name}: expected {offsets[-1]:,} bytes, got {size}")
        return cls(np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray), offsets, shapes)

    def array(self, row: int) -> Pixels:
        return self.data[self.offsets[row] : self.offsets[row + 1]].reshape(self.shapes[row])

    def checksum(self) -> int:
        found = 0
        for start in range(0, len(self.data), _CHUNK):
            found = zlib.crc32(self.data[start : start + _CHUNK].data, found)
        return found


def _manifest(folder: Path, digest: str | None) -> dict[str, Any]:
    text = (folder / MANIFEST).read_text(encoding="utf-8", errors="replace")
    try:
        found = json.loads(text)
        counts = {len(facts["sizes"]) for facts in found["columns"].values()}
        sound = counts == {len(found["names"])} and len(found["label_counts"]) == 256 and found["digest"]
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise DamagedError(f"{MANIFEST} is damaged")
    if digest is not None and found["digest"] != digest:
        raise DamagedError(f"{MANIFEST} is of another content")
    return dict(found)


def _file(column: str) -> str:
    return f"{column}.bin"


@dataclass
class StoreWriter:
    """Writes the files of an entry into a folder, row after row; a context that closes them.

    Args:
        folder: an empty folder.
        content: what is written.
    """

    folder: Path
    content: Content
    label_counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))

    def __enter__(self) -> Self:
        self._files: dict[str, IO[bytes]] = {
            column: (self.folder / _file(column)).open("wb") for column in self.content.columns
        }
        self._sizes: dict[str, list[list[int]]] = {column: [] for column in self._files}
        self._checksums = dict.fromkeys(self._files, 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def add(self, arrays: Sequence[Pixels], counts: NDArray[np.int64]) -> None:
        """The next row: an array per column, and the label counts of the sample."""
        for (column, file), array in zip(self._files.items(), arrays, strict=True):
            data = np.ascontiguousarray(array, dtype=np.uint8)
            file.write(data.data)
            self._checksums[column] = zlib.crc32(data.data, self._checksums[column])
            self._sizes[column].append([int(side) for side in data.shape[-2:]])
        self.label_counts += counts

    def finish(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Write the manifest, which makes an entry of the files."""
        content = self.content
        manifest = {
            "dataset": content.dataset,
            "split": content.split,
            "resize": content.resize,
            "resize_mode": content.resize_mode,
            "slot": content.slot,
            "digest": content.digest,
            "built": now().isoformat(timespec="seconds"),
            "label_counts": self.label_counts.tolist(),
            "columns": {
                column: {"crc32": self._checksums[column], "sizes": sizes} for column, sizes in self._sizes.items()
            },
            "names": list(content.names),
        }
        (self.folder / MANIFEST).write_text(json.dumps(manifest, separators=(",", ":")), encoding="utf-8")
