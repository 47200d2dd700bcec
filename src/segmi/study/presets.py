"""The two protocols: what each sets unless the study file says otherwise.

=====================  =======================  ==========================
setting                ``paper``                ``controlled``
=====================  =======================  ==========================
training.select_by     train_loss               holdout_mIoU
training.holdout       0 (nothing held out)     0.1 of train, whole groups
training.drop_last     false                    true
evaluation.protocol    paper (random crops)     full (whole images)
evaluation.passes      5                        –
=====================  =======================  ==========================

Everything else is the default of the signature that receives it: 234 × 234 with crops of 224 × 224, no augmentation,
Adam without schedule. ``processing.resize_mode: shorter`` scales the shorter side, as the authors' code did. The
budget (``training.steps`` or ``training.epochs``) is for the file to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

PROTOCOLS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "paper": {
        "processing": {},
        "training": {"select_by": "train_loss", "holdout": 0.0, "drop_last": False},
        "evaluation": {"protocol": "paper", "passes": 5},
    },
    "controlled": {
        "processing": {},
        "training": {"select_by": "holdout_mIoU", "holdout": 0.1, "drop_last": True},
        "evaluation": {"protocol": "full"},
    },
}


def preset(protocol: Any, section: str) -> dict[str, Any]:
    """What a protocol sets in a section; nothing for a protocol that does not exist.

    Example:
        >>> preset("paper", "evaluation")
        {'protocol': 'paper', 'passes': 5}
    """
    known = PROTOCOLS.get(protocol, {}) if isinstance(protocol, str) else {}
    return dict(known.get(section, {}))


def layered(*layers: Any) -> dict[str, Any]:
    """Options laid over each other, the last one wins; whatever is no mapping is passed over.

    Example:
        >>> layered({"a": 1, "b": 2}, None, {"b": 3})
        {'a': 1, 'b': 3}
    """
    result: dict[str, Any] = {}
    for layer in layers:
        result.update(layer if isinstance(layer, Mapping) else {})
    return result
