"""segmi: does mutual information help your segmentation network?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from segmi.deploy import load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # PyTorch takes two seconds to import: only those who ask for a network pay.
    if name == "load":
        from segmi.deploy import load

        return load
    raise AttributeError(f"module 'segmi' has no attribute {name!r}")
