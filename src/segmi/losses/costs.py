"""Measured costs of the losses relative to cross-entropy, shown by ``segmi list losses``."""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import Final

FILE: Final = "measured_costs.csv"
"""Written by ``benchmarks/catalog.py`` next to this module; its first line has date and machine."""


def measured_costs() -> dict[str, dict[str, str]]:
    """Return time and memory of forward and backward as multiples of cross-entropy's, by loss name, as rounded text.

    Memory is what autograd keeps between forward and backward, including the logits, not temporary buffers. Losses that
    have not been measured are missing.

    Example:
        >>> measured_costs()["cross_entropy"]
        {'time': '1.0', 'memory': '1.0'}
    """
    lines = files("segmi.losses").joinpath(FILE).read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {row["loss"]: {"time": row["time"], "memory": row["memory"]} for row in rows}
