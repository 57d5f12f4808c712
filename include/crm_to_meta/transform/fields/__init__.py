"""Meta's fields: one module for each kind, which brings a value into the form that Meta hashes."""

from __future__ import annotations
