"""The HTTP side of `run`: probes, metrics, status. The only importer of waitress.

Everything is read from the board at each request. No answer holds a secret.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from waitress import wasyncore
from waitress.server import create_server

from job import __version__
from job.core.clock import Clock
from job.observe.status import RefresherStatus, worst_first

THREADS = 4
CONNECTIONS = 100
IDLE_S = 10
"""A client that sends nothing for so long is disconnected; a silent one blocks no other."""
LOOK_S = 0.25
"""How often the server looks whether it is to stop."""
MAX_HEADER_BYTES = 16_384

POLICY = (
    "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
NOTHING_ELSE = "default-src 'none'; frame-ancestors 'none'"

StartResponse = Callable[[str, list[tuple[str, str]]], object]


class Page(NamedTuple):
    """The status page, and the hashes (Base64 of SHA-256) of its one style and one script."""

    html: str
    style: str
    script: str


class Response(NamedTuple):
    """The answer to one request."""

    status: str
    kind: str
    body: bytes
    policy: str = NOTHING_ELSE


@dataclass(frozen=True)
class Site:
    """The WSGI application (PEP 3333). It answers GET and HEAD of five paths, and nothing else.

    `statuses` gives the tokens, `metrics` the exposition for an Accept header; `alive` tells
    whether the sweep runs, `page` makes the status page from the tokens, the time and the search.
    """

    statuses: Callable[[], list[RefresherStatus]]
    metrics: Callable[[str], tuple[bytes, str]]
    alive: Callable[[], bool]
    page: Callable[[list[RefresherStatus], float, str], Page]
    clock: Clock

    def __call__(
        self, environ: Mapping[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one request."""
        response = self._response(environ)
        head = [
            ("Content-Type", response.kind),
            ("Content-Length", str(len(response.body))),
            ("Content-Security-Policy", response.policy),
            *HEADERS,
        ]
        if response.status.startswith("405"):
            head.append(("Allow", "GET, HEAD"))
        start_response(response.status, head)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [response.body]

    def _response(self, environ: Mapping[str, Any]) -> Response:
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _text("405 Method Not Allowed", "only GET and HEAD are answered")
        answers: Mapping[str, Callable[[], Response]] = {
            "/": lambda: self._page(environ.get("QUERY_STRING", "")),
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/metrics": lambda: self._metrics(environ.get("HTTP_ACCEPT", "")),
            "/status.json": self._status,
        }
        answer = answers.get(environ["PATH_INFO"])
        return answer() if answer else _text("404 Not Found", f"there are {', '.join(answers)}")

    def _metrics(self, accept: str) -> Response:
        body, kind = self.metrics(accept)
        return Response("200 OK", kind, body)

    def _page(self, query: str) -> Response:
        sought = dict(parse_qsl(query)).get("q", "")
        html, style, script = self.page(worst_first(self.statuses()), self.clock().wall, sought)
        policy = POLICY.format(style=style, script=script)
        return Response("200 OK", "text/html; charset=utf-8", html.encode(), policy)

    def _health(self) -> Response:
        if self.alive():
            return _text("200 OK", "ok")
        return _text("503 Service Unavailable", "the sweep has stopped: restart this process")

    def _readiness(self) -> Response:
        lacking = [token for token in self.statuses() if not token.ready]
        if not lacking:
            return _text("200 OK", "ok")
        lines = (f"{token.name}: {token.state}" for token in worst_first(lacking))
        return _text("503 Service Unavailable", "\n".join(lines))

    def _status(self) -> Response:
        tokens = self.statuses()
        document = {
            "version": __version__,
            "now": int(self.clock().wall),
            "ready": all(token.ready for token in tokens),
            "alive": self.alive(),
            "tokens": [_members(token) for token in tokens],
        }
        return Response("200 OK", "application/json", json.dumps(document).encode())


def _members(token: RefresherStatus) -> dict[str, Any]:
    worked_out = ("state", "since", "expires_at", "ready")
    return asdict(token) | {name: getattr(token, name) for name in worked_out}


def _text(status: str, text: str) -> Response:
    return Response(status, "text/plain; charset=utf-8", f"{text}\n".encode())


class Server:
    """Serves a site from `start` on, in threads of its own, until `stop`."""

    def __init__(self, site: Site, host: str, port: int) -> None:
        """Bind the address; raises OSError."""
        self._socket = socket.create_server((host, port), family=family_of(host))
        self._connections: dict[int, Any] = {}
        self._server = create_server(
            site,
            map=self._connections,
            sockets=[self._socket],
            threads=THREADS,
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_S,
            cleanup_interval=IDLE_S,
            max_request_header_size=MAX_HEADER_BYTES,
            max_request_body_size=1,
            ident=None,
        )
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Return the host and the port where it listens."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering, and release the address."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._server.task_dispatcher.shutdown()
        wasyncore.close_all(self._connections)

    def _serve(self) -> None:
        while not self._stopped.is_set():
            wasyncore.loop(timeout=LOOK_S, map=self._connections, count=1)


def family_of(host: str) -> socket.AddressFamily:
    """Return the address family of a host: only an IPv6 address has colons."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET
