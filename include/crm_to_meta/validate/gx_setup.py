"""Keep Great Expectations from logging and calling home. Each module that imports it imports this one first."""

from __future__ import annotations

import logging
import os

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # read at import
logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # 200 lines at import; its errors quote values
