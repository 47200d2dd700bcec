"""Studies of a few numbers, written by the writers of segmi."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segmi.records import Plan, RunFolder, RunKey, write_confusion, write_plan
from segmi.statistics import StudyRuns, collect

Scores = Mapping[tuple[str, str], Mapping[int, float | None]]


@pytest.fixture
def study_of(tmp_path: Path) -> Callable[..., StudyRuns]:
    """Makes a study from mIoU by (dataset, method) and seed; None is a run that failed.

    Per-class IoU is mIoU ± 0.1 of two classes and None of a third. ``counts`` gives the confusion counts of a run,
    with one group per image unless ``groups`` says otherwise.
    """

    def make(
        scores: Scores,
        seeds: tuple[int, ...] = (0, 1, 2),
        counts: Callable[[RunKey], np.ndarray] | None = None,
        groups: tuple[str, ...] | None = None,
        **plan: Any,
    ) -> StudyRuns:
        datasets = dict.fromkeys(dataset for dataset, _ in scores)
        methods = dict.fromkeys(method for _, method in scores)
        titles, labels = {d: d.upper() for d in datasets}, {m: m.upper() for m in methods}
        write_plan(tmp_path / "s", Plan("s", titles, labels, seeds, **plan))
        for (dataset, method), values in scores.items():
            for seed, miou in values.items():
                key = RunKey("s", dataset, method, seed)
                run = RunFolder.of(tmp_path, key)
                if miou is None:
                    run.write_failure(ValueError("no"))
                    continue
                per_image = counts(key) if counts else np.ones((2, 2, 2), int)
                names = [f"p{i}" for i in range(len(per_image))]
                write_confusion(run.confusion_path("net", "full"), per_image, names, groups or names)
                entry = {"scores": {"full": {"mIoU": miou, "IoU": [miou - 0.1, miou + 0.1, None]}}}
                run.write_result(
                    {
                        "reported_network": "net",
                        "protocol": "full",
                        "networks": {"net": entry},
                        "dataset": {"title": dataset.upper(), "classes": ["road", "sky", "gone"]},
                    }
                )
        return collect(tmp_path)[0]

    return make
