"""What keeps the schema capi in order beside the steps: schema, retention, dead runs, doubts, erasure."""

from __future__ import annotations
