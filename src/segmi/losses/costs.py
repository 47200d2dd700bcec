"""What the losses cost beside cross-entropy, as it was measured."""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import Final

FILE: Final = "measured_costs.csv"
"""Beside this module; written by ``benchmarks/catalog.py``, its first line says when and where."""


def measured_costs() -> dict[str, dict[str, str]]:
    """Time and memory of value and gradient in multiples of cross-entropy's, by the loss's name; as text, rounded.

    Memory is what autograd keeps between value and gradient, the logits included; what is needed for a moment, as while
    the one or the other is computed, is not in it. Losses that have come since the measurement, or cannot be
    measured alone, are missing.

    Example:
        >>> measured_costs()["cross_entropy"]
        {'time': '1.0', 'memory': '1.0'}
    """
    lines = files("segmi.losses").joinpath(FILE).read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {row["loss"]: {"time": row["time"], "memory": row["memory"]} for row in rows}
