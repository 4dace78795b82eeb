"""A client of the moto server, and the faults that moto cannot give.

They are played by boto3's hooks in this process (`faults_of`), or on the wire (`FaultyAws`).
"""

import contextlib
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import boto3
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

REGION = "eu-central-1"

Effect = Callable[[AWSRequest], AWSResponse | None]


def make_client(endpoint_url: str, read_timeout: float = 10) -> "SecretsManagerClient":
    """Return a client that gives up at once, so that no test waits for botocore's retries."""
    session = boto3.Session("fake-key-id", "fake-key", region_name=REGION)
    config = Config(
        connect_timeout=2,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    return session.client("secretsmanager", endpoint_url=endpoint_url, config=config)


class Faults:
    """Plays each planned effect once, at the moment a call of that operation would be sent."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.planned: dict[str, list[Effect]] = defaultdict(list)

    def plan(self, operation: str, *effects: Effect) -> None:
        self.planned[operation].extend(effects)

    def __call__(self, request: AWSRequest, event_name: str, **_: object) -> AWSResponse | None:
        operation = event_name.rpartition(".")[2]
        self.calls.append(operation)
        planned = self.planned[operation]
        return planned.pop(0)(request) if planned else None


@contextlib.contextmanager
def faults_of(client: "SecretsManagerClient") -> Iterator[Faults]:
    """Watch a client's calls, and play faults, until the end of the block."""
    faults = Faults()
    client.meta.events.register("before-send.secrets-manager", faults)
    try:
        yield faults
    finally:
        client.meta.events.unregister("before-send.secrets-manager", faults)


def refuse(code: str, message: str = "", status: int = 400) -> Effect:
    """Answer with an error instead of carrying the call out."""
    body = json.dumps({"__type": code, "message": message}).encode()
    return lambda request: _answer(request, status, body)


def answer(body: bytes) -> Effect:
    """Answer with 200 and these bytes instead of carrying the call out."""
    return lambda request: _answer(request, 200, body)


def lose_call(request: AWSRequest) -> None:
    """Lose the connection before the call is carried out."""
    raise ConnectionClosedError(endpoint_url=request.url)


def lose_answer(request: AWSRequest) -> None:
    """Lose the connection after the call was carried out."""
    session = URLLib3Session()
    try:
        assert session.send(request).status_code == 200
    finally:
        session.close()
    raise ConnectionClosedError(endpoint_url=request.url)


def meanwhile(act: Callable[[], Any]) -> Effect:
    """Let a rival act first, then carry the call out."""

    def effect(_: AWSRequest) -> None:
        act()

    return effect


def fail(error: Exception) -> Effect:
    """Raise an exception where boto3 would."""

    def effect(_: AWSRequest) -> None:
        raise error

    return effect


class FaultyAws:
    """AWS over real HTTP: moto behind a proxy that plays faults; no thread is left behind."""

    def __init__(self, moto_url: str) -> None:
        self.faults = Faults()
        self.moto_url = moto_url
        self._closing = threading.Event()
        self._server = _Listener(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """Return the address of the API."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def stay_silent(self, request: AWSRequest) -> None:
        """Take the call and never answer."""
        self._closing.wait(60)
        raise ConnectionClosedError(endpoint_url=request.url)

    def drip(self, request: AWSRequest) -> AWSResponse:
        """Answer with a byte now and then, without an end."""
        answering = _answer(request, 200, b"")
        answering.raw = _Drip(self._closing)
        return answering


class _Listener(ThreadingHTTPServer):
    daemon_threads = False  # threads that are daemons are not joined

    def __init__(self, aws: FaultyAws) -> None:
        self.aws = aws
        super().__init__(("127.0.0.1", 0), _Proxy)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that hangs up is part of the game."""


class _Proxy(BaseHTTPRequestHandler):
    server: _Listener
    timeout = 30

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {k: v for k, v in self.headers.items() if k not in ("Host", "Content-Length")}
        request = AWSRequest("POST", self.server.aws.moto_url, headers, body).prepare()
        operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        session = URLLib3Session()
        try:
            reply = self.server.aws.faults(request, f"before-send.secrets-manager.{operation}")
            self._give(reply or session.send(request))
        except ConnectionClosedError:
            self.close_connection = True
        finally:
            session.close()

    def _give(self, reply: AWSResponse) -> None:
        pieces = reply.raw.stream() if isinstance(reply.raw, _Drip) else [reply.content]
        self.send_response(reply.status_code)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class _Drip:
    """A body of spaces, which JSON allows, without an end."""

    def __init__(self, closing: threading.Event) -> None:
        self._closing = closing

    def stream(self) -> Iterator[bytes]:
        while not self._closing.wait(0.02):
            yield b" "


def _answer(request: AWSRequest, status: int, body: bytes) -> AWSResponse:
    headers = {"content-type": "application/x-amz-json-1.1"}
    return AWSResponse(request.url, status, headers, _Body(body))


class _Body:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        yield self._body
