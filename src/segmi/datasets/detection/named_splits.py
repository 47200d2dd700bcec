"""Splits in the names of files that share a folder: ``train_7.png`` and ``val_9.png``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from segmi.datasets.custom.dataset_config import SPLITS, Affixes, SplitFolders
from segmi.datasets.detection.survey import classify_name

_FORMS: Final = {"prefix": r"([A-Za-z]+)[_\-. ](?=.)", "suffix": r"(?<=.)[_\-. ]([A-Za-z]+)"}


def splits_in_names(stems: Sequence[str], part: SplitFolders, affixes: Affixes) -> dict[str, SplitFolders]:
    """Return the splits that begin or end the name of every image; none unless train and another one occur.

    Args:
        stems: the stems of the images, and of the masks if they are side by side.
        part: the folders of all of them.
        affixes: the affixes of their names; names with others than prefixes and suffixes have no splits.

    Example:
        >>> parts = splits_in_names(["train_1", "train_2", "val_1"], SplitFolders("images", "masks"), Affixes())
        >>> {split: one.affixes.image_prefix for split, one in parts.items()}
        {'train': 'train_', 'val': 'val_'}
    """
    around = Affixes(affixes.image_prefix, affixes.image_suffix, affixes.mask_prefix, affixes.mask_suffix)
    if affixes != around:
        return {}
    shared = {_without_affixes(stem.rpartition("/")[2], around) for stem in stems}
    for form, pattern in _FORMS.items():
        found: dict[str, set[str]] = {}  # the affixes by split
        for name in shared:
            match = re.match(pattern, name) if form == "prefix" else re.search(f"{pattern}$", name)
            words = classify_name(match[1]) if match else None
            if match is None or words is None or words.split is None or words.rest or words.role:
                break
            found.setdefault(words.split, set()).add(match[0])
        else:
            if "train" in found and len(found) > 1 and all(len(one) == 1 for one in found.values()):
                texts = {split: found[split].pop() for split in SPLITS if split in found}
                return {split: part._replace(affixes=_extended(around, form, text)) for split, text in texts.items()}
    return {}


def _without_affixes(name: str, affixes: Affixes) -> str:
    for prefix, suffix in (affixes[2:4], affixes[:2]):
        if (prefix or suffix) and name.startswith(prefix) and name.endswith(suffix):
            return name.removeprefix(prefix).removesuffix(suffix)
    return name


def _extended(affixes: Affixes, form: str, text: str) -> Affixes:
    if form == "prefix":
        return affixes._replace(image_prefix=affixes.image_prefix + text, mask_prefix=affixes.mask_prefix + text)
    return affixes._replace(image_suffix=text + affixes.image_suffix, mask_suffix=text + affixes.mask_suffix)
