"""Check of the content of a ``result.json``, so that its readers can rely on its structure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any


def result_problem(result: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the content of a ``result.json`` from an untrusted source; None if it is valid.

    Example:
        >>> result_problem({"networks": {"unet": {"scores": {"full": {"mIoU": 0.5}}}}}) is None
        True
        >>> result_problem({"networks": 5})
        'it lists no networks'
    """
    networks = result.get("networks")
    if not isinstance(networks, Mapping) or not networks:
        return "it lists no networks"
    for name, network in networks.items():
        scores = network.get("scores") if isinstance(network, Mapping) else None
        if not isinstance(scores, Mapping) or not all(isinstance(one, Mapping) for one in scores.values()):
            return f"the network {name} has no scores"
        if not all(_is_score(value) for one in scores.values() for value in one.values()):
            return f"the network {name} has scores that are not numbers"
    if "reported_network" in result and result["reported_network"] not in networks:
        return f"the reported network {result['reported_network']!r} is not among its networks"
    for name in ("dataset", "training", "environment", "baseline_constant", "artifacts"):
        if name in result and not isinstance(result[name], Mapping):
            return f"{name} should be an object"
    for name in result.get("artifacts", {}):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            return f"the artifact {name!r} is outside the run folder"
    return None


def _is_score(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_score, value))
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))  # None: NaN in JSON
