"""Splits that lists of names give: ``train.txt``, ``val.txt`` …"""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import Final

from segmi.datasets.custom.dataset import stem_of
from segmi.datasets.custom.description import SPLITS, Affixes, Part
from segmi.datasets.detection.survey import Survey
from segmi.datasets.detection.words import told_by
from segmi.datasets.layout import image_files, read_list

WHOLE: Final = "trainval"
"""The list of everything that is not for testing, as VOC and others call it."""

MOST: Final = 0.5
"""The share of lines that must name images for a text file to be a list of them."""


def lists_of_splits(found: Survey, part: Part, affixes: Affixes) -> tuple[dict[str, Part], str]:
    """The part by split where lists tell, with words on it; ``train`` alone where none does."""
    known = image_files(found.root / part.images, stem_ending=affixes.image_suffix)
    by_folder: dict[str, dict[str, str]] = defaultdict(dict)
    for name, paths in found.lists.items():
        split = _split_of(PurePosixPath(name).stem)
        if not name.endswith(".txt") or split is None:
            continue
        for path in paths:
            entries, _ = read_list(found.root / path, folders_allowed=True)
            hits = sum(stem_of(entry.text, known) in known.by_stem for entry in entries)
            if entries and hits >= MOST * len(entries):
                by_folder[str(PurePosixPath(path).parent)].setdefault(split, path)
    for listed in by_folder.values():
        whole = listed.pop(WHOLE, None)  # all that is not for testing, where nothing divides it
        if whole is not None and not {"train", "val"} & listed.keys():
            listed["train"] = whole
    if not by_folder:
        return {"train": part}, ""
    folder, lists = max(by_folder.items(), key=lambda item: ("Segmentation" in item[0], len(item[1])))
    if "train" not in lists:
        return {"train": part}, ""
    parts: dict[str, Part] = {name: part._replace(names=lists[name]) for name in SPLITS if name in lists}
    return parts, f", splits by the lists in {folder if folder != '.' else 'the folder itself'}"


def _split_of(stem: str) -> str | None:
    told = told_by(stem)
    if stem == WHOLE:
        return WHOLE
    return None if told.rest else told.split
