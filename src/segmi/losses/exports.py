"""The public names of a package of losses: every name that its ``__init__`` imports."""

from __future__ import annotations

from types import ModuleType
from typing import Any


def set_all(namespace: dict[str, Any]) -> None:
    """Set ``__all__`` in the namespace of a package to its names without underscore that are not modules.

    An assignment to ``__all__`` in the package would hide the names from type checkers, which do not evaluate it.
    """
    namespace["__all__"] = sorted(
        name for name, value in namespace.items() if not name.startswith("_") and not isinstance(value, ModuleType)
    )
