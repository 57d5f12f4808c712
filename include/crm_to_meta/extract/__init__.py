"""Extract: stages the rows of a window that the ledger does not show as finished."""

from __future__ import annotations
