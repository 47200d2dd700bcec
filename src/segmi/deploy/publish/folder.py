"""The folder that is published: the bundle, its card, and the configuration of the run that trained it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from segmi.deploy.bundle import CARD, WEIGHTS, load
from segmi.deploy.image import card_of
from segmi.deploy.publish.card import written_card
from segmi.records import RunFolder
from segmi.records.atomic import atomic_folder
from segmi.records.serialization import read_configuration

README = "README.md"
CONFIGURATION = "config.yaml"


def write_folder(
    bundle: str | Path,
    folder: str | Path,
    *,
    name: str | None = None,
    license: str | None = None,
    replace: bool = False,
) -> list[str]:
    """Write what is published into a folder; `segmi.load` takes it.

    Args:
        bundle: the bundle's folder. Where it lies in the folder of a run, the run's scores and configuration go along.
        folder: where it goes.
        name: in the card; the folder's name by default.
        license: of the weights, as the Hub abbreviates it: ``apache-2.0``, ``cc-by-4.0``, ``other``.
        replace: whether a folder that is there is replaced.

    Returns: the names of the files.

    Raises:
        DataError: the bundle is refused.
        FileExistsError: the folder is there.
        EnvironmentProblem: it cannot be written.
    """
    bundle, folder = Path(bundle), Path(folder)
    description = card_of(load(bundle))  # checks it whole: what is published can be loaded
    result, configuration, source = _run_of(bundle)
    text = written_card(
        description, name=name or folder.resolve().name, license=license, result=result, configuration=configuration
    )
    with atomic_folder(folder, replace=replace) as temporary:
        for file in (WEIGHTS, CARD):
            shutil.copyfile(bundle / file, temporary / file)
        if source is not None:
            shutil.copyfile(source, temporary / CONFIGURATION)
        (temporary / README).write_text(text, encoding="utf-8")
        return sorted(path.name for path in temporary.iterdir())


def _run_of(bundle: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None, Path | None]:
    """The record and the configuration of the run that a bundle lies in."""
    run = bundle.resolve().parent.parent
    source = run / CONFIGURATION
    if bundle.resolve().parent.name != "bundles" or not source.is_file():
        return None, None, None
    result = RunFolder(run).result()
    if result is not None and result["reported_network"] != bundle.resolve().name:
        result = {**result, "reported_network": bundle.resolve().name}
    return result, read_configuration(source), source
