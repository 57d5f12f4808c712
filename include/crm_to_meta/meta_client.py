"""Meta's Conversions API over HTTP: one request body in, one classified `Answer` out.

The token travels in the Authorization header alone. Redirects are not followed, so it never reaches another host.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError, SSLError

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.meta_answers import Action, Answer, classify

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

DEFAULT_API_VERSION: Final = "v24.0"  # "Versions": served until 2028-02-18
DEFAULT_BASE_URL: Final = "https://graph.facebook.com"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_CONNECT_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaSettings:
    """Where events go and as whom: the Airflow connection `meta_capi`, checked."""

    dataset_id: str
    crm_name: str
    token: str = field(repr=False)
    api_version: str = DEFAULT_API_VERSION
    base_url: str = DEFAULT_BASE_URL

    @property
    def events_url(self) -> str:
        """Return the URL that events are posted to; it holds no secret."""
        return f"{self.base_url.rstrip('/')}/{self.api_version}/{self.dataset_id}/events"


def read_settings(
    *, connection_id: str, password: str | None, extra: Mapping[str, object], needs_token: bool
) -> MetaSettings:
    """Return the checked settings of a connection.

    Args:
        connection_id: names the connection in messages.
        password: the access token.
        extra: `dataset_id` and `crm_name`, and where they differ from the defaults `api_version` and `base_url`.
        needs_token: false for previews, which send nothing.

    Raises:
        ConfigurationError: a setting is missing or not what it should be.
    """
    where = f"Airflow connection `{connection_id}`"
    settings = MetaSettings(
        dataset_id=str(extra.get("dataset_id") or "").strip(),
        crm_name=str(extra.get("crm_name") or "").strip(),
        token=(password or "").strip(),
        api_version=str(extra.get("api_version") or DEFAULT_API_VERSION).strip(),
        base_url=str(extra.get("base_url") or DEFAULT_BASE_URL).strip(),
    )
    if not re.fullmatch("[0-9]+", settings.dataset_id):
        raise ConfigurationError(
            f"{where}: extra `dataset_id` must be the dataset's number (Events Manager, Settings)."
        )
    if not settings.crm_name:
        raise ConfigurationError(f"{where}: extra `crm_name` is empty; Meta shows it as the source of the events.")
    if not re.fullmatch(r"v[0-9]+\.[0-9]+", settings.api_version):
        raise ConfigurationError(f"{where}: extra `api_version` must look like {DEFAULT_API_VERSION}.")
    if needs_token and not re.fullmatch(r"[\x21-\x7e]+", settings.token):
        raise ConfigurationError(f"{where}: the password must be the access token; it is empty or has blanks in it.")
    if not _is_safe_base_url(settings.base_url):
        raise ConfigurationError(
            f"{where}: extra `base_url` must be like {DEFAULT_BASE_URL}, without a login or a query; "
            "http is for this computer alone."
        )
    return settings


def _is_safe_base_url(base_url: str) -> bool:
    try:
        url = urlsplit(base_url)
    except ValueError:
        return False
    if not url.hostname or "@" in url.netloc or url.query or url.fragment:
        return False
    return url.scheme == "https" or (url.scheme == "http" and url.hostname in _LOOPBACK)


class _BearerAuth(requests.auth.AuthBase):
    """Puts the token into the header. As `Session.auth` it also keeps a worker's .netrc from replacing it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class MetaClient:
    """Sends bodies, one at a time, over one kept-alive connection. Use as a context manager."""

    def __init__(
        self, settings: MetaSettings, *, timeout_s: float, transport: requests.adapters.BaseAdapter | None = None
    ) -> None:
        self._url = settings.events_url
        self._timeout = (_CONNECT_TIMEOUT_S, timeout_s)
        self._session = requests.Session()
        self._session.auth = _BearerAuth(settings.token)
        self._session.headers.update({"Content-Type": "application/json", "User-Agent": "crm-to-meta"})
        if transport is not None:
            self._session.mount("http://", transport)
            self._session.mount("https://", transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session.close()

    def send_events(self, body: bytes, *, events: int) -> Answer:
        """Send one request body and return what the answer means. Never raises for what the network does.

        Args:
            body: the exact bytes.
            events: how many events they hold.
        """
        started = time.monotonic()
        try:
            response = self._session.post(self._url, data=body, timeout=self._timeout, allow_redirects=False)
        except requests.RequestException as error:
            return Answer(action=_action_of_failure(error), duration_ms=_elapsed_ms(started))
        return classify(
            response.status_code,
            response.content,
            events=events,
            headers=response.headers,
            duration_ms=_elapsed_ms(started),
        )


def _action_of_failure(error: requests.RequestException) -> Action:
    """Tell failures before anything was sent from those after which the outcome is unknown."""
    before_sending = (requests.ConnectTimeout, requests.exceptions.ProxyError, requests.exceptions.InvalidURL)
    if isinstance(error, before_sending):
        return Action.RETRY
    # urllib3 gives up with MaxRetryError over a failed handshake; TLS that breaks under an answer comes without it.
    given_up = error.args[0] if error.args and isinstance(error.args[0], MaxRetryError) else None
    if given_up and isinstance(given_up.reason, (NewConnectionError, SSLError)):  # the name's look-up is one of these
        return Action.RETRY
    return Action.IN_DOUBT


def _elapsed_ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
