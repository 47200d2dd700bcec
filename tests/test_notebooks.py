"""The notebooks run from their text files, and the stored notebooks are those text files with outputs."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

nbformat = pytest.importorskip("nbformat")

DOCS = Path(__file__).resolve().parents[1] / "docs"
TEXTS = sorted((DOCS / "notebooks").glob("*.py"))
SLOW = ("study_and_statistics",)  # 30 seconds of CPU time
LARGEST = 400_000  # bytes


@pytest.fixture(scope="module")
def script() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(DOCS / "write_notebooks.py")))


def test_names() -> None:
    assert [path.stem for path in TEXTS] == [
        "estimating_mutual_information",
        "losses_in_your_loop",
        "own_folder",
        "quickstart",
        "study_and_statistics",
    ]
    assert {path.stem for path in (DOCS / "notebooks").glob("*.ipynb")} == {path.stem for path in TEXTS}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name", [pytest.param(path.stem, marks=pytest.mark.slow if path.stem in SLOW else ()) for path in TEXTS]
)
def test_runs(name: str, script: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # Streamlit, which other tests import, sets it
    executed = script.execute(script.read(DOCS / "notebooks" / f"{name}.py"), tmp_path)
    assert not list(tmp_path.iterdir())  # files are written to temporary folders
    drawn = [
        output for cell in executed.cells for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})
    ]
    assert drawn


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_stored_notebook_is_up_to_date(text: Path, script: SimpleNamespace) -> None:
    path = text.with_suffix(".ipynb")
    stored, expected = nbformat.read(path, as_version=4), script.read(text)
    assert [(cell.id, cell.cell_type, cell.source) for cell in stored.cells] == [
        (cell.id, cell.cell_type, cell.source) for cell in expected.cells
    ], "run `make notebooks` and commit the notebooks"
    assert path.stat().st_size < LARGEST
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))  # one run, from top to bottom
    kinds = [output.output_type for cell in code for output in cell.outputs]
    assert "error" not in kinds
    assert "display_data" in kinds or "execute_result" in kinds
    assert str(DOCS.parent) not in path.read_text(encoding="utf-8")  # no path of the machine
    printed = "".join(output.text for cell in code for output in cell.outputs if "text" in output)
    assert "/tmp" not in printed


def test_a_broken_cell_is_an_error(script: SimpleNamespace, tmp_path: Path) -> None:
    text = tmp_path / "broken.py"
    text.write_text("# %% [markdown]\n# # Broken\n\n# %%\n1 / 0\n")
    notebook = script.read(text)
    assert notebook.cells[0].source.startswith("# Broken\n\n[![Open in Colab](")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        script.execute(notebook, tmp_path)
