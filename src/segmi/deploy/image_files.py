"""Which images are meant by files, folders and patterns, and what their results are called."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from segmi.datasets.decode import SUFFIXES, printable
from segmi.datasets.layout import walk
from segmi.errors import UsageError, together

VIDEOS: Final = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})

_ADDRESS: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/{1,2}(?!/)")


class ImageFile(NamedTuple):
    """An image file, and where its results go below the output folder, without an ending."""

    path: Path
    target: Path


def found_images(arguments: Sequence[str | Path]) -> list[ImageFile]:
    """The images that are meant: files, folders with all images below them, and patterns as a shell reads them.

    Images of a folder keep their place below it; others go by their name.

    Raises:
        UsageError: what is not there, addresses, videos, folders or patterns without images, all of them named; or
            nothing at all.

    Example:
        >>> found_images(["https://example.org/a.jpg"])
        Traceback (most recent call last):
        segmi.errors.UsageError: https://example.org/a.jpg is an address, not a file
          Fix: download it first, and give the file
    """
    found: list[ImageFile] = []
    problems: list[UsageError] = []
    for argument in arguments:
        try:
            found += _meant_by(str(argument))
        except UsageError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        remedies = dict.fromkeys(str(error.remedy) for error in problems)
        raise UsageError(
            f"{len(problems)} arguments name no images:\n{together([error.message for error in problems])}",
            "; ".join(remedies),
        )
    if not found:
        raise UsageError("there are no images to predict", "name image files or folders of them")
    return list(dict.fromkeys(found))


def _meant_by(argument: str) -> list[ImageFile]:
    path = Path(argument)
    if path.is_dir():
        files = (parent / name for parent, names in walk(path) for name in names)
        inside = sorted(one for one in files if one.suffix.lower() in SUFFIXES)
        if not inside:
            raise UsageError(
                f"{printable(path)} holds no images", f"expected files ending in {', '.join(sorted(SUFFIXES))}"
            )
        return [ImageFile(one, one.relative_to(path).with_suffix("")) for one in inside]
    if _ADDRESS.match(argument) and not path.exists():
        raise UsageError(f"{printable(argument)} is an address, not a file", "download it first, and give the file")
    if path.suffix.lower() in VIDEOS:
        raise UsageError(
            f"{printable(path)} is a video, not an image",
            f"write its frames into a folder and give that: ffmpeg -i {printable(path)} frames/%06d.png",
        )
    if not path.exists() and glob.has_magic(argument):
        names = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        matches = [p for p in map(Path, names) if p.suffix.lower() in SUFFIXES]
        if not matches:
            raise UsageError(f"no image matches {printable(argument)}", "correct the pattern, or give a folder")
        return [ImageFile(one, Path(one.stem)) for one in matches]
    if not path.exists():
        raise UsageError(f"there is no file {printable(path)}", "check the path")
    return [ImageFile(path, Path(path.stem))]
