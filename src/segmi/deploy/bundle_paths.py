"""Paths of bundles: a folder, a run, an ensemble, or a repository of the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from segmi.deploy.hub import download_files, parse_repository
from segmi.errors import UsageError
from segmi.records import read_ensemble

WEIGHTS: Final = "model.safetensors"
CARD: Final = "model.json"


def find_bundle(name: str | Path) -> Path:
    """Return the path of a single bundle, see `find_bundles`.

    Raises:
        UsageError: if no bundle or several bundles are found.
        DataError, EnvironmentProblem: as `find_bundles`.
    """
    bundles = find_bundles(name)
    if len(bundles) > 1:
        listing = ", ".join(map(str, bundles[:8]))
        raise UsageError(f"{name} is an ensemble of {len(bundles)} bundles, expected one bundle", f"choose: {listing}")
    return bundles[0]


def find_bundles(name: str | Path) -> list[Path]:
    """Return the folders of one or more bundles, see `list_bundles`.

    Raises:
        UsageError: if no bundle is found, or a folder contains several that are not an ensemble.
        DataError, EnvironmentProblem: as `list_bundles`.
    """
    bundles = list_bundles(name)
    if not bundles:
        problem = f"{name} is not a bundle: expected a folder with {CARD} and {WEIGHTS}"
        raise UsageError(problem, "pass the folder that `segmi train` prints, runs/…/bundles/<network>")
    return bundles


def list_bundles(name: str | Path) -> list[Path]:
    """Return the folders of the bundles of a name; empty if it is not a bundle.

    Args:
        name: a bundle's folder; a run with one bundle; a folder with ``ensemble.json``; or a repository of the Hugging
            Face Hub, ``owner/name`` or ``owner/name@revision``, whose files are downloaded.

    Raises:
        UsageError: if the folder contains several bundles that are not an ensemble.
        DataError: if ``ensemble.json`` is damaged, or the repository does not exist or is not a bundle.
        EnvironmentProblem: if the Hub cannot be reached.
    """
    path = Path(name)
    repository = parse_repository(str(name)) if isinstance(name, str) else None
    # If its first part exists, the text is a local path, even if the rest is misspelled.
    if repository is not None and not path.exists() and not Path(path.parts[0]).exists():
        return [download_files(repository, [WEIGHTS, CARD])]
    if (path / CARD).exists():
        return [path]
    ensemble = read_ensemble(path) if path.is_dir() else None
    if ensemble is not None:
        return ensemble
    bundles = sorted(card.parent for card in path.glob(f"**/bundles/*/{CARD}")) if path.is_dir() else []
    if len(bundles) > 1:
        raise UsageError(f"{path} contains {len(bundles)} bundles", f"choose one: {', '.join(map(str, bundles[:8]))}")
    return bundles
