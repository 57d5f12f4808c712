"""Check the column "SDK" of docs/hashing.md against the SDK itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "hashing.md"
_ROW: Final = re.compile(r"^\| ([a-z_]+) \| `([^`]+)`[^|]*\|[^|]*\| (?:`([^`]+)`|(raises)) \|", re.MULTILINE)


def list_untrue_claims() -> list[str]:
    """Return the statements about the SDK in docs/hashing.md that are wrong."""
    rows = _ROW.findall(_PAGE.read_text(encoding="utf-8"))
    if not rows:
        return ["the table was not found"]
    claims = [(field, _read_escapes(text), _read_escapes(said)) for field, text, said, _ in rows]
    return [f"{field} {text!a}: {found!a}" for field, text, said in claims if (found := _ask_sdk(field, text)) != said]


def _ask_sdk(field: str, text: str) -> str:
    """Return the text that the SDK hashes; "" if it raises."""
    from facebook_business.adobjects.serverside.normalize import Normalize
    from facebook_business.adobjects.serverside.user_data import UserData

    if field == "external_id":
        return str(UserData(external_id=text).normalize()["external_id"][0])
    try:
        return str(Normalize.normalize(field, text, False))
    except (TypeError, ValueError):
        return ""


def _read_escapes(text: str) -> str:
    return re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), text)
