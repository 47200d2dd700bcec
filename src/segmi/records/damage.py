"""Whether a result has the shape that its readers rely on; anybody may have written the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any


def what_is_wrong(result: Mapping[str, Any]) -> str | None:
    """What a result lacks to be one, in words; None if nothing.

    Example:
        >>> what_is_wrong({"networks": {"unet": {"scores": {"full": {"mIoU": 0.5}}}}}) is None
        True
        >>> what_is_wrong({"networks": 5})
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
            return f"the network {name} has scores that are no numbers"
    if "reported_network" in result and result["reported_network"] not in networks:
        return f"the reported network {result['reported_network']!r} is not among its networks"
    for name in ("dataset", "training", "environment", "baseline_constant"):
        if name in result and not isinstance(result[name], Mapping):
            return f"{name} should be an object"
    return _wrong_artifacts(result.get("artifacts", {}))


def _is_score(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_score(one) for one in value)
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _wrong_artifacts(artifacts: Any) -> str | None:
    if not isinstance(artifacts, Mapping):
        return "artifacts should be an object"
    for name in artifacts:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            return f"the artifact {name!r} lies outside of the run"
    return None
