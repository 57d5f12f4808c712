"""Keep back names and ids that look like personal data: a sign that a wrong column of the CRM is mapped.

Stage names are words, so a long number in one is taken for a phone. Transition ids are often plain numbers: among them
only a number that is written as people write phones (with a plus, brackets or blanks) is.
"""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "hidden: looks like personal data"
_FEWEST_DIGITS: Final = 7  # of a phone
_ADDRESS: Final = re.compile(r"@|%40")
_LONG_NUMBER: Final = re.compile(r"(?:\d[\s()./-]*){7}")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:?\d\d(?::?\d\d(?:\.\d+)?)?)?(?:\+\d\d:?\d\d)?")
_NUMBER: Final = re.compile(r"[+(]*\d[\d\s()./-]*\d")
_NUMBER_OF_NORTH_AMERICA: Final = re.compile(r"(?<!\d)\d{3}-\d{3}-\d{4}(?!\d)")


def is_personal_name(name: str) -> bool:
    """Say whether a name looks like an address or a phone."""
    return bool(_ADDRESS.search(name) or _LONG_NUMBER.search(name))


def is_personal_id(text: str) -> bool:
    """Say whether an id looks like an address or a phone, or contains one. Times in an id are no phones."""
    if _ADDRESS.search(text) or _NUMBER_OF_NORTH_AMERICA.search(text):
        return True
    numbers = (found[0] for found in _NUMBER.finditer(_MOMENT.sub("", text)))
    return any(_is_written_as_phone(number) for number in numbers)


def _is_written_as_phone(number: str) -> bool:
    digits = sum(character.isdigit() for character in number)
    return digits >= _FEWEST_DIGITS and any(character in "+()" or character.isspace() for character in number)
