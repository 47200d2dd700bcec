"""Sizes at which networks see the images of a study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segmi.study import DataRoots
    from segmi.study.schema import Study


def scale_lines(study: Study, roots: DataRoots) -> Iterator[str]:
    """Yield the sizes of the training images and of the networks' input, once per dataset and processing."""
    from segmi.datasets.image_sizes import describe_scale, image_sizes
    from segmi.study import expand
    from segmi.study.components import open_data

    seen = set()
    for run in expand(study):
        config = run.config
        if (run.dataset, repr(config.processing)) not in seen:
            seen.add((run.dataset, repr(config.processing)))
            dataset = open_data(config.dataset, config.dataset_options, roots)
            scale = describe_scale(image_sizes(dataset, dataset.split("train")), config.processing)
            yield f"{run.dataset}: the network sees {scale}"
