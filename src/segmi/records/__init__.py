"""What a run leaves on disk: atomic files, locks, and the readers and writers of its records. Imports no torch."""

from __future__ import annotations

from segmi.records.atomic import atomic_folder, atomic_path, atomic_write, environment_problem, sweep

__all__ = [
    "atomic_folder",
    "atomic_path",
    "atomic_write",
    "environment_problem",
    "sweep",
]
