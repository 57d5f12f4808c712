"""What all normalisers share: cleaning text, the reasons to leave a field out, and the hash."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from typing import Final

from crm_to_meta.models import DropReason

SHA256_LENGTH: Final = 64
_MD5_LENGTH: Final = 32
_HEX: Final = re.compile(r"[0-9a-f]+")
# Unicode's Default_Ignorable_Code_Point (zero-width, bidi, variation selectors, fillers), and surrogates, which UTF-8
# cannot encode.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]"
)


def hash_normalized(text: str) -> str:
    """Hash a normalised value: SHA-256 of its UTF-8 in lowercase hex. A value that is a SHA-256 is only lowercased.

    Raises:
        ValueError: the text is empty. No normaliser returns that, and the hash of nothing must never reach Meta.
    """
    if not text:
        message = "there is nothing to hash"
        raise ValueError(message)
    if len(text) == SHA256_LENGTH and is_sha256(text.lower()):
        return text.lower()
    return sha256(text.encode("utf-8", "replace")).hexdigest()


def read_text(text: str) -> str | DropReason:
    """Clean and lowercase a text that will be hashed. An MD5 is dropped: its SHA-256 would match nobody."""
    value = text.strip().lower() if text.isascii() else lower(clean(text))
    if not value:
        return DropReason.BLANK
    is_md5 = len(value) == _MD5_LENGTH and _HEX.fullmatch(value)
    return DropReason.MD5_NOT_SHA256 if is_md5 else value


def clean(text: str) -> str:
    """Remove invisible characters, compose (NFC), trim. In this order: a joiner before an accent would prevent NFC."""
    return text.strip() if text.isascii() else unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).strip()


def lower(value: str) -> str:
    """Lowercase, then compose (NFC) again: a J with a caron has a composed form in lowercase only."""
    return value.lower() if value.isascii() else unicodedata.normalize("NFC", value.lower())


def remove(pattern: re.Pattern[str], value: str) -> str:
    """Remove what matches, then compose (NFC) again: an accent may now follow the letter before the match."""
    removed = pattern.sub("", value)
    return removed if removed.isascii() else unicodedata.normalize("NFC", removed)


def is_sha256(value: str) -> bool:
    """Say whether a lowercase value is a SHA-256: 64 hex digits and nothing else."""
    return len(value) == SHA256_LENGTH and _HEX.fullmatch(value) is not None


def write_ascii_digits(value: str) -> str:
    """Write the digits of every script (Arabic, full-width …) as 0 to 9."""
    if value.isascii():
        return value
    return "".join(str(unicodedata.decimal(char, char)) for char in unicodedata.normalize("NFKC", value))
