"""A study is plain data: methods × datasets × seeds; checked whole, expanded to runs, run, resumed."""

from __future__ import annotations

from segmi.study.expand import Run, expand
from segmi.study.roots import Roots
from segmi.study.schema import Method, Study

__all__ = ["Method", "Roots", "Run", "Study", "expand"]
