"""Engines do the runs of a study: one after the other in this process, in several processes, or on Ray.

On every engine a run is done by `segmi.study.executor.RunExecutor`, so the resulting folder is the same.
"""

from __future__ import annotations

from segmi.study.engines.in_process import Engine, InProcess
from segmi.study.engines.pool import Pool
from segmi.study.engines.ray import Ray

__all__ = ["Engine", "InProcess", "Pool", "Ray"]
