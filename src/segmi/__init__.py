"""segmi: does mutual information help your segmentation network?

The subpackages and the functions below are imported on first use, because importing PyTorch takes seconds:
`segmi.losses`, `segmi.metrics`, `segmi.datasets`, `segmi.models`, `segmi.information`, and
`segmi.load`, `segmi.predict`, `segmi.train`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from segmi import datasets, information, losses, metrics, models
    from segmi.deploy import load, predict
    from segmi.study.single_run import train

__all__ = [
    "__version__", "datasets", "information", "load", "losses", "metrics", "models", "predict",
    "train",
]  # fmt: skip

_PACKAGES = ("datasets", "information", "losses", "metrics", "models")
_FUNCTIONS = {"load": "segmi.deploy", "predict": "segmi.deploy", "train": "segmi.study.single_run"}


def __getattr__(name: str) -> Any:
    try:
        if name in _PACKAGES:
            return import_module(f"segmi.{name}")
        if name in _FUNCTIONS:
            return getattr(import_module(_FUNCTIONS[name]), name)
    except ModuleNotFoundError as error:
        from segmi._extras import extra_of, missing_package

        if extra_of(error) is None:
            raise
        raise ModuleNotFoundError(missing_package(error, f"segmi.{name}"), name=error.name) from None
    raise AttributeError(f"module 'segmi' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
