"""segmi: does mutual information help your segmentation network?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from segmi.deploy import load, predict

__all__ = ["__version__", "load", "predict"]


def __getattr__(name: str) -> Any:
    # PyTorch takes two seconds to import: only those who ask for a network pay.
    if name in ("load", "predict"):
        from segmi import deploy

        return getattr(deploy, name)
    raise AttributeError(f"module 'segmi' has no attribute {name!r}")
