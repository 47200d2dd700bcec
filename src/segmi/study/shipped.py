"""Studies that are part of segmi, and a commented study file for a user's folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from string import Template

import segmi
from segmi.errors import unknown_name

# In a wheel, the studies are in the package; in a source tree, they are next to it.
_PACKAGE = Path(segmi.__file__).parent
_FOLDERS = (_PACKAGE / "studies", _PACKAGE.parents[1] / "studies")


def shipped_studies() -> dict[str, Path]:
    """Return the files of the shipped studies by name.

    Example:
        >>> "demo" in shipped_studies()
        True
    """
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))} if folder else {}


def find_study(name: str | Path) -> Path:
    """Return the path of a study file: an existing path, or a shipped study by its name.

    Raises:
        UsageError: a name without folder and suffix that is neither.

    Example:
        >>> find_study("demo").name
        'demo.yaml'
    """
    path = Path(name)
    if path.exists() or path.is_symlink() or path.suffix or len(path.parts) != 1:
        return path  # also if it is missing, which its reader reports
    known = shipped_studies()
    if str(name) not in known:
        raise unknown_name("study", str(name), known)
    return known[str(name)]


def about_study(file: Path) -> dict[str, str]:
    """Return the first sentence and the cost from the comments at the beginning of a shipped study."""
    comments = [line[1:].strip() for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    about = " ".join(comments[: comments.index("")])
    cost = next((line.removeprefix("cost").strip() for line in comments if line.startswith("cost")), "")
    return {"about": re.split(r"(?<=[.?]) ", about)[0], "cost": cost.rstrip(";")}


def study_template(name: str, dataset: str, folder: str | Path | None = None) -> str:
    """Return a commented study of three methods on one dataset.

    Args:
        name: the study's name.
        dataset: name of the dataset in the study: a name of `segmi.datasets.DATASETS`, or any name for a folder.
        folder: the user's folder of images and masks, with or without ``segmi.toml``. None: a dataset with a name.
    """
    from segmi.datasets.folders import reader_of

    options = "{}" if folder is None else f"{{type: {reader_of(Path(folder))}}}"
    root = "" if folder is None else f" --root {shlex.quote(str(folder))}"
    text = Path(__file__).with_name("template.yaml").read_text(encoding="utf-8")
    return Template(text).substitute(name=name, dataset=dataset, options=options, root=root)
