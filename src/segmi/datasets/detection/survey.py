"""What lies in a folder: its images by folder, and the places where images and masks may begin."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segmi.datasets.custom.dataset import OWN_PREFIX
from segmi.datasets.decode import SUFFIXES, printable
from segmi.datasets.detection.words import Role, told_by
from segmi.datasets.layout import walk
from segmi.errors import DataError


class Place(NamedTuple):
    """A folder in which images or masks begin; they may lie in folders below it.

    Args:
        folder: relative to the root, ``.`` for the root itself.
        role: what its name says is in it.
        split: of which split.
        key: what else its name says; an image and its mask agree in it.
    """

    folder: str
    role: Role | None
    split: str | None
    key: tuple[str, ...]


@dataclass
class Survey:
    """The files below a folder, hidden ones left out.

    Args:
        root: the folder.
        images: stems of the images of each place, relative to it.
        lists: text files by their lower-case name.
        json: JSON files.
        unread: how many files of each other ending there are, in lower case.
    """

    root: Path
    images: dict[Place, list[str]] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    json: list[str] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)

    def some(self, count: int = 8) -> str:
        """What the root holds, in short, for messages."""
        names = sorted(printable(entry.name) for entry in self.root.iterdir() if not entry.name.startswith("."))
        return ", ".join(names[:count]) + (", …" if len(names) > count else "") if names else "an empty folder"


def survey(root: Path) -> Survey:
    """Look at the names of all files below a folder.

    Raises:
        DataError: there is no such folder, or no image in it.
        EnvironmentProblem: it may not be read.
    """
    if not root.is_dir():
        raise DataError(
            f"{printable(root)}: expected a folder of images and masks, got {'a file' if root.exists() else 'nothing'}",
            "give the folder that holds both",
        )
    found = Survey(root)
    by_place: dict[Place, list[str]] = defaultdict(list)
    for parent, names in walk(root):
        inside = PurePosixPath(parent.relative_to(root).as_posix())
        if "__MACOSX" in inside.parts:
            continue
        place = place_of(inside)
        for name in names:
            _note(found, by_place[place], place, inside, name)
    found.images = {place: stems for place, stems in by_place.items() if stems}
    if not found.images:
        raise DataError(
            f"{printable(root)}: expected images ({', '.join(sorted(SUFFIXES))}), got {found.some()}",
            "give the folder that holds the images and the masks",
        )
    return found


def place_of(inside: PurePosixPath) -> Place:
    """Where the images begin of which some lie in this folder: the deepest part whose name tells something.

    Example:
        >>> place_of(PurePosixPath("leftImg8bit/train/aachen"))
        Place(folder='leftImg8bit/train', role='image', split='train', key=())
    """
    told = [told_by(part) for part in inside.parts]
    depth = max((place for place, one in enumerate(told, start=1) if one.role or one.split), default=0)
    if not depth:
        return Place(str(inside), None, None, ())
    told = told[:depth]
    roles = [one.role for one in told if one.role]
    splits = [one.split for one in told if one.split]
    key = tuple(word for one in told for word in one.rest)
    role = "other" if "other" in roles else roles[-1] if roles else None
    return Place("/".join(inside.parts[:depth]), role, splits[-1] if splits else None, key)


def _note(found: Survey, stems: list[str], place: Place, inside: PurePosixPath, name: str) -> None:
    path = PurePosixPath(name)
    if str(inside) == "." and name.startswith(OWN_PREFIX):
        return
    if path.suffix.lower() in SUFFIXES:
        whole = inside / path.stem
        stems.append(unicodedata.normalize("NFC", str(whole.relative_to(place.folder))))
    elif path.suffix.lower() in (".txt", ".csv"):
        found.lists.setdefault(name.lower(), []).append(str(inside / name))
    elif path.suffix.lower() == ".json":
        found.json.append(str(inside / name))
    else:
        found.unread[path.suffix.lower()] += 1
