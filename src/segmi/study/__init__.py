"""A study is plain data: methods × datasets × seeds, checked as a whole, expanded to runs, run and resumed.

The names are imported on first use: a study file with a YAML error is refused before PyTorch is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmi.study.dataset_context import DataRoots
    from segmi.study.run import StudyOutcome, run_study
    from segmi.study.run_config import Run, RunConfig, expand
    from segmi.study.schema import Method, Study
    from segmi.study.study_file import load_study

__all__ = ["DataRoots", "Method", "Run", "RunConfig", "Study", "StudyOutcome", "expand", "load_study", "run_study"]

_MODULES = {
    "DataRoots": "dataset_context", "Method": "schema", "Run": "run_config", "RunConfig": "run_config",
    "Study": "schema", "StudyOutcome": "run", "expand": "run_config", "load_study": "study_file", "run_study": "run",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
