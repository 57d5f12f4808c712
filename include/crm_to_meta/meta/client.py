"""Send request bodies to Meta's Conversions API over HTTP, and classify the answers.

The token travels in the Authorization header alone. Redirects are not followed, so it never reaches another host.
Bodies are not compressed, since Meta is not known to take that. An answer has a time limit as a whole and a size limit.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError, MaxRetryError, NameResolutionError, NewConnectionError, SSLError

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.meta.answers import Action, Answer, classify

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from urllib3.connection import HTTPConnection

DEFAULT_API_VERSION: Final = "v24.0"  # "Versions": served until 2028-02-18
DEFAULT_BASE_URL: Final = "https://graph.facebook.com"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_CONNECT_TIMEOUT_S: Final = 10.0
_LARGEST_ANSWER_BYTES: Final = 1 << 20  # Meta's are below 2 KB; a proxy's page may be larger, and says nothing more
_READ_BYTES: Final = 1 << 16


# What can only fail before a request is sent, the most special kind first, and in words.
_NOT_SENT: Final[dict[type[Exception], str]] = {
    requests.exceptions.ProxyError: "the proxy cannot be reached, or refuses to connect",
    requests.exceptions.InvalidURL: "the address cannot be used; check `base_url` in the connection to Meta",
    requests.ConnectTimeout: f"no connection within {_CONNECT_TIMEOUT_S:.0f} s; check the network and the firewall",
}
_NOT_CONNECTED: Final[dict[type[Exception], str]] = {  # why urllib3 gave up
    NameResolutionError: "its name cannot be resolved; check the network and the name service of the worker",
    NewConnectionError: "the connection is refused, or no network leads there",
    SSLError: "no TLS connection; check that its certificate is one that the worker trusts",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaSettings:
    """Where events go and as whom: the Airflow connection `meta_capi`, checked."""

    dataset_id: str
    crm_name: str
    token: str = field(repr=False)
    api_version: str = DEFAULT_API_VERSION
    base_url: str = DEFAULT_BASE_URL
    app_secret: str = field(default="", repr=False)
    partner_agent: str = ""

    @property
    def proof(self) -> dict[str, str]:
        """Return what proves that a request comes from the app itself: nothing where no app secret is set.

        "Secure Graph API Calls": hex of HMAC-SHA256, keyed by the app secret, over the token.
        """
        if not self.app_secret:
            return {}
        digest = hmac.new(self.app_secret.encode(), self.token.encode(), hashlib.sha256).hexdigest()
        return {"appsecret_proof": digest}

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
        extra: `dataset_id` and `crm_name`; where they differ from the defaults `api_version` and `base_url`; and where
            they are wanted `app_secret` and `partner_agent`.
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
        app_secret=str(extra.get("app_secret") or "").strip(),
        partner_agent=str(extra.get("partner_agent") or "").strip(),
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
    if not re.fullmatch("[0-9a-fA-F]{32}|", settings.app_secret):
        raise ConfigurationError(
            f"{where}: extra `app_secret` must be the app's secret (32 hex digits; App settings, Basic) or left out."
        )
    if not re.fullmatch(r"[\x20-\x7e]{0,100}", settings.partner_agent):
        raise ConfigurationError(f"{where}: extra `partner_agent` must be at most 100 plain ASCII characters.")
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


class _OneConnection(requests.adapters.HTTPAdapter):
    """Requests' own transport, straight or through a proxy, which can hang up: for one thread alone.

    A socket's own time limit begins anew with each byte: a server that drips its answer, headers included, would
    outlive the run's lease. Neither requests nor urllib3 has a limit for the whole, and their callers cannot reach the
    socket before the headers are there. So the pools make their connections through `_connect`, which remembers them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._connection: HTTPConnection | None = None

    def get_connection_with_tls_context(self, *arguments: Any, **named: Any) -> Any:
        """Return the pool for a request; its next connection will be remembered."""
        pool: Any = super().get_connection_with_tls_context(*arguments, **named)
        pool.ConnectionCls = partial(self._connect, type(pool).ConnectionCls)
        return pool

    def _connect(self, connection_class: type[HTTPConnection], *arguments: Any, **named: Any) -> HTTPConnection:
        self._connection = connection_class(*arguments, **named)
        return self._connection

    def hang_up(self) -> None:
        """Wake up whoever waits for the connection."""
        with suppress(OSError):
            if self._connection is not None and self._connection.sock is not None:
                self._connection.sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def _time_limit(session: requests.Session, limit_s: float) -> Iterator[None]:
    """Hang up on a request that takes too long as a whole."""
    transport = session.get_adapter("https://")
    if not isinstance(transport, _OneConnection):  # a test's own
        yield
        return
    timer = threading.Timer(limit_s, transport.hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class MetaClient:
    """Sends bodies, each thread over a kept-alive connection of its own. Use as a context manager."""

    def __init__(
        self, settings: MetaSettings, *, timeout_s: float, transport: requests.adapters.BaseAdapter | None = None
    ) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._transport = transport
        self._own = threading.local()
        self._sessions: list[requests.Session] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for session in self._sessions:
            session.close()

    def send_events(self, body: bytes, *, events: int) -> Answer:
        """Send one request body and return what the answer means. Never raises for what the network does.

        Several threads may call this at a time.

        Args:
            body: the exact bytes.
            events: how many events they hold.
        """
        started = time.monotonic()
        session = self._session()
        try:
            with (
                _time_limit(session, _CONNECT_TIMEOUT_S + self._timeout_s),
                session.post(
                    self._settings.events_url,
                    params=self._settings.proof,
                    data=body,
                    timeout=(_CONNECT_TIMEOUT_S, self._timeout_s),
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                content = _read_answer(response)
        except (requests.RequestException, HTTPError) as error:
            action, why = _explain_failure(error)
            cause = f"{urlsplit(self._settings.events_url).hostname}: {why}"
            return Answer(action=action, cause=cause, duration_ms=_elapsed_ms(started))
        return classify(
            response.status_code, content, events=events, headers=response.headers, duration_ms=_elapsed_ms(started)
        )

    def _session(self) -> requests.Session:
        """Return the calling thread's session: requests does not promise that threads may share one."""
        session: requests.Session | None = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = requests.Session()
            session.auth = _BearerAuth(self._settings.token)
            headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "crm-to-meta"}
            session.headers.update(headers)
            transport = self._transport or _OneConnection()
            session.mount("http://", transport)
            session.mount("https://", transport)
            self._sessions.append(session)
        return session


def _read_answer(response: requests.Response) -> bytes:
    """Return an answer's body; of one that is too large, enough to see that it is none of Meta's."""
    content = b""
    while len(content) < _LARGEST_ANSWER_BYTES and (block := response.raw.read1(_READ_BYTES)):
        content += block
    return content


def _explain_failure(error: requests.RequestException | HTTPError) -> tuple[Action, str]:
    """Tell failures before anything was sent from those after which the outcome is unknown; and say what failed."""
    # urllib3 gives up with MaxRetryError over a failed handshake; TLS that breaks under an answer comes without it.
    given_up = error.args[0] if error.args and isinstance(error.args[0], MaxRetryError) else None
    for failure, words in ((error, _NOT_SENT), (given_up.reason if given_up else None, _NOT_CONNECTED)):
        for kind, why in words.items():
            if isinstance(failure, kind):
                return Action.RETRY, why
    if isinstance(error, requests.ReadTimeout):
        return Action.IN_DOUBT, "no answer in time (`delivery.timeout_seconds`)"
    return Action.IN_DOUBT, "the connection broke before the answer was complete"


def _elapsed_ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
