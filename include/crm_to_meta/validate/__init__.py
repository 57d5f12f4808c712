"""Validate: Great Expectations checks the staged rows inside the warehouse."""

from __future__ import annotations
