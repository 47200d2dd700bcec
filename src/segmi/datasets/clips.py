"""Groups in file names: the frames of a video, the slices of a patient, the tiles of a slide."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segmi.datasets.bands import read_bands
from segmi.datasets.custom import CustomDataset
from segmi.datasets.decode import printable
from segmi.datasets.group_table import group_column, group_names
from segmi.datasets.layout import Files, by_number
from segmi.datasets.reader import Sample
from segmi.errors import DataError, SegmiError

FEWEST_GROUPS: Final = 4
"""Groups of any name are held out whole if there are at least this many; with fewer, that would hold out too much."""

SHORTEST_VIDEO: Final = 5  # so many images with consecutive numbers are the frames of a video
ALIKE: Final = 0.5  # neighboring images of a video differ by less than this share of the difference of distant ones,
LITTLE_ALIKE: Final = 0.8  # or by this share if their names are one series, as of a video or an archive of photographs
SHARE_OF_FRAMES: Final = 0.8  # a series of images is a video if at least this share of it has consecutive numbers

GROUP_FILES: Final = ("groups.txt", "groups.csv")
"""Names of files with the group of each image."""

_COPY: Final = (  # the end of the names of augmented copies, saved beside the originals
    r"(?:[_\-. ]+(?i:aug|augmented|orig|original|[hv]?flip(?:ped|lr|ud|_?[hv])?|mirror(?:ed)?|rot|rotated?|rotation"
    r"|blur|noise|bright(?:ness)?|dark|crop|shear|elastic|clahe)[_\-]?\d*)*"
)
NUMBERED: Final = rf"^(.+?)(?:[_\-. ]+[a-zA-Z]*\d+|(?<=\d)[a-zA-Z]+\d+)?{_COPY}$"
"""The part of a name before its last number; the whole name without one. Words for augmented copies are left out."""

GROUPS: Final = (
    (r"^(.+)/", "the folders"),
    (r"^(.+?)[_\- ]*\[[^\]]*\]$", "the names before their coordinates"),
    (r"^(.+?)[_\-. ]+(?:x|r|row|i)[_=]?\d+[_\-. ,]*(?:y|c|col|j)[_=]?\d+$", "the names before their coordinates"),
    (NUMBERED, "the names before their number"),
    (rf"^(.+?){_COPY}$", "the names before the words for augmented copies"),
    (r"^([^/_-]+)[_-]", "the first part of the names"),
)
"""Regular expressions for groups, with their names; the first one that finds several images per group applies."""

_FRAME_WORDS: Final = re.compile(
    r"(?:^|[\W\d_])(?:f|fr|frames?|(?:seq|sequence|vid|video|clip|film|movie|drive)[a-z]?)(?:[\W\d_]|$)"
)
_ANY_WORDS: Final = re.compile(
    r"(?:image|img|im|photo|picture|pic|dsc[nf]?|sample|case|patient|subject|tile|patch|cell|slide|scan|id|file|train"
    r"|val|test|[\W\d_])*"
)
"""Common parts of the names of images that say nothing about their origin."""


class Grouping(NamedTuple):
    """How dependent images are kept in one split."""

    group: str | None  # a regular expression for the part of the names that dependent images share
    note: str  # the reason
    contiguous: bool = False  # whether splits are drawn as the end of every group
    groups: str | None = None  # the file with the group of each image


def propose_group(stems: Sequence[str], *, drawn: bool = True, alike: Callable[[bool], bool] = bool) -> Grouping:
    """Propose how the images of these names are grouped.

    If splits are ``drawn``, whole groups are kept together: at least four groups, most with several images and none
    with more than half of all images, or two clips, whose names have a number or a word for videos. The frames of a
    single video are divided in time. If the splits are given, two groups of any size are enough. ``alike`` returns
    whether images with neighboring numbers look alike; it is called if the names do not decide, with whether they are
    one long series.

    Example:
        >>> frames = [f"0001TP_{n:06d}" for n in range(6690, 6700)] + [f"Seq05VD_f{n:05d}" for n in range(9)]
        >>> propose_group(frames).note
        '2 clips by the names before their number: each clip stays in one split'
        >>> propose_group([f"frame{n}" for n in range(30)]).contiguous, propose_group(["a", "b", "c"]).group
        (True, None)
    """
    for pattern, source in GROUPS:
        matches = [re.search(pattern, stem) for stem in stems]
        if not stems or not all(matches):
            continue
        sizes = Counter(match[1] for match in matches if match)
        several = [name for name, size in sizes.items() if size > 1]
        if len(sizes) < 2 or 2 * len(several) < len(sizes):
            continue
        clips = pattern in (NUMBERED, GROUPS[0][0]) and all(
            re.search(r"\d", name) or _FRAME_WORDS.search(name.lower()) for name in several
        )
        enough = len(sizes) >= (FEWEST_GROUPS if drawn else 2) and not (drawn and 2 * max(sizes.values()) > len(stems))
        if enough or clips:
            plain = all(_ANY_WORDS.fullmatch(re.sub(r"\d+", "", name.lower())) for name in several)  # patient 1, case 2
            kind = "clip" if clips and not plain and _share_of_frames(stems) >= SHARE_OF_FRAMES else "group"
            effect = f": each {kind} stays in one split" if drawn else ""
            return Grouping(pattern, f"{len(sizes)} {kind}s by {source}{effect}")
    return _single_series(stems, drawn=drawn, alike=alike)


def _single_series(stems: Sequence[str], *, drawn: bool, alike: Callable[[bool], bool]) -> Grouping:
    """Return the grouping of images that are one series, or a few without clip names."""
    if _share_of_frames(stems) < SHARE_OF_FRAMES:
        note = ": each image is a group, which is right only if no two show the same object, place or video"
        return Grouping(None, f"the names have no groups{note if drawn else ': each image is a group'}")
    prefixes = {re.sub(r"\d+$", "", stem.lower()) for stem in stems}
    numbers = [int(number[0]) for stem in stems if (number := re.search(r"\d+$", stem))]
    cut = min(numbers, default=0) > 1 or any(re.search(r"\d", one) for one in prefixes)  # a part of a longer recording
    own = not any(_ANY_WORDS.fullmatch(one) for one in prefixes)
    padded = all(re.search(r"(?<!\d)0\d{4,}$", stem) for stem in stems)  # 00017
    series = len(prefixes) == 1 and ((own and cut) or padded)  # also the names in archives of photographs
    if all(map(_FRAME_WORDS.search, prefixes)) or alike(series):
        sizes = Counter(match[1] for one in stems if (match := re.search(NUMBERED, one)))
        pattern = None if min(sizes.values()) < SHORTEST_VIDEO else NUMBERED
        if not drawn:
            return Grouping(
                pattern,
                "the images are numbered like the frames of one video: scores on val do not hold for new videos",
            )
        return Grouping(
            pattern,
            "the images are numbered like the frames of a video: the last frames are drawn, so that neighboring frames "
            "are in two splits at the boundary only; scores on val do not hold for new videos",
            contiguous=True,
        )
    note = "the names are numbers without groups: each image is a group"
    return Grouping(None, f"{note}; for frames of a video, set contiguous = true under [draw]" if drawn else note)


def _share_of_frames(stems: Sequence[str]) -> float:
    """Return the share of the names whose numbers form a series of at least five with equal steps."""
    series: dict[str, list[int]] = defaultdict(list)
    for stem in stems:
        if match := re.search(r"^(.*?)(\d+)$", stem):
            series[match[1]].append(int(match[2]))
    frames = 0
    for numbers in map(sorted, series.values()):
        steps = [after - before for before, after in pairwise(numbers)]
        runs = [len(list(run)) + 1 for _, run in groupby(steps)]
        frames += min(sum(run for run in runs if run >= SHORTEST_VIDEO), len(numbers))
    return frames / max(len(stems), 1)


def group_samples(dataset: CustomDataset, samples: Sequence[Sample], files: Sequence[str], *, drawn: bool) -> Grouping:
    """Return the grouping by the first of the files that lists most images, else by the names and the looks."""
    by_name = {sample.name: sample.image for sample in samples if isinstance(sample.image, Path)}
    images = Files(dataset.root, by_name, [])
    for path in files:
        column = group_column(dataset.root / path)
        try:
            groups = group_names(dataset.root / path, images)
        except DataError:
            if column is None:
                raise
            continue  # a table in another encoding
        listed = [groups[sample.name] for sample in samples if sample.name in groups]
        if column is not None and not 1 < len({*listed}) < len(listed):
            continue  # a table of other facts
        if 2 * len(listed) >= len(samples):
            rest = f"; {len(samples) - len(listed)} images are not listed" if len(listed) < len(samples) else ""
            where = printable(path) if column is None else f"{printable(column)} in {printable(path)}"
            note = f"{len({*listed})} groups by {where}{rest}"
            return Grouping(None, note + (": each group stays in one split" if drawn else ""), groups=path)
    ordered = dict(sorted(by_name.items(), key=lambda item: by_number(item[0])))
    return propose_group(
        [*ordered],
        drawn=drawn,
        alike=lambda series: _neighbors_alike([*ordered.values()], LITTLE_ALIKE if series else ALIKE),
    )


def _neighbors_alike(paths: Sequence[Path], share: float) -> bool:
    """Return whether neighboring images differ by less than a share of the difference of distant ones, as in videos."""
    middle = len(paths) // 2
    near, far = [], []
    for index in range(0, middle, max(middle // 8, 1)):
        try:
            first, second, other = (_thumbnail(paths[i]) for i in (index, index + 1, index + middle))
        except SegmiError:  # the check of all files names it
            return False
        if not first.shape == second.shape == other.shape:
            return False
        near.append(float(np.abs(first - second).mean()))
        far.append(float(np.abs(first - other).mean()))
    return bool(near) and float(np.median(near)) < share * float(np.median(far))


def _thumbnail(path: Path) -> NDArray[np.float64]:
    pixels = read_bands(path)[0].pixels
    small = pixels[:: max(pixels.shape[0] // 32, 1), :: max(pixels.shape[1] // 32, 1)].astype(np.float64)
    return small.reshape(*small.shape[:2], -1).mean(-1)
