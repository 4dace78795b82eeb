"""An authorization server that answers as Ory Hydra does, which large providers run.

One authentication method per client, Basic credentials that are unescaped after Base64 (so that a
raw `+` is a space and a raw `%` is refused), opaque tokens in two parts, a life without its
fraction of a second, and Hydra's own words in refusals.
"""

import base64
import contextlib
import re
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote_plus

from job.core.secret import Secret
from job.demo import server as plain
from job.demo.server import (
    CHALLENGE,
    MAX_BODY_BYTES,
    NO_STORE,
    TOKEN_PATH,
    Request,
    RequestHandler,
    ServerResponse,
)

AuthMethod = Literal["client_secret_basic", "client_secret_post"]

FORM = "application/x-www-form-urlencoded"
OUTAGE_RETRY_AFTER_S = 1
BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

DESCRIPTIONS = {
    "invalid_client": "Client authentication failed (e.g., unknown client, no client "
    "authentication included, or unsupported authentication method).",
    "invalid_request": "The request is missing a required parameter, includes an invalid parameter "
    "value, includes a parameter more than once, or is otherwise malformed.",
    "invalid_scope": "The requested scope is invalid, unknown, or malformed.",
    "not_found": "Could not find the requested resource(s).",
    "method_not_allowed": "The token endpoint takes POST alone.",
    "temporarily_unavailable": "The authorization server is currently unable to handle the request "
    "due to a temporary overloading or maintenance of the server.",
    "unsupported_grant_type": "The authorization grant type is not supported by the authorization "
    "server.",
}
OTHER_METHOD = (
    'The OAuth 2.0 Client supports client authentication method "{registered}", but method '
    '"{used}" was requested. You must configure the OAuth 2.0 client\'s '
    '"token_endpoint_auth_method" value to accept "{used}".'
)
NO_CREDENTIALS = (
    "Client credentials missing or malformed in both HTTP Authorization header and HTTP POST body."
)
NOT_DECODED = (
    "The client {part} in the HTTP authorization header could not be decoded from "
    '"application/x-www-form-urlencoded".'
)
WRONG_SECRET = "crypto/bcrypt: hashedPassword is not the hash of the given password"


@dataclass(frozen=True)
class Client:
    """A registered client; it may ask for any of `scopes` and prove itself in one way only."""

    client_id: str
    secret: Secret
    auth_method: AuthMethod = "client_secret_basic"
    scopes: tuple[str, ...] = ()


@dataclass(eq=False)
class Refusal(Exception):
    """Raised inside the server; `hint` tells a developer what was wrong, `debug` an operator."""

    code: str
    hint: str
    status: HTTPStatus = HTTPStatus.BAD_REQUEST
    headers: Mapping[str, str] = field(default_factory=dict)
    debug: str = ""

    def answer(self) -> ServerResponse:
        """Return the error answer: RFC 6749 section 5.2 with the members that Hydra adds."""
        body = {
            "error": self.code,
            "error_description": DESCRIPTIONS[self.code],
            "error_hint": self.hint,
            "status_code": self.status.value,
            "error_debug": self.debug,
        }
        said = {name: value for name, value in body.items() if value}
        return ServerResponse(self.status, said, {**NO_STORE, **self.headers})


@dataclass(frozen=True, slots=True)
class PresentedCredentials:
    """How a client tried to prove itself."""

    method: str
    client_id: str
    secret: str


class HydraServer(plain.AuthorizationServer):
    """The server as a context manager: it listens inside the block and leaves no thread behind.

    `lifetime_s` (of tokens from now on, whole seconds) and `outage` (every request gets 503 with
    Retry-After) may be changed while it runs. `clock` gives epoch seconds.
    """

    daemon_threads = False  # closing then waits for every request in hand

    def __init__(
        self,
        clients: Iterable[Client],
        lifetime_s: int = 3600,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__({}, lifetime_s)
        self.RequestHandlerClass = _AnyMethod
        self.outage = False
        self._registered = {client.client_id: client for client in clients}
        self._clock = clock
        self._lock = threading.Lock()
        self._expiries: dict[str, float] = {}
        self._exchanges: Counter[str] = Counter()
        self._connections: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Close without waiting for what silent clients may still send; answers go out."""
        for connection in tuple(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        super().server_close()

    def exchanges(self, client_id: str) -> int:
        """Return how many tokens the client has been given."""
        return self._exchanges[client_id]

    def is_valid(self, access_token: str) -> bool:
        """Tell whether a resource server should take the token now."""
        return self._expiries.get(access_token, 0.0) > self._clock()

    def answer(self, request: Request) -> ServerResponse:
        try:
            self._check_served(request)
            parameters = _parameters(request)
            presented = _credentials(request.headers.get("Authorization"), parameters)
            client = self._authenticate(presented)
            return self._grant(client, parameters)
        except Refusal as refusal:
            return refusal.answer()

    def _check_served(self, request: Request) -> None:
        if self.outage:
            wait = {"Retry-After": str(OUTAGE_RETRY_AFTER_S)}
            status = HTTPStatus.SERVICE_UNAVAILABLE
            raise Refusal("temporarily_unavailable", "an outage is on", status, wait)
        if request.path != TOKEN_PATH:
            raise Refusal("not_found", f"try {TOKEN_PATH}", HTTPStatus.NOT_FOUND)
        if request.method != "POST":
            status = HTTPStatus.METHOD_NOT_ALLOWED
            raise Refusal("method_not_allowed", "use POST", status, {"Allow": "POST"})

    def _authenticate(self, credentials: PresentedCredentials) -> Client:
        client = self._registered.get(credentials.client_id)
        if client is None:
            raise _unauthenticated(credentials.method, debug="Not Found")
        if credentials.method != client.auth_method:
            hint = OTHER_METHOD.format(registered=client.auth_method, used=credentials.method)
            raise _unauthenticated(credentials.method, hint)
        if credentials.secret != client.secret.reveal():
            raise _unauthenticated(credentials.method, debug=WRONG_SECRET)
        return client

    def _grant(self, client: Client, parameters: Mapping[str, str]) -> ServerResponse:
        if "grant_type" not in parameters:
            raise Refusal("invalid_request", 'Request parameter "grant_type" is missing')
        if parameters["grant_type"] != "client_credentials":
            raise Refusal("unsupported_grant_type", "")
        for scope in parameters.get("scope", "").split():
            if scope not in client.scopes:
                hint = f'The OAuth 2.0 Client is not allowed to request scope "{scope}".'
                raise Refusal("invalid_scope", hint)
        access_token, expires_at = self._issue(client)
        body = {
            "access_token": access_token,
            # What is left, cut: a token that lives an hour mostly says 3599.
            "expires_in": int(expires_at - self._clock()),
            "scope": parameters.get("scope", ""),
            "token_type": "bearer",
        }
        return ServerResponse(HTTPStatus.OK, body, NO_STORE)

    def _issue(self, client: Client) -> tuple[str, float]:
        access_token = f"{secrets.token_urlsafe(32)}.{secrets.token_urlsafe(32)}"
        now = self._clock()
        expires_at = now + self.lifetime_s
        with self._lock:
            while self._expiries and next(iter(self._expiries.values())) <= now:
                del self._expiries[next(iter(self._expiries))]
            self._expiries[access_token] = expires_at
            self._exchanges[client.client_id] += 1
        return access_token, expires_at


def _unauthenticated(method: str, hint: str = "", *, debug: str = "") -> Refusal:
    """Refuse a client; RFC 6749 section 5.2 wants a challenge if it used the header."""
    challenge = CHALLENGE if method == "client_secret_basic" else {}
    return Refusal("invalid_client", hint, HTTPStatus.UNAUTHORIZED, challenge, debug=debug)


def _parameters(request: Request) -> dict[str, str]:
    """Read the form; empty values count as omitted and none may repeat (RFC 6749 section 3.2)."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != FORM:
        raise Refusal("invalid_request", f"the content type must be {FORM}")
    if len(request.body) > MAX_BODY_BYTES:
        raise Refusal("invalid_request", f"the body is over {MAX_BODY_BYTES} bytes")
    try:
        pairs = parse_qsl(request.body.decode(), keep_blank_values=True, errors="strict")
    except ValueError:
        raise Refusal("invalid_request", "the body is not UTF-8") from None
    # RFC 8707 section 2 lets one parameter repeat.
    counted = Counter(name for name, _ in pairs if name != "resource")
    if repeated := [name for name, times in counted.items() if times > 1]:
        raise Refusal("invalid_request", f"given more than once: {', '.join(repeated)}")
    return {name: value for name, value in pairs if value}


def _credentials(authorization: str | None, parameters: Mapping[str, str]) -> PresentedCredentials:
    """Find the one way in which the client proves itself (RFC 6749 section 2.3)."""
    ways = [authorization, parameters.get("client_secret"), parameters.get("client_assertion")]
    if sum(way is not None for way in ways) > 1:
        raise Refusal("invalid_request", "the client proves itself in more than one way")
    client_id = parameters.get("client_id")
    if authorization is None:
        if client_id is None:
            raise Refusal("invalid_request", NO_CREDENTIALS)
        return PresentedCredentials(
            "client_secret_post", client_id, parameters.get("client_secret", "")
        )
    basic = _basic(authorization)
    if client_id not in (None, basic.client_id):
        raise Refusal("invalid_request", "client_id differs between header and body")
    return basic


def _basic(authorization: str) -> PresentedCredentials:
    """Read a Basic header whose two halves are form-encoded (RFC 6749 section 2.3.1).

    Hydra takes any other header for none at all, and then misses the credentials in the body.
    """
    scheme, _, encoded = authorization.partition(" ")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        text = ""
    client_id, colon, secret = text.partition(":")
    if scheme.lower() != "basic" or not colon:
        raise Refusal("invalid_request", NO_CREDENTIALS)
    for part, raw in (("id", client_id), ("secret", secret)):
        if broken := BROKEN_ESCAPE.search(raw):
            debug = f'invalid URL escape "{raw[broken.start() :][:3]}"'
            raise Refusal("invalid_request", NOT_DECODED.format(part=part), debug=debug)
    return PresentedCredentials(
        "client_secret_basic", unquote_plus(client_id), unquote_plus(secret)
    )


class _AnyMethod(RequestHandler):
    do_GET = do_PUT = do_PATCH = do_DELETE = RequestHandler.do_POST  # noqa: N815
