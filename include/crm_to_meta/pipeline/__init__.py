"""The pipeline file: its settings, the window of a run, and the expectations that it may name."""

from __future__ import annotations
