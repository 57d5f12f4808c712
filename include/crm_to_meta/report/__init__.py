"""The report of a run: one self-contained HTML page with counts, ids and names."""

from __future__ import annotations

from crm_to_meta.report.page import render_report

__all__ = ["render_report"]
