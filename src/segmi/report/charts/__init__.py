"""Charts of the page as plain data for Plotly, in colors that the theme of the page defines."""

from __future__ import annotations

from segmi.report.charts.spec import Chart, chart_data, data_script

__all__ = ["Chart", "chart_data", "data_script"]
