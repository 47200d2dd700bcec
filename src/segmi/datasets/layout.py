"""Finding data on the disk: roots, files by their stem, pairs, and lists of splits."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from segmi.datasets.decode import SUFFIXES, printable
from segmi.datasets.reader import Listing, Problem, Sample
from segmi.errors import DataError, EnvironmentProblem

ROOT_VARIABLE: Final = "SEGMI_DATA"
"""The environment variable that names the folder of the data where no root is given."""


class Files(NamedTuple):
    """The image files of a folder by their stem, and the stems that more than one file has."""

    folder: Path
    by_stem: dict[str, Path]
    problems: list[Problem]


def find_root(title: str, root: str | Path | None, *, usual: Sequence[str], needed: Sequence[str]) -> Path:
    """The folder in which a dataset's layout begins.

    Args:
        title: the dataset, for the message.
        root: that folder, or a parent that holds it under a usual name; None: what ``SEGMI_DATA`` says.
        usual: the usual names, relative to ``root``.
        needed: the folders by which the layout is known.

    Raises:
        DataError: no root is given, or none of the places has the layout; the text lists what was looked for.
        EnvironmentProblem: a place may not be read.
    """
    base = _given_root(title, root)
    places = [base, *(base / name for name in usual)]
    try:
        for place in places:
            if all((place / folder).is_dir() for folder in needed):
                return place
        found = sorted(entry.name for entry in base.iterdir())
    except PermissionError as error:
        raise EnvironmentProblem(f"{printable(error.filename or base)}: may not be read", "give read permission") from error
    listing = ", ".join(map(printable, found[:8])) + (", …" if len(found) > 8 else "")
    raise DataError(
        f"{printable(base)}: expected {title}, that is {' and '.join(needed)} in one of "
        f"{', '.join(printable(place) for place in places)}; got " + (listing if found else "an empty folder"),
        f"unpack {title} as downloaded, and point --root or {ROOT_VARIABLE} to its folder or to one that holds it",
    )


def _given_root(title: str, root: str | Path | None) -> Path:
    given = root if root is not None else os.environ.get(ROOT_VARIABLE) or None
    if given is None:
        raise DataError(
            f"{title} needs a folder: expected --root or the environment variable {ROOT_VARIABLE}, got neither",
            f"say --root DIR, or export {ROOT_VARIABLE}=DIR; DIR is the dataset's folder or one that holds it",
        )
    base = Path(given).expanduser()
    if not base.is_dir():
        said = "--root" if root is not None else ROOT_VARIABLE
        raise DataError(
            f"{printable(base)}: expected the folder of {title}, got {'a file' if base.exists() else 'nothing there'}",
            f"correct {said}; a relative path starts at the working folder",
        )
    return base


def image_files(folder: Path, *, ending: str | None = None, stem_ending: str = "") -> Files:
    """The images below a folder by their stem: the path relative to the folder without its ending, NFC-normalized.

    Args:
        folder: may be missing; it then holds no files.
        ending: take the files whose name ends so (``_gtFine_labelIds.png``); None: all that end like an image.
        stem_ending: what the stem ends with, taken off (``_mask``).
    """
    by_stem: dict[str, Path] = {}
    problems = []
    for path in (parent / name for parent, names in walk(folder) for name in names):
        end = path.suffix if ending is None else ending
        stem = path.relative_to(folder).as_posix()
        if (ending is None and end.lower() not in SUFFIXES) or not stem.endswith(stem_ending + end):
            continue
        stem = unicodedata.normalize("NFC", stem[: -len(stem_ending + end)])
        if stem in by_stem:
            what = f"expected one file of this stem, got also {printable(by_stem[stem].name)}"
            problems.append(Problem(printable(path), what, "keep one file per stem"))
        by_stem.setdefault(stem, path)
    return Files(folder, dict(sorted(by_stem.items())), problems)


def walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder and those below it, each with the names of its files, in order; hidden ones are left out.

    Links to folders are followed, unless they lead back up. A folder that is not there has none.

    Raises:
        EnvironmentProblem: one may not be read.
    """

    def refuse(error: OSError) -> None:
        if isinstance(error, PermissionError):
            raise EnvironmentProblem(f"{printable(error.filename)}: may not be read", "give read permission") from error

    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        here = Path(parent)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not _leads_up(here / name))
        yield here, sorted(name for name in names if not name.startswith("."))


def _leads_up(folder: Path) -> bool:
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def pair(
    images: Files,
    masks: Files,
    *,
    group: Callable[[str], str],
    stems: Iterable[str] | None = None,
    mask_ending: str = ".png",
) -> Listing:
    """Images and masks of the same stem as samples; whatever has no counterpart is a problem.

    Args:
        images: the images.
        masks: the masks.
        group: the group of a stem.
        stems: those of the split, in its order; None: every stem of either side, sorted.
        mask_ending: how the missing mask of an image would be called, for the message.
    """
    samples = []
    problems = [*images.problems, *masks.problems] if stems is None else []
    for stem in sorted(images.by_stem.keys() | masks.by_stem.keys()) if stems is None else stems:
        image, mask = images.by_stem.get(stem), masks.by_stem.get(stem)
        if image is not None and mask is not None:
            samples.append(Sample(image, mask, printable(stem), group(stem)))
        elif image is not None:
            what = f"image without mask: expected {printable(masks.folder / (stem + mask_ending))}, got no such file"
            problems.append(Problem(printable(image), what, "add the mask, or take the image out of the split"))
        elif mask is not None:
            what = f"mask without image: expected an image {printable(stem)} in {printable(images.folder)}, got none"
            problems.append(Problem(printable(mask), what, "add the image, or take the mask out of the split"))
        else:
            what = f"listed, but neither in {printable(images.folder)} nor in {printable(masks.folder)}"
            problems.append(Problem(printable(stem), what, "unpack the dataset again, or take the name off the list"))
    return Listing(samples, problems)


class Entry(NamedTuple):
    """A line of a list of names."""

    line: int
    text: str


def read_list(path: Path, *, folders_allowed: bool = False) -> tuple[list[Entry], list[Problem]]:
    """The lines of a list of names, without empty ones, and what is wrong with others.

    A line that leads out of the dataset (``..``) is refused, as is one with any folder unless they are allowed (the
    caller then uses the last part alone). A line that stands twice is reported and kept once.

    Raises:
        DataError: the file is no UTF-8 text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{printable(path)}: expected UTF-8 text, got other bytes ({error.reason})", "save it as UTF-8"
        ) from error
    except OSError as error:
        raise DataError(f"{printable(path)}: cannot be read ({error.strerror})", "restore the list of the split") from error
    entries: dict[str, Entry] = {}
    problems = []
    for number, line in enumerate(lines, start=1):
        text = unicodedata.normalize("NFC", line.strip())
        parts = text.replace("\\", "/").split("/")
        if ".." in parts or "\0" in text or (len(parts) > 1 and not folders_allowed):
            what = f"line {number}: expected a name inside the dataset, got {printable(text)!r}"
            problems.append(Problem(printable(path), what, "write bare names into the list of a split"))
        elif text in entries:
            what = f"line {number}: {printable(text)!r} is listed twice, first in line {entries[text].line}"
            problems.append(Problem(printable(path), what, "take one of the two lines away"))
        elif text:
            entries[text] = Entry(number, text)
    return list(entries.values()), problems
