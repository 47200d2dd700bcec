"""The part of the file names that an image and its mask share."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from segmi.datasets.custom.dataset_config import Affixes

_IMAGE_NAMES: Final = ("image", "img", "rgb", "sat", "photo", "input", "original", "color", "colour")
_MASK_NAMES: Final = (
    *("mask", "masks", "label", "labels", "gt", "seg", "segmentation", "annotation", "groundtruth", "truth"),
    *("lab", "target", "matte"),
)
_IMAGE_WORDS: Final = (*_IMAGE_NAMES, *(n.title() for n in _IMAGE_NAMES), *map(str.upper, _IMAGE_NAMES), "leftImg8bit")
_MASK_WORDS: Final = (
    *(*_MASK_NAMES, *(name.title() for name in _MASK_NAMES), *map(str.upper, _MASK_NAMES)),
    *("L", "labelIds", "gtFine_labelIds", "manual1"),
)
_SEPARATORS: Final = ("_", "-", ".", " ")


class Match(NamedTuple):
    """Affixes, and the pairs that they give, as a share of the images or of the masks, whichever are fewer."""

    affixes: Affixes
    share: float


def match_folders(images: Sequence[str], masks: Sequence[str]) -> Match:
    """Return the affixes that pair most masks of one folder with images of another; the shortest on a tie.

    Example:
        >>> affixes, share = match_folders(["a_rgb", "b_rgb"], ["a_gt", "b_gt"])
        >>> affixes.image_suffix, affixes.mask_suffix, share
        ('_rgb', '_gt', 1.0)
    """
    best = Match(Affixes(), 0.0)
    if not images or not masks:
        return best
    fewer = min(len(images), len(masks))
    for image_prefix, image_suffix in _candidates(images, _IMAGE_WORDS):
        known = set(_stripped(images, image_prefix, image_suffix))
        if not known:
            continue
        for mask_prefix, mask_suffix in _candidates(masks, _MASK_WORDS):
            share = sum(stem in known for stem in _stripped(masks, mask_prefix, mask_suffix)) / fewer
            if share > best.share:
                best = Match(Affixes(image_prefix, image_suffix, mask_prefix, mask_suffix), share)
            if best.share == 1:
                return best
    return best


def match_within(stems: Sequence[str]) -> Match:
    """Return the affixes that divide the files of one folder into images and masks; share 0 if none do.

    Example:
        >>> match_within(["case1/image", "case1/mask", "case2/image", "case2/mask"]).affixes.mask_name
        'mask'
    """
    best = _match_whole_names(stems)
    for mask_prefix, mask_suffix in _candidates((), _MASK_WORDS)[1:]:
        masks = {stem for stem in stems if _fits(stem, mask_prefix, mask_suffix)}
        if not masks or 3 * len(masks) < len(stems):
            continue
        others = [stem for stem in stems if stem not in masks]
        match = match_folders(others, _stripped(list(masks), mask_prefix, mask_suffix)) if others else best
        if match.affixes.mask_prefix or match.affixes.mask_suffix or match.share <= best.share:
            continue
        best = Match(match.affixes._replace(mask_prefix=mask_prefix, mask_suffix=mask_suffix), match.share)
    return best


def _match_whole_names(stems: Sequence[str]) -> Match:
    """Return the image name and the mask name if every folder holds one image and its mask."""
    by_name: dict[str, set[str]] = defaultdict(set)
    for stem in stems:
        folder, _, name = stem.rpartition("/")
        if folder:
            by_name[name].add(folder)
    masks = [name for name in by_name if name.lower() in _MASK_NAMES]
    images = [name for name in by_name if name not in masks]
    if not masks or not images:
        return Match(Affixes(), 0.0)
    mask = max(masks, key=lambda name: len(by_name[name]))
    image = max(images, key=lambda name: (name.lower() in _IMAGE_NAMES, len(by_name[name] & by_name[mask])))
    share = len(by_name[image] & by_name[mask]) / len(by_name[mask])
    folders = set().union(*by_name.values())
    common = len(by_name[mask]) * 2 >= len(folders) > 1
    return Match(Affixes(image_name=image, mask_name=mask), share if common else 0.0)


def _candidates(stems: Sequence[str], words: Iterable[str]) -> list[tuple[str, str]]:
    """Return the (prefix, suffix) pairs to try, no affix first."""
    suffixes = [separator + word for word in words for separator in _SEPARATORS]
    prefixes = [word + separator for word in words for separator in _SEPARATORS]
    known = [("", ""), *((prefix, "") for prefix in prefixes), *(("", suffix) for suffix in suffixes)]
    return list(dict.fromkeys([*known, *_common_affixes(stems)]))


def _common_affixes(stems: Sequence[str]) -> list[tuple[str, str]]:
    """Return the common suffix of all stems, from a separator on, and their common prefix, up to a separator."""
    names = [stem.rpartition("/")[2] for stem in stems]
    if len(names) < 2:
        return []
    suffix = re.search(r"[_\-. ][^\d].*$", _common_prefix([name[::-1] for name in names])[::-1])
    prefix = re.match(r"^.*[^\d][_\-. ]", _common_prefix(names))
    return [*([("", suffix[0])] if suffix else []), *([(prefix[0], "")] if prefix else [])]


def _common_prefix(names: Sequence[str]) -> str:
    first, last = min(names), max(names)  # every name in between shares their common prefix
    return next((first[:index] for index, letter in enumerate(first) if last[index : index + 1] != letter), first)


def _stripped(stems: Iterable[str], prefix: str, suffix: str) -> list[str]:
    if not (prefix or suffix):
        return list(stems)
    parts = (stem.rpartition("/") for stem in stems if _fits(stem, prefix, suffix))
    return [f"{folder}{slash}{name[len(prefix) : len(name) - len(suffix)]}" for folder, slash, name in parts]


def _fits(stem: str, prefix: str, suffix: str) -> bool:
    name = stem.rpartition("/")[2]
    return name.startswith(prefix) and name.endswith(suffix) and len(name) > len(prefix) + len(suffix)
