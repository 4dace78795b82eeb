import base64
import contextlib
import gzip
import os
import secrets
import socket
import ssl
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from fakes import START, FakeClock
from requests import PreparedRequest
from requests.auth import AuthBase
from token_server import (
    Step,
    TokenServer,
    answer,
    authority,
    cut,
    drip,
    endless,
    refusal,
    reset,
    reset_after,
    silence,
    stall,
    token,
)

from job import __version__
from job.core.errors import (
    EndpointUnavailable,
    ExchangeError,
    RequestRejected,
    ResponseInvalid,
    SecretUnavailable,
)
from job.core.secret import Secret
from job.core.tokens import Token
from job.credentials.watched import WatchedSecret
from job.http.deadline import Threads
from job.http.transport import MAX_BODY_BYTES, CancellableSocket, Transport
from job.oauth.client_auth import ClientSecretBasic, ClientSecretPost
from job.oauth.exchange import ClientCredentials
from job.oauth.request import TokenRequest
from job.oauth.token_response import ResponseRules

pytestmark = pytest.mark.slow

GRANT = ("grant_type", "client_credentials")
PATIENT_S = 10.0
SHORT_S = 0.15
SECRET = secrets.token_urlsafe()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

UNAVAILABLE, INVALID, REJECTED = EndpointUnavailable, ResponseInvalid, RequestRejected


class Source:
    """A secret source whose value can be changed or taken away."""

    def __init__(self, value: str = SECRET) -> None:
        self.value = value

    def resolve(self) -> Secret:
        if not self.value:
            raise SecretUnavailable("client_secret_unavailable", "no client secret")
        return Secret(self.value)


def client(
    url: str,
    params: tuple[tuple[str, str], ...] = (GRANT,),
    *,
    headers: dict[str, str] | None = None,
    method: type[ClientSecretBasic | ClientSecretPost] = ClientSecretBasic,
    source: Source | None = None,
    clock: Callable[[], object] | None = None,
    rules: ResponseRules | None = None,
    **transport: object,
) -> ClientCredentials:
    """Make a source of tokens with a patient transport."""
    secret = WatchedSecret(source or Source())
    return ClientCredentials(
        TokenRequest(url, params, headers or {}),
        method("my-id", secret.resolve),
        secret,
        Transport(**({"timeout_s": PATIENT_S, "threads": Threads(keep_s=0.0)} | transport)),  # type: ignore[arg-type]
        rules or ResponseRules(),
        clock or FakeClock(START + 0.5),  # type: ignore[arg-type]
    )


def open_files() -> set[str]:
    """Return what this process has open, each by a name that is its own."""
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return {os.readlink(link) for link in links if os.path.lexists(link)}


def failure(source: ClientCredentials) -> ExchangeError:
    """Return the error of a fetch; nothing of another library hangs on it."""
    with pytest.raises(ExchangeError) as caught:
        source.fetch()
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    assert SECRET not in str(error)
    return error


def verdict(*script: Step, **options: object) -> tuple[type, str]:
    """Return class and code of the error that a script brings about."""
    with TokenServer(*script) as server:
        error = failure(client(server.url, **options))  # type: ignore[arg-type]
    return type(error), error.code


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    """Wait for the threads of exchanges that were cut: each of them has to end."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENT_S)
        assert not thread.is_alive()


# The request and its answer


def test_one_post_brings_one_token() -> None:
    """A fetch is exactly one request, with our headers, and gives the token of its answer."""
    with TokenServer(token("tok-1", 3600)) as server:
        got = client(server.url).fetch()
        (seen,) = server.requests
    assert got == Token(Secret("tok-1"), "Bearer", "", START, START + 3600, "expires_in")
    assert (seen.method, seen.path, seen.pairs) == ("POST", "/token", (GRANT,))
    encoded = base64.b64encode(f"my-id:{SECRET}".encode()).decode()
    assert seen.headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "connection": "close",
        "user-agent": f"freshtoken/{__version__}",
        "authorization": f"Basic {encoded}",
        "content-type": "application/x-www-form-urlencoded",
        "content-length": "29",
    }


def test_parameters_keep_their_order() -> None:
    """`resource` may repeat, an empty value is omitted, and credentials come last."""
    resources = (("resource", "urn:b"), ("resource", "urn:a"))
    params = (GRANT, ("scope", ""), ("audience", "é&="), *resources)
    with TokenServer() as server:
        client(server.url, params, method=ClientSecretPost).fetch()
        (seen,) = server.requests
    credentials = (("client_id", "my-id"), ("client_secret", SECRET))
    assert seen.pairs == (GRANT, ("audience", "é&="), *resources, *credentials)
    assert "authorization" not in seen.headers


def test_headers_can_be_replaced() -> None:
    """A configured header replaces ours whatever its case; the authorization stays ours alone."""
    extra = {"USER-agent": "curl/8", "x-market": "vn", "authorization": "Bearer other"}
    with TokenServer() as server:
        client(server.url, headers=extra).fetch()
        (seen,) = server.requests
    assert [seen.headers[name] for name in ("user-agent", "x-market")] == ["curl/8", "vn"]
    assert seen.headers["authorization"].startswith("Basic ")


@pytest.mark.fault("netrc-and-environment")
def test_environment_and_netrc_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No .netrc adds a second authentication, and no proxy comes in from the environment."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login other password other\n")
    netrc.chmod(0o600)
    for name, value in {
        "NETRC": str(netrc),
        "http_proxy": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
        "REQUESTS_CA_BUNDLE": "/nowhere",
        "CURL_CA_BUNDLE": "/nowhere",
        "SSL_CERT_FILE": "/nowhere",
        "SSL_CERT_DIR": "/nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    with TokenServer() as server:
        client(server.url, method=ClientSecretPost).fetch()
        (seen,) = server.requests
    assert "authorization" not in seen.headers


def test_the_life_counts_from_before_the_request() -> None:
    """The clock is read after the secret and before sending: slowness never lengthens a life."""
    order: list[str] = []

    class Noted(Source):
        def resolve(self) -> Secret:
            order.append("secret")
            return super().resolve()

    with TokenServer() as server:

        def clock() -> object:
            order.append(f"clock, {len(server.requests)} sent")
            return FakeClock(START)()

        assert client(server.url, source=Noted(), clock=clock).fetch().requested_at == START
    assert order == ["secret", "clock, 0 sent"]


@pytest.mark.fault("secret-rotation")
def test_a_changed_secret_is_noticed_and_used() -> None:
    """`changed` tells of a rotation, and the next fetch sends the new secret."""
    rotated = Source("before")
    with TokenServer() as server:
        source = client(server.url, method=ClientSecretPost, source=rotated)
        source.fetch()
        assert source.changed() is False
        rotated.value = "after"
        assert source.changed() is True
        source.fetch()
        sent = [seen.form["client_secret"] for seen in server.requests]
    assert (sent, source.changed()) == (["before", "after"], False)


@pytest.mark.fault("secret-missing")
def test_a_missing_secret_sends_nothing() -> None:
    """Without a client secret there is no request, and the source's own error is told."""
    with TokenServer() as server:
        error = failure(client(server.url, source=Source("")))
        assert (type(error), server.requests) == (SecretUnavailable, [])


def test_rules_reach_the_answer() -> None:
    """The answer is read by the configured rules."""
    with TokenServer(token("tok-1", 0)) as server:
        got = client(server.url, rules=ResponseRules(scope="a", lifetime=60)).fetch()
    assert (got.scope, got.lifetime, got.expiry_source) == ("a", 60, "lifetime")


# Refusals


@pytest.mark.fault("retry-after")
def test_refusals_are_told_with_status_and_wish() -> None:
    """An error answer keeps its status and the server's Retry-After."""
    with TokenServer(refusal(429, "slow_down", {"Retry-After": "7"})) as server:
        error = failure(client(server.url))
    assert (type(error), error.code) == (UNAVAILABLE, "slow_down")
    assert (error.http_status, error.retry_after) == (429, 7.0)


@pytest.mark.fault("redirect")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", [ClientSecretBasic, ClientSecretPost])
def test_redirects_are_not_followed(
    status: int, method: type[ClientSecretBasic | ClientSecretPost]
) -> None:
    """The secret never travels to another address, and a dripping body is not waited for."""
    with TokenServer() as other:
        step = answer(status, b"x" * 1000, {"Location": other.url})
        assert verdict(drip(step, 0.0001), method=method) == (REJECTED, "redirected")
        assert other.requests == []


@pytest.mark.fault("secret-in-output")
@pytest.mark.parametrize("method", [ClientSecretBasic, ClientSecretPost])
def test_echoed_credentials_are_masked(
    method: type[ClientSecretBasic | ClientSecretPost],
) -> None:
    """A server that repeats what it got, in any form, brings nothing of it into the error."""
    secret = f"{SECRET}/+é"
    basic = base64.b64encode(f"my-id:{quote_plus(secret)}".encode()).decode()
    forms = (secret, quote_plus(secret), basic)
    with TokenServer() as server:
        for form in forms:
            server.add(answer(401, {"error": "invalid_client", "error_description": form}))
        source = client(server.url, method=method, source=Source(secret))
        shown = [str(failure(source)) for _ in forms[: 3 if method is ClientSecretBasic else 2]]
    assert [text for text in shown if SECRET in text or basic in text] == []
    assert all("the server says: ***" in text for text in shown)


# The wire


@pytest.mark.fault("broken-answer")
@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (b"", (UNAVAILABLE, "connection_failed")),
        (reset, (UNAVAILABLE, "connection_failed")),
        (b"\x00\xff garbage \r\n\r\n", (UNAVAILABLE, "connection_failed")),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", (UNAVAILABLE, "connection_failed")),
        (
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
            (UNAVAILABLE, "connection_failed"),
        ),
        (reset_after(b""), (UNAVAILABLE, "connection_failed")),
        (reset_after(token()[:-1]), (UNAVAILABLE, "connection_failed")),
        (answer(200, b"{}", {"Content-Length": "1"}), (INVALID, "unreadable_answer")),
        (cut(token(), -1), (UNAVAILABLE, "response_truncated")),
        (CHUNKED + b"40\r\n{", (UNAVAILABLE, "response_truncated")),
        (CHUNKED + b"zz\r\n{", (UNAVAILABLE, "response_truncated")),
        (cut(token(), 40), (INVALID, "unreadable_answer")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (INVALID, "unreadable_answer")),
        (b"HTTP/1.1 200 OK\r\n\r\n", (INVALID, "unreadable_answer")),
        (b"HTTP/1.1 503 Busy\r\n\r\n", (UNAVAILABLE, "http_503")),
    ],
)
def test_wire_faults(step: Step, expected: tuple[type, str]) -> None:
    """Each way in which an answer can break has one code, and none of them gives a token."""
    assert verdict(step) == expected


@pytest.mark.fault("broken-answer")
def test_every_cut_is_noticed() -> None:
    """An answer that ends early, at whatever byte, never passes for a token."""
    whole = token("tok-1")
    body_at = whole.index(b"{")
    for keep in (*range(0, body_at, 17), *range(body_at, len(whole), 5)):
        assert verdict(cut(whole, keep))[0] in (UNAVAILABLE, INVALID)


@pytest.mark.parametrize(
    "whole",
    [
        CHUNKED + b'10\r\n{"access_token":\r\n8\r\n "tok-1"\r\n1\r\n}\r\n0\r\n\r\n',
        b'HTTP/1.0 200 OK\r\n\r\n{"access_token": "tok-1"}',
        b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{"access_token": "tok-1"}',
    ],
    ids=["chunked", "until closed", "after 100"],
)
def test_every_framing_is_read(whole: bytes) -> None:
    """Bodies in chunks, without a length and after an interim answer are read whole."""
    with TokenServer(drip(whole, 0.0001)) as server:
        assert client(server.url).fetch().access_token == Secret("tok-1")


@pytest.mark.fault("endpoint-down")
def test_a_refused_connection() -> None:
    """Nobody listens: its own code, and the message names the place."""
    with TokenServer() as server:
        url = server.url
    error = failure(client(url))
    assert (type(error), error.code) == (UNAVAILABLE, "connection_refused")
    assert f"127.0.0.1:{url.rpartition(':')[2].partition('/')[0]} refuses" in error.message


@pytest.mark.fault("endpoint-down")
def test_a_name_that_cannot_be_resolved() -> None:
    """A name without an address has its own code; this one is too long for a query to be sent."""
    name = ".".join(["x" * 60] * 5)
    error = failure(client(f"http://{name}/token"))
    assert (type(error), error.code) == (UNAVAILABLE, "dns_failed")
    assert f"the name {name} cannot be resolved" in error.message


@pytest.mark.parametrize(
    ("url", "headers", "proxies"),
    [
        ("no-scheme/token", {}, {}),
        ("http:///token", {}, {}),
        ("http://[::1/token", {}, {}),
        ("http://\u2603\u2603\u2603.\u0000/token", {}, {}),
        (f"http://{'x' * 64}/token", {}, {}),
        ("http://127.0.0.1:1/token", {"X-A": "two\r\nlines"}, {}),
        ("http://127.0.0.1:1/token", {}, {"http": "http://"}),
        ("http://127.0.0.1:1/token", {}, {"http": "socks5://127.0.0.1:1"}),
    ],
)
def test_settings_that_give_no_request(
    url: str, headers: dict[str, str], proxies: dict[str, str]
) -> None:
    """What no request can be made of is told as the operator's matter, without a traceback."""
    error = failure(client(url, headers=headers, proxies=proxies))
    assert (type(error), error.code) == (REJECTED, "unusable_request")


def test_headers_beyond_latin_1() -> None:
    """A header that HTTP cannot carry is told, and shows its value to nobody."""
    with TokenServer() as server:
        error = failure(client(server.url, headers={"X-A": "\u2603 key"}))
        assert (error.code, "key" in str(error), server.requests) == ("unusable_request", False, [])


# Size


@pytest.mark.fault("oversized-answer")
@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), (UNAVAILABLE, "connection_failed")),
        (endless(b"HTTP/1.1 200 OK\r\nX: ", b"y"), (UNAVAILABLE, "connection_failed")),
        (endless(b"", b"H"), (UNAVAILABLE, "connection_failed")),
        (endless(b"HTTP/1.1 200 OK\r\n\r\n", b" "), (INVALID, "too_large")),
        (endless(CHUNKED, b"fff\r\n" + b" " * 0xFFF + b"\r\n"), (INVALID, "too_large")),
        (endless(CHUNKED, b"2;" + b"x" * 999 + b"\r\n{}\r\n"), (UNAVAILABLE, "timeout")),
        (endless(CHUNKED + b"0\r\n", b"X: y\r\n"), (UNAVAILABLE, "timeout")),
        (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (UNAVAILABLE, "timeout")),
    ],
    ids=["headers", "header", "status", "body", "chunks", "extensions", "trailers", "100 Continue"],
)
def test_an_endless_answer_ends(step: Step, expected: tuple[type, str]) -> None:
    """What has no end is given up at its size or at the deadline, and memory is bounded."""
    tracemalloc.start()
    try:
        began = time.monotonic()
        assert verdict(step, timeout_s=1.0) == expected
        assert time.monotonic() - began < PATIENT_S
        assert tracemalloc.get_traced_memory()[1] < 64 * MAX_BODY_BYTES
    finally:
        tracemalloc.stop()


def test_the_largest_body_is_read() -> None:
    """A body of exactly the limit is taken."""
    text = b'{"access_token": "tok-1"}'
    with TokenServer(answer(200, text + b" " * (MAX_BODY_BYTES - len(text)))) as server:
        assert client(server.url).fetch().access_token == Secret("tok-1")


@pytest.mark.fault("oversized-answer")
@pytest.mark.parametrize(
    ("packed", "coding"),
    [
        (lambda: b" " * (MAX_BODY_BYTES + 1), "identity"),
        (lambda: gzip.compress(b" " * 50_000_000, 1), "gzip"),
        (lambda: zlib.compress(b" " * 50_000_000, 1), "Deflate "),
    ],
    ids=["plain", "gzip", "deflate"],
)
def test_a_body_beyond_the_limit_is_refused(packed: Callable[[], bytes], coding: str) -> None:
    """Neither a long body nor a small one that unpacks to a long one fills the memory."""
    step = answer(200, packed(), {"Content-Encoding": coding})
    assert verdict(step) == (INVALID, "too_large")


@pytest.mark.fault("broken-answer")
@pytest.mark.parametrize(
    ("coding", "packed"),
    [("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("deflate", zlib.compress)],
)
def test_compressed_answers(coding: str, packed: Callable[[bytes], bytes]) -> None:
    """A gateway that compresses although nobody asked is understood; a damaged body is not."""
    body = packed(b'{"access_token": "tok-1"}')
    headers = {"Content-Encoding": coding}
    with TokenServer(answer(200, body, headers)) as server:
        assert client(server.url).fetch().access_token == Secret("tok-1")
    for damaged in (body[:-3], b"not " + body):
        assert verdict(answer(200, damaged, headers)) == (INVALID, "undecodable_answer")


@pytest.mark.fault("broken-answer")
def test_an_unknown_compression_is_refused() -> None:
    """What we never asked for and cannot read is told as such."""
    step = answer(200, b"x", {"Content-Encoding": "br"})
    assert verdict(step) == (INVALID, "undecodable_answer")


# Time


@pytest.mark.fault("slow-answer")
@pytest.mark.parametrize(
    "step",
    [
        stall(),
        stall(b"HTTP/1.1 200 OK\r\n"),
        stall(token()[:-1]),
        drip(token()),
        drip(b"HTTP/1.1 "),
    ],
    ids=["silent", "in the headers", "in the body", "drip", "drip of a status"],
)
def test_the_deadline_is_total(step: Step) -> None:
    """Silence and dripping end at the deadline alike, with one code, and no thread is left."""
    began = time.monotonic()
    assert verdict(step, timeout_s=SHORT_S) == (UNAVAILABLE, "timeout")
    assert time.monotonic() - began < SHORT_S + 2


@pytest.mark.fault("slow-answer")
def test_a_silent_tls_handshake_ends_in_time() -> None:
    """The deadline reaches into the handshake, where no HTTP timeout is total."""
    with silence() as port:
        error = failure(client(f"https://127.0.0.1:{port}/token", timeout_s=SHORT_S))
    assert (type(error), error.code) == (UNAVAILABLE, "timeout")


@pytest.mark.fault("slow-answer")
def test_a_connection_that_is_never_taken_ends_in_time() -> None:
    """A host that answers nothing at all costs no more than the deadline."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _ in range(4):  # fill the queue: further connections are not even refused
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(address)
        error = failure(client(f"http://127.0.0.1:{address[1]}/token", timeout_s=SHORT_S))
    assert (type(error), error.code) == (UNAVAILABLE, "timeout")


@pytest.mark.fault("slow-answer")
def test_a_connection_cancelled_early_carries_nothing() -> None:
    """A connection that is made after the deadline is ended before a request goes out."""
    ours, theirs = socket.socketpair()
    held = CancellableSocket()
    with ours, theirs, contextlib.closing(held):
        held.cancel()
        assert held.keep(ours) is ours
        theirs.settimeout(PATIENT_S)
        assert theirs.recv(1) == b""
        with pytest.raises(BrokenPipeError):
            ours.send(b"POST")
    held.cancel()
    CancellableSocket().close()


@pytest.mark.fault("slow-answer")
def test_no_descriptor_is_left() -> None:
    """Good and bad exchanges alike give back every file descriptor."""
    before = open_files()
    with TokenServer(token(), cut(token(), -1), b"", answer(302), stall(token()[:-1])) as server:
        client(server.url).fetch()
        for timeout_s in (PATIENT_S, PATIENT_S, PATIENT_S, SHORT_S):
            failure(client(server.url, timeout_s=timeout_s))
        for thread in threading.enumerate():
            if thread.name == "deadline":
                thread.join(PATIENT_S)
    assert open_files() - before == set()


# TLS and proxies


def test_a_ca_of_ones_own(tmp_path: Path) -> None:
    """A server is believed when `ca_file` vouches for it, and the connection is TLS."""
    ca_file, context = authority(tmp_path)
    with TokenServer(tls=context) as server:
        source = client(server.url, ca_file=ca_file)
        assert [source.fetch().access_token for _ in "12"] == [Secret("tok-1"), Secret("tok-2")]


def test_a_folder_of_cas(tmp_path: Path) -> None:
    """A folder of certificates, as CA variables may name, is taken too: here it has none."""
    _, context = authority(tmp_path)
    with TokenServer(tls=context) as server:
        error = failure(client(server.url, ca_file=str(tmp_path)))
    assert (type(error), error.code) == (UNAVAILABLE, "tls_failed")


def test_a_replaced_ca_file_is_read_again(tmp_path: Path) -> None:
    """A CA that is renewed on disk is trusted from the next exchange on, without a restart."""
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    ca_file, _ = authority(first)
    renewed, context = authority(second)
    with TokenServer(tls=context) as server:
        source = client(server.url, ca_file=ca_file)
        assert failure(source).code == "tls_failed"
        os.replace(renewed, ca_file)
        assert source.fetch().access_token == Secret("tok-1")


@pytest.mark.fault("certificate-not-trusted")
@pytest.mark.parametrize(
    ("name", "days", "trusts", "reason"),
    [
        ("127.0.0.1", (-1, 1), "", "unable to get local issuer certificate"),
        ("127.0.0.1", (-2, -1), "ca", "certificate has expired"),
        ("as.test", (-1, 1), "ca", "IP address mismatch"),
    ],
)
def test_certificates_are_verified(
    name: str, days: tuple[int, int], trusts: str, reason: str, tmp_path: Path
) -> None:
    """An unknown, expired or foreign certificate ends it, and the message says what to look at."""
    ca_file, context = authority(tmp_path, name, days)
    with TokenServer(tls=context) as server:
        error = failure(client(server.url, ca_file=ca_file if trusts else ""))
        assert server.requests == []
    assert (type(error), error.code) == (UNAVAILABLE, "tls_failed")
    assert f"({reason}" in error.message
    assert "check ca_file and the clock of this machine" in error.message


@pytest.mark.fault("certificate-not-trusted")
def test_old_tls_is_refused(tmp_path: Path) -> None:
    """A server that speaks nothing newer than TLS 1.0 gets no secret."""
    ca_file, context = authority(tmp_path)
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with TokenServer(tls=context) as server:
        error = failure(client(server.url, ca_file=ca_file))
        assert server.requests == []
    assert (type(error), error.code) == (UNAVAILABLE, "tls_failed")


@pytest.mark.fault("certificate-not-trusted")
def test_a_server_without_tls() -> None:
    """TLS to a plain port says that it is TLS that fails."""
    with TokenServer() as server:
        error = failure(client(server.url.replace("http:", "https:")))
    assert (type(error), error.code) == (UNAVAILABLE, "tls_failed")


@pytest.mark.parametrize(
    ("content", "code"), [(None, "ca_file_unreadable"), (b"no certificate", "tls_failed")]
)
def test_a_ca_file_that_is_none(content: bytes | None, code: str, tmp_path: Path) -> None:
    """A missing or broken CA file is told before anything is sent, and never means no check."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    error = failure(client("https://127.0.0.1:1/token", ca_file=str(path)))
    assert (type(error), error.code, "ca_file" in error.message) == (UNAVAILABLE, code, True)


def test_a_proxy_is_used() -> None:
    """A plain request goes to the proxy with the whole address and the proxy's credentials."""
    with TokenServer() as proxy:
        url = proxy.url.replace("http://", "http://user:pass@").removesuffix("/token")
        client("http://as.test/token", proxies={"http": url}).fetch()
        (seen,) = proxy.requests
    assert (seen.method, seen.path) == ("POST", "http://as.test/token")
    assert seen.headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"


def test_a_proxy_over_tls(tmp_path: Path) -> None:
    """A proxy that speaks TLS itself is verified by the same CAs."""
    ca_file, context = authority(tmp_path)
    with TokenServer(tls=context) as proxy:
        options = {"proxies": {"http": proxy.url.removesuffix("/token")}}
        got = client("http://as.test/token", ca_file=ca_file, **options).fetch()  # type: ignore[arg-type]
        assert got.access_token == Secret("tok-1")
        assert failure(client("http://as.test/token", **options)).code == "proxy_failed"  # type: ignore[arg-type]


@pytest.mark.fault("proxy-down")
def test_a_proxy_that_refuses() -> None:
    """A proxy that will not connect has a code of its own, and its password is not shown."""
    with TokenServer(answer(407)) as proxy:
        url = proxy.url.replace("http://", "http://user:pa55@").removesuffix("/token")
        error = failure(client("https://as.test/token", proxies={"https": url}))
        (seen,) = proxy.requests
    assert (type(error), error.code) == (UNAVAILABLE, "proxy_failed")
    assert (seen.method, seen.path, "pa55" in str(error)) == ("CONNECT", "as.test:443", False)


@pytest.mark.fault("proxy-down")
def test_a_proxy_that_is_not_there() -> None:
    """A dead proxy is told as the proxy's fault."""
    with TokenServer() as proxy:
        url = proxy.url
    error = failure(client("http://as.test/token", proxies={"http": url}))
    assert (type(error), error.code) == (UNAVAILABLE, "proxy_failed")


def test_nothing_secret_shows() -> None:
    """No repr of what is built shows the secret, a header's value or a proxy's password."""
    source = client(
        "http://as.test/", headers={"X-Key": "k3y"}, proxies={"http": "http://u:pa55@p"}
    )
    source.secret.resolve()
    shown = repr(source)
    assert [word for word in (SECRET, "k3y", "pa55") if word in shown] == []


def test_any_authentication_fits() -> None:
    """The exchange takes every requests AuthBase: what one adds is sent."""

    class Signed(AuthBase):
        def __call__(self, request: PreparedRequest) -> PreparedRequest:
            request.headers["X-Signed"] = "yes"
            return request

    with TokenServer() as server:
        secret = WatchedSecret(Source())
        source = ClientCredentials(
            TokenRequest(server.url, (GRANT,)),
            Signed(),
            secret,
            Transport(PATIENT_S),
            ResponseRules(),
            FakeClock(),
        )
        source.fetch()
        assert server.requests[0].headers["x-signed"] == "yes"
