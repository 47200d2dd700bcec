"""Files of a run: schemas, atomic writes, locks, readers and writers. Does not import torch."""

from __future__ import annotations

from segmi.records.atomic import atomic_folder, atomic_path, atomic_write, sweep
from segmi.records.disk_errors import environment_problem
from segmi.records.ensemble import read_ensemble, write_ensemble
from segmi.records.evaluation_counts import (
    ConfusionRecord,
    DetailsRecord,
    read_confusion,
    read_details,
    write_confusion,
    write_details,
)
from segmi.records.example_images import SamplePaths, find_samples, read_image, read_labels, write_sample
from segmi.records.lock import LockedError, lock_holder, run_lock
from segmi.records.run_folder import RunFolder, RunKey, State, find_runs, reported_score
from segmi.records.serialization import plain
from segmi.records.study_records import Plan, guess_plan, read_plan, write_plan

__all__ = [
    "ConfusionRecord", "DetailsRecord", "LockedError", "Plan", "RunFolder", "RunKey", "SamplePaths", "State",
    "atomic_folder", "atomic_path", "atomic_write", "environment_problem", "find_runs", "find_samples",
    "guess_plan", "lock_holder", "plain", "read_confusion", "read_details", "read_ensemble", "read_image",
    "read_labels", "read_plan", "reported_score", "run_lock", "sweep", "write_confusion", "write_details",
    "write_ensemble", "write_plan", "write_sample",
]  # fmt: skip
