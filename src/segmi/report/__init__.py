"""Tables, figures and pages from the records of runs. Reads only the disk and does not import torch."""

from __future__ import annotations

from segmi.report.build_report import table1_text, write_report
from segmi.report.table1 import PAPER, Reference

__all__ = ["PAPER", "Reference", "table1_text", "write_report"]
