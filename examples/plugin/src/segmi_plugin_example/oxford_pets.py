"""The Oxford-IIIT Pet dataset: cats and dogs with trimaps."""

from pathlib import Path

from segmi.datasets import DatasetInfo, DatasetReader, Listing, Problem, Sample
from segmi.datasets.layout import find_root
from segmi.datasets.palette import VOC_PALETTE
from segmi.datasets.reader import lookup_of


class OxfordPets(DatasetReader):
    """The Oxford-IIIT Pet dataset, as downloaded; every fifth image of the official training list is in ``val``.

    Args:
        root: the folder with ``images/`` and ``annotations/``, or one that holds it; None: ``$SEGMI_DATA``.
    Source: Parkhi, Vedaldi, Zisserman and Jawahar, *Cats and Dogs*, CVPR 2012.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        needed = ("images", "annotations/trimaps")
        self.root: Path = find_root("the Oxford-IIIT Pet dataset", root, usual=("oxford-iiit-pet",), needed=needed)
        self.splits = ("train", "val", "test")
        self.info = DatasetInfo(
            name="oxford-pets",
            title="Oxford-IIIT Pet",
            classes=("background", "pet"),
            palette=VOC_PALETTE,
            ignored=3,  # the border between pet and background
            lookup=lookup_of({2: 0, 1: 1, 3: 255}),
        )

    def listing(self, split: str) -> Listing:
        """Return the images of a split in the order of the official list."""
        file = self.root / "annotations" / ("test.txt" if split == "test" else "trainval.txt")
        if not file.is_file():
            return Listing([], [Problem(str(file), "missing", "unpack annotations.tar.gz again")])
        lines = file.read_text(encoding="utf-8").splitlines()
        names = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
        chosen = [name for i, name in enumerate(names) if split == "test" or (i % 5 == 4) == (split == "val")]
        return Listing([
            Sample(
                self.root / "images" / f"{name}.jpg", self.root / "annotations" / "trimaps" / f"{name}.png", name, name
            )
            for name in chosen
        ])  # fmt: skip
