from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from crm_to_meta.meta.answers import Action
from crm_to_meta.models import Mode, Status
from crm_to_meta.report.headline import DASH, counted, listed, window_in_words
from crm_to_meta.report.layout import TEMPLATES_FOLDER, duration, number, percent, prose
from crm_to_meta.report.words import MODE_WORDS, STATUS_WORDS


def at(text: str) -> datetime:
    """Return a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2026-11-21", "2026-11-22", "21 November 2026"),
        ("2026-11-14", "2026-11-22", f"14{DASH}21 November 2026"),
        ("2026-10-30", "2026-11-03", f"30 October {DASH} 2 November 2026"),
        ("2025-12-25", "2026-01-02", f"25 December 2025 {DASH} 1 January 2026"),
        ("2026-11-13T23:00", "2026-11-21T23:00", f"13 November 2026, 23:00 UTC {DASH} 21 November 2026, 23:00 UTC"),
    ],
)
def test_window_of_whole_days_is_written_as_dates(start: str, end: str, words: str) -> None:
    """A window of whole days is written as dates, the last one included; any other with its times."""
    assert window_in_words(at(start), at(end)) == words


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0%"), (1, "100%"), (0.0001, "< 0.1%"), (0.99999, "> 99.9%"), (0.0268, "2.7%"), (0.5, "50.0%")],
)
def test_share_never_rounds_to_nothing_or_all(share: float, words: str) -> None:
    """Only nothing is shown as 0%, and only all as 100%."""
    assert percent(share) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0484, "48 ms"),
        (9.96, "10.0 s"),
        (59.99, "60.0 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3661, "1 h 1 min"),
    ],
)
def test_duration_has_the_units_that_matter(seconds: float, words: str) -> None:
    """A duration is written in its two largest units."""
    assert duration(seconds) == words


def test_numbers_have_thousands_separators() -> None:
    """Large numbers are readable."""
    assert number(1234567) == "1,234,567"


def test_prose_tells_code_from_text() -> None:
    """What stands between backticks is code."""
    assert prose("set `a: 1` now") == [(False, "set "), (True, "a: 1"), (False, " now")]


def test_clauses_are_joined_by_commas_and_and() -> None:
    """Clauses are joined by commas, the last one by `and`."""
    assert [listed(list(clauses)) for clauses in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]


def test_verb_agrees_with_the_number() -> None:
    """One takes the singular, more take the plural."""
    assert (counted(1, "is late", "are late"), counted(2000, "is late", "are late")) == ("1 is late", "2,000 are late")


def test_every_status_and_mode_has_its_text() -> None:
    """Every status and mode has a name and a meaning."""
    assert set(STATUS_WORDS) == set(Status)
    assert set(MODE_WORDS) == set(Mode)


def test_every_outcome_has_its_text() -> None:
    """Every outcome that a request can have on record is explained."""
    from crm_to_meta.load.chunk_in_flight import _OUTCOMES
    from crm_to_meta.models import RequestOutcome
    from crm_to_meta.report.words import OUTCOME_WORDS

    assert set(_OUTCOMES) == set(Action)
    assert set(OUTCOME_WORDS) == set(RequestOutcome)


def test_every_pattern_of_a_bar_is_drawn() -> None:
    """Each pattern in the styles is defined on the page, and each status has a fill of its own."""
    css = (TEMPLATES_FOLDER / "report.css").read_text()
    patterns = set(re.findall(r"url\(#([\w-]+)\)", css))
    drawn = set(re.findall(r'<pattern id="([\w-]+)"', (TEMPLATES_FOLDER / "patterns.html").read_text()))
    fills = [re.search(rf"\.slice-{status} {{ fill: ([^;]+);", css) for status in Status]

    assert patterns == drawn
    assert len({fill[1] for fill in fills if fill}) == len(Status)


TEXT, GRAPHIC = 4.5, 3.0  # WCAG 2.2 AA
PAIRS = [
    ("ink", "paper", 7.0),
    ("ink", "wash", 7.0),
    ("muted", "paper", TEXT),
    ("muted", "wash", TEXT),
    ("accent", "paper", TEXT),
    ("accent", "accent-wash", TEXT),
    ("attention", "paper", TEXT),
    ("attention", "attention-wash", TEXT),
    ("ink", "attention-wash", TEXT),
    ("muted", "attention-wash", TEXT),
    ("alarm", "paper", TEXT),
    ("alarm", "alarm-wash", TEXT),
    ("ink", "alarm-wash", TEXT),
    ("accent-mid", "paper", GRAPHIC),
    ("attention-mid", "paper", GRAPHIC),
    ("attention-mid", "attention-wash", GRAPHIC),
    ("alarm-mid", "paper", GRAPHIC),
    ("alarm-mid", "alarm-wash", GRAPHIC),
    ("grey", "paper", GRAPHIC),
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "ground", "least"), PAIRS, ids=[f"{name} on {ground}" for name, ground, _ in PAIRS])
def test_contrast_is_accessible(scheme: str, name: str, ground: str, least: float) -> None:
    """Text and charts have the contrast that WCAG 2.2 AA requires: 4.5 for text, 3 for graphics."""
    colors = colors_of(scheme)

    assert contrast(colors[name], colors[ground]) >= least


def test_every_colour_follows_the_scheme() -> None:
    """A page around this one may choose light or dark by `color-scheme`: no colour is fixed or asks the system."""
    styles = "".join((TEMPLATES_FOLDER / name).read_text() for name in ("colours.css", "base.css", "report.css"))
    outside = re.sub(r"light-dark\([^)]*\)", "", styles.split("@media print")[0])

    assert "prefers-color-scheme" not in styles
    assert re.findall(r"#[0-9a-f]{3,8}\b", outside.replace("url(#", "")) == []
    assert colors_of("light").keys() == colors_of("dark").keys()


def colors_of(scheme: str) -> dict[str, str]:
    """Return the colours of a scheme by name."""
    css = (TEMPLATES_FOLDER / "colours.css").read_text()
    pairs = re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", css)
    return {name: light if scheme == "light" else dark for name, light, dark in pairs}


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of WCAG 2."""
    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    """Return the relative luminance of WCAG 2."""
    channels = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
