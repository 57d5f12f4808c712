"""One body goes out, one answer comes back; the token is in a header, and only what was never sent is "not sent"."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import io
import logging
import pickle
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
import requests
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from urllib3.exceptions import (
    ConnectTimeoutError,
    IncompleteRead,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)
from urllib3.exceptions import ProxyError as Urllib3ProxyError
from urllib3.exceptions import SSLError as Urllib3SSLError

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.meta.answers import Action, Answer
from crm_to_meta.meta.client import DEFAULT_API_VERSION, MetaClient, MetaSettings, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

TOKEN = "EAABwzLixnjYBO0secret"
APP_SECRET = "0123456789abcdef0123456789abcdef"
SETTINGS = MetaSettings(dataset_id="1261294122522559", crm_name="Codex CRM", token=TOKEN)
BODY = b'{"data":[\n{"event_name":"Lead"}\n]}'
POOL: Any = urllib3.HTTPSConnectionPool("graph.facebook.com")


class FakeMeta(requests.adapters.BaseAdapter):
    """Answers each request with the next of what it was given, and keeps the requests."""

    def __init__(self, *answers: requests.Response | Exception) -> None:
        super().__init__()
        self._answers = list(answers)
        self.requests: list[requests.PreparedRequest] = []
        self.timeouts: list[object] = []
        self.is_closed = False

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Keep the request; return or raise what is next."""
        self.requests.append(request)
        self.timeouts.append(kwargs.get("timeout"))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        answer.request, answer.url = request, str(request.url)
        return answer

    def close(self) -> None:
        """Keep that the session closed this."""
        self.is_closed = True


class BrokenBody(io.RawIOBase):
    """A body that breaks while it is read."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def read1(self, *args: Any, **kwargs: Any) -> Any:
        """Raise instead of returning bytes."""
        raise self._error


def response(
    status: int = 200,
    body: bytes = b'{"events_received":1,"fbtrace_id":"A1"}',
    headers: Mapping[str, str] | None = None,
    raw: Any = None,
) -> requests.Response:
    """Return an answer; by default a success."""
    answer = requests.Response()
    answer.status_code = status
    answer.headers.update(headers or {})
    answer.raw = raw or io.BytesIO(body)
    return answer


@pytest.fixture(autouse=True)
def _no_proxy_of_this_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def send(meta: FakeMeta, settings: MetaSettings = SETTINGS, *, events: int = 1) -> Answer:
    """Send one body and return the answer."""
    with MetaClient(settings, timeout_s=60, transport=meta) as client:
        return client.send_events(BODY, events=events)


# --- The request ------------------------------------------------------------------------------------------------------


def test_a_request_is_what_meta_documents() -> None:
    """POST to the dataset's events, the body byte for byte, as JSON."""
    meta = FakeMeta(response())
    send(meta)
    (request,) = meta.requests

    assert request.method == "POST"
    assert request.url == "https://graph.facebook.com/v24.0/1261294122522559/events"
    assert request.body == BODY
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"] == "crm-to-meta"


def test_a_success_is_delivered() -> None:
    """200 and the exact count."""
    answer = send(FakeMeta(response()))

    assert (answer.action, answer.http_status, answer.events_received) == (Action.DELIVERED, 200, 1)
    assert answer.fbtrace_id == "A1"
    assert answer.duration_ms >= 0


def test_an_error_is_classified_with_its_headers() -> None:
    """Status, body and headers all reach the table of answers."""
    answer = send(FakeMeta(response(400, b'{"error":{"code":80004}}', {"retry-after": "30"})))

    assert (answer.action, answer.code, answer.retry_after_s) == (Action.RATE_LIMIT, 80004, 30.0)


def test_several_bodies_go_through_one_session() -> None:
    """The client is used for many requests and closes its connections at the end."""
    meta = FakeMeta(response(), response(500, b""))
    with MetaClient(SETTINGS, timeout_s=60, transport=meta) as client:
        actions = [client.send_events(BODY, events=1).action for _ in range(2)]

    assert actions == [Action.DELIVERED, Action.IN_DOUBT]
    assert meta.is_closed


def test_a_request_has_both_time_limits() -> None:
    """Connecting is given up soon, an answer when the pipeline says so."""
    meta = FakeMeta(response())
    send(meta)

    assert meta.timeouts == [(10.0, 60)]


def test_without_a_transport_requests_own_is_used() -> None:
    """The transport is for tests; without it the client makes its own and closes it."""
    with MetaClient(SETTINGS, timeout_s=60) as client:
        adapter = client._session().get_adapter(SETTINGS.events_url)

    assert isinstance(adapter, requests.adapters.HTTPAdapter)
    assert adapter.max_retries.total == 0, "a retry nobody wrote down would break the write-ahead law"


# --- The token --------------------------------------------------------------------------------------------------------


def test_the_token_is_in_the_header_alone() -> None:
    """Not in the URL, which proxies and errors show, and not in the body, which is stored."""
    meta = FakeMeta(response())
    send(meta)
    (request,) = meta.requests

    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in str(request.url)
    assert TOKEN.encode() not in BODY == request.body
    assert [name for name, value in request.headers.items() if TOKEN in value] == ["Authorization"]


def test_an_app_secret_proves_whose_request_it_is() -> None:
    """The proof is Meta's: hex of HMAC-SHA256 over the token. The secret itself is nowhere; without one nothing is."""
    meta, plain = FakeMeta(response()), FakeMeta(response())
    send(meta, replace(SETTINGS, app_secret=APP_SECRET))
    send(plain)
    (request,) = meta.requests
    proof = hmac.new(APP_SECRET.encode(), TOKEN.encode(), hashlib.sha256).hexdigest()

    assert request.url == f"{SETTINGS.events_url}?appsecret_proof={proof}"
    assert APP_SECRET not in f"{request.url}{request.headers}{request.body!r}"
    assert APP_SECRET not in repr(replace(SETTINGS, app_secret=APP_SECRET))
    assert plain.requests[0].url == SETTINGS.events_url


def test_no_text_of_ours_shows_the_token() -> None:
    """Settings and client can be logged, and a failure carries no text."""
    client = MetaClient(SETTINGS, timeout_s=60, transport=FakeMeta())
    answer = send(FakeMeta(requests.ConnectionError(f"url: /?access_token={TOKEN}")))

    for shown in (SETTINGS, client, answer, client._session(), client._session().auth):
        assert TOKEN not in repr(shown)
        assert TOKEN not in str(shown)
    assert TOKEN not in SETTINGS.events_url


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """At the finest level, too, neither token nor body is in a log line."""
    caplog.set_level(logging.DEBUG)
    send(FakeMeta(response()))

    assert TOKEN not in caplog.text
    assert "event_name" not in caplog.text


def test_a_netrc_file_does_not_replace_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`requests` reads a worker's .netrc and would send its login instead."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine graph.facebook.com login somebody password else\ndefault login any password one\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    meta = FakeMeta(response())
    send(meta)

    assert requests.utils.get_netrc_auth(SETTINGS.events_url) == ("somebody", "else"), "the file would be used"
    assert meta.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """Neither token nor events go to another address; the answer is shown, the events stay pending."""
    meta = FakeMeta(response(status, b"", {"Location": "https://elsewhere.example/events"}), response())

    answer = send(meta)

    assert len(meta.requests) == 1
    assert (answer.action, answer.http_status) == (Action.UNKNOWN, status)


# --- Failures ---------------------------------------------------------------------------------------------------------


def given_up(reason: Exception) -> MaxRetryError:
    """Return what urllib3 raises where it gives up."""
    return MaxRetryError(POOL, "/v24.0/1/events", reason)


NOT_SENT = {
    "connection refused": requests.ConnectionError(given_up(NewConnectionError(POOL, "refused"))),
    "unknown host": requests.ConnectionError(given_up(NameResolutionError("h", POOL, socket.gaierror(-2, "unknown")))),
    "connect timeout": requests.ConnectTimeout(given_up(ConnectTimeoutError(POOL, "timed out"))),
    "proxy": requests.exceptions.ProxyError(given_up(Urllib3ProxyError("no proxy", OSError("tunnel")))),
    "TLS handshake": requests.exceptions.SSLError(given_up(Urllib3SSLError("certificate verify failed"))),
    "address": requests.exceptions.InvalidURL("no host"),
}
MAYBE_SENT = {
    "read timeout": requests.ReadTimeout(ReadTimeoutError(POOL, "/", "timed out")),
    "reset": requests.ConnectionError(ProtocolError("aborted", ConnectionResetError(104, "reset by peer"))),
    "closed without an answer": requests.ConnectionError(ProtocolError("aborted", EOFError())),
    "broken pipe": requests.ConnectionError(ProtocolError("aborted", BrokenPipeError(32, "broken pipe"))),
    "write timeout": requests.ConnectionError(ProtocolError("aborted", TimeoutError("timed out"))),
    "anything else": requests.RequestException("something new"),
    "without any detail": requests.ConnectionError(),
}


@pytest.mark.parametrize("failure", NOT_SENT.values(), ids=NOT_SENT.keys())
def test_what_failed_before_sending_is_retried(failure: Exception) -> None:
    """Without a connection nothing can have been processed."""
    answer = send(FakeMeta(failure))

    assert (answer.action, answer.http_status) == (Action.RETRY, None)


@pytest.mark.parametrize("failure", MAYBE_SENT.values(), ids=MAYBE_SENT.keys())
def test_what_failed_after_connecting_is_in_doubt(failure: Exception) -> None:
    """Meta may have got the request, whatever became of its answer."""
    answer = send(FakeMeta(failure))

    assert (answer.action, answer.http_status) == (Action.IN_DOUBT, None)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ProtocolError("broken", IncompleteRead(3, 40)), id="chunked encoding breaks off"),
        pytest.param(ReadTimeoutError(POOL, "/", "timed out"), id="time out"),
        pytest.param(Urllib3SSLError("bad record mac"), id="TLS breaks"),
        pytest.param(urllib3.exceptions.DecodeError("not gzip"), id="encoding lies"),
    ],
)
def test_an_answer_that_breaks_off_is_in_doubt(error: Exception) -> None:
    """The request was answered, so it was read: even a TLS error means "after sending" here."""
    answer = send(FakeMeta(response(200, raw=BrokenBody(error))))

    assert answer.action is Action.IN_DOUBT


def test_a_refused_connection_is_a_retry_for_real() -> None:
    """The same with the real transport and a loopback port that nobody listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        settings = MetaSettings(
            dataset_id="1", crm_name="c", token=TOKEN, base_url=f"http://127.0.0.1:{unused.getsockname()[1]}"
        )
        with MetaClient(settings, timeout_s=5) as client:
            answer = client.send_events(BODY, events=1)

    assert answer.action is Action.RETRY
    assert answer.words == "127.0.0.1: the connection is refused, or no network leads there"


def test_a_name_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the message learns which host, and why."""

    def know_nobody(*_: object, **__: object) -> None:  # name services there are that know every name
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", know_nobody)
    settings = MetaSettings(dataset_id="1", crm_name="c", token=TOKEN, base_url="https://graph.invalid")
    with MetaClient(settings, timeout_s=5) as client:
        answer = client.send_events(BODY, events=1)

    assert answer.action is Action.RETRY
    assert answer.words.startswith("graph.invalid: its name cannot be resolved")
    assert TOKEN not in answer.words


# --- Servers that misbehave, for real ---------------------------------------------------------------------------------


@contextmanager
def accepting(talk: Callable[[socket.socket], None]) -> Iterator[tuple[int, list[int]]]:
    """Listen on the loopback address; the function talks to each connection.

    Yields the port, and a list that grows by one for each connection.
    """
    connections: list[int] = []

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            connections.append(1)
            threading.Thread(target=hold, args=[peer], daemon=True).start()

    def hold(peer: socket.socket) -> None:
        with peer, suppress(OSError):
            talk(peer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], connections
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def served(answer: Callable[[socket.socket], None]) -> Iterator[tuple[MetaSettings, list[int]]]:
    """Answer each request of each connection by the function; yield settings that lead there, and the connections."""

    def talk(peer: socket.socket) -> None:
        while read_request(peer):
            answer(peer)

    with accepting(talk) as (port, connections):
        base_url = f"http://127.0.0.1:{port}"
        yield MetaSettings(dataset_id="1", crm_name="c", token=TOKEN, base_url=base_url), connections


def read_request(peer: socket.socket) -> bytes:
    """Return a whole request; nothing where the client hung up."""
    data = b""
    while not data.endswith(BODY):
        block = peer.recv(65536)
        if not block:
            return b""
        data += block
    return data


def http(body: bytes, *, length: int | None = None) -> bytes:
    """Return a 200 with a body."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body) if length is None else length, body)


SUCCESS = http(b'{"events_received":1}')


def drip_from(start: int) -> Callable[[socket.socket], None]:
    """Return what answers a request with a success, byte by byte from some place on."""

    def drip(peer: socket.socket) -> None:
        peer.sendall(SUCCESS[:start])
        for byte in SUCCESS[start:]:
            peer.sendall(bytes([byte]))
            time.sleep(0.2)

    return drip


@pytest.fixture
def _limit_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crm_to_meta.meta.client._CONNECT_TIMEOUT_S", 0.4)


@pytest.mark.usefixtures("_limit_is_short")
@pytest.mark.parametrize("way", ["straight", "through a proxy"])
@pytest.mark.parametrize("start", [0, 20, len(SUCCESS) - 12], ids=["status line", "headers", "body"])
def test_an_answer_that_drips_is_given_up(start: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, the answer does not: the worker is not kept longer than a request may take."""
    with served(drip_from(start)) as (settings, connections):
        base_url = settings.base_url
        if way == "through a proxy":
            monkeypatch.setenv("http_proxy", base_url)
            base_url = "http://graph.invalid"
        with MetaClient(replace(settings, base_url=base_url), timeout_s=0.5) as client:
            answer = client.send_events(BODY, events=1)

    assert connections == [1]
    assert answer.action is Action.IN_DOUBT
    assert answer.duration_ms < 5000


@pytest.mark.sweep(keep=1)
@pytest.mark.usefixtures("_limit_is_short")
@pytest.mark.parametrize("way", ["straight", "through a proxy"])
@pytest.mark.parametrize("start", [0, 20, len(SUCCESS) - 12], ids=["status line", "headers", "body"])
def test_an_answer_over_tls_that_drips_is_given_up(
    start: int, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same over TLS, also in a tunnel through a proxy."""
    context = make_tls_context(tmp_path / "certificate.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "certificate.pem"))

    def talk(peer: socket.socket) -> None:
        if way == "through a proxy":
            assert peer.recv(65536).startswith(b"CONNECT ")
            peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with context.wrap_socket(peer, server_side=True) as tls:
            read_request(tls)
            drip_from(start)(tls)

    with accepting(talk) as (port, connections):
        base_url = f"https://127.0.0.1:{port}"
        if way == "through a proxy":
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        with MetaClient(replace(SETTINGS, base_url=base_url), timeout_s=0.5) as client:
            answer = client.send_events(BODY, events=1)

    assert connections == [1]
    assert answer.action is Action.IN_DOUBT
    assert answer.duration_ms < 5000


def make_tls_context(path: Path) -> ssl.SSLContext:
    """Return the context of a server on the loopback address; its certificate is written to the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.mark.parametrize("length", [None, 1 << 40], ids=["true length", "endless"])
def test_an_answer_that_is_too_large_is_not_read_to_its_end(length: int | None) -> None:
    """A megabyte is read at most, whatever is sent; the outcome is unknown."""
    sent = []

    def flood(peer: socket.socket) -> None:
        page = b"<html>" + b" " * (3 << 20)
        peer.sendall(http(b"", length=length or len(page)))
        for start in range(0, len(page), 65536):
            peer.sendall(page[start : start + 65536])
            sent.append(1)

    with served(flood) as (settings, _), MetaClient(settings, timeout_s=5) as client:
        answer = client.send_events(BODY, events=1)

    assert (answer.action, answer.http_status) == (Action.IN_DOUBT, 200)


def test_a_packed_answer_is_not_unpacked() -> None:
    """None is asked for; one that comes all the same may be a bomb, and says nothing."""
    bomb = gzip.compress(b'{"events_received":1}')
    meta = FakeMeta(response(200, bomb, {"Content-Encoding": "gzip"}))
    answer = send(meta)

    assert meta.requests[0].headers["Accept-Encoding"] == "identity"
    assert "Content-Encoding" not in meta.requests[0].headers, "Meta is not known to take packed bodies"
    assert answer.action is Action.IN_DOUBT


def test_a_thread_keeps_its_connection() -> None:
    """A handshake for each request would cost more than the request."""
    with (
        served(lambda peer: peer.sendall(SUCCESS)) as (settings, connections),
        MetaClient(settings, timeout_s=5) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        answers = [client.send_events(BODY, events=1) for _ in range(5)]
        answers += pool.map(lambda _: client.send_events(BODY, events=1), range(6))

    assert {answer.action for answer in answers} == {Action.DELIVERED}
    assert 2 <= len(connections) <= 3


# --- Settings ---------------------------------------------------------------------------------------------------------

EXTRA = {"dataset_id": "1261294122522559", "crm_name": "Codex CRM"}


def read(password: str | None = TOKEN, *, needs_token: bool = True, **extra: object) -> MetaSettings:
    """Read the settings of a good connection, changed as given."""
    return read_settings(connection_id="meta_capi", password=password, extra=EXTRA | extra, needs_token=needs_token)


def test_settings_have_the_documented_defaults() -> None:
    """Dataset, name and token are all that has to be there."""
    settings = read()

    assert settings == SETTINGS
    assert settings.api_version == DEFAULT_API_VERSION == "v24.0"
    assert settings.base_url == "https://graph.facebook.com"


def test_blanks_around_settings_do_not_count() -> None:
    """What is pasted into a form brings blanks and line breaks along."""
    settings = read(
        f" {TOKEN}\n",
        dataset_id=" 1261294122522559 ",
        crm_name=" Codex CRM ",
        api_version=" v24.0 ",
        base_url=" https://graph.facebook.com\n",
    )

    assert settings == SETTINGS


def test_app_secret_and_partner_agent_are_read_where_they_are_given() -> None:
    """Both are optional."""
    settings = read(app_secret=f" {APP_SECRET} ", partner_agent="agency-1")

    assert settings == replace(SETTINGS, app_secret=APP_SECRET, partner_agent="agency-1")
    assert (SETTINGS.app_secret, SETTINGS.partner_agent) == ("", "")


def test_a_dataset_id_may_be_a_number() -> None:
    """JSON without quotes around the id is common, and exact in Python."""
    assert read(dataset_id=1261294122522559).dataset_id == "1261294122522559"


@pytest.mark.parametrize("blank", [None, ""], ids=repr)
def test_empty_optional_settings_are_the_defaults(blank: str | None) -> None:
    """An empty line in .env is no setting."""
    assert read(api_version=blank, base_url=blank) == SETTINGS


@pytest.mark.parametrize(
    ("base_url", "events_url"),
    [
        ("https://graph.facebook.com/", "https://graph.facebook.com/v24.0/1261294122522559/events"),
        ("https://gateway.example:8443/meta", "https://gateway.example:8443/meta/v24.0/1261294122522559/events"),
        ("http://localhost:8000", "http://localhost:8000/v24.0/1261294122522559/events"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v24.0/1261294122522559/events"),
        ("http://[::1]:8000", "http://[::1]:8000/v24.0/1261294122522559/events"),
        ("HTTP://LOCALHOST:8000", "HTTP://LOCALHOST:8000/v24.0/1261294122522559/events"),
    ],
)
def test_events_go_to_the_base_url(base_url: str, events_url: str) -> None:
    """TLS everywhere, plain http on this computer, with or without a slash at the end."""
    assert read(base_url=base_url).events_url == events_url


DATASET = "extra `dataset_id` must be the dataset's number (Events Manager, Settings)."
CRM_NAME = "extra `crm_name` is empty; Meta shows it as the source of the events."
VERSION = "extra `api_version` must look like v24.0."
PASSWORD = "the password must be the access token; it is empty or has blanks in it."
SECRET = "extra `app_secret` must be the app's secret (32 hex digits; App settings, Basic) or left out."
AGENT = "extra `partner_agent` must be at most 100 plain ASCII characters."
BASE_URL = (
    "extra `base_url` must be like https://graph.facebook.com, without a login or a query; http is for this computer "
    "alone."
)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        *(({"dataset_id": value}, DATASET) for value in (None, "", " ", "abc", "12 34", "1.5", "-1", "١٢٣", "1/2")),
        *(({"crm_name": value}, CRM_NAME) for value in (None, "", "  ")),
        *(({"api_version": value}, VERSION) for value in ("24", "v24", "v24.0/../..", "V24.0", "v24.0.1", "latest")),
        *(({"password": value}, PASSWORD) for value in (None, "", " \n", f"{TOKEN} {TOKEN}", f"{TOKEN}\nx", "tökén")),
        *(
            ({"base_url": value}, BASE_URL)
            for value in (
                "http://graph.facebook.com",
                "http://127.0.0.1.example",
                "http://localhost.example",
                "http://192.168.0.1",
                "ftp://localhost",
                "graph.facebook.com",
                "https:graph.facebook.com",
                "https://",
                "https:///v24.0",
                "https://[::1",
                f"https://user:{TOKEN}@graph.facebook.com",
                "http://localhost@graph.facebook.com",
                f"https://graph.facebook.com?access_token={TOKEN}",
                f"https://graph.facebook.com#{TOKEN}",
            )
        ),
    ],
    ids=repr,
)
def test_a_bad_setting_is_told_in_one_sentence(bad: dict[str, Any], said: str) -> None:
    """The message names the connection and the setting, says what it should be, and repeats no value."""
    with pytest.raises(ConfigurationError) as refusal:
        read(**bad)

    assert str(refusal.value) == f"Airflow connection `meta_capi`: {said}"
    assert TOKEN not in str(refusal.value)


@pytest.mark.parametrize("setting", ["dataset_id", "crm_name"])
def test_a_setting_that_is_not_there_is_told_like_an_empty_one(setting: str) -> None:
    """A connection without the extra at all gets the same sentence."""
    extra = {name: value for name, value in EXTRA.items() if name != setting}

    with pytest.raises(ConfigurationError, match=f"extra `{setting}`"):
        read_settings(connection_id="meta_capi", password=TOKEN, extra=extra, needs_token=True)


@pytest.mark.parametrize("password", [None, "", "not a token"], ids=repr)
def test_a_preview_needs_no_token(password: str | None) -> None:
    """What is never sent can be looked at before anybody has a token."""
    assert read(password, needs_token=False).crm_name == "Codex CRM"


def test_a_preview_needs_the_other_settings() -> None:
    """The name of the CRM is part of every event, so a preview without it would not be the real thing."""
    with pytest.raises(ConfigurationError, match="crm_name"):
        read(None, needs_token=False, crm_name="")


def test_an_error_about_settings_survives_pickling_without_the_token() -> None:
    """Airflow passes it between processes."""
    with pytest.raises(ConfigurationError) as refusal:
        read(f"{TOKEN} {TOKEN}")

    assert TOKEN.encode() not in pickle.dumps(refusal.value)
