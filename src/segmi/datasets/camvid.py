"""CamVid: street scenes of four drives through Cambridge, 11 classes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final

from segmi.datasets.decode import printable
from segmi.datasets.layout import find_root, image_files, pair, read_list
from segmi.datasets.palette import CAMVID_PALETTE
from segmi.datasets.reader import DatasetInfo, DatasetReader, Listing, Problem, lookup_of
from segmi.types import IGNORE_INDEX

CLASSES: Final = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
)


class CamVid(DatasetReader):
    """CamVid in the layout of the SegNet tutorial, masks of ids 0–10 and 11 for ignored.

    Read are ``train/`` with ``trainannot/``, and likewise ``val`` and ``test``. Where there is a list ``train.txt`` (a
    image and its mask per line; only the last part of each path counts, for the tutorial's begin with ``/SegNet``),
    the split is what it lists; without one, it is the folder. Groups are the video clips: the part of the name before
    the first underscore.

    Args:
        root: the folder that holds ``train`` and ``trainannot``, or its parent; None: ``SEGMI_DATA``.

    Raises:
        DataError: the layout is not found.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root: Final = find_root(
            "CamVid", root, usual=("CamVid", "camvid", "SegNet/CamVid"), needed=("train", "trainannot")
        )
        lookup = lookup_of({index: index for index in range(len(CLASSES))} | {len(CLASSES): IGNORE_INDEX})
        self.info = DatasetInfo("camvid", "CamVid", CLASSES, CAMVID_PALETTE, ignored=len(CLASSES), lookup=lookup)
        self.splits = tuple(
            split
            for split in ("train", "val", "test")
            if (self.root / split).is_dir() and (split != "test" or (self.root / "testannot").is_dir())
        )

    def listing(self, split: str) -> Listing:
        """The images in the order of the split's list, or by name where there is none."""
        images, masks = image_files(self.root / split), image_files(self.root / f"{split}annot")
        paired = pair(images, masks, group=_clip)
        path = self.root / f"{split}.txt"
        if not path.is_file():
            return paired
        entries, problems = read_list(path, folders_allowed=True)
        stems = []
        for entry in entries:
            fields = entry.text.split(" ")  # an image and its mask; either may have spaces in its name
            image, mask = (
                " ".join(part) for part in (fields[: len(fields) // 2 or 1], fields[len(fields) // 2 or 1 :])
            )
            stem = PurePosixPath(image).stem
            if mask and PurePosixPath(mask).stem != stem:
                what = f"line {entry.line}: expected an image and the mask of the same name, got {printable(entry.text)!r}"
                problems.append(Problem(printable(path), what, "write `train/NAME.png trainannot/NAME.png`"))
            else:
                stems.append(stem)
        listed, missing = pair(images, masks, group=_clip, stems=stems)
        # A file without counterpart is a mistake even where the list does not name it.
        return Listing(listed, list(dict.fromkeys([*problems, *missing, *paired.problems])))


def _clip(stem: str) -> str:
    return printable(stem.partition("_")[0])
