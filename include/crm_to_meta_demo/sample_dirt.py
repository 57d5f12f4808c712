"""The dirt of real CRMs in one table: its kinds, the share of leads that have each, and the expected result.

Each function takes a clean row and a random generator, and returns the row or rows that the table has instead. A lead
has at most one kind of dirt, so that a row's result has one cause. Rows older than Meta's seven days are an exception:
they are expected to be `event_too_old` even if they have another fault.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import NamedTuple

from crm_to_meta_demo.sample_people import empty_fields, fill_pattern
from crm_to_meta_demo.sample_transition import DELETED_ENDING, SampleTransition
from crm_to_meta_demo.sample_vocabulary import COUNTRIES

Change = Callable[[SampleTransition, Random], "SampleTransition | tuple[SampleTransition, ...]"]

USABLE = "none, still usable"
UNMAPPED_STAGE = "duplicate - merge"
PLACEHOLDERS = frozenset({"n/a", "unknown"})  # texts that people type into a mandatory field

_EASTERN_DIGITS = str.maketrans("0123456789", "".join(chr(0x0660 + digit) for digit in range(10)))
_WIDE_DIGITS = str.maketrans("0123456789", "".join(chr(0xFF10 + digit) for digit in range(10)))
_CONTACT = ("email", "phone", "external_id", "fbclid", "fbp", "last_name", "date_of_birth")
_ADDRESS = ("city", "state", "zip", "country")
_NAME = ("first_name", "gender")
_BIRTH_FORMS = ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y%m%d", "%d/%m/%y", "%Y/%m/%d", "%Y-%m-%dT00:00:00", "%Y-02-30")


def label_lead_id(row: SampleTransition, _: Random) -> SampleTransition:
    return replace(row, lead_id=f"l:{row.lead_id}")


def pad_lead_id(row: SampleTransition, rng: Random) -> SampleTransition:
    return replace(row, lead_id=rng.choice((f" {row.lead_id}", f"{row.lead_id}  ", f"\t{row.lead_id}\n")))


def pass_lead_id_through_excel(row: SampleTransition, rng: Random) -> SampleTransition:
    return replace(row, lead_id=f"{rng.randrange(100_000, 999_999) / 100_000:.5f}E+15")


def shorten_lead_id(row: SampleTransition, rng: Random) -> SampleTransition:
    return replace(row, lead_id=str(rng.randrange(10**13, 10**14)))


def lengthen_lead_id(row: SampleTransition, rng: Random) -> SampleTransition:
    return replace(row, lead_id=str(rng.randrange(10**17, 10**18)))


def lose_lead_id(row: SampleTransition, _: Random) -> SampleTransition:
    return empty_fields(row, "lead_id")


def lose_all_but_lead_id(row: SampleTransition, _: Random) -> SampleTransition:
    return empty_fields(row, *_CONTACT, *_ADDRESS, *_NAME)


def delete_at_meta(row: SampleTransition, rng: Random) -> SampleTransition:
    return replace(row, lead_id=f"{rng.randrange(10**10, 10**11)}{DELETED_ENDING}")


def delete_at_meta_all_but_lead_id(row: SampleTransition, rng: Random) -> SampleTransition:
    return lose_all_but_lead_id(delete_at_meta(row, rng), rng)


def lose_identifiers(row: SampleTransition, rng: Random) -> SampleTransition:
    """Leave only what is not enough for Meta: a first name and gender, or an address and gender."""
    left_over = rng.choice((("first_name", "gender"), ("gender", *_ADDRESS)))
    return empty_fields(row, "lead_id", *(name for name in (*_CONTACT, *_ADDRESS, *_NAME) if name not in left_over))


def lose_event_time(row: SampleTransition, _: Random) -> SampleTransition:
    return empty_fields(row, "event_time")


def move_event_ahead(row: SampleTransition, rng: Random) -> SampleTransition:
    return replace(row, event_time=row.event_time and row.event_time + timedelta(days=rng.randrange(20, 41)))


def move_event_before_lead(row: SampleTransition, rng: Random) -> SampleTransition:
    return replace(row, event_time=row.lead_created_at - timedelta(minutes=rng.randrange(30, 1_200)))


def leave_as_is(row: SampleTransition, _: Random) -> SampleTransition:
    return row


def lose_transition_id(row: SampleTransition, _: Random) -> SampleTransition:
    return empty_fields(row, "transition_id")


def write_twice(row: SampleTransition, _: Random) -> tuple[SampleTransition, ...]:
    return row, row


def blank_stage(row: SampleTransition, rng: Random) -> SampleTransition:
    return replace(row, stage=rng.choice((None, "", "  ")))


def add_unmapped_stage(row: SampleTransition, _: Random) -> tuple[SampleTransition, ...]:
    later = row.event_time and row.event_time + timedelta(seconds=20)
    return row, replace(row, transition_id=f"{row.transition_id}-m", stage=UNMAPPED_STAGE, event_time=later)


def opt_out(row: SampleTransition, _: Random) -> SampleTransition:
    return replace(row, opted_out=True)


def lose_currency(row: SampleTransition, rng: Random) -> SampleTransition:
    return replace(row, value=row.value or Decimal(rng.randrange(100, 5_000)), currency=None)


def shout_and_pad_email(row: SampleTransition, _: Random) -> SampleTransition:
    return replace(row, email=f" {(row.email or '').upper()}  ")


def end_email_with_dot(row: SampleTransition, _: Random) -> SampleTransition:
    return replace(row, email=f"{row.email}.")


def refuse_email(row: SampleTransition, rng: Random) -> SampleTransition:
    return replace(row, email=rng.choice(("n/a", "N/A")))


def add_second_email(row: SampleTransition, rng: Random) -> SampleTransition:
    return replace(row, email=f"{row.email}{rng.choice(('; ', ', ', ' / '))}office{rng.randrange(10**6)}@example.org")


def put_zero_width_in_email(row: SampleTransition, rng: Random) -> SampleTransition:
    """Put a zero-width space into it or a byte order mark before it, as copy and paste does."""
    email = row.email or ""
    return replace(row, email=rng.choice((f"{email[:3]}\u200b{email[3:]}", f"\ufeff{email}")))


def put_accents_in_email(row: SampleTransition, _: Random) -> SampleTransition:
    return replace(row, email=f"björn.{row.email}")


def hash_email(row: SampleTransition, rng: Random) -> SampleTransition:
    digest = hashlib.sha256((row.email or "").encode()).hexdigest()
    return replace(row, email=rng.choice((digest, digest.upper())))


def hash_email_with_md5(row: SampleTransition, _: Random) -> SampleTransition:
    return replace(row, email=hashlib.md5((row.email or "").encode(), usedforsecurity=False).hexdigest())


def refuse_phone(row: SampleTransition, rng: Random) -> SampleTransition:
    return replace(row, phone=rng.choice(("unknown", "Unknown")))


def add_extension(row: SampleTransition, rng: Random) -> SampleTransition:
    return replace(row, phone=f"{row.phone}{rng.choice((' ext. 12', ' x204', ' #17'))}")


def put_letters_in_phone(row: SampleTransition, rng: Random) -> SampleTransition:
    phone = row.phone or ""
    return replace(row, phone=rng.choice((f"mobile: {phone}", f"{phone} (evenings)", phone.replace("0", "O"))))


def lose_country(row: SampleTransition, rng: Random) -> SampleTransition:
    national = COUNTRIES[row.country or "US"].national
    return replace(row, phone=fill_pattern(rng, rng.choice(national)), country=None)


def keep_trunk_zero(row: SampleTransition, rng: Random) -> SampleTransition:
    """Write a phone as the British do. The address is left out, since it may be of another country."""
    return replace(empty_fields(row, *_ADDRESS), phone=fill_pattern(rng, "+44 (0)7700 900###"), country="GB")


def write_other_digits(row: SampleTransition, rng: Random) -> SampleTransition:
    return replace(row, phone=(row.phone or "").translate(rng.choice((_EASTERN_DIGITS, _WIDE_DIGITS))))


def add_title(row: SampleTransition, rng: Random) -> SampleTransition:
    title, degree = rng.choice((("Dr. ", ""), ("Prof. Dr. ", ""), ("", ", MBA"), ("Mrs ", "")))
    return replace(row, first_name=f"{title}{row.first_name}", last_name=f"{row.last_name}{degree}")


def add_emoji(row: SampleTransition, rng: Random) -> SampleTransition:
    return replace(row, first_name=f"{row.first_name} {rng.choice(('🌻', '✨', '🐝'))}")


def join_names(row: SampleTransition, rng: Random) -> SampleTransition:
    first_name = rng.choice(("Anne-Marie", "Jean-Baptiste", "Mary\u2013Ann"))
    return replace(row, first_name=first_name, last_name=rng.choice(("O'Halloran", "D\u2019Agostino", "Lloyd-O'Shea")))


def decompose_name(row: SampleTransition, rng: Random) -> SampleTransition:
    first_name, last_name = rng.choice(("Renée", "Zoë-Łucja", "Núria")), rng.choice(("Núñez", "Dvořáková", "Sjöström"))
    return replace(
        row,
        first_name=unicodedata.normalize("NFD", first_name),
        last_name=unicodedata.normalize("NFD", last_name),
    )


def reformat_birth_date(row: SampleTransition, rng: Random) -> SampleTransition:
    born_on = date.fromisoformat(row.date_of_birth or "")
    return replace(row, date_of_birth=born_on.strftime(rng.choice(_BIRTH_FORMS)))


def name_country(row: SampleTransition, rng: Random) -> SampleTransition:
    name = COUNTRIES[row.country or "US"].name
    return replace(row, country=rng.choice((name, name.upper(), f" {(row.country or '').lower()} ")))


class Dirt(NamedTuple):
    """A line of the table. `change` is applied to all rows of the lead or, with `one_row`, to one at random."""

    kind: str
    share_per_10k: int  # of the leads
    effect: str
    expected: str  # reason code, or USABLE
    change: Change
    one_row: bool = False
    days_late: int = 0  # days from the event until the row is in the table


DIRT = (
    Dirt("lead_id_labelled", 200, "'l:' in front, as in Meta's CSV exports", USABLE, label_lead_id),
    Dirt("lead_id_blanks", 50, "blanks, tab or line end around it", USABLE, pad_lead_id),
    Dirt("lead_id_excel", 50, "1.23457E+15", "lead_id_invalid", pass_lead_id_through_excel),
    Dirt("lead_id_14_digits", 25, "too short", "lead_id_invalid", shorten_lead_id),
    Dirt("lead_id_18_digits", 25, "too long", "lead_id_invalid", lengthen_lead_id),
    Dirt("lead_id_missing", 300, "the lead sync did not keep it", USABLE, lose_lead_id),
    Dirt("lead_id_only", 80, "no contact data at all", USABLE, lose_all_but_lead_id),
    Dirt("lead_deleted", 20, "deleted at Meta; has contact data", "sent_without_lead_id", delete_at_meta),
    Dirt("lead_deleted_only_id", 15, "deleted at Meta; nothing else", "meta_2804036", delete_at_meta_all_but_lead_id),
    Dirt("no_identifier", 60, "only name and gender, or only address", "no_identifier", lose_identifiers),
    Dirt("event_time_null", 40, "NULL", "event_time_missing", lose_event_time, one_row=True),
    Dirt("event_time_future", 40, "20 to 40 days ahead", "event_time_future", move_event_ahead, one_row=True),
    Dirt("event_before_lead", 50, "before lead_created_at", "event_before_lead", move_event_before_lead, one_row=True),
    Dirt("row_late", 150, "comes days after its event", USABLE, leave_as_is, one_row=True, days_late=3),
    Dirt("transition_id_null", 25, "NULL", "transition_id_missing", lose_transition_id, one_row=True),
    Dirt("transition_id_twice", 40, "an exact copy of the row", "transition_id_duplicate", write_twice, one_row=True),
    Dirt("stage_blank", 30, "NULL, empty or blanks", "stage_missing", blank_stage, one_row=True),
    Dirt("stage_unmapped", 40, "one more row, 'duplicate - merge'", "stage_unmapped", add_unmapped_stage, one_row=True),
    Dirt("opted_out", 120, "does not want it", "opted_out", opt_out),
    Dirt("value_no_currency", 50, "a value, no currency", "value_without_currency", lose_currency, one_row=True),
    Dirt("email_capitals", 200, "capitals and blanks around it", USABLE, shout_and_pad_email),
    Dirt("email_trailing_dot", 60, "a dot at the end", USABLE, end_email_with_dot),
    Dirt("email_na", 80, "'n/a'", USABLE, refuse_email),
    Dirt("email_two", 50, "a second address in the field", USABLE, add_second_email),
    Dirt("email_zero_width", 30, "zero-width characters", USABLE, put_zero_width_in_email),
    Dirt("email_accents", 40, "a mailbox with an umlaut", USABLE, put_accents_in_email),
    Dirt("email_sha256", 100, "hashed already", USABLE, hash_email),
    Dirt("email_md5", 40, "hashed, with the wrong algorithm", USABLE, hash_email_with_md5),
    Dirt("phone_unknown", 80, "'unknown'", USABLE, refuse_phone),
    Dirt("phone_extension", 60, "an extension behind it", USABLE, add_extension),
    Dirt("phone_letters", 50, "a remark, or O for 0", USABLE, put_letters_in_phone),
    Dirt("phone_no_country", 100, "national form, country NULL", USABLE, lose_country),
    Dirt("phone_trunk_zero", 40, "+44 (0)7700 900123", USABLE, keep_trunk_zero),
    Dirt("phone_other_digits", 40, "Arabic-Indic or full-width digits", USABLE, write_other_digits),
    Dirt("name_title", 80, "Dr., Prof., MBA", USABLE, add_title),
    Dirt("name_emoji", 30, "an emoji behind it", USABLE, add_emoji),
    Dirt("name_joined", 80, "hyphens and apostrophes of all sorts", USABLE, join_names),
    Dirt("name_decomposed", 40, "accents as characters of their own (NFD)", USABLE, decompose_name),
    Dirt("birth_date_mixed", 100, "many forms, and the 30th of February", USABLE, reformat_birth_date),
    Dirt("country_name", 60, "name or small letters for the code", USABLE, name_country),
)


def quota(dirt: Dirt, leads_per_day: int, day: date) -> int:
    """Return how many of a day's leads get this dirt: its share, rounded so that many days have exactly the share."""
    per_day = dirt.share_per_10k * leads_per_day
    return (day.toordinal() + 1) * per_day // 10_000 - day.toordinal() * per_day // 10_000
