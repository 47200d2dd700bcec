"""The charts of the page as plain data for Plotly, in colors that the page's theme names."""

from __future__ import annotations

from segmi.report.charts.spec import Chart, Choice, chart_data

__all__ = ["Chart", "Choice", "chart_data"]
