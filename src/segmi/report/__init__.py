"""Tables, figures and pages from the records of runs. Reads the disk only; imports no torch."""

from __future__ import annotations

from segmi.report.build_report import table1_text, write_report
from segmi.report.paper_numbers import PAPER, Reference

__all__ = ["PAPER", "Reference", "table1_text", "write_report"]
