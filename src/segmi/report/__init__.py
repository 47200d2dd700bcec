"""Tables, figures and pages from the records of runs. Reads the disk only; imports no torch."""

from __future__ import annotations

from segmi.report.paper_numbers import PAPER, Reference
from segmi.report.write import table1_text, write_report

__all__ = ["PAPER", "Reference", "table1_text", "write_report"]
