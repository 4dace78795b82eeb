import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from fakes import START, FakeClock
from page_fixtures import plain_status

from job import __version__
from job.observe.http import HEADERS, Page, Server, Site, family_of
from job.observe.status import RefresherStatus, TokenState

STYLE, SCRIPT = "c3R5bGU=", "c2NyaXB0"


pytestmark = pytest.mark.slow


def kept(name: str, state: TokenState, expires_at: int | None = START + 3600) -> RefresherStatus:
    """Make the status of a token with one sink."""
    return plain_status(name, state, expires_at, provider="tiki", fingerprint="9f2c")


@contextmanager
def served(*tokens: RefresherStatus, alive: bool = True) -> Iterator[Server]:
    """Serve these tokens; the page lists their names."""
    site = Site(
        statuses=lambda: list(tokens),
        metrics=lambda accept: (f"for {accept}".encode(), "text/plain; version=0.0.4"),
        alive=lambda: alive,
        page=lambda tokens, now, query: Page(
            f"{now:.0f} {[token.name for token in tokens]} {query}", STYLE, SCRIPT
        ),
        clock=FakeClock(),
    )
    server = Server(site, "127.0.0.1", 0)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def ask(
    server: Server, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], str]:
    """Send one request and return status, headers and body."""
    with closing(http.client.HTTPConnection(*server.address, timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        return reply.status, dict(reply.headers), reply.read().decode()


@pytest.mark.parametrize(
    ("alive", "status", "words"),
    [(True, 200, "ok\n"), (False, 503, "the sweep has stopped: restart this process\n")],
)
def test_healthz(alive: bool, status: int, words: str) -> None:  # noqa: FBT001  # a column
    """A supervisor learns that the sweep has stopped, whatever the tokens."""
    with served(kept("a", "expired"), alive=alive) as server:
        assert ask(server, "/healthz")[::2] == (status, words)


def test_readyz() -> None:
    """Ready means a valid token in every sink; who lacks one is named, the worst first."""
    good = [kept("a", "current"), kept("b", "due"), kept("c", "at_risk")]
    with served(*good) as server:
        assert ask(server, "/readyz")[::2] == (200, "ok\n")
    bad = [kept("d", "unknown", None), kept("e", "missing", None), kept("f", "expired")]
    with served(*good, *bad) as server:
        told = (503, "f: expired\ne: missing\nd: unknown\n")
        assert ask(server, "/readyz")[::2] == told


def test_metrics() -> None:
    """Prometheus gets the format that it asks for."""
    with served() as server:
        status, headers, body = ask(server, "/metrics", Accept="application/openmetrics-text")
    assert (status, headers["Content-Type"], body) == (
        200,
        "text/plain; version=0.0.4",
        "for application/openmetrics-text",
    )


def test_status() -> None:
    """Programs get all that people see, as JSON."""
    with served(kept("a", "due"), kept("b", "missing", None)) as server:
        status, headers, body = ask(server, "/status.json")
    token = {
        "name": "a",
        "provider": "tiki",
        "state": "due",
        "since": None,
        "event": "token.delivered",
        "ready": True,
        "obtained_at": START,
        "ends_at": START + 3600,
        "expires_at": START + 3600,
        "refresh_at": START + 2412,
        "promise_at": START + 3300,
        "min_validity_s": 300,
        "fingerprint": "9f2c",
        "failures": 0,
        "trouble": None,
        "sinks": [
            {
                "label": "file:/run/a",
                "state": "due",
                "expires_at": START + 3600,
                "since": None,
                "obtained_at": None,
                "refresh_at": None,
                "fingerprint": None,
                "held": True,
                "failures": 0,
                "retry_at": None,
                "trouble": None,
            }
        ],
        "attempts": [],
    }
    document = json.loads(body)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert document["tokens"][0] == token
    assert {key: document[key] for key in ("version", "now", "ready", "alive")} == {
        "version": __version__,
        "now": START,
        "ready": False,
        "alive": True,
    }


def test_page() -> None:
    """The page shows the worst first, and runs no style or script but its own two."""
    with served(kept("a", "current"), kept("b", "expired")) as server:
        status, headers, body = ask(server, "/?q=a+b%26")
    assert (status, body) == (200, f"{START} ['b', 'a'] a b&")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Security-Policy"] == (
        f"default-src 'none'; style-src 'sha256-{STYLE}'; script-src 'sha256-{SCRIPT}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def test_every_answer_is_closed_to_other_sites() -> None:
    """No answer is cached, framed, sniffed or read by a page of another site."""
    with served() as server:
        for path in ("/", "/healthz", "/readyz", "/metrics", "/status.json", "/nowhere"):
            headers = ask(server, path)[1]
            assert set(HEADERS) <= set(headers.items())
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert "Server" not in headers


def test_what_is_not_answered() -> None:
    """Nothing but GET and HEAD, and nothing but the five paths."""
    with served() as server:
        assert ask(server, "/nowhere")[::2] == (
            404,
            "there are /, /healthz, /readyz, /metrics, /status.json\n",
        )
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            status, headers, _ = ask(server, "/", method)
            assert (status, headers["Allow"]) == (405, "GET, HEAD")
        status, headers, body = ask(server, "/healthz", "HEAD")
        assert (status, headers["Content-Length"], body) == (200, "3", "")


def test_hostile_clients_keep_nobody_out() -> None:
    """Half a request, garbage, a huge header, a hang-up: others are served meanwhile."""
    with served() as server:
        attempts = [
            b"GET / HTTP/1.1\r\nHost: x",
            b"\x00\xff\x16\x03\x01" * 100 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n",
            b"",
        ]
        clients = [socket.create_connection(server.address, timeout=10) for _ in range(50)]
        for number, client in enumerate(clients):
            client.sendall(attempts[number % len(attempts)])
        for client in clients[::7]:
            client.close()
        assert ask(server, "/healthz")[0] == 200
        for client in clients:
            client.close()
        assert ask(server, "/healthz")[0] == 200


def site() -> Site:
    """Make a site about nothing."""
    return Site(list, lambda _: (b"", ""), bool, lambda *_: Page("", "", ""), FakeClock())


def test_an_address_that_is_taken() -> None:
    """Who can't bind is told at once, and no thread is left behind."""
    with served() as server:
        before = set(threading.enumerate())
        with pytest.raises(OSError, match="in use"):
            Server(site(), *server.address)
        assert set(threading.enumerate()) <= before


def test_a_server_that_was_never_started() -> None:
    """It lets its address go all the same."""
    server = Server(site(), "127.0.0.1", 0)
    host, port = server.address
    server.stop()
    Server(site(), host, port).stop()


def test_both_families() -> None:
    """An IPv6 address is bound as one."""
    assert [family_of(host) for host in ("::1", "127.0.0.1", "localhost")] == [
        socket.AF_INET6,
        socket.AF_INET,
        socket.AF_INET,
    ]
