"""Meta's Conversions API: limits, request bodies, the client, and what each answer means."""

from __future__ import annotations
