"""What each reason code means and what to do about it: the words of the report and of docs/tables.md.

A code is written as in the ledger, or as Meta answered. A test proves that no code is without its words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from crm_to_meta.models import BatchReason, DropReason, Reason

if TYPE_CHECKING:
    from crm_to_meta.meta.answers import Answer

META_PREFIX: Final = "meta_"


@dataclass(frozen=True, slots=True)
class ReasonText:
    """A code in plain words."""

    meaning: str
    remedy: str


REASON_TEXTS: Final[dict[Reason, ReasonText]] = {
    Reason.TRANSITION_ID_MISSING: ReasonText(
        "The row has no id, so nothing would prevent it from being sent twice.",
        "Give every stage change its own id in the CRM's export. The next run picks the row up.",
    ),
    Reason.TRANSITION_ID_DUPLICATE: ReasonText(
        "Several rows have the same id. The earliest of them goes on, the others are held back.",
        "Find out why the export repeats an id. Exact copies can stay, but each real change needs its own id.",
    ),
    Reason.STAGE_MISSING: ReasonText(
        "The row does not say which stage the lead moved to.",
        "Fill in the stage in the CRM. The next run picks the row up.",
    ),
    Reason.STAGE_UNMAPPED: ReasonText(
        "The pipeline file has no event name for this CRM stage.",
        "Add the stage under `stages` in the pipeline file, or set `unmapped_stages: skip` if Meta should not see it.",
    ),
    Reason.LEAD_ID_INVALID: ReasonText(
        "The lead id is not one of Meta's, which have 15 to 17 digits and no leading zero.",
        "A spreadsheet may have rounded it, or it is the CRM's own id. No lead id is better than a wrong one.",
    ),
    Reason.EVENT_TIME_MISSING: ReasonText(
        "The row does not say when the stage changed, and times are never invented.",
        "Fill in the time in the CRM. The next run picks the row up.",
    ),
    Reason.EVENT_TIME_INVALID: ReasonText(
        "The time of the stage change cannot be read as a point in time.",
        "Fix the time in the CRM, or set `source.event_time_type` in the pipeline file to the way times are written.",
    ),
    Reason.EVENT_TIME_FUTURE: ReasonText(
        "The stage change is dated in the future.",
        "Often the time zone is wrong: check `time_zone` in the pipeline file. The row is sent once that time is past.",
    ),
    Reason.EVENT_BEFORE_LEAD: ReasonText(
        "The stage change is dated before the lead was created, so one of the two times is wrong.",
        "Check both times in the CRM, above all their time zones.",
    ),
    Reason.EVENT_TOO_OLD: ReasonText(
        "Meta does not accept events that are older than 7 days.",
        "They cannot be recovered. This is normal in a first run. In later runs, rows arrive late or runs were missed.",
    ),
    Reason.VALUE_INVALID: ReasonText(
        "The value of the row is not a number, or is larger than 10^15.",
        "Export it as 1249.50 (a view can convert it), or switch the field off with `source.columns.value: null`.",
    ),
    Reason.VALUE_WITHOUT_CURRENCY: ReasonText(
        "The row has a value but no currency code of three letters.",
        "Fill in the currency (such as EUR), or switch the field off with `source.columns.value: null`.",
    ),
    Reason.NO_IDENTIFIER: ReasonText(
        "Nothing in the row lets Meta identify the person: no usable lead id, click id, email or phone.",
        "Store Meta's lead id with each lead in the CRM. An email address or a phone with country code works, too.",
    ),
    Reason.OWN_RULE: ReasonText(
        "The row breaks one of your own rules, from `quality.expectations` in the pipeline file.",
        "The run's report names the rule. Fix the row in the CRM, or the rule. The next run picks the row up.",
    ),
    Reason.OPTED_OUT: ReasonText(
        "The lead opted out, so nothing was sent.",
        "Nothing.",
    ),
    Reason.OUTCOME_UNKNOWN: ReasonText(
        "The events were sent, but Meta's answer never came: Meta may or may not have them.",
        "With `on_in_doubt: resend`, the next run within 48 hours sends them again. With `hold`, decide in Airflow, on "
        "the tab CRM to Meta, or with `doubts`.",
    ),
    Reason.SENT_WITHOUT_LEAD_ID: ReasonText(
        "Meta never had the lead id, or deleted it, so the event was sent without it, to be matched by email or phone.",
        "Nothing, while there are few. Many suggest that lead ids are damaged on their way into the CRM.",
    ),
    Reason.SETTLED_BY_HAND: ReasonText(
        "The outcome was unknown until somebody decided that Meta has the event.",
        "Nothing. The command `doubts` lists what is still to be decided.",
    ),
    Reason.ERASED: ReasonText(
        "The person was erased before the event was sent.",
        "Erase the lead in the CRM as well, or its next stage change will be sent.",
    ),
}

BATCH_TEXTS: Final[dict[BatchReason, ReasonText]] = {
    BatchReason.ROWS_UNEXPECTED: ReasonText(
        "There are far fewer or far more rows than in past runs.",
        "Check that the CRM's export is complete and ran only once. If this is the new normal, do nothing.",
    ),
    BatchReason.LEAD_IDS_FEW: ReasonText(
        "Few rows carry Meta's lead id.",
        "Check that the CRM still stores the id that comes with each lead, and that the column is exported.",
    ),
    BatchReason.EMAILS_FEW: ReasonText(
        "Few rows carry an email address.",
        "Check that the column is still filled and exported, and that `source.columns.email` names it.",
    ),
    BatchReason.PHONES_FEW: ReasonText(
        "Few rows carry a phone number.",
        "Check that the column is still filled and exported, and that `source.columns.phone` names it.",
    ),
    BatchReason.ROWS_LATE: ReasonText(
        "Many stage changes arrive days after they happened, and Meta accepts them for 7 days only.",
        "Check how often the CRM is exported, and whether an export or a run was missed.",
    ),
    BatchReason.STAGES_NEW: ReasonText(
        "The CRM has a stage that no run of this pipeline has seen before.",
        "Add it under `stages` in the pipeline file, or set `unmapped_stages: skip` if Meta should not see it.",
    ),
    BatchReason.ROWS_STALE: ReasonText(
        "Even the newest stage change is old: the source may have stopped.",
        "Check that the CRM's export still runs.",
    ),
    BatchReason.QUARANTINED_MANY: ReasonText(
        "So many rows are bad that the export itself may be broken.",
        "See which rules failed, and fix the source.",
    ),
}

META_TEXTS: Final[dict[int, ReasonText]] = {
    100: ReasonText(
        "Meta calls something in the event invalid but does not say what.",
        "Ask Meta's support, with the fbtrace_id of the request.",
    ),
    2804003: ReasonText(
        "The event was older than 7 days when it reached Meta.",
        "Run every day. If it happens again, raise `delivery.expiry_margin_minutes` in the pipeline file.",
    ),
    2804004: ReasonText(
        "Meta found that the event is dated in the future.",
        "Check the clock of the machine and the time zone of the CRM's times.",
    ),
    2804009: ReasonText(
        "An event called Purchase needs a value and a currency.",
        "Fill in both, or choose another event name for the stage in the pipeline file.",
    ),
    2804019: ReasonText(
        "Meta could not read a parameter of the event.",
        "Look at the event in a preview, or ask Meta's support, with the fbtrace_id of the request.",
    ),
    2804023: ReasonText(
        "Meta does not accept the event's value without a currency that it knows.",
        "Use three-letter currency codes such as EUR, or switch the field off with `source.columns.value: null`.",
    ),
    2804036: ReasonText(
        "Meta does not know this lead id, or the lead was deleted, and the row has no email or phone to match by.",
        "Check that the ids come from Meta's lead ads unchanged. For deleted leads there is nothing to do.",
    ),
    2804050: ReasonText(
        "The event says too little about the person for Meta to match it.",
        "Add lead id, email or phone to the source where the CRM has them.",
    ),
}

_META_TEXTS_BY_CODE: Final = {f"{META_PREFIX}{number}": text for number, text in META_TEXTS.items()}

TOKEN_REFUSED: Final = ReasonText(
    "Meta refuses the access token: it has expired or was revoked.",
    "Put a new token into the connection to Meta, then clear the failed task, or let the next run send everything.",
)
TOKEN_EXPIRED: Final = ReasonText(
    "The access token has expired.",
    TOKEN_REFUSED.remedy,
)
TOKEN_OWNER: Final = ReasonText(
    "The access token is no longer valid: its owner changed the password, must log in again, or removed the app.",
    "Put the token of a system user, which no person's login ends, into the connection to Meta, then clear the task.",
)
APP_SECRET_REFUSED: Final = ReasonText(
    "Meta refuses the proof that is made with the app secret, or requires one.",
    "Set `app_secret` in the connection to Meta to the secret of the token's own app, then clear the failed task.",
)
PERMISSION_MISSING: Final = ReasonText(
    "The token has no permission for this dataset.",
    "Give its system user access in Meta's Business settings, then clear the failed task, or wait for the next run.",
)
VERSION_GONE: Final = ReasonText(
    "Meta no longer serves this version of its API.",
    "Set a newer `api_version` in the connection to Meta, then clear the failed task, or wait for the next run.",
)
DATASET_UNSEEN: Final = ReasonText(
    "The token does not see the dataset.",
    "Check `dataset_id` in the connection to Meta and who has access to it, then clear the failed task.",
)
_STOP_TEXTS: Final = {  # the first that a stop's name begins with
    "auth_190_463": TOKEN_EXPIRED,
    "auth_190_458": TOKEN_OWNER,
    "auth_190_459": TOKEN_OWNER,
    "auth_190_460": TOKEN_OWNER,
    "auth_190": TOKEN_REFUSED,
    "auth_102": TOKEN_REFUSED,
    "auth_104": TOKEN_REFUSED,
    "auth": PERMISSION_MISSING,
    "configuration_2635": VERSION_GONE,
    "configuration_100_": DATASET_UNSEEN,
    "configuration_100": APP_SECRET_REFUSED,
}

DROP_TEXTS: Final[dict[DropReason, str]] = {
    DropReason.BLANK: "blank",
    DropReason.NOTHING_LEFT: "without a letter or digit",
    DropReason.MD5_NOT_SHA256: "hashed with MD5 instead of SHA-256",
    DropReason.NOT_AN_EMAIL: "not an email address",
    DropReason.PHONE_WITHOUT_COUNTRY: "phone without a country",
    DropReason.PHONE_NOT_POSSIBLE: "not a possible phone number",
    DropReason.GENDER_UNKNOWN: "neither f nor m",
    DropReason.NOT_A_DATE: "not a date",
    DropReason.DATE_AMBIGUOUS: "ambiguous (day or month first?)",
    DropReason.DATE_OUT_OF_RANGE: "date out of range",
    DropReason.COUNTRY_UNKNOWN: "not a country",
    DropReason.LEAD_ID_INVALID: "not 15 to 17 digits",
    DropReason.FBC_MALFORMED: "malformed click id",
    DropReason.FBP_MALFORMED: "malformed browser id",
}


def explain_reason(code: str) -> ReasonText:
    """Return the words for a reason of the ledger or of a rule, also for a code of Meta's that nobody has described."""
    if code.startswith(META_PREFIX):
        return _META_TEXTS_BY_CODE.get(code) or _unknown(code)
    if code in set(BatchReason):
        return BATCH_TEXTS[BatchReason(code)]
    return REASON_TEXTS[Reason(code)] if code in set(Reason) else _unknown(code)


def explain_stop(stop_reason: str) -> ReasonText:
    """Return the words for what stopped a whole run, such as `auth_190_463` (see `Answer.name` in meta/answers.py)."""
    unknown = ReasonText(
        f"Meta stopped the run with the answer {stop_reason}, which this version has no words for.",
        "Look its code up in Meta's error reference, fix the connection to Meta, then clear the failed task; "
        "capi.request has the fbtrace_id that Meta's support asks for.",
    )
    return next((text for name, text in _STOP_TEXTS.items() if stop_reason.startswith(name)), unknown)


def explain_answer(answer: Answer) -> str:
    """Return in plain words why an answer stops everything and what to do, with what Meta's support asks for."""
    text = explain_stop(answer.name)
    when = f" It ended on {answer.token_ended}, says Meta." if answer.token_ended else ""
    trace = f" (fbtrace_id {answer.fbtrace_id})" if answer.fbtrace_id else ""
    return f"{answer.name}: {text.meaning}{when} {text.remedy}{trace}"


def explain_refusal(code: int | None, subcode: int | None) -> str:
    """Return in plain words what Meta refuses, and what to do about it."""
    text = explain_reason(f"{META_PREFIX}{subcode or code or 0}")
    permission = " Without a subcode it may also be a permission that the token lacks: see `make check`."
    return f"{subcode or code}: {text.meaning} {text.remedy}{'' if subcode else permission}"


def explain_drop(code: str) -> str:
    """Return the words for why a value was left out of an event."""
    known = {reason.value: text for reason, text in DROP_TEXTS.items()}
    return known.get(code, code.replace("_", " "))


def _unknown(code: str) -> ReasonText:
    if code.startswith(META_PREFIX):
        return ReasonText(
            f"Meta refused the event with code {code.removeprefix(META_PREFIX)}.",
            "Look the code up in Meta's error reference, or ask Meta's support, with the fbtrace_id of the request.",
        )
    return ReasonText("This version has no words for the code.", "See docs/tables.md of the version that made the run.")
