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


PREFERRED: Final = {
    **dict.fromkeys(("semantic", "sem", "semseg", "final", "labelids", "stuffthingmaps", "machine"), 1),
    **dict.fromkeys(("original", "raw", "color", "colour", "colored", "colors", "colormaps", "rgb", "human"), -1),
    **dict.fromkeys(("gtcoarse", "pan", "panoptic", "ins", "inst", "bitmasks", "confidence"), -1),
    **dict.fromkeys(("manual", "1st", "first"), 1),  # mask is the field of view beside manual; the 1st observer counts
}
"""Which of several masks of the same images is meant, by the words in its path or name."""


class Match(NamedTuple):
    """Affixes, and the pairs that they give, as a share of the images or of the masks, whichever are fewer."""

    affixes: Affixes
    share: float
    rivals: tuple[str, ...] = ()  # suffixes of other masks of the same images, which can be meant as well
    bands: tuple[str, ...] = ()  # names of several images per mask, which can be its bands


def match_folders(images: Sequence[str], masks: Sequence[str]) -> Match:
    """Return the affixes that pair most masks of one folder with images of another; the shortest on a tie.

    Example:
        >>> match = match_folders(["a_rgb", "b_rgb"], ["a_gt", "b_gt"])
        >>> match.affixes.image_suffix, match.affixes.mask_suffix, match.share
        ('_rgb', '_gt', 1.0)
    """
    if not images or not masks:
        return Match(Affixes(), 0.0)
    known = _match_affixes(images, masks, _candidates(images, _IMAGE_WORDS), _candidates(masks, _MASK_WORDS))
    if known.share == 1:
        return known
    common = [[("", ""), *_common_affixes(stems)] for stems in (images, masks)]
    found = (
        known,
        _match_infixes(images, masks),
        _match_affixes(images, masks, *common),
        _match_endings(images, masks),
    )
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


def endings_of(images: Sequence[str], files: Sequence[str]) -> Counter[str]:
    """Return how many names of images the ending of each file extends.

    Example:
        >>> endings_of(["a", "b"], ["a_cat", "a_dog", "b_cat", "c_cat"])
        Counter({'_cat': 2, '_dog': 1})
    """
    known = {*images}
    cuts = ((stem, cut.start()) for stem in files for cut in re.finditer(r"(?<=[^/])[_\-. ]", stem))
    first: dict[str, str] = {}
    for stem, cut in cuts:
        if stem[:cut] in known:
            first.setdefault(stem, stem[cut:])
    return Counter(first.values())


def _match_endings(images: Sequence[str], masks: Sequence[str]) -> Match:
    """Return the unknown suffix of masks; if several fit, the preferred one, or with its rivals."""
    counts = endings_of(images, masks)
    enough = [ending for ending, count in counts.items() if count >= ENOUGH * len(images)]
    if not enough and sum(counts.values()) >= ENOUGH * len(images):
        enough = [*counts]  # such as one mask per class, where most images have few classes
    return _chosen(counts, enough, len(images))


def _chosen(counts: Counter[str], endings: Sequence[str], images: int) -> Match:
    words = [ending for ending in endings if re.search(r"[^\W\d_]", ending)]
    if not words:
        return Match(Affixes(), 0.0)
    ranks = {one: (preference(one), is_mask_word(one)) for one in words}
    best = sorted((one for one in words if ranks[one] == max(ranks.values())), key=lambda one: -counts[one])
    share = min(sum(counts[one] for one in best) / images, 1.0)
    return Match(Affixes(mask_suffix=best[0]), share, tuple(best[1:]))


def bands_of(stems: Sequence[str]) -> list[str]:
    """Return the endings of several images per mask, if the masks have a known word: ``_t1``, ``_t2`` beside ``_seg``.

    Example:
        >>> bands_of(["a_t1", "a_t2", "a_seg", "b_t1", "b_t2", "b_seg"])
        ['_t1', '_t2']
    """
    for _, suffix in _candidates((), _MASK_WORDS):
        masks = [stem for stem in stems if suffix and _fits(stem, "", suffix)]
        counts = endings_of(_stripped(masks, "", suffix), [stem for stem in stems if stem not in {*masks}])
        several = [ending for ending, count in counts.items() if count >= ENOUGH * len(masks)]
        if masks and len(several) > 1:
            return several
    return []


def preference(text: str) -> int:
    """Return how much the words of a path or name say that it holds the masks to learn.

    Example:
        >>> preference("training/1st_manual"), preference("2nd_manual"), preference("masks_color")
        (2, 1, -1)
    """
    words = re.findall(r"1st|[0-9]+[a-z]+|[a-z]+", text.lower())
    return sum(PREFERRED.get(word, 0) for word in words)


def is_mask_word(suffix: str) -> bool:
    """Return whether a suffix says that files are masks."""
    return suffix[1:] in _MASK_WORDS


def _match_extended(stems: Sequence[str]) -> Match:
    """Return the unknown suffix that turns the name of one file of a folder into another one."""
    counts = endings_of(stems, stems)
    known, largest = {*stems}, max(counts.values(), default=0)
    below = sum(stem.rpartition("/")[0] in known for stem in stems)  # files in folders named as images
    images = len(stems) - sum(counts.values()) - below
    return _chosen(counts, [one for one, count in counts.items() if count >= ENOUGH * largest], images)


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
    equal = [name for name in images if by_name[name] >= by_name[mask] and name.lower() not in _IMAGE_NAMES]
    bands = () if image.lower() in _IMAGE_NAMES or len(equal) < 2 else tuple(equal)
    folders = set().union(*by_name.values())
    common = len(by_name[mask]) * 2 >= len(folders) > 1
    return Match(Affixes(image_name=image, mask_name=mask), share if common else 0.0, bands=bands)


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
