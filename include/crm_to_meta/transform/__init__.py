"""Transform: normalises and hashes identifiers, and stores events in chunks as they will be sent."""

from __future__ import annotations
