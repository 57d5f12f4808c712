"""What each reason code means and what to do about it: the words of the report page and of the README.

In: a code as the ledger and Meta have it. Out: two plain sentences. A test proves that no code is without its words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from crm_to_meta.field_text import DropReason
from crm_to_meta.models import BatchReason, Reason

if TYPE_CHECKING:
    from crm_to_meta.meta_answers import Answer

META_PREFIX: Final = "meta_"


@dataclass(frozen=True, slots=True)
class ReasonText:
    """A code in plain words."""

    meaning: str
    remedy: str


REASON_TEXTS: Final[dict[Reason, ReasonText]] = {
    Reason.TRANSITION_ID_MISSING: ReasonText(
        "The row has no id, so nothing would keep it from being sent twice.",
        "Give every stage change an id of its own in the CRM's export; the next run takes the row along.",
    ),
    Reason.TRANSITION_ID_DUPLICATE: ReasonText(
        "Several rows carry the same id; the earliest of them goes on, the others are held back.",
        "Find out why the export repeats an id. Exact copies may stay, real changes need ids of their own.",
    ),
    Reason.STAGE_MISSING: ReasonText(
        "The row does not say which stage the lead moved to.",
        "Fill in the stage in the CRM; the next run takes the row along.",
    ),
    Reason.STAGE_UNMAPPED: ReasonText(
        "The pipeline file does not say what this CRM stage is called at Meta.",
        "Add the stage under `stages` in the pipeline file, or set `unmapped_stages: skip` if Meta should not see it.",
    ),
    Reason.LEAD_ID_INVALID: ReasonText(
        "The lead id is not one of Meta's: those are 15 to 17 digits.",
        "Check it: a spreadsheet may have rounded the id, or it is the CRM's own. Better none than a wrong id.",
    ),
    Reason.EVENT_TIME_MISSING: ReasonText(
        "The row does not say when the stage changed, and a time is never invented.",
        "Fill in the time in the CRM; the next run takes the row along.",
    ),
    Reason.EVENT_TIME_INVALID: ReasonText(
        "The time of the stage change cannot be read as a point in time.",
        "Mend the time in the CRM, or declare how times are written: `source.event_time_type` in the pipeline file.",
    ),
    Reason.EVENT_TIME_FUTURE: ReasonText(
        "The stage change is dated in the future.",
        "Often it is the time zone: check `time_zone` in the pipeline file. A run sends it once its time has come.",
    ),
    Reason.EVENT_BEFORE_LEAD: ReasonText(
        "The stage change is dated before the lead was made, so one of the two times is wrong.",
        "Check the times of stage change and lead creation in the CRM, above all their time zones.",
    ),
    Reason.EVENT_TOO_OLD: ReasonText(
        "Meta takes no event that is older than 7 days.",
        "Nothing brings these back. Usual in a first run; in later ones, rows arrive late or runs were missed.",
    ),
    Reason.VALUE_INVALID: ReasonText(
        "The row's value is not a number, or is beyond 10^15.",
        "Write it as 1249.50, in a view if need be, or switch the field off with `source.columns.value: null`.",
    ),
    Reason.VALUE_WITHOUT_CURRENCY: ReasonText(
        "The row has a value, but no currency code of three letters.",
        "Fill in the currency (such as EUR), or switch the field off with `source.columns.value: null`.",
    ),
    Reason.NO_IDENTIFIER: ReasonText(
        "Nothing in the row lets Meta find the person: no usable lead id, click id, email or phone.",
        "Carry Meta's lead id into the CRM with each lead; an email address or a phone with country code does, too.",
    ),
    Reason.OWN_RULE: ReasonText(
        "The row breaks a rule of your own, from `quality.expectations` in the pipeline file.",
        "The run's report names the rule: mend the row in the CRM, or the rule; the next run takes the row along.",
    ),
    Reason.OPTED_OUT: ReasonText(
        "The lead does not want its data to be used, so nothing was sent.",
        "Nothing.",
    ),
    Reason.OUTCOME_UNKNOWN: ReasonText(
        "The events went out, but Meta's answer never came: they may have arrived or not.",
        "With `on_in_doubt: resend` the next run sends them again within 48 hours; with `hold` a person has to decide.",
    ),
    Reason.SENT_WITHOUT_LEAD_ID: ReasonText(
        "Meta does not know the lead id (any more), so the event went without it, matched by email or phone.",
        "Nothing while they are few; many suggest that lead ids are damaged on their way into the CRM.",
    ),
    Reason.SETTLED_BY_HAND: ReasonText(
        "Its outcome was unknown until a person decided that Meta has it.",
        "Nothing; `make doubts` lists what is still to be decided.",
    ),
    Reason.ERASED: ReasonText(
        "The person was erased before the event was sent.",
        "Nothing. Erase the lead in the CRM as well, or its next stage change is sent.",
    ),
}

BATCH_TEXTS: Final[dict[BatchReason, ReasonText]] = {
    BatchReason.ROWS_UNEXPECTED: ReasonText(
        "There are far fewer or far more rows than in past runs.",
        "See whether the CRM's export is complete and ran once. If this is the new normal, nothing: past runs follow.",
    ),
    BatchReason.LEAD_IDS_FEW: ReasonText(
        "Few rows carry Meta's lead id.",
        "See whether the CRM still stores the id that comes with each lead, and whether the column is exported.",
    ),
    BatchReason.EMAILS_FEW: ReasonText(
        "Few rows carry an email address.",
        "See whether the column is still filled and exported, and what `source.columns.email` names.",
    ),
    BatchReason.PHONES_FEW: ReasonText(
        "Few rows carry a phone number.",
        "See whether the column is still filled and exported, and what `source.columns.phone` names.",
    ),
    BatchReason.ROWS_LATE: ReasonText(
        "Many stage changes arrive days after they happened; Meta takes them for 7 days only.",
        "See how often the CRM is exported, and whether an export or a run was missed.",
    ),
    BatchReason.STAGES_NEW: ReasonText(
        "The CRM has a stage that no run of this pipeline has met.",
        "Add it under `stages` in the pipeline file, or set `unmapped_stages: skip` if Meta should not see it.",
    ),
    BatchReason.ROWS_STALE: ReasonText(
        "Even the newest stage change is old: the source may have stopped.",
        "See whether the CRM's export still runs.",
    ),
    BatchReason.QUARANTINED_MANY: ReasonText(
        "So many bad rows look like a broken export.",
        "See which rules failed, and mend the source.",
    ),
}

META_TEXTS: Final[dict[int, ReasonText]] = {
    100: ReasonText(
        "Meta calls something in the event invalid and does not say what.",
        "Ask Meta's support; the fbtrace_id of the request is what they need.",
    ),
    2804003: ReasonText(
        "Meta found the event older than 7 days when it arrived.",
        "Run every day; if it happens again, raise `delivery.expiry_margin_minutes` in the pipeline file.",
    ),
    2804004: ReasonText(
        "Meta found the event dated in the future.",
        "Check the clock of the machine and the time zone of the CRM's times.",
    ),
    2804009: ReasonText(
        "An event called Purchase needs a value and a currency.",
        "Fill in both, or give the stage another event name in the pipeline file.",
    ),
    2804019: ReasonText(
        "Meta could not read a parameter of the event.",
        "Look at the event in a preview; Meta's support can tell more from the fbtrace_id.",
    ),
    2804023: ReasonText(
        "Meta does not accept the event's value without a currency that it knows.",
        "Use currency codes of three letters such as EUR, or switch the field `value` off.",
    ),
    2804036: ReasonText(
        "Meta does not know this lead id, or its lead was deleted, and the row has no email or phone to go by.",
        "Check that the ids come from Meta's lead ads unchanged. For deleted leads there is nothing to do.",
    ),
    2804050: ReasonText(
        "What the event says about the person is too little for Meta to match.",
        "Send lead id, email or phone along where the CRM has them.",
    ),
}

_META_TEXTS_BY_CODE: Final = {f"{META_PREFIX}{number}": text for number, text in META_TEXTS.items()}

TOKEN_REFUSED: Final = ReasonText(
    "Meta refuses the access token, which has expired or was revoked.",
    "Put a new token into the connection to Meta, then clear the failed task, or let the next run send everything.",
)
TOKEN_EXPIRED: Final = ReasonText(
    "The access token has expired.",
    TOKEN_REFUSED.remedy,
)
TOKEN_OWNER: Final = ReasonText(
    "The access token is void, since its owner changed the password, must log in again, or removed the app.",
    "Put the token of a system user into the connection to Meta, which no person's login ends, then clear the task.",
)
APP_SECRET_REFUSED: Final = ReasonText(
    "Meta refuses the proof that is made with the app secret, or demands one.",
    "Set `app_secret` in the connection to Meta to the secret of the token's own app, then clear the failed task.",
)
PERMISSION_MISSING: Final = ReasonText(
    "The token has no permission for this dataset.",
    "Grant its system user access in Meta's Business settings, then clear the failed task, or wait for the next run.",
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
    """Return the words for what stopped a whole run, such as `auth_190_463` (see `meta_answers.Answer.name`)."""
    return next((text for name, text in _STOP_TEXTS.items() if stop_reason.startswith(name)), DATASET_UNSEEN)


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
            "Look the code up in Meta's error reference; its support can tell more from the request's fbtrace_id.",
        )
    return ReasonText("This version has no words for the code.", "See the README of the version that made the run.")
