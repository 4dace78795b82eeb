"""A small authorization server for client_credentials (RFC 6749 section 4.4), on loopback alone."""

import base64
import json
import secrets
import sys
import threading
from collections.abc import Mapping
from email.message import Message
from hmac import compare_digest
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, unquote_plus

from job.core.secret import Secret

TOKEN_PATH = "/oauth2/token"  # noqa: S105  # a path, not a secret
MAX_BODY_BYTES = 65_536
STOP_LOOK_S = 0.02
CHALLENGE = {"WWW-Authenticate": 'Basic realm="freshtoken demo", charset="UTF-8"'}
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class Request(NamedTuple):
    """What of an HTTP request decides the answer."""

    method: str
    path: str
    headers: "Message[str, str]"
    body: bytes


class ServerResponse(NamedTuple):
    """What goes back to the client."""

    status: HTTPStatus
    body: Mapping[str, Any]
    headers: Mapping[str, str] = NO_STORE


class RequestHandler(BaseHTTPRequestHandler):
    """Reads one request from one connection (HTTP/1.0), and has the server answer it."""

    server: "AuthorizationServer"
    wbufsize = -1  # head and body leave in one segment

    def do_POST(self) -> None:  # http.server's name
        """Answer a request."""
        length = self.headers.get("Content-Length", "")
        size = int(length) if length.isdecimal() else 0
        body = self.rfile.read(min(size, MAX_BODY_BYTES + 1))
        path = self.path.partition("?")[0]
        answer = self.server.answer(Request(self.command, path, self.headers, body))
        content = json.dumps(answer.body).encode()
        head = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        self.send_response(answer.status)
        for name, value in {**head, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing: the live view owns the terminal."""


class AuthorizationServer(ThreadingHTTPServer):
    """The server as a context manager: it answers inside the block.

    It gives opaque tokens that live `lifetime_s` to clients that present their secret in a Basic
    header or in the body.
    """

    request_queue_size = 128  # with a full queue, clients wait a second before they try again

    def __init__(self, clients: Mapping[str, Secret], lifetime_s: int = 3600) -> None:
        """Take a free port of 127.0.0.1; `clients` are the secrets by client id."""
        super().__init__(("127.0.0.1", 0), RequestHandler)
        self.lifetime_s = lifetime_s
        self._clients = clients
        self._thread = threading.Thread(target=self.serve_forever, args=(STOP_LOOK_S,))

    def __enter__(self) -> Self:
        """Start to answer."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and give the port back."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    @property
    def token_url(self) -> str:
        """Return the address of the token endpoint."""
        return f"http://127.0.0.1:{self.server_port}{TOKEN_PATH}"

    def answer(self, request: Request) -> ServerResponse:
        """Return a token, or why there is none (RFC 6749 section 5)."""
        if request.path != TOKEN_PATH:
            return ServerResponse(HTTPStatus.NOT_FOUND, {"error": "not_found"})
        form = dict(parse_qsl(request.body.decode(errors="replace")))
        client_id, secret = _credentials(request.headers.get("Authorization"), form)
        known = self._clients.get(client_id)
        if known is None or not compare_digest(known.reveal().encode(), secret.encode()):
            refusal = {"error": "invalid_client"}
            return ServerResponse(HTTPStatus.UNAUTHORIZED, refusal, NO_STORE | CHALLENGE)
        if form.get("grant_type") != "client_credentials":
            return ServerResponse(HTTPStatus.BAD_REQUEST, {"error": "unsupported_grant_type"})
        token = {
            "access_token": secrets.token_urlsafe(32),
            "expires_in": self.lifetime_s,
            "token_type": "bearer",
        }
        return ServerResponse(HTTPStatus.OK, token)

    def handle_error(self, request: Any, client_address: object) -> None:  # noqa: ANN401  # socketserver's signature
        """Ignore a client that went away; a bug of ours is still printed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _credentials(authorization: str | None, form: Mapping[str, str]) -> tuple[str, str]:
    """Return the client id and the secret; in the header they are form-encoded (section 2.3.1)."""
    if authorization is None:
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        pair = base64.b64decode(authorization.partition(" ")[2]).decode()
    except ValueError:
        return "", ""
    client_id, _, secret = pair.partition(":")
    return unquote_plus(client_id), unquote_plus(secret)
