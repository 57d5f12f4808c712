"""The report of a run: one self-contained HTML page with counts, ids and names, and its rows by reason as CSV."""

from __future__ import annotations

from crm_to_meta.report.page import render_report
from crm_to_meta.report.rows import write_reason_csv

__all__ = ["render_report", "write_reason_csv"]
