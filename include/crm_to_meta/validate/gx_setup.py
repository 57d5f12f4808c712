"""Great Expectations without its noise: to be imported before it, by each module that imports it."""

from __future__ import annotations

import logging
import os

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # read at import
logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # 200 lines at import; its errors quote values
