"""Image files from paths, folders and patterns, and the names of their results."""

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

# pathlib reduces the two slashes of a URL to one
_URL: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/{1,2}(?!/)")


class ImagePath(NamedTuple):
    """Image file, and the path of its results relative to the output folder, without suffix."""

    path: Path
    target: Path


def find_images(arguments: Sequence[str | Path]) -> list[ImagePath]:
    """Return the images named by files, folders (all images below them) and shell patterns.

    Results of a folder's images keep their relative paths; others have the name of the image.

    Raises:
        UsageError: for missing files, URLs, videos, and folders or patterns without images, all in one message; or no
            arguments.

    Example:
        >>> find_images(["https://example.org/a.jpg"])
        Traceback (most recent call last):
        segmi.errors.UsageError: https://example.org/a.jpg is a URL, not a file
          Fix: download it first, and pass the file
    """
    images: list[ImagePath] = []
    problems: list[UsageError] = []
    for argument in arguments:
        try:
            images += _expand(str(argument))
        except UsageError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        listing = together([error.message for error in problems])
        remedies = dict.fromkeys(str(error.remedy) for error in problems)
        raise UsageError(f"{len(problems)} arguments name no images:\n{listing}", "; ".join(remedies))
    if not images:
        raise UsageError("expected images to predict, got none", "pass image files or folders of them")
    return list(dict.fromkeys(images))


def _expand(argument: str) -> list[ImagePath]:
    path = Path(argument)
    if path.is_dir():
        files = (parent / name for parent, names in walk(path) for name in names)
        inside = sorted(one for one in files if one.suffix.lower() in SUFFIXES)
        if not inside:
            endings = ", ".join(sorted(SUFFIXES))
            raise UsageError(f"{printable(path)} contains no images", f"expected files ending in {endings}")
        return [ImagePath(one, one.relative_to(path).with_suffix("")) for one in inside]
    if _URL.match(argument) and not path.exists():
        raise UsageError(f"{printable(argument)} is a URL, not a file", "download it first, and pass the file")
    if path.suffix.lower() in VIDEOS:
        raise UsageError(
            f"{printable(path)} is a video, not an image",
            f"write its frames to a folder and pass that folder: ffmpeg -i {printable(path)} frames/%06d.png",
        )
    if not path.exists() and glob.has_magic(argument):
        names = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - Path.glob accepts no absolute pattern
        matches = [p for p in map(Path, names) if p.suffix.lower() in SUFFIXES]
        if not matches:
            raise UsageError(f"no image matches {printable(argument)}", "correct the pattern, or pass a folder")
        return [ImagePath(one, Path(one.stem)) for one in matches]
    if not path.exists():
        raise UsageError(f"{printable(path)} does not exist", "check the path")
    return [ImagePath(path, Path(path.stem))]
