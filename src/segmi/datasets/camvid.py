"""CamVid: street scenes of four drives through Cambridge, 11 classes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final

from segmi.datasets.decode import printable
from segmi.datasets.layout import existing_splits, find_root, image_files, pair, read_list
from segmi.datasets.palette import CAMVID_PALETTE
from segmi.datasets.reader import DatasetInfo, DatasetReader, Listing, Problem, lookup_of
from segmi.types import IGNORE_INDEX

CLASSES: Final = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
)


class CamVid(DatasetReader):
    """CamVid in the layout of the SegNet tutorial, with mask values 0–10, and 11 for ignored pixels.

    The split ``train`` is ``train/`` with ``trainannot/``; ``val`` and ``test`` are named alike. If there is a list
    ``train.txt`` (an image and its mask per line), only listed images belong to the split. Only the last part of each
    listed path is used, since the tutorial's paths begin with ``/SegNet``. Groups are the video clips: the part of the
    name before the first underscore.

    Args:
        root: the folder that holds ``train`` and ``trainannot``, or its parent; None: ``$SEGMI_DATA``.

    Raises:
        DataError: the layout is not found.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        usual = ("CamVid", "camvid", "SegNet/CamVid")
        self.root: Path = find_root("CamVid", root, usual=usual, needed=("train", "trainannot"))
        ignored = len(CLASSES)
        lookup = lookup_of({index: index for index in range(len(CLASSES))} | {ignored: IGNORE_INDEX})
        self.info = DatasetInfo("camvid", "CamVid", CLASSES, CAMVID_PALETTE, ignored, lookup)
        self.splits = existing_splits(self._folders)

    def listing(self, split: str) -> Listing:
        """Return the pairs in the order of the split's list; sorted by name without a list."""
        images, masks = map(image_files, self._folders(split))
        paired = pair(images, masks, group=_clip)
        path = self.root / f"{split}.txt"
        if not path.is_file():
            return paired
        lines, problems = read_list(path, folders_allowed=True)
        stems = []
        for line in lines:
            fields = line.text.split(" ")  # an image and its mask; either may have spaces in its name
            half = len(fields) // 2 or 1
            image, mask = (PurePosixPath(" ".join(part)).stem for part in (fields[:half], fields[half:]))
            if mask in ("", image):
                stems.append(image)
            else:
                message = f"line {line.number}: expected an image and the mask of the same name, got "
                remedy = "write `train/NAME.png trainannot/NAME.png`"
                problems.append(Problem(printable(path), f"{message}{printable(line.text)!r}", remedy))
        listed, missing = pair(images, masks, group=_clip, stems=stems)
        # An unmatched file is a problem even if the list does not name it.
        return Listing(listed, list(dict.fromkeys([*problems, *missing, *paired.problems])))

    def _folders(self, split: str) -> tuple[Path, Path]:
        return self.root / split, self.root / f"{split}annot"


def _clip(stem: str) -> str:
    return printable(stem.partition("_")[0])
