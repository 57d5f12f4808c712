"""Checks of the connections before anything is sent."""

from __future__ import annotations
