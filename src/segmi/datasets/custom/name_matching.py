"""The part of the file names that an image and its mask share."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from segmi.datasets.custom.dataset_config import Affixes

_IMAGE_NAMES: Final = ("image", "img", "rgb", "sat", "photo", "input", "original", "color", "colour")
_MASK_NAMES: Final = (
    *("mask", "masks", "label", "labels", "gt", "seg", "segmentation", "annotation", "groundtruth", "truth"),
    *("lab", "target", "matte", "anno", "labelled", "labeled"),
)
_IMAGE_WORDS: Final = (*_IMAGE_NAMES, *(n.title() for n in _IMAGE_NAMES), *map(str.upper, _IMAGE_NAMES), "leftImg8bit")
_MASK_WORDS: Final = (
    *(*_MASK_NAMES, *(name.title() for name in _MASK_NAMES), *map(str.upper, _MASK_NAMES)),
    *("L", "labelIds", "gtFine_labelIds", "manual1"),
)
_FIRST_CHANNEL: Final = "_0000"  # nnU-Net's suffix of the first, or only, file of a case
ENOUGH: Final = 0.5  # images and masks belong together if at least this share of them pairs; the others are reported
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
    if not images or not masks:
        return Match(Affixes(), 0.0)
    known = _match_affixes(images, masks, _candidates(images, _IMAGE_WORDS), _candidates(masks, _MASK_WORDS))
    if known.share == 1:
        return known
    common = [[("", ""), *_common_affixes(stems)] for stems in (images, masks)]
    found = (known, _match_infixes(images, masks), _match_affixes(images, masks, *common))
    return max(found, key=lambda match: match.share)


def _match_affixes(
    images: Sequence[str],
    masks: Sequence[str],
    of_images: Sequence[tuple[str, str]],
    of_masks: Sequence[tuple[str, str]],
) -> Match:
    """Return the best of some prefixes and suffixes of images and masks."""
    best = Match(Affixes(), 0.0)
    fewer = min(len(images), len(masks))
    for image_prefix, image_suffix in of_images:
        known = set(_stripped(images, image_prefix, image_suffix))
        if not known:
            continue
        for mask_prefix, mask_suffix in of_masks:
            share = sum(stem in known for stem in _stripped(masks, mask_prefix, mask_suffix)) / fewer
            if share > best.share:
                best = Match(Affixes(image_prefix, image_suffix, mask_prefix, mask_suffix), share)
            if best.share == 1:
                return best
    return best


def _match_infixes(images: Sequence[str], masks: Sequence[str]) -> Match:
    """Return the differing words inside the names of images and masks: ``1_camera_7`` and ``1_label_7``.

    A word can also be in the names of masks alone: ``um_7`` and ``um_road_7``.
    """
    sides = [[{*re.findall(r"[^\W\d_]+", stem.rpartition("/")[2])} for stem in side] for side in (images, masks)]
    words = [sorted(set.intersection(*side)) for side in sides]
    best = Match(Affixes(), 0.0)
    for image in words[0]:
        known = {_without(stem, image) for stem in images}
        for mask in (word for word in words[1] if word != image):
            share = sum(_without(stem, mask) in known for stem in masks) / min(len(images), len(masks))
            if share > best.share:
                best = Match(Affixes(image_infix=image, mask_infix=mask), share)
    known, of_images = set(images), set().union(*sides[0])
    counts = Counter(word for of_mask in sides[1] for word in of_mask - of_images)
    for infix in (f"{word}{separator}" for word, _ in counts.most_common(8) for separator in _SEPARATORS):
        matching = [stem for stem in masks if infix in stem.rpartition("/")[2]]
        share = sum(_without(stem, infix) in known for stem in matching) / min(len(images), max(len(matching), 1))
        if 2 * len(matching) >= len(masks) and share > best.share:
            best = Match(Affixes(mask_infix=infix), share)
    return best


def _without(stem: str, word: str) -> str:
    folder, slash, name = stem.rpartition("/")
    return f"{folder}{slash}{name.replace(word, '', 1)}"


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
    return best if best.share >= ENOUGH else max(best, _match_extended(stems), key=lambda match: match.share)


def is_mask_word(suffix: str) -> bool:
    """Return whether a suffix says that files are masks."""
    return suffix[1:] in _MASK_WORDS


def _match_extended(stems: Sequence[str]) -> Match:
    """Return the unknown suffix that turns the name of one file of a folder into another one."""
    known = {*stems}
    counts = Counter(
        stem[cut.start() :]
        for stem in stems
        for cut in re.finditer(r"(?<=.)[_\-. ]", stem)
        if stem[: cut.start()] in known
    )
    suffix, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    return Match(Affixes(mask_suffix=suffix), 2 * count / len(stems) if 2 * count >= ENOUGH * len(stems) else 0.0)


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
    channel = [("", _FIRST_CHANNEL)] if any(stem.endswith(_FIRST_CHANNEL) for stem in stems) else []
    return list(dict.fromkeys([*known, *channel]))


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
