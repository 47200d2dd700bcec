"""Which folders of a survey hold images, and which the masks that belong to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from segmi.datasets.custom.panoptic import Segments
from segmi.datasets.decode import printable
from segmi.datasets.detection import affixes
from segmi.datasets.detection.contents import looks_like_masks
from segmi.datasets.detection.survey import Place, Survey
from segmi.datasets.detection.words import told_by
from segmi.errors import DataError, UsageError

ENOUGH: Final = 0.5
"""The share of pairs from which two folders are taken to belong together; files without counterpart are told then."""


class Pair(NamedTuple):
    """A folder of images and one of masks.

    Args:
        images: where the images begin.
        masks: where the masks begin; the same place where they lie side by side or in folders below it.
        match: by which names they pair, and how many do.
        panoptic: the JSON file of panoptic masks.
    """

    images: Place
    masks: Place
    match: affixes.Match
    panoptic: str | None = None

    @property
    def split(self) -> str | None:
        """Of which they are, None where their folders do not say."""
        return self.masks.split or self.images.split


def said(found: Survey, images: str | None, masks: str | None) -> list[Pair]:
    """The folders that somebody named, or those that are called so in every split.

    Raises:
        DataError: too few of their names agree.
        UsageError: a folder holds no images.
    """
    stems = dict(found.images)
    named = {text: _called(found, text, stems) for text in (images, masks) if text is not None}
    mask_places = named[masks] if masks is not None else [p for p in found.images if p.role == "mask"]
    image_places = named[images] if images is not None else [p for p in found.images if p not in mask_places]
    pairs = []
    for mask in mask_places:
        others = [p for p in image_places if p.folder != mask.folder]
        alike = [p for p in others if p.split == mask.split] or others
        best = _best([Pair(image, mask, affixes.between(stems[image], stems[mask])) for image in alike])
        pairs += best
    if not pairs:
        raise DataError(
            f"{printable(found.root)}: expected masks in {masks or 'a folder'} named as the images in "
            f"{images or 'another'}, got names of which too few agree",
            "name both folders, --images DIR --masks DIR, and give an image and its mask the same name",
        )
    return pairs if len({pair.split for pair in pairs}) == len(pairs) else _best(pairs)


def _called(found: Survey, text: str, stems: dict[Place, list[str]]) -> list[Place]:
    """The place of this path, or those of splits that end so."""
    inside = str(PurePosixPath(text))
    exact = [place for place in found.images if place.folder == inside]
    ending = [place for place in found.images if place.folder.endswith(f"/{inside}") and place.split]
    if exact or ending:
        return exact or ending
    place = Place(inside, None, None, ())
    stems[place] = _stems_below(found, inside)
    if not stems[place]:
        raise UsageError(f"{printable(found.root / text)} holds no images", "name a folder inside the one that is read")
    return [place]


def panoptic(found: Survey) -> list[Pair]:
    """Each JSON file with a folder of the same name beside it."""
    pairs = []
    for path in found.json:
        folder = str(PurePosixPath(path).with_suffix(""))
        masks = _stems_below(found, folder)
        if not masks:
            continue
        Segments(found.root / path)  # refused here rather than taken for something else
        mask = Place(folder, "mask", told_by(PurePosixPath(folder).name).split, ())
        pairs += _best(
            Pair(place, mask, affixes.between(stems, masks), path)
            for place, stems in found.images.items()
            if not PurePosixPath(place.folder).is_relative_to(folder) and place.role in (None, "image")
        )
    return pairs


def by_role(found: Survey) -> list[Pair]:
    """For each folder that is called like one of masks, the folder of its images."""
    pairs = []
    for mask in (place for place in found.images if place.role == "mask"):
        others = [p for p in found.images if p.role in (None, "image")]
        same = [p for p in others if p.split == mask.split] or [p for p in others if p.split is None]
        pairs += _best(_matched(found, image, mask) for image in same)
    return _in_folders_that_repeat(pairs)


def side_by_side(found: Survey) -> list[Pair]:
    """Folders that hold images and masks, told apart by their names; many of them as one, where they are many."""
    by_split: dict[str | None, list[Place]] = defaultdict(list)
    for place in found.images:
        if place.role != "other":
            by_split[place.split].append(place)
    pairs = []
    for places in by_split.values():
        alone = [Pair(place, place, affixes.within(found.images[place])) for place in places]
        fitting = [pair for pair in alone if pair.match.share >= ENOUGH]
        if len(places) > 1 and len(fitting) != 1:
            whole = _around(places)
            fitting = [Pair(whole, whole, affixes.within(_stems_of(found, places, whole)))]
        pairs += [pair for pair in fitting if pair.match.share >= ENOUGH]
    return pairs


def by_content(found: Survey) -> list[Pair]:
    """Two folders of files that are called alike: the masks are those with few values."""
    places = [place for place in found.images if place.role != "other"]
    if len(places) != 2:
        return []
    masks = [place for place in places if looks_like_masks(found.root / place.folder, found.images[place])]
    if len(masks) != 1:
        return []
    (image,) = [place for place in places if place not in masks]
    return _best([_matched(found, image, masks[0])])


def _best(pairs: Iterable[Pair]) -> list[Pair]:
    """The one whose folders and names agree most, if enough do."""
    best = max(
        pairs,
        key=lambda pair: (pair.images.key == pair.masks.key, pair.match.share, pair.images.role == "image"),
        default=None,
    )
    return [best] if best is not None and best.match.share >= ENOUGH else []


def _matched(found: Survey, image: Place, mask: Place) -> Pair:
    """The pair of two places; where names do not agree, perhaps in a folder that holds all that is below one."""
    images, masks = (image, found.images[image]), (mask, found.images[mask])
    tried = [
        Pair(one[0], other[0], affixes.between(one[1], other[1]))
        for one in (images, _deeper(*images))
        for other in (masks, _deeper(*masks))
    ]
    return max(tried, key=lambda pair: pair.match.share)


def _deeper(place: Place, stems: Sequence[str]) -> tuple[Place, Sequence[str]]:
    parents = {stem.rpartition("/")[0] for stem in stems}
    if len(parents) != 1 or "" in parents:
        return place, stems
    (parent,) = parents
    return place._replace(folder=str(PurePosixPath(place.folder) / parent)), [s.rpartition("/")[2] for s in stems]


def _in_folders_that_repeat(pairs: list[Pair]) -> list[Pair]:
    """Pairs of one split whose folders are called alike (``scene 1/images``, ``scene 2/images``, …) as one pair."""
    by_split: dict[str | None, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_split[pair.split].append(pair)
    whole = []
    for several in by_split.values():
        ends = {(PurePosixPath(p.images.folder).name, PurePosixPath(p.masks.folder).name) for p in several}
        beside = all(PurePosixPath(p.images.folder).parent == PurePosixPath(p.masks.folder).parent for p in several)
        used = {pair.match.affixes for pair in several}
        if len(several) == 1 or len(ends) > 1 or len(used) > 1 or not beside or _same_folder_twice(several):
            whole += several
            continue
        (image_folder, mask_folder), around = next(iter(ends)), _around([pair.images for pair in several])
        match = several[0].match
        inside = match.affixes._replace(image_folder=image_folder, mask_folder=mask_folder)
        whole.append(Pair(around, around, match._replace(affixes=inside)))
    return whole


def _same_folder_twice(pairs: Sequence[Pair]) -> bool:
    return len({pair.images.folder for pair in pairs}) < len(pairs)


def _around(places: Sequence[Place]) -> Place:
    """The folder that holds several places of one split."""
    parts = [PurePosixPath(place.folder).parts for place in places]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return Place("/".join(shared) or ".", None, places[0].split, ())


def _stems_below(found: Survey, folder: str) -> list[str]:
    return _stems_of(found, list(found.images), Place(folder, None, None, ()))


def _stems_of(found: Survey, places: Sequence[Place], around: Place) -> list[str]:
    """The stems of some places, relative to a folder; those that lie elsewhere are left out."""
    whole = [PurePosixPath(place.folder) / stem for place in places for stem in found.images[place]]
    return [str(stem.relative_to(around.folder)) for stem in whole if stem.is_relative_to(around.folder)]
