"""Execute the notebooks in docs/notebooks and store them with their outputs: `make notebooks`."""

from __future__ import annotations

import base64
import io
import re
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

FOLDER = Path(__file__).parent / "notebooks"
TIMEOUT = 600  # seconds per cell
REPOSITORY = "segmi/segmi"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
INSTALL = f"""# On Colab: install segmi. Elsewhere this cell does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet "segmi[train,report] @ git+https://github.com/{REPOSITORY}"
"""


def read(path: Path) -> NotebookNode:
    """Return the notebook of a text file, with a badge, a cell that installs segmi, and numbers as names of cells."""
    notebook = jupytext.read(path)
    title, _, rest = notebook.cells[0].source.partition("\n")
    link = f"https://colab.research.google.com/github/{REPOSITORY}/blob/main/docs/notebooks/{path.stem}.ipynb"
    notebook.cells[0].source = f"{title}\n\n[![Open in Colab]({BADGE})]({link})\n{rest}"
    install = nbformat.v4.new_code_cell(INSTALL.strip(), metadata={"tags": ["remove-cell"]})
    notebook.cells.insert(1, install)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    notebook.metadata = NotebookNode(
        kernelspec={"name": "python3", "display_name": "Python 3", "language": "python"},
        language_info={"name": "python"},
    )
    return notebook


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Run all cells in a new kernel in ``folder``, without temporary paths in outputs; an error of a cell is raised."""
    NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": str(folder)}}).execute()
    temporary = re.compile(re.escape(tempfile.gettempdir() + "/") + r"\w+/")
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times
        for output in cell.get("outputs", ()):
            if "text" in output:
                output.text = temporary.sub("", output.text)
    return notebook


def compact(notebook: NotebookNode) -> NotebookNode:
    """Store images with 128 colors, which takes a third of the space."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    for data in (output["data"] for output in outputs if "image/png" in output.get("data", {})):
        image = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
        white = Image.new("RGBA", image.size, "white")
        flat = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        small = io.BytesIO()
        flat.quantize(128, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
        data["image/png"] = base64.b64encode(small.getvalue()).decode()
    return notebook


def main() -> int:
    """Write the notebooks that are named, or all."""
    for name in sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("*.py")):
        notebook = compact(execute(read(FOLDER / f"{name}.py"), FOLDER))
        target = FOLDER / f"{name}.ipynb"
        nbformat.write(notebook, target)
        print(target, f"{target.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
