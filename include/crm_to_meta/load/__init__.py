"""Load: sends chunks to Meta, and finds the events at fault in what Meta refuses."""

from __future__ import annotations
