"""Where the runs of a study are done: one after the other in this process, or several at a time in others.

Whatever the engine, a run is done by `segmi.study.workshop.Workshop`, so the folder that results is the same.
"""

from __future__ import annotations

from segmi.study.engines.contract import Engine
from segmi.study.engines.in_process import InProcess
from segmi.study.engines.pool import Pool
from segmi.study.engines.ray_engine import Ray

__all__ = ["Engine", "InProcess", "Pool", "Ray"]
