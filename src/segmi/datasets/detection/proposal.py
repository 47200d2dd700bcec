"""The proposed ``segmi.toml`` of a folder, with the reasons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from PIL import Image

from segmi.datasets.check import CheckReport, check_dataset
from segmi.datasets.clips import GROUP_FILES, group_samples
from segmi.datasets.contact_sheet import contact_sheet
from segmi.datasets.custom import CustomConfig, CustomDataset, LabelClass, format_config
from segmi.datasets.custom.dataset_config import MaskKind, Value
from segmi.datasets.custom.panoptic import Segments
from segmi.datasets.decode import printable
from segmi.datasets.detection.class_names import find_class_names
from segmi.datasets.detection.class_proposal import ClassProposal, classes_of_segments, propose_classes
from segmi.datasets.detection.ignored_values import undeclared_notes
from segmi.datasets.detection.image_kinds import propose_format
from segmi.datasets.detection.layout_detection import Layout, detect_layout
from segmi.datasets.detection.mask_values import read_mask_values
from segmi.datasets.detection.survey import Survey, survey_folder
from segmi.datasets.group_table import group_column
from segmi.datasets.holdout import seed_with_all_classes
from segmi.datasets.reader import Sample, combined_error

Progress = Callable[[str, int, int], None]  # called with the current stage, the number of files done and their total

_UNREAD: Final = (LabelClass("unread", (0,), (0, 0, 0)), LabelClass("unread too", (1,), (0, 0, 0)))
"""Classes of the draft that only lists files."""


@dataclass(frozen=True)
class Proposal:
    """The result of `propose`."""

    dataset: CustomDataset  # the dataset as it would be read
    layout: str  # the layout in words
    notes: tuple[str, ...]  # the reasons for classes, ignored values and groups, and what to check
    report: CheckReport  # the check of every image and mask

    def text(self, root: Path | None = None) -> str:
        """Return the text of ``segmi.toml``, with ``root`` in it if the file is written into another folder."""
        lines = [f"Detected by `segmi data init`: {self.layout}.", *(f"- {note}" for note in self.notes)]
        config = replace(self.dataset.config, root=None if root is None else str(root))
        return format_config(config, "\n".join(lines))

    def sheet(self, count: int = 12) -> Image.Image:
        """Return the contact sheet of about ``count`` images, evenly spaced in each split."""
        chosen: list[tuple[str, Sample]] = []
        per_split = max(count // len(self.dataset.splits), 1)
        for split in self.dataset.splits:
            samples = self.dataset.split(split)
            step = max(len(samples) / per_split, 1)
            chosen += [(split, samples[int(i * step)]) for i in range(min(per_split, len(samples)))]
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
    threshold: int | None = None,
    ignored: Sequence[Value] | None = None,
    progress: Progress | None = None,
) -> Proposal:
    """Propose how a folder of images and masks is read.

    Every image and mask is read, so that no value is missed.

    Args:
        root: the folder.
        images: the folder of the images in it; None detects it.
        masks: the folder of the masks in it; None detects it.
        title: title in tables; the folder's name by default.
        val: the share of train drawn for ``val`` if the layout has none.
        test: the share of train drawn for ``test`` if the layout has none.
        seed: seed of these draws.
        pairs_only: whether unmatched images and masks are left out; they are refused otherwise.
        threshold: masks are gray levels of two classes: 255 from this level on, 0 below it.
        ignored: the values or colors of ignored pixels; None detects them.
        progress: called after each file.

    Raises:
        DataError: no layout fits, or files are refused; all of them are named.
        UsageError: several layouts fit, or 255 can be a class or ignored.
    """
    root = Path(root)
    survey = survey_folder(root)
    layout = detect_layout(survey, images, masks)
    kind: MaskKind = "panoptic" if any(part.panoptic for part in layout.parts.values()) else "index"
    title = title or printable(root.resolve().name)
    draft = CustomConfig(title, kind, _UNREAD, layout.parts, affixes=layout.affixes, pairs_only=pairs_only)
    lister = CustomDataset.from_config(root, draft)
    samples = _list_pairs(lister)
    kind, classes, of_files = _classes(survey, layout, samples, threshold, ignored, progress)
    files = [path for name in GROUP_FILES for path in survey.lists.get(name, ())]
    tables = (path for name, paths in sorted(survey.lists.items()) for path in paths if name.endswith((".csv", ".tsv")))
    files += [path for path in tables if path not in files and group_column(root / path) is not None]
    grouping = group_samples(lister, samples, files, drawn="val" not in layout.parts)
    config = replace(
        draft,
        masks=kind,
        threshold=threshold,
        classes=classes.classes,
        ignored=classes.ignored,
        ignored_color=classes.ignored_color,
        group=grouping.group,
        groups=grouping.groups,
        contiguous=grouping.contiguous,
        val=0.0 if "val" in layout.parts else val,
        test=0.0 if "test" in layout.parts else test,
        seed=seed,
    )
    dataset = CustomDataset.from_config(root, config)
    format = propose_format(samples, dataset.split("train"), _stage(progress, "read headers:"))
    dataset = CustomDataset.from_config(root, replace(config, images=format.format))
    report = check_dataset(dataset, None, _stage(progress, "checked"))
    if (error := report.error()) is not None:
        raise error
    notes = (
        *layout.notes,
        *_unmatched(dataset),
        *_unused(dataset),
        *format.notes,
        *classes.notes,
        grouping.note,
        _splits_note(config),
        *report.notes,
        *_other_seed(dataset, samples, of_files, report),
    )
    return Proposal(dataset, layout.words, notes, report)


def _list_pairs(dataset: CustomDataset) -> list[Sample]:
    """Return the pairs of all splits.

    Raises:
        DataError: images or masks have no counterpart; all are named.
    """
    listings = [dataset.listing(split) for split in dataset.splits]
    problems = [problem for listing in listings for problem in listing.problems]
    if problems:
        count = f"{len(problems)} file{'s' if len(problems) > 1 else ''}"
        expected = "expected a mask for every image and an image for every mask"
        summary = f"{printable(dataset.root)}: {expected}, got {count} without"
        paired = CustomDataset.from_config(dataset.root, replace(dataset.config, pairs_only=True))
        helps = not any(paired.listing(split).problems for split in paired.splits)  # not for two files of one stem
        raise combined_error(summary, problems, *(["or leave all of them out: --pairs-only"] if helps else []))
    return [sample for listing in listings for sample in listing.samples]


def _unmatched(dataset: CustomDataset) -> list[str]:
    """Return a note on the number of unmatched files, if they are left out."""
    if not dataset.config.pairs_only:
        return []
    strict = CustomDataset.from_config(dataset.root, replace(dataset.config, pairs_only=False, val=0.0, test=0.0))
    count = sum(len(strict.listing(split).problems) for split in strict.splits)
    return [f"{count} unmatched file{'s' if count != 1 else ''} left out"] if count else []


def _unused(dataset: CustomDataset) -> list[str]:
    """Return a note on files beside masks whose names match neither masks nor images."""
    unused = [printable(path.relative_to(dataset.root).as_posix()) for path in dataset.unused_files()]
    count = f"{len(unused)} file{'s' if len(unused) > 1 else ''}"
    return [f"not used by their names: {count} beside the masks, such as {unused[0]}"] if unused else []


def _classes(
    survey: Survey,
    layout: Layout,
    samples: Sequence[Sample],
    threshold: int | None,
    ignored: Sequence[Value] | None,
    progress: Progress | None,
) -> tuple[MaskKind, ClassProposal, Sequence[frozenset[int]]]:
    json_files = [survey.root / part.panoptic for part in layout.parts.values() if part.panoptic is not None]
    if json_files:
        return "panoptic", classes_of_segments([Segments(path) for path in json_files]), ()
    paths = [sample.mask for sample in samples if isinstance(sample.mask, Path)]
    masks = read_mask_values(paths, _stage(progress, "read masks:"), threshold)
    named = find_class_names(survey, [part.masks for part in layout.parts.values()], masks)
    classes = propose_classes(masks, named, layout.words, layout.affixes.mask_suffix, ignored)
    others = [] if named is None else [f"{path} has other names and is not used" for path in named.others]
    notes = (*masks.notes, *classes.notes, *others, *undeclared_notes(masks, classes.ignored))
    classes = classes._replace(notes=notes)
    return "color" if masks.colored else "index", classes, masks.of_files


def _other_seed(
    dataset: CustomDataset, samples: Sequence[Sample], of_files: Sequence[frozenset[int]], report: CheckReport
) -> list[str]:
    """Return a note with a seed that draws splits with all classes, if the drawn ones lack some and there is one."""
    config = dataset.config
    by_class = zip(*(split.class_pixels for split in report.splits), strict=True)
    complete = all(min(pixels) > 0 or not any(pixels) for pixels in by_class)
    if complete or not config.drawn or config.contiguous or len(config.parts) > 1:
        return []
    groups = {sample.image: sample.group for split in dataset.splits for sample in dataset.split(split)}
    seed = seed_with_all_classes([groups[sample.image] for sample in samples], of_files, config.drawn)
    return [] if seed is None else [f"every split has all classes with --seed {seed}"]


def _splits_note(config: CustomConfig) -> str:
    if not config.drawn:
        return f"splits of the layout: {', '.join(config.parts)}"
    drawn = ", ".join(f"{name} ({share:.0%})" for name, share in config.drawn.items())
    how = "as its last images" if config.contiguous else f"with seed {config.seed}"
    return f"{drawn} is drawn from train {how}"


def _stage(progress: Progress | None, stage: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(stage, done, total)
