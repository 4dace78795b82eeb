import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from fakes import START
from loading import tokens_of
from token_server import TokenServer, answer, stall
from token_server import token as token_answer

from job.compose.token_source import ClientSource, exchange_of, key_of, settled
from job.compose.tools import Tools
from job.config.settings import TokenSettings
from job.core.clock import Moment
from job.core.errors import (
    ConfigError,
    EndpointUnavailable,
    ExchangeError,
    RequestRejected,
    SecretUnavailable,
)
from job.http.transport import Transport
from job.oauth.auth_methods import TokenEndpoint
from job.oauth.discovery import AGAIN_S, KEPT_S, MAX_AGE_S, Discovery
from job.oauth.metadata import Metadata, metadata_of, places_of
from job.oauth.token_response import TokenResponse

ISSUER = "https://as.example/realms/one"
PLACE = "https://as.example/.well-known/oauth-authorization-server/realms/one"
DOCUMENT = {"issuer": ISSUER, "token_endpoint": "https://as.example/token"}


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> Moment:
        return Moment(START + self.seconds, self.seconds)


def said(document: object, status: int = 200, **headers: str) -> TokenResponse:
    """Make an answer of a metadata endpoint."""
    return TokenResponse(status, headers, json.dumps(document).encode(), START)


# The document


@pytest.mark.parametrize(
    ("issuer", "places"),
    [
        (
            "https://as.example",
            (
                "https://as.example/.well-known/oauth-authorization-server",
                "https://as.example/.well-known/openid-configuration",
            ),
        ),
        (
            "https://as.example/",
            (
                "https://as.example/.well-known/oauth-authorization-server",
                "https://as.example/.well-known/openid-configuration",
            ),
        ),
        (ISSUER, (PLACE, "https://as.example/realms/one/.well-known/openid-configuration")),
        (
            "https://as.example:8443/one/",
            (
                "https://as.example:8443/.well-known/oauth-authorization-server/one",
                "https://as.example:8443/one/.well-known/openid-configuration",
            ),
        ),
    ],
)
def test_places(issuer: str, places: tuple[str, ...]) -> None:
    """RFC 8414 inserts the well-known part before the path, OpenID Connect appends it."""
    assert places_of(issuer) == places


@pytest.mark.parametrize(
    "issuer", ["https://as.example", "https://as.example/", ISSUER, "https://as.example:8443/a/b"]
)
def test_places_as_others_find_them(issuer: str) -> None:
    """Authlib looks in the same places.

    But for an issuer whose path ends with a slash: RFC 8414 section 3.1 has it removed, authlib
    1.9 keeps it. requests_oauth2client 1.8 puts the path of every issuer in the wrong place.
    """
    from authlib.oauth2 import rfc8414  # noqa: PLC0415  # 60 ms
    from authlib.oidc import discovery as oidc  # noqa: PLC0415  # the same

    assert places_of(issuer) == (
        rfc8414.get_well_known_url(issuer, external=True),
        oidc.get_well_known_url(issuer, external=True),
    )


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"token_endpoint": None},
        {"token_endpoint": ""},
        {"token_endpoint": "http://as.example/token"},
        {"issuer": None},
        {"issuer": ""},
    ],
)
def test_documents_as_others_judge_them(more: dict[str, Any]) -> None:
    """What authlib calls valid is taken, and what it calls invalid is refused."""
    from authlib.oauth2 import rfc8414  # noqa: PLC0415  # 60 ms

    document = DOCUMENT | more
    theirs, ours = True, True
    try:
        judged = rfc8414.AuthorizationServerMetadata(document)
        judged.validate_issuer()
        judged.validate_token_endpoint()
    except ValueError:
        theirs = False
    try:
        metadata_of(ISSUER, PLACE, said(document))
    except RequestRejected:
        ours = False
    assert ours is theirs


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param({}, {}, id="what is not said has the defaults of the RFC"),
        pytest.param(
            {
                "token_endpoint_auth_methods_supported": ["private_key_jwt", "tls_client_auth", 7],
                "grant_types_supported": ["client_credentials"],
                "mtls_endpoint_aliases": {"token_endpoint": "https://mtls.as.example/token"},
            },
            {
                "auth_methods": ("private_key_jwt", "tls_client_auth"),
                "grant_types": ("client_credentials",),
                "mtls_token_url": "https://mtls.as.example/token",
            },
            id="all that is said",
        ),
        pytest.param(
            {
                "token_endpoint_auth_methods_supported": "client_secret_post",
                "grant_types_supported": None,
                "mtls_endpoint_aliases": {"revocation_endpoint": "https://mtls.as.example/r"},
            },
            {},
            id="what has the wrong type is not said",
        ),
        pytest.param({"mtls_endpoint_aliases": []}, {}, id="aliases that are none"),
    ],
)
def test_metadata(more: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """The members that matter are read, and nothing else."""
    plain = Metadata(
        ISSUER,
        "https://as.example/token",
        "https://as.example/token",
        ("client_secret_basic",),
        (),
        PLACE,
    )
    assert metadata_of(ISSUER, PLACE, said({**DOCUMENT, **more})) == replace(plain, **expected)


@pytest.mark.parametrize(
    ("answered", "kind", "code", "words"),
    [
        (said(DOCUMENT, 404), RequestRejected, "no_metadata", "(HTTP 404); check issuer"),
        (said("text"), RequestRejected, "no_metadata", "holds no metadata"),
        (said([]), RequestRejected, "no_metadata", "holds no metadata"),
        (said({"token_endpoint": "x"}), RequestRejected, "no_metadata", "holds no metadata"),
        (
            said(DOCUMENT | {"issuer": ISSUER + "/"}),
            RequestRejected,
            "issuer_mismatch",
            f"names another issuer, {ISSUER}/; set issuer to exactly that",
        ),
        (said({"issuer": ISSUER}), RequestRejected, "no_token_endpoint", "set token_url"),
        (said({}, 503), EndpointUnavailable, "http_503", "cannot answer now"),
        (said({}, 302, location="https://evil.example/"), RequestRejected, "no_metadata", "302"),
    ],
)
def test_what_is_no_metadata(
    answered: TokenResponse, kind: type[ExchangeError], code: str, words: str
) -> None:
    """A wrong document is refused with place and cure; a fault that passes is told as one."""
    with pytest.raises(kind) as caught:
        metadata_of(ISSUER, PLACE, answered)
    assert caught.value.code == code
    assert words in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "http://as.example/token",
        "ftp://as.example/token",
        "https:///token",
        "https://as.example:x/token",
        "https://as.example/to ken",
        "https://as.example/t\u00f6ken",
        "https://as.example/token#part",
        7,
        None,
    ],
)
@pytest.mark.parametrize("where", ["top", "alias"])
def test_an_endpoint_that_must_not_be_used(url: object, where: str) -> None:
    """A document can't send the client secret over a plain connection, or nowhere."""
    top: dict[str, Any] = {"token_endpoint": url}
    alias: dict[str, Any] = {"mtls_endpoint_aliases": top}
    with pytest.raises(RequestRejected) as caught:
        metadata_of(ISSUER, PLACE, said(DOCUMENT | (top if where == "top" else alias)))
    assert caught.value.code == "no_token_endpoint"


def test_without_tls_only_an_issuer_without_tls() -> None:
    """An issuer on this machine may name an endpoint on this machine."""
    issuer = "http://127.0.0.1:1"
    document = {"issuer": issuer, "token_endpoint": f"{issuer}/token"}
    assert metadata_of(issuer, PLACE, said(document)).token_url == f"{issuer}/token"


# Asking for it


def published_by(server: TokenServer, path: str = "", **more: object) -> bytes:
    """Make the answer that holds the server's own metadata."""
    issuer = f"http://127.0.0.1:{server.port}{path}"
    return answer(200, {"issuer": issuer, "token_endpoint": f"{issuer}/token"} | more)


def discovery(server: TokenServer, clock: Hands, path: str = "", limit_s: float = 5.0) -> Discovery:
    """Return the discovery of the server."""
    return Discovery(f"http://127.0.0.1:{server.port}{path}", Transport(limit_s), clock)


def test_the_places_are_tried_in_order() -> None:
    """The second is asked where the first has nothing; no credentials are sent to either."""
    with TokenServer() as server:
        server.add(answer(404), published_by(server, "/one"))
        found = discovery(server, Hands(), "/one").metadata()
        assert found.place == f"http://127.0.0.1:{server.port}/one/.well-known/openid-configuration"
    assert [(seen.method, seen.path) for seen in server.requests] == [
        ("GET", "/.well-known/oauth-authorization-server/one"),
        ("GET", "/one/.well-known/openid-configuration"),
    ]
    assert {"authorization"} & {name for seen in server.requests for name in seen.headers} == set()


@pytest.mark.parametrize(
    ("script", "code", "asked"),
    [
        ((answer(404), answer(404)), "no_metadata", 2),
        ((answer(404), answer(200, {"issuer": "other"})), "issuer_mismatch", 2),
        ((answer(200, {"issuer": "other"}), answer(404)), "issuer_mismatch", 2),
        ((answer(503),), "http_503", 1),
        ((answer(429),), "http_429", 1),
    ],
)
def test_the_most_telling_failure_is_told(script: tuple[bytes, ...], code: str, asked: int) -> None:
    """A 404 of one place doesn't hide what is wrong at the other; an outage ends the search."""
    with TokenServer(*script) as server, pytest.raises(ExchangeError) as caught:
        discovery(server, Hands()).metadata()
    assert (caught.value.code, len(server.requests)) == (code, asked)
    assert not caught.value.sent


def test_a_certificate_that_cannot_be_shown_is_told() -> None:
    """It is missed as soon as the issuer is asked, each time, and nothing has been sent."""
    transport = Transport(1.0, certificate=("/nowhere/c.pem", "/nowhere/k.pem"))
    asking = Discovery("https://127.0.0.1:9", transport, Hands())
    for _ in range(2):
        with pytest.raises(SecretUnavailable) as caught:
            asking.metadata()
        assert (caught.value.code, caught.value.sent) == ("certificate_unusable", False)
        assert "/nowhere/c.pem cannot be read (No such file or directory)" in caught.value.message


@pytest.mark.fault("discovery-down")
def test_the_last_good_document_counts_while_the_server_is_down() -> None:
    """Metadata is kept for an hour, and longer while asking for it fails."""
    clock = Hands()
    with TokenServer() as server:
        known = discovery(server, clock)
        server.add(
            published_by(server), answer(503), published_by(server, grant_types_supported=["x"])
        )
        first = known.metadata()
        counts = []
        for clock.seconds in (MAX_AGE_S - 1, MAX_AGE_S, MAX_AGE_S + KEPT_S - 1, MAX_AGE_S + KEPT_S):
            counts.append((known.metadata() == first, len(server.requests)))
    assert counts == [(True, 1), (True, 2), (True, 2), (False, 3)]


def test_many_tokens_of_a_dead_issuer_ask_once_in_five_seconds() -> None:
    """Each gets the failure in an exception of its own."""
    clock = Hands()
    with TokenServer(answer(503)) as server:
        known = discovery(server, clock)
        failures = []
        for clock.seconds in (0.0, AGAIN_S - 0.1, AGAIN_S):
            with pytest.raises(EndpointUnavailable) as caught:
                known.metadata()
            failures.append(caught.value)
    assert len(server.requests) == 2
    assert len({id(failure) for failure in failures}) == 3
    assert {failure.code for failure in failures} == {"http_503"}


def test_a_server_that_hangs() -> None:
    """Asking has the deadline of an exchange."""
    with TokenServer(stall()) as server, pytest.raises(EndpointUnavailable) as caught:
        discovery(server, Hands(), limit_s=0.2).metadata()
    assert caught.value.code == "timeout"


def test_threads_share_one_question() -> None:
    """A hundred tokens that start together ask their issuer once."""
    with TokenServer() as server:
        server.add(published_by(server))
        known, found = discovery(server, Hands()), []
        threads = [
            threading.Thread(target=lambda: found.append(known.metadata())) for _ in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (len(found), len(set(found)), len(server.requests)) == (10, 1, 1)


# Tokens of an issuer


def test_a_refusal_makes_the_metadata_doubtful() -> None:
    """When the endpoint has moved, the next attempt goes to the new one; an outage asks nothing."""
    shared = tools(Hands())
    with TokenServer() as server:
        issuer = f"http://127.0.0.1:{server.port}"
        server.add(
            published_by(server),
            answer(503, {}),
            answer(404, {}),
            published_by(server, token_endpoint=f"{issuer}/new"),
            token_answer("tok-1"),
            token_answer("tok-2"),
        )
        source = ClientSource(settings(issuer=issuer), shared)
        assert source.changed() is False
        for kind in (EndpointUnavailable, RequestRejected):
            with pytest.raises(kind):
                source.fetch()
        found = [source.fetch().access_token.reveal() for _ in "12"]
    assert found == ["tok-1", "tok-2"]
    place = "/.well-known/oauth-authorization-server"
    paths = [place, "/token", "/token", place, "/new", "/new"]
    assert [seen.path for seen in server.requests] == paths


def test_only_what_is_known_can_be_doubted() -> None:
    """A refusal that took long doesn't make newer metadata doubtful."""
    with TokenServer() as server:
        server.add(published_by(server))
        known = discovery(server, Hands())
        old = replace(known.metadata())
        known.doubt(old)
        known.metadata()
    assert len(server.requests) == 1


# From settings


def settings(**more: object) -> TokenSettings:
    """Make the settings of a token, as they come out of a file; None leaves a key out."""
    table = {
        "client_id": "id",
        "client_secret": {"env": "SECRET"},
        "sinks": [{"type": "file", "path": "one.json"}],
        "proxy": "",
    }
    given = {key: value for key, value in (table | more).items() if value is not None}
    (token,) = tokens_of({"tokens": {"one": given}}).values()
    return token


def tools(clock: Hands) -> Tools:
    """Make tools with the secret in a variable."""
    return Tools({"SECRET": "s3cret"}, "host", clock)


@pytest.mark.parametrize(
    ("more", "offered", "method"),
    [
        ({}, ("client_secret_basic", "client_secret_post"), "client_secret_post"),
        ({}, ("client_secret_basic",), "client_secret_basic"),
        ({}, ("client_secret_jwt", "private_key_jwt"), "client_secret_jwt"),
        ({}, ("private_key_jwt",), "client_secret_basic"),
        ({"auth_method": "client_secret_basic"}, ("client_secret_post",), "client_secret_basic"),
        ({"discover_auth_method": False}, ("client_secret_post",), "client_secret_basic"),
        (
            {"auth_method": "client_secret_basic", "discover_auth_method": True},
            ("client_secret_post",),
            "client_secret_post",
        ),
        (
            {"client_secret": None, "private_key": {"file": "key.pem"}},
            ("client_secret_post",),
            "private_key_jwt",
        ),
        (
            {"client_secret": None, "client_assertion": {"file": "jwt"}},
            ("private_key_jwt",),
            "client_assertion",
        ),
        (
            {"client_secret": None, "certificate_file": "c.pem", "key_file": "k.pem"},
            ("self_signed_tls_client_auth",),
            "self_signed_tls_client_auth",
        ),
        (
            {"client_secret": None, "certificate_file": "c.pem", "key_file": "k.pem"},
            ("self_signed_tls_client_auth", "tls_client_auth"),
            "tls_client_auth",
        ),
    ],
)
def test_the_method_is_chosen(more: dict[str, Any], offered: tuple[str, ...], method: str) -> None:
    """What the server takes decides among what the client has; what the operator says, wins."""
    token = settings(issuer=ISSUER, **more)
    metadata = Metadata(ISSUER, "https://as.example/token", "", offered)
    assert settled(token, metadata)[0].auth_method == method


def test_who_shows_a_certificate_has_an_endpoint_of_his_own() -> None:
    """The mTLS alias is for him, and for nobody else (RFC 8705 section 5)."""
    metadata = Metadata(ISSUER, "https://as.example/token", "https://mtls.as.example/token")
    plain = settings(issuer=ISSUER)
    certified = settings(issuer=ISSUER, certificate_file="c.pem", key_file="k.pem")
    assert settled(plain, metadata)[1] == TokenEndpoint("https://as.example/token", ISSUER)
    own = TokenEndpoint("https://mtls.as.example/token", ISSUER)
    assert settled(certified, metadata)[1] == own


def test_a_token_of_an_issuer() -> None:
    """The endpoint is found, the method chosen, and the token fetched; asking once is enough."""
    clock = Hands()
    with TokenServer() as server:
        issuer = f"http://127.0.0.1:{server.port}"
        both = ["client_secret_basic", "client_secret_post"]
        server.add(
            published_by(server, token_endpoint_auth_methods_supported=both),
            token_answer("tok-1"),
            token_answer("tok-2"),
        )
        shared = tools(clock)
        first = ClientSource(settings(issuer=issuer), shared)
        second = ClientSource(settings(issuer=issuer, scope=["a"]), shared)
        found = [source.fetch().access_token.reveal() for source in (first, second)]
    assert found == ["tok-1", "tok-2"]
    assert [(seen.method, seen.path) for seen in server.requests] == [
        ("GET", "/.well-known/oauth-authorization-server"),
        ("POST", "/token"),
        ("POST", "/token"),
    ]
    assert server.requests[1].form == {
        "grant_type": "client_credentials",
        "client_id": "id",
        "client_secret": "s3cret",
    }


def test_the_exchange_itself() -> None:
    """Who wants the answer too has the metadata asked for at once."""
    with TokenServer() as server:
        issuer = f"http://127.0.0.1:{server.port}"
        server.add(published_by(server), token_answer("tok-1"))
        settled, exchange = exchange_of(settings(issuer=issuer), tools(Hands()))
        assert settled.auth_method == "client_secret_basic"
        assert exchange.request.url == f"{issuer}/token"
        assert exchange.fetch().access_token.reveal() == "tok-1"


def test_without_an_issuer_nobody_is_asked() -> None:
    """A token_url beside the issuer is used as it is; the issuer is the audience then."""
    token = settings(issuer=ISSUER, token_url="https://as.example/token")
    shared = tools(Hands())
    assert shared.discovery(token) is None
    assert exchange_of(token, shared)[0] is token
    assert exchange_of(token, shared)[1].request.url == "https://as.example/token"
    assert (token.auth_method, token.discover_auth_method) == ("client_secret_basic", False)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"issuer": "as.example"}, "issuer: must be a URL"),
        ({"issuer": "http://as.example"}, "issuer: sends the secret without TLS"),
        ({"issuer": "https://as.example?a"}, "issuer: must not have a query"),
        ({"issuer": "https://as.example#a"}, "issuer: must not have a fragment"),
        (
            {"token_url": "https://as.example/token", "discover_auth_method": True},
            "discover_auth_method: goes with issuer, and without token_url",
        ),
        (
            {
                "issuer": ISSUER,
                "token_url": "https://as.example/token",
                "discover_auth_method": True,
            },
            "discover_auth_method: goes with issuer, and without token_url",
        ),
    ],
)
def test_settings_that_are_wrong(more: dict[str, Any], problem: str) -> None:
    """Each is refused with its key and its cure."""
    with pytest.raises(ConfigError) as caught:
        settings(**more)
    assert [line for line in caught.value.problems if f"tokens.one.{problem}" in line] != []


def test_the_key_of_a_token_is_its_issuer() -> None:
    """A stored token is adopted without asking anybody, and not under another issuer."""
    first, second = settings(issuer=ISSUER), settings(issuer=f"{ISSUER}/two")
    assert key_of(first) == key_of(settings(issuer=ISSUER))
    assert key_of(first) != key_of(second)
