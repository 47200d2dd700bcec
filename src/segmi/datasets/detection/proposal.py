"""The data-set file that a folder should have, with what it was told by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from PIL import Image

from segmi.datasets.check import CheckReport, check_dataset
from segmi.datasets.custom import CustomDataset, Description, LabelClass, written
from segmi.datasets.custom.description import Masks
from segmi.datasets.custom.panoptic import Segments
from segmi.datasets.decode import printable
from segmi.datasets.detection.classes import Classes, of_categories, proposed_classes
from segmi.datasets.detection.contents import read_contents
from segmi.datasets.detection.groups import proposed_group
from segmi.datasets.detection.layouts import Layout, recognized
from segmi.datasets.detection.names import class_names
from segmi.datasets.detection.sheet import contact_sheet
from segmi.datasets.detection.survey import Survey, survey
from segmi.datasets.reader import Sample
from segmi.errors import DataError, together

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many files are done and how many there are."""

_UNREAD: Final = (LabelClass("unread", (0,), (0, 0, 0)), LabelClass("unread too", (1,), (0, 0, 0)))
"""What stands for the classes while only names of files are looked at."""


@dataclass(frozen=True)
class Proposal:
    """What `propose` made out.

    Args:
        dataset: as it would be read.
        layout: in words.
        notes: how classes, ignored and groups were told, and what to look at.
        report: on every image and mask.
    """

    dataset: CustomDataset
    layout: str
    notes: tuple[str, ...]
    report: CheckReport

    def text(self) -> str:
        """The data-set file."""
        said = [f"Found by `segmi data init`: {self.layout}.", *(f"- {note}" for note in self.notes)]
        return written(self.dataset.description, "\n".join(said))

    def sheet(self, count: int = 12) -> Image.Image:
        """The contact sheet: images spread evenly over each split."""
        chosen: list[tuple[str, Sample]] = []
        shares = max(count // len(self.dataset.splits), 1)
        for split in self.dataset.splits:
            samples = self.dataset.split(split)
            step = max(len(samples) / shares, 1)
            chosen += [(split, samples[int(i * step)]) for i in range(min(shares, len(samples)))]
        return contact_sheet(self.dataset, chosen, self.report)


def propose(
    root: str | Path,
    *,
    images: str | None = None,
    masks: str | None = None,
    title: str | None = None,
    val: float = 0.2,
    test: float = 0.0,
    seed: int = 0,
    pairs_only: bool = False,
    progress: Progress | None = None,
) -> Proposal:
    """Look at a folder of images and masks and propose how it is read.

    Every mask is read, so that no value is overlooked, and every image is decoded.

    Args:
        root: the folder.
        images: where in it the images lie, if that was said.
        masks: likewise the masks.
        title: as in tables; the folder's name by default.
        val: the share of train that is drawn for ``val`` where the layout has none.
        test: likewise for ``test``.
        seed: of these draws.
        pairs_only: whether images without mask and masks without image are left out rather than refused.
        progress: told after each file.

    Raises:
        DataError: the folder cannot be made out, or files of it are refused; all of them are named.
        UsageError: several layouts fit.
    """
    root = Path(root)
    found = survey(root)
    layout = recognized(found, images, masks)
    draft = replace(_draft(layout, title or printable(root.resolve().name)), pairs_only=pairs_only)
    listed = _listed(CustomDataset.proposed(root, draft))
    kind, classes = _meaning(found, layout, listed, progress)
    stems = [sample.name for samples in listed.values() for sample in samples]
    group, note = proposed_group(stems, drawn="val" not in layout.parts)
    description = replace(
        draft,
        masks=kind,
        classes=classes.classes,
        ignored=classes.ignored,
        ignored_color=classes.ignored_color,
        group=group,
        val=0.0 if "val" in layout.parts else val,
        test=0.0 if "test" in layout.parts else test,
        seed=seed,
    )
    dataset = CustomDataset.proposed(root, description)
    report = check_dataset(dataset, None, _said(progress, "checked"))
    if (error := report.error()) is not None:
        raise error
    notes = (*layout.notes, *_left_out(dataset), *classes.notes, note, *_on_splits(description), *report.notes)
    return Proposal(dataset, layout.words, notes, report)


def _draft(layout: Layout, title: str) -> Description:
    """The description without the meaning of the masks: enough to list the pairs."""
    kind: Masks = "panoptic" if any(part.panoptic for part in layout.parts.values()) else "index"
    return Description(title, kind, _UNREAD, layout.parts, affixes=layout.affixes)


def _listed(dataset: CustomDataset) -> dict[str, list[Sample]]:
    """The pairs of every split; whatever has no counterpart is refused, all of it at once."""
    listings = {split: dataset.listing(split) for split in dataset.splits}
    problems = [problem for listing in listings.values() for problem in listing.problems]
    if problems:
        remedies = dict.fromkeys(problem.remedy for problem in problems)
        raise DataError(
            f"{printable(dataset.root)}: expected a mask for every image and an image for every mask, got "
            f"{len(problems)} file{'s' if len(problems) > 1 else ''} without:\n{together([str(p) for p in problems])}",
            "; ".join([*remedies, "or leave out all of them: --pairs-only"]),
        )
    return {split: listing.samples for split, listing in listings.items()}


def _left_out(dataset: CustomDataset) -> list[str]:
    """How many files have no counterpart, where that is let pass."""
    if not dataset.description.pairs_only:
        return []
    strict = CustomDataset.proposed(dataset.root, replace(dataset.description, pairs_only=False, val=0.0, test=0.0))
    count = sum(len(strict.listing(split).problems) for split in strict.splits)
    return [f"{count} file{'s' if count != 1 else ''} without counterpart left out"] if count else []


def _meaning(
    found: Survey, layout: Layout, listed: dict[str, list[Sample]], progress: Progress | None
) -> tuple[Masks, Classes]:
    """The kind of the masks and their classes."""
    jsons = [found.root / part.panoptic for part in layout.parts.values() if part.panoptic is not None]
    if jsons:
        return "panoptic", of_categories([Segments(path) for path in jsons])
    paths = [sample.mask for samples in listed.values() for sample in samples if isinstance(sample.mask, Path)]
    contents = read_contents(paths, _said(progress, "read masks:"))
    classes = proposed_classes(contents, class_names(found), layout.words, layout.affixes.mask_suffix)
    return "color" if contents.colored else "index", classes


def _on_splits(description: Description) -> list[str]:
    given = ", ".join(description.parts)
    if not description.drawn:
        return [f"the splits are those of the layout: {given}"]
    drawn = ", ".join(f"{name} ({share:.0%})" for name, share in description.drawn.items())
    return [f"{drawn} is drawn from train with seed {description.seed}"]


def _said(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, of: progress(what, done, of)
