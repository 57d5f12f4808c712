"""Audit: counts what became of each row, checks the laws, and closes the run."""

from __future__ import annotations
