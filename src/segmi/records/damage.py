"""Whether a result has the shape that its readers rely on; anybody may have written the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any


def what_is_wrong(result: Mapping[str, Any]) -> str | None:
    """What a result lacks to be one, in words; None if nothing.

    Example:
        >>> what_is_wrong({"members": {"unet": {"scores": {"full": {"mIoU": 0.5}}}}}) is None
        True
        >>> what_is_wrong({"members": 5})
        'it lists no members'
    """
    members = result.get("members")
    if not isinstance(members, Mapping) or not members:
        return "it lists no members"
    for name, member in members.items():
        scores = member.get("scores") if isinstance(member, Mapping) else None
        if not isinstance(scores, Mapping) or not all(isinstance(one, Mapping) for one in scores.values()):
            return f"the member {name} has no scores"
        if not all(_is_score(value) for one in scores.values() for value in one.values()):
            return f"the member {name} has scores that are no numbers"
    if "reported_member" in result and result["reported_member"] not in members:
        return f"the reported member {result['reported_member']!r} is not among its members"
    for name in ("dataset", "training", "environment", "baseline_constant"):
        if name in result and not isinstance(result[name], Mapping):
            return f"{name} should be an object"
    return _wrong_artefacts(result.get("artefacts", {}))


def _is_score(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_score(one) for one in value)
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _wrong_artefacts(artefacts: Any) -> str | None:
    if not isinstance(artefacts, Mapping):
        return "artefacts should be an object"
    for name in artefacts:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            return f"the artefact {name!r} lies outside of the run"
    return None
