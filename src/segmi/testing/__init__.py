"""Checks of the contracts of losses, datasets and models, for packages that add their own.

Each check raises one ``AssertionError`` that lists every violated rule with its fix. It runs in seconds, with or
without a test framework, and needs only the packages of its subject: `check_loss` needs the base installation.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmi.testing.dataset_rules import DATASET_RULES, check_dataset
    from segmi.testing.loss_rules import LOSS_RULES, check_loss
    from segmi.testing.model_rules import MODEL_RULES, check_model

__all__ = ["DATASET_RULES", "LOSS_RULES", "MODEL_RULES", "check_dataset", "check_loss", "check_model"]

_MODULES = {
    **dict.fromkeys(("DATASET_RULES", "check_dataset"), "segmi.testing.dataset_rules"),
    **dict.fromkeys(("LOSS_RULES", "check_loss"), "segmi.testing.loss_rules"),
    **dict.fromkeys(("MODEL_RULES", "check_model"), "segmi.testing.model_rules"),
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:  # datasets and models need packages that losses do not
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
