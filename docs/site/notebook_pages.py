"""Pages of the notebooks with their stored outputs; nothing is executed."""

from __future__ import annotations

import re
from pathlib import Path

import jupytext
from staging import DOCS, converted

BADGE = re.compile(r"\[!\[([^\]]*)\]\(https?:[^)]*\)\]")
"""A linked image that would be loaded from the network; its text remains."""


def write_notebooks(source: Path) -> None:
    """Write the notebooks of docs to the source folder, from their text files if no outputs are stored."""
    for text in sorted((DOCS / "notebooks").glob("*.py")):
        stored = text.with_suffix(".ipynb")
        notebook = jupytext.read(stored if stored.exists() else text)
        notebook.cells = [cell for cell in notebook.cells if "remove-cell" not in cell.metadata.get("tags", ())]
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = converted(BADGE.sub(r"[\1]", cell.source), text, source)
        target = source / "notebooks" / stored.name
        target.parent.mkdir(parents=True, exist_ok=True)
        jupytext.write(notebook, target)
