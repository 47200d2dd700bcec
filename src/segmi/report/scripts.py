"""What a page loads: its style and scripts, the data of its charts, the plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from segmi.errors import EnvironmentProblem
from segmi.records import atomic_write
from segmi.report.charts import Chart, chart_data
from segmi.report.page import CHART_DATA, LIBRARY, SCRIPTS, STYLE, asset


def write_assets(folder: Path, charts: Sequence[Chart], *, with_library: bool) -> None:
    """The page's style and scripts, the charts' data, and the plotting library unless it lies elsewhere."""
    for name in (STYLE, *SCRIPTS):
        atomic_write(folder / name, asset(name))
    if not charts:
        return
    atomic_write(folder / CHART_DATA, chart_data(charts))
    if not with_library:
        (folder / LIBRARY).unlink(missing_ok=True)
        return
    library = plotting_library()
    target = folder / LIBRARY
    if not target.is_file() or target.stat().st_size != library.stat().st_size:
        atomic_write(target, library.read_bytes())


def plotting_library() -> Path:
    """Where Plotly's package keeps the script that a page needs; the package itself is not imported, which takes long.

    Raises:
        EnvironmentProblem: it is not there.
    """
    spec = find_spec("plotly")
    path = Path(str(spec.origin)).parent / "package_data" / LIBRARY if spec is not None else None
    if path is None or not path.is_file():
        raise EnvironmentProblem(
            f"the plotting library is missing: expected {path or LIBRARY} in the package plotly",
            "install segmi with its dependencies again: pip install 'plotly>=6'",
        )
    return path
