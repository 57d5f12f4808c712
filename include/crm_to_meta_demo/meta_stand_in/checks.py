"""Check a request as a whole, and return its events as parsed JSON.

The order is version, token, dataset, body. Meta does not document which of several faults it reports first.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NoReturn

from pydantic import SecretStr

from crm_to_meta_demo.meta_stand_in import answers
from crm_to_meta_demo.meta_stand_in.answers import RefusedError, invalid_request, unexpected_key
from crm_to_meta_demo.meta_stand_in.event_checks import EventRules, check_events
from crm_to_meta_demo.meta_stand_in.settings import Settings

MAX_EVENTS_PER_REQUEST: Final = 1_000  # "Using the API"
REQUEST_KEYS: Final = frozenset({  # "Using the API"; STRICT: what Meta does with others at this level is not confirmed
    "data", "test_event_code", "partner_agent", "access_token", "appsecret_proof",
    "namespace_id", "upload_id", "upload_tag", "upload_source",
})  # fmt: skip

TOKEN_EXPIRED_AGO: Final = timedelta(hours=1)
TIME: Final = "%A, %d-%b-%y %H:%M:%S %Z"  # recorded answer
HALF_CHARACTER: Final = re.compile(rb"\\u[dD][89a-fA-F]")  # half of a surrogate pair, which is no character on its own

TokenPlace = Literal["header", "query", "body"]


@dataclass(frozen=True, slots=True)
class Call:
    """A POST as it came in. It is never printed or stored, since it contains the token and personal data."""

    version: str
    dataset_id: str
    raw_body: bytes
    authorization: str = ""
    query_token: str | None = None
    query_proof: str | None = None
    content_type: str = ""
    content_encoding: str = ""

    def __repr__(self) -> str:
        return f"Call({self.version}/{self.dataset_id}, {len(self.raw_body)} bytes)"


def read_body(call: Call) -> dict[str, object] | None:
    """Return the body as an object; None if it is anything else."""
    try:
        body = json.loads(call.raw_body.decode(), parse_constant=_refuse_constant, parse_float=_parse_finite)
        if HALF_CHARACTER.search(call.raw_body):
            json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parse_finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("the number is too large")
    return number


def list_events(body: dict[str, object] | None) -> list[object]:
    """Return the events of a body that has not been checked."""
    data = (body or {}).get("data")
    return data if isinstance(data, list) else []


def find_token(call: Call, body: dict[str, object] | None) -> tuple[str, TokenPlace] | None:
    """Return the token and its place.

    Meta's pages show `access_token` in the query or the form; the Bearer header works as well [recorded answer].
    """
    scheme, _, header_token = call.authorization.partition(" ")
    if scheme.lower() == "bearer" and header_token.strip():
        return header_token.strip(), "header"
    if call.query_token:
        return call.query_token, "query"
    body_token = (body or {}).get("access_token")
    return (body_token, "body") if isinstance(body_token, str) and body_token else None


def check_call(
    call: Call, body: dict[str, object] | None, settings: Settings, rules: EventRules
) -> list[dict[str, object]]:
    """Return the events of a valid request; raise `RefusedError` for any other."""
    check_encoding(call)
    check_version(call.version, settings)
    token = check_token(find_token(call, body), settings)
    check_proof(call, token, settings)
    check_dataset(call.dataset_id, settings)
    check_permission(token, settings)
    events = check_body(call, body)
    check_events(events, rules)
    return [event for event in events if isinstance(event, dict)]


def check_encoding(call: Call) -> None:
    """Refuse compressed bodies. STRICT: Meta is not known to accept them."""
    if call.content_encoding.lower() not in ("", "identity"):
        raise RefusedError(
            "The body is compressed and cannot be read.", code=answers.UNCLASSIFIED, error_type="Exception"
        )


def check_version(version: str, settings: Settings) -> None:
    """Refuse versions that are not in use. STRICT: Meta serves the next usable version instead ("Versions")."""
    if version not in settings.versions:
        text = f"(#2635) This version of the API is not in use: {', '.join(sorted(settings.versions))} are."
        raise RefusedError(text, code=answers.UNUSABLE_VERSION)


def check_token(found: tuple[str, TokenPlace] | None, settings: Settings) -> SecretStr:
    """Return the token if it is valid, with or without permission."""
    if found is None:
        raise RefusedError("An access token is required.", code=answers.INVALID_TOKEN)
    secret = SecretStr(found[0])
    if secret in settings.expired_tokens:
        now = datetime.fromtimestamp(settings.read_clock(), UTC)
        text = f"The access token expired on {now - TOKEN_EXPIRED_AGO:{TIME}}. It is now {now:{TIME}}."
        raise RefusedError(text, code=answers.INVALID_TOKEN, subcode=answers.TOKEN_EXPIRED)
    if secret not in [*settings.tokens, *settings.powerless_tokens]:
        raise RefusedError("The access token is not valid.", code=answers.INVALID_TOKEN)
    return secret


def check_proof(call: Call, token: SecretStr, settings: Settings) -> None:
    """Check the HMAC-SHA256 of the token in hex, with the app secret as the key ("Secure Graph API Calls")."""
    if settings.app_secret is None:
        return
    key, message = settings.app_secret.get_secret_value().encode(), token.get_secret_value().encode()
    if call.query_proof != hmac.new(key, message, hashlib.sha256).hexdigest():
        raise RefusedError(
            "The appsecret_proof is absent or wrong.", code=answers.INVALID_PARAMETER, error_type="GraphMethodException"
        )


def check_permission(token: SecretStr, settings: Settings) -> None:
    if token in settings.powerless_tokens:
        raise RefusedError("(#200) The permission for this is missing.", code=answers.PERMISSION_MISSING)


def check_dataset(dataset_id: str, settings: Settings) -> None:
    if dataset_id not in settings.dataset_ids:
        text = f"Object '{dataset_id}' is unknown, out of reach for lack of permissions, or does not take this call."
        kind = "GraphMethodException"
        raise RefusedError(text, code=answers.INVALID_PARAMETER, subcode=answers.OBJECT_MISSING, error_type=kind)


def check_body(call: Call, body: dict[str, object] | None) -> list[object]:
    """Return the list under `data`, with 1 to 1,000 events."""
    if call.content_type.partition(";")[0].strip().lower() != "application/json":
        raise invalid_request("The body must come with Content-Type: application/json.")
    if body is None:
        raise invalid_request("The body must be a JSON object.")
    for key in body.keys() - REQUEST_KEYS:
        raise unexpected_key(key, "$")
    check_test_event_code(body)
    data = body.get("data")
    if not isinstance(data, list) or not data:
        raise invalid_request("Param data must be a list that is not empty.")
    if len(data) > MAX_EVENTS_PER_REQUEST:
        raise invalid_request(f"Param data must have at most {MAX_EVENTS_PER_REQUEST} elements.")
    return data


def check_test_event_code(body: dict[str, object]) -> None:
    code = body.get("test_event_code", "unset")
    if not isinstance(code, str) or not code.strip():
        raise invalid_request("Param test_event_code must be a text that is not empty.")
