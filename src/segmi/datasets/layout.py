"""Files on disk: dataset roots, image files by stem, image-mask pairs, split lists and drawn splits."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from segmi.datasets.decode import SUFFIXES, printable, unreadable_path
from segmi.datasets.holdout import draw_splits, draw_tails
from segmi.datasets.reader import Listing, Problem, Sample
from segmi.errors import DataError

ROOT_VARIABLE: Final = "SEGMI_DATA"  # the environment variable with the default root of all datasets


class Files(NamedTuple):
    """The image files of a folder by stem, and a problem for every stem that several files share."""

    folder: Path
    by_stem: dict[str, Path]
    problems: list[Problem]


def find_root(title: str, root: str | Path | None, *, usual: Sequence[str], needed: Sequence[str]) -> Path:
    """Return the top folder of a dataset's layout.

    Args:
        title: the dataset, for messages.
        root: that folder, or one that holds it one or two levels below; None: ``$SEGMI_DATA``.
        usual: the usual names, relative to ``root``.
        needed: the folders that identify the layout.

    Raises:
        DataError: no root is given, or no candidate has the layout; the message lists the candidates.
        EnvironmentProblem: read permission is missing.
    """
    base = _given_root(title, root)
    candidates = [base, *(base / name for name in usual)]
    try:
        below = [path for pattern in ("*/", "*/*/") for path in sorted(base.glob(pattern))] if needed else []
        for candidate in [*candidates, *(path / name for path in below for name in ("", *usual))]:
            if all((candidate / folder).is_dir() for folder in needed):
                return candidate
        entries = sorted(entry.name for entry in base.iterdir())
    except PermissionError as error:
        raise unreadable_path(error.filename or base) from error
    listing = ", ".join(map(printable, entries[:8])) + (", …" if len(entries) > 8 else "")
    raise DataError(
        f"{printable(base)}: expected {title}, that is {' and '.join(needed)} in one of "
        f"{', '.join(map(printable, candidates))}; got {listing or 'an empty folder'}",
        f"unpack {title} as downloaded, and set --root or {ROOT_VARIABLE} to its folder or to one that holds it; or "
        f"describe another layout: segmi data init {printable(base)}",
    )


def _given_root(title: str, root: str | Path | None) -> Path:
    given = root if root is not None else os.environ.get(ROOT_VARIABLE) or None
    if given is None:
        raise DataError(
            f"{title} needs a folder: expected --root or the environment variable {ROOT_VARIABLE}, got neither",
            f"pass --root DIR, or export {ROOT_VARIABLE}=DIR; DIR is the dataset's folder or one that holds it",
        )
    base = Path(given).expanduser()
    if not base.is_dir():
        option = "--root" if root is not None else ROOT_VARIABLE
        raise DataError(
            f"{printable(base)}: expected the folder of {title}, got {'a file' if base.exists() else 'nothing there'}",
            f"correct {option}; a relative path starts at the working folder",
        )
    return base


def existing_splits(
    folders: Callable[[str], tuple[Path, Path]], names: Sequence[str] = ("train", "val", "test")
) -> tuple[str, ...]:
    """Return the splits whose image folder exists; ``test`` needs its masks too, since publishers hold them back.

    ``folders`` returns the image folder and the mask folder of a split.
    """
    return tuple(name for name in names if folders(name)[0].is_dir() and (name != "test" or folders(name)[1].is_dir()))


def image_files(folder: Path, *, ending: str | None = None, stem_ending: str = "") -> Files:
    """Return the images below a folder by stem: the relative path without its suffix, NFC-normalized.

    Args:
        folder: a missing folder holds no files.
        ending: only files whose names end with it (``_gtFine_labelIds.png``); None: all with an image suffix.
        stem_ending: only stems that end with it (``_mask``); it is removed.
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
            message = f"expected one file of this stem, got also {printable(by_stem[stem].name)}"
            problems.append(Problem(printable(path), message, "keep one file per stem"))
        by_stem.setdefault(stem, path)
    return Files(folder, dict(sorted(by_stem.items())), problems)


def walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder and those below it, each with its file names, sorted and without hidden ones.

    Links to folders are followed unless they lead to a parent. A missing folder yields nothing.

    Raises:
        EnvironmentProblem: read permission is missing.
    """

    def on_error(error: OSError) -> None:
        if isinstance(error, PermissionError):
            raise unreadable_path(error.filename) from error

    for parent, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
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
    """Pair images and masks of the same stem; every unmatched file is a problem.

    ``stems`` lists the split in its order; None: every stem of either side, sorted. ``group`` returns the group
    of a stem. ``mask_ending`` ends the name of a missing mask in messages.
    """
    samples = []
    problems = [*images.problems, *masks.problems] if stems is None else []
    for stem in sorted(images.by_stem.keys() | masks.by_stem.keys()) if stems is None else stems:
        image, mask = images.by_stem.get(stem), masks.by_stem.get(stem)
        if image is not None and mask is not None:
            samples.append(Sample(image, mask, printable(stem), group(stem)))
        elif image is not None:
            message = f"image without mask: expected {printable(masks.folder / (stem + mask_ending))}, got no such file"
            problems.append(Problem(printable(image), message, "add the mask, or remove the image from the split"))
        elif mask is not None:
            message = f"mask without image: expected an image {printable(stem)} in {printable(images.folder)}, got none"
            problems.append(Problem(printable(mask), message, "add the image, or remove the mask from the split"))
        else:
            message = f"listed, but neither in {printable(images.folder)} nor in {printable(masks.folder)}"
            remedy = "unpack the dataset again, or remove the name from the list"
            problems.append(Problem(printable(stem), message, remedy))
    return Listing(samples, problems)


class ListLine(NamedTuple):
    """A line of a split list."""

    number: int
    text: str


def read_list(path: Path, *, folders_allowed: bool = False) -> tuple[list[ListLine], list[Problem]]:
    """Return the non-empty lines of a split list, and its problems.

    A line that leads out of the dataset (``..``) is a problem, and so is one with any folder unless they are allowed;
    the caller then uses the last part of the path. A repeated line is a problem and is kept once.

    Raises:
        DataError: the file cannot be read as UTF-8 text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{printable(path)}: expected UTF-8 text, got other bytes ({error.reason})", "save it as UTF-8"
        ) from error
    except OSError as error:
        raise DataError(
            f"{printable(path)}: expected a readable file, got: {error.strerror}", "restore the list of the split"
        ) from error
    entries: dict[str, ListLine] = {}
    problems = []
    for number, line in enumerate(lines, start=1):
        text = unicodedata.normalize("NFC", line.strip())
        parts = text.replace("\\", "/").split("/")
        if ".." in parts or "\0" in text or (len(parts) > 1 and not folders_allowed):
            message = f"line {number}: expected a name inside the dataset, got {printable(text)!r}"
            problems.append(Problem(printable(path), message, "write names without folders into the split's list"))
        elif text in entries:
            message = f"line {number}: {printable(text)!r} is listed twice, first in line {entries[text].number}"
            problems.append(Problem(printable(path), message, "remove one of the two lines"))
        elif text:
            entries[text] = ListLine(number, text)
    return list(entries.values()), problems


def split_listing(
    split: str,
    images: Files,
    masks: Files,
    stems: Sequence[str],
    *,
    group: re.Pattern[str] | Mapping[str, str] | None,
    prefix: str = "",
    shares: Mapping[str, float],
    seed: int,
    mask_ending: str,
    contiguous: bool = False,
) -> Listing:
    """Return the pairs of a split; the splits in ``shares`` are drawn from ``stems`` in whole groups.

    The group of an image is the first group, or the whole match, of the pattern ``group`` in its stem after ``prefix``,
    or its entry in ``group``; other images are a group each. ``contiguous``: the last images of every group are drawn,
    and without ``group``, all images are one group.
    ``mask_ending`` ends the name of a missing mask in messages.
    """
    groups: dict[str, str] = {}
    problems = []
    for stem in stems:
        name: str | None = f"{prefix}{stem}"
        if isinstance(group, Mapping):
            name = group.get(stem, name)
        elif group is not None and (match := group.search(stem)):
            name = match.group(1 if group.groups else 0)
        elif group is not None:
            message = f"expected a name that the group {group.pattern!r} matches, got {printable(stem)!r}"
            remedy = "correct the regular expression `group`, or the name"
            problems.append(Problem(printable(images.by_stem.get(stem, stem)), message, remedy))
        groups[stem] = "video" if contiguous and group is None else printable(name or stem)
    if contiguous:
        drawn = draw_tails({stem: groups[stem] for stem in sorted(stems, key=by_number)}, shares)
    else:
        by_group = draw_splits([groups[stem] for stem in stems], shares, seed)
        drawn = {name: {stem for stem in stems if groups[stem] in of} for name, of in by_group.items()}
    if stems and not all(drawn.values()):
        names, count = " and ".join(shares), len(set(groups.values()))
        message = f"expected at least {len(shares) + 1} groups to draw {names} from, got {count}"
        remedy = f"add images of other groups, or set {names} to 0 (`segmi data init --val 0`)"
        problems.append(Problem(printable(images.folder), message, remedy))
    elsewhere = set().union(*drawn.values())
    chosen = [s for s in stems if (s in drawn[split] if split in drawn else s not in elsewhere)]
    samples, unpaired = pair(images, masks, group=groups.__getitem__, stems=chosen, mask_ending=mask_ending)
    return Listing(samples, [*problems, *unpaired])


def by_number(stem: str) -> list[tuple[int, str]]:
    """Return a sort key that orders the numbers in names by value: frame_9 before frame_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", stem)]


def stem_of(line: str, images: Files) -> str:
    """Return the stem of the image that a list line names: with or without folder and suffix, or before its mask."""
    fields = line.split(" ")
    for text in (line, " ".join(fields[: len(fields) // 2 or 1]), fields[0]):
        path = PurePosixPath(text)
        for stem in (text, str(path.with_suffix("")) if path.name else text, path.name, path.stem):
            if stem in images.by_stem:
                return stem
    return line
