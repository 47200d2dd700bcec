"""What a run leaves on disk: atomic files, locks, and the readers and writers of its records. Imports no torch."""

from __future__ import annotations

from segmi.records.atomic import atomic_folder, atomic_path, atomic_write, environment_problem, sweep
from segmi.records.confusion import ConfusionRecord, read_confusion, write_confusion
from segmi.records.details import DetailsRecord, read_details, write_details
from segmi.records.jsonfile import plain
from segmi.records.lock import lock_holder, run_lock
from segmi.records.plan import Plan, guess_plan, read_plan, write_plan
from segmi.records.run import RunFolder, RunKey, State, find_runs
from segmi.records.samples import SamplePaths, find_samples, read_image, read_labels, write_sample

__all__ = [
    "ConfusionRecord",
    "DetailsRecord",
    "Plan",
    "RunFolder",
    "RunKey",
    "SamplePaths",
    "State",
    "atomic_folder",
    "atomic_path",
    "atomic_write",
    "environment_problem",
    "find_runs",
    "find_samples",
    "guess_plan",
    "lock_holder",
    "plain",
    "read_confusion",
    "read_details",
    "read_image",
    "read_labels",
    "read_plan",
    "run_lock",
    "sweep",
    "write_confusion",
    "write_details",
    "write_plan",
    "write_sample",
]
