import base64
import http.client
import json
import re
import secrets
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import quote_plus, urlencode, urlsplit

import pytest
from hydra_server import Client, HydraServer

from job.core.secret import Secret
from job.demo import server as plain

pytestmark = pytest.mark.slow

START = 1_764_000_000.0
FORM = "application/x-www-form-urlencoded"
GRANT = {"grant_type": "client_credentials"}
MALFORMED = (
    "The request is missing a required parameter, includes an invalid parameter value, includes a "
    "parameter more than once, or is otherwise malformed."
)
NOT_AUTHENTICATED = (
    "Client authentication failed (e.g., unknown client, no client authentication included, or "
    "unsupported authentication method)."
)
NO_CREDENTIALS = (
    "Client credentials missing or malformed in both HTTP Authorization header and HTTP POST body."
)
WRONG_SECRET = "crypto/bcrypt: hashedPassword is not the hash of the given password"
CHALLENGE = 'Basic realm="freshtoken demo", charset="UTF-8"'

SECRET = secrets.token_urlsafe()
BASIC = Client("basic", Secret(SECRET), "client_secret_basic", ("read", "write"))
POST = Client("post", Secret(SECRET), "client_secret_post")
ODD = Client("odd:id +%é", Secret(f":+%&=/ é{SECRET}"))


PLAIN = {"demo:id": Secret(SECRET)}


class Hand:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]


@pytest.fixture
def hand() -> Hand:
    """Give a clock of its own to each test."""
    return Hand()


@pytest.fixture
def server(hand: Hand) -> Iterator[HydraServer]:
    """Run a server whose tokens live 20 seconds."""
    with HydraServer([BASIC, POST, ODD], lifetime_s=20, clock=hand) as running:
        yield running


@pytest.fixture(scope="module")
def strict() -> Iterator[HydraServer]:
    """Run one server for all the requests that it refuses."""
    with HydraServer([BASIC, POST, ODD]) as running:
        yield running


def basic(client_id: str = "basic", secret: str = SECRET) -> dict[str, str]:
    """Make an Authorization header of the two texts as they are."""
    pair = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def ask(
    server: plain.AuthorizationServer,
    form: Mapping[str, str] | str | bytes = GRANT,
    headers: Mapping[str, str] | None = None,
    method: str = "POST",
    path: str | None = None,
) -> Reply:
    """Send one request and read the whole answer."""
    url = urlsplit(server.token_url)
    connection = http.client.HTTPConnection(url.netloc, timeout=5)
    body = urlencode(form) if isinstance(form, Mapping) else form
    connection.request(method, path or url.path, body, {"Content-Type": FORM, **(headers or {})})
    answer = connection.getresponse()
    reply = Reply(answer.status, dict(answer.headers), json.loads(answer.read()))
    connection.close()
    return reply


def refusal(
    status: int, code: str, description: str, hint: str = "", debug: str = ""
) -> dict[str, Any]:
    """Make the body of an error answer; hint and debug are there only if they say something."""
    body = {
        "error": code,
        "error_description": description,
        "error_hint": hint,
        "status_code": status,
        "error_debug": debug,
    }
    return {name: value for name, value in body.items() if value}


def other_method(registered: str, used: str) -> str:
    """Make Hydra's hint for a client that proves itself in the wrong way."""
    return (
        f'The OAuth 2.0 Client supports client authentication method "{registered}", but method '
        f'"{used}" was requested. You must configure the OAuth 2.0 client\'s '
        f'"token_endpoint_auth_method" value to accept "{used}".'
    )


def test_a_basic_client_gets_an_opaque_token(server: HydraServer) -> None:
    """The answer has the members of RFC 6749 section 5.1 and no cache may keep it."""
    reply = ask(server, headers=basic())
    access_token = reply.body["access_token"]
    assert reply.status == 200
    assert reply.body == {
        "access_token": access_token,
        "expires_in": 20,
        "scope": "",
        "token_type": "bearer",
    }
    assert re.fullmatch(r"[\w-]{43}\.[\w-]{43}", access_token)
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Content-Type"] == "application/json"


def test_a_post_client_gets_a_token(server: HydraServer) -> None:
    """A client registered for the body proves itself there."""
    form = GRANT | {"client_id": "post", "client_secret": SECRET}
    assert ask(server, form).status == 200


def test_the_life_is_what_is_left_without_its_fraction() -> None:
    """As at Hydra, an hour is mostly told as 3599 seconds: time passes before the answer."""
    moments = iter([START + 0.75, START + 0.7501])
    with HydraServer([BASIC], clock=lambda: next(moments)) as server:
        assert ask(server, headers=basic()).body["expires_in"] == 3599


def test_the_scope_comes_back_when_asked_for(server: HydraServer) -> None:
    """A scope that the client may have is granted as it was asked for."""
    assert ask(server, GRANT | {"scope": "write"}, basic()).body["scope"] == "write"


def test_basic_credentials_are_form_decoded(server: HydraServer) -> None:
    """Every character works in id and secret when both are encoded (RFC 6749 section 2.3.1)."""
    encoded = basic(quote_plus(ODD.client_id), quote_plus(ODD.secret.reveal()))
    assert ask(server, headers=encoded).status == 200


def test_a_raw_plus_is_a_space_as_at_hydra() -> None:
    """A client that does not encode its secret is told that the secret is wrong."""
    with HydraServer([Client("plus", Secret("a+b"))]) as other:
        reply = ask(other, headers=basic("plus", "a+b"))
    expected = refusal(401, "invalid_client", NOT_AUTHENTICATED, debug=WRONG_SECRET)
    assert reply.body == expected


@pytest.mark.parametrize(
    ("form", "headers", "code", "hint", "debug"),
    [
        pytest.param(
            GRANT,
            basic(secret="wrong"),
            "invalid_client",
            "",
            WRONG_SECRET,
            id="wrong secret",
        ),
        pytest.param(
            GRANT,
            basic("nobody"),
            "invalid_client",
            "",
            "Not Found",
            id="unknown client",
        ),
        pytest.param(
            GRANT,
            basic("post"),
            "invalid_client",
            other_method("client_secret_post", "client_secret_basic"),
            "",
            id="header instead of body",
        ),
        pytest.param(
            GRANT | {"client_id": "basic", "client_secret": SECRET},
            {},
            "invalid_client",
            other_method("client_secret_basic", "client_secret_post"),
            "",
            id="body instead of header",
        ),
        pytest.param(GRANT, {}, "invalid_request", NO_CREDENTIALS, "", id="no proof"),
        pytest.param(
            GRANT,
            {"Authorization": "Bearer x.y"},
            "invalid_request",
            NO_CREDENTIALS,
            "",
            id="another scheme",
        ),
        pytest.param(
            GRANT,
            {"Authorization": "Basic !"},
            "invalid_request",
            NO_CREDENTIALS,
            "",
            id="not Base64",
        ),
        pytest.param(
            GRANT,
            basic("basic", "100%zz"),
            "invalid_request",
            "The client secret in the HTTP authorization header could not be decoded from "
            '"application/x-www-form-urlencoded".',
            'invalid URL escape "%zz"',
            id="raw percent sign in the secret",
        ),
        pytest.param(
            GRANT,
            basic("100%"),
            "invalid_request",
            "The client id in the HTTP authorization header could not be decoded from "
            '"application/x-www-form-urlencoded".',
            'invalid URL escape "%"',
            id="raw percent sign in the id",
        ),
        pytest.param(
            GRANT | {"client_secret": SECRET},
            basic(),
            "invalid_request",
            "the client proves itself in more than one way",
            "",
            id="header and body",
        ),
        pytest.param(
            GRANT | {"client_secret": SECRET, "client_assertion": "a.b.c"},
            {},
            "invalid_request",
            "the client proves itself in more than one way",
            "",
            id="secret and assertion",
        ),
        pytest.param(
            GRANT | {"client_id": "post"},
            basic(),
            "invalid_request",
            "client_id differs between header and body",
            "",
            id="two clients",
        ),
        pytest.param(
            {"scope": "read"},
            basic(),
            "invalid_request",
            'Request parameter "grant_type" is missing',
            "",
            id="no grant",
        ),
        pytest.param(
            {"grant_type": ""},
            basic(),
            "invalid_request",
            'Request parameter "grant_type" is missing',
            "",
            id="empty counts as omitted",
        ),
        pytest.param(
            {"grant_type": "password"},
            basic(),
            "unsupported_grant_type",
            "",
            "",
            id="another grant",
        ),
        pytest.param(
            GRANT | {"scope": "read admin"},
            basic(),
            "invalid_scope",
            'The OAuth 2.0 Client is not allowed to request scope "admin".',
            "",
            id="unknown scope",
        ),
        pytest.param(
            GRANT | {"scope": "read", "client_id": "post", "client_secret": SECRET},
            {},
            "invalid_scope",
            'The OAuth 2.0 Client is not allowed to request scope "read".',
            "",
            id="client without scopes",
        ),
        pytest.param(
            "grant_type=client_credentials&scope=read&scope=write",
            basic(),
            "invalid_request",
            "given more than once: scope",
            "",
            id="repeated parameter",
        ),
        pytest.param(
            b"grant_type=\xff",
            basic(),
            "invalid_request",
            "the body is not UTF-8",
            "",
            id="not UTF-8",
        ),
        pytest.param(
            "x=" + "y" * 65_535,
            basic(),
            "invalid_request",
            "the body is over 65536 bytes",
            "",
            id="huge body",
        ),
        pytest.param(
            GRANT,
            basic() | {"Content-Type": "application/json"},
            "invalid_request",
            f"the content type must be {FORM}",
            "",
            id="not a form",
        ),
        pytest.param(
            GRANT,
            basic() | {"Content-Length": "many"},
            "invalid_request",
            'Request parameter "grant_type" is missing',
            "",
            id="no length, no body",
        ),
    ],
)
def test_a_refusal_says_what_was_wrong(
    strict: HydraServer,
    form: Mapping[str, str] | str | bytes,
    headers: Mapping[str, str],
    code: str,
    hint: str,
    debug: str,
) -> None:
    """Each mistake gets its status, its code and Hydra's words, and gives no token."""
    descriptions = {
        "invalid_client": NOT_AUTHENTICATED,
        "invalid_request": MALFORMED,
        "invalid_scope": "The requested scope is invalid, unknown, or malformed.",
        "unsupported_grant_type": (
            "The authorization grant type is not supported by the authorization server."
        ),
    }
    reply = ask(strict, form, headers)
    status = 401 if code == "invalid_client" else 400
    expected = refusal(status, code, descriptions[code], hint, debug)
    assert (reply.status, reply.body) == (status, expected)
    assert reply.headers["Cache-Control"] == "no-store"
    assert strict.exchanges("basic") + strict.exchanges("post") == 0


def test_a_challenge_answers_basic_alone(server: HydraServer) -> None:
    """RFC 6749 section 5.2: the challenge is for clients that used the header."""
    by_header = ask(server, headers=basic(secret="wrong")).headers
    by_body = ask(server, GRANT | {"client_id": "post", "client_secret": "wrong"}).headers
    assert by_header["WWW-Authenticate"] == CHALLENGE
    assert "WWW-Authenticate" not in by_body


def test_what_may_stand_in_a_request(server: HydraServer) -> None:
    """Taken are a client_id beside Basic, a repeated resource and parameters nobody knows."""
    form = "grant_type=client_credentials&client_id=basic&resource=a:1&resource=a:2&color=red"
    headers = basic() | {"Content-Type": f"{FORM}; charset=UTF-8"}
    assert ask(server, form, headers).status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_only_post_asks_for_a_token(strict: HydraServer, method: str) -> None:
    """Any other method is refused, and the answer names the right one."""
    reply = ask(strict, headers=basic(), method=method)
    description = "The token endpoint takes POST alone."
    assert reply.body == refusal(405, "method_not_allowed", description, "use POST")
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


def test_nothing_else_is_served(server: HydraServer) -> None:
    """An unknown path is not found, and the hint names the token endpoint."""
    reply = ask(server, headers=basic(), path="/token")
    assert reply.status == 404
    description = "Could not find the requested resource(s)."
    assert reply.body == refusal(404, "not_found", description, "try /oauth2/token")


def test_a_query_changes_nothing(server: HydraServer) -> None:
    """Parameters belong in the body; those in the URL are not looked at."""
    assert ask(server, headers=basic(), path="/oauth2/token?scope=admin").status == 200


def test_an_outage_ends_as_it_began(server: HydraServer) -> None:
    """While the switch is on every request gets 503 with Retry-After; then all is as before."""
    server.outage = True
    during = ask(server, headers=basic())
    server.outage = False
    after = ask(server, headers=basic())
    description = (
        "The authorization server is currently unable to handle the request due to a temporary "
        "overloading or maintenance of the server."
    )
    assert during.body == refusal(503, "temporarily_unavailable", description, "an outage is on")
    assert (during.status, during.headers["Retry-After"]) == (503, "1")
    assert after.status == 200
    assert server.exchanges("basic") == 1


def test_exchanges_are_counted_for_each_client(server: HydraServer) -> None:
    """The count is of tokens given, not of requests."""
    ask(server, headers=basic())
    ask(server, headers=basic())
    ask(server, headers=basic(secret="wrong"))
    ask(server, GRANT | {"client_id": "post", "client_secret": SECRET})
    counts = {name: server.exchanges(name) for name in ("basic", "post", "nobody")}
    assert counts == {"basic": 2, "post": 1, "nobody": 0}


def test_a_token_is_valid_for_its_lifetime(server: HydraServer, hand: Hand) -> None:
    """It is good up to the last moment before its expiry, then it and no other is refused."""
    first = ask(server, headers=basic()).body["access_token"]
    hand.now = START + 19.9
    before = server.is_valid(first)
    hand.now = START + 20
    second = ask(server, headers=basic()).body["access_token"]
    assert (before, server.is_valid(first), server.is_valid(second)) == (True, False, True)
    assert not server.is_valid("made.up")


def test_the_lifetime_changes_live(server: HydraServer, hand: Hand) -> None:
    """A new lifetime holds for the tokens given from then on, not for those given before."""
    long_lived = ask(server, headers=basic()).body["access_token"]
    server.lifetime_s = 5
    reply = ask(server, headers=basic())
    hand.now = START + 5
    assert reply.body["expires_in"] == 5
    assert not server.is_valid(reply.body["access_token"])
    assert server.is_valid(long_lived)


def test_many_clients_at_once(server: HydraServer) -> None:
    """Requests in parallel get tokens of their own, and none is lost from the count."""
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: ask(server, headers=basic()), range(40)))
    assert len({reply.body["access_token"] for reply in replies}) == 40
    assert server.exchanges("basic") == 40


def test_it_leaves_nothing_behind(hand: Hand) -> None:
    """After the block no thread runs and nobody listens, though a client never said a word."""
    before = set(threading.enumerate())
    with HydraServer([BASIC], clock=hand) as server:
        address = ("127.0.0.1", urlsplit(server.token_url).port)
        silent = socket.create_connection(address, timeout=5)
        ask(server, headers=basic())
    assert set(threading.enumerate()) <= before
    assert silent.recv(1) == b""
    silent.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_it_prints_nothing(hand: Hand, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither a request, nor a refusal, nor a client that breaks off reaches the terminal."""
    with HydraServer([BASIC], clock=hand) as server:
        break_off(server)
        ask(server, headers=basic())
        ask(server, method="GET")
    assert capfd.readouterr() == ("", "")


def break_off(server: plain.AuthorizationServer) -> None:
    """Send half a request, then reset the connection."""
    with socket.create_connection(("127.0.0.1", urlsplit(server.token_url).port), 5) as client:
        client.sendall(b"POST /oauth2/token HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_bug_of_its_own_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """An error that is not the client's shows its traceback, and the server goes on."""
    hand = Hand()
    del hand.now
    with HydraServer([BASIC], clock=hand) as server:
        with pytest.raises(http.client.BadStatusLine):
            ask(server, headers=basic())
        hand.now = START
        assert ask(server, headers=basic()).status == 200
    assert "AttributeError" in capfd.readouterr().err


def test_a_client_never_shows_its_secret() -> None:
    """The repr of a registered client, which a failing test would print, hides the secret."""
    assert SECRET not in repr(BASIC)


@pytest.fixture(scope="module")
def demo() -> Iterator[plain.AuthorizationServer]:
    """Run the server of the demo."""
    with plain.AuthorizationServer(PLAIN, 20) as running:
        yield running


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        (GRANT, basic(quote_plus("demo:id"))),
        (GRANT | {"client_id": "demo:id", "client_secret": SECRET}, {}),
    ],
    ids=["header", "body"],
)
def test_the_demo_gives_a_token(
    demo: plain.AuthorizationServer, form: Mapping[str, str], headers: Mapping[str, str]
) -> None:
    """Each client may present its secret in the header or in the body, and gets a token."""
    reply = ask(demo, form, headers)
    access_token = reply.body.pop("access_token")
    assert (reply.status, reply.body) == (200, {"expires_in": 20, "token_type": "bearer"})
    assert re.fullmatch(r"[\w-]{43}", access_token)
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("form", "headers", "path", "status", "code"),
    [
        (GRANT, basic(quote_plus("demo:id"), "wrong"), None, 401, "invalid_client"),
        (GRANT, basic("nobody"), None, 401, "invalid_client"),
        (GRANT, {"Authorization": "Basic a"}, None, 401, "invalid_client"),
        (GRANT, {}, None, 401, "invalid_client"),
        (
            {"grant_type": "password"},
            basic(quote_plus("demo:id")),
            None,
            400,
            "unsupported_grant_type",
        ),
        (GRANT, {}, "/token", 404, "not_found"),
    ],
    ids=["wrong secret", "unknown client", "not Base64", "no proof", "another grant", "path"],
)
def test_the_demo_refuses(
    demo: plain.AuthorizationServer,
    form: Mapping[str, str],
    headers: Mapping[str, str],
    path: str | None,
    status: int,
    code: str,
) -> None:
    """A refusal has the code of RFC 6749, and a challenge where the client is not known."""
    reply = ask(demo, form, headers, path=path)
    assert (reply.status, reply.body) == (status, {"error": code})
    assert reply.headers.get("WWW-Authenticate") == (CHALLENGE if status == 401 else None)


def test_the_demo_prints_nothing_of_a_client_that_breaks_off(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither a request nor a client that breaks off reaches the terminal."""
    with plain.AuthorizationServer(PLAIN) as server:
        break_off(server)
        ask(server, headers=basic("nobody"))
    assert capfd.readouterr() == ("", "")
