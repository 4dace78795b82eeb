"""The expiry of a token whose answer doesn't tell it (RFC 7662)."""

import json
from typing import Any

import pytest
from fakes import START, FakeClock, token
from token_server import Step, TokenServer, answer, refusal, reset
from token_server import token as token_answer

from job.core.errors import EndpointUnavailable, ExchangeError, RequestRejected, ResponseInvalid
from job.core.secret import Secret
from job.core.tokens import Token
from job.credentials.watched import WatchedSecret
from job.http.transport import Transport
from job.oauth.client_auth import ClientSecretBasic, ClientSecretPost
from job.oauth.exchange import ClientCredentials
from job.oauth.expiry import introspected
from job.oauth.request import TokenRequest
from job.oauth.token_response import ResponseRules, TokenResponse

GRANT = ("grant_type", "client_credentials")
NO_LIFE = answer(200, {"access_token": "tok-1", "token_type": "Bearer", "issued_at": "1764"})
DATE = "Mon, 24 Nov 2025 16:00:00 GMT"


def told(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Token:  # noqa: ANN401  # any JSON
    """Return the token with what an answer tells, which came two seconds after the token."""
    given = TokenResponse(status, headers or {}, json.dumps(body).encode(), START + 2.5)
    return introspected(token(life=900, expiry_source="default"), given)


@pytest.mark.parametrize("exp", [START + 3600, str(START + 3600), float(START + 3600)])
def test_the_expiry_is_the_servers(exp: object) -> None:
    """`exp` is the moment of expiry, whatever form the number has."""
    expected = token(life=3600, expiry_source="introspection")
    assert told({"active": True, "exp": exp}) == expected


def test_it_is_measured_by_the_servers_clock() -> None:
    """A server that is 100 seconds behind means a life that ends 100 seconds later for us."""
    headers = {"date": "Mon, 24 Nov 2025 15:58:20 GMT"}
    assert told({"active": True, "exp": START + 3600}, headers=headers).expires_at == START + 3702


@pytest.mark.parametrize(
    "body",
    [
        {"active": True},
        {"active": True, "exp": None},
        {"active": True, "exp": 3600},
        {"active": False},
        {"active": False, "exp": START + 3600},
        {"exp": START + 3600},
        {"active": "true", "exp": START + 3600},
        [],
        "tok",
    ],
)
def test_what_tells_no_expiry(body: object) -> None:
    """An inactive token, or none of the RFC's members, is one code with its cure."""
    with pytest.raises(ResponseInvalid, match="check introspection_url") as caught:
        told(body)
    assert (caught.value.code, caught.value.http_status) == ("no_expiry", 200)


def test_an_expiry_that_is_over_is_none() -> None:
    """A server whose `exp` has passed contradicts itself."""
    with pytest.raises(ResponseInvalid) as caught:
        told({"active": True, "exp": START - 5})
    assert caught.value.code == "already_expired"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"error": "invalid_client"}, RequestRejected),
        (503, {}, EndpointUnavailable),
        (404, {}, RequestRejected),
    ],
)
def test_a_refusal_is_told_as_any_other(
    status: int, body: dict[str, Any], kind: type[ExchangeError]
) -> None:
    """The endpoint's errors have the classes of the token endpoint's."""
    with pytest.raises(kind):
        told(body, status)


# In an exchange


class Fixed:
    """A source that always gives the same secret."""

    def resolve(self) -> Secret:
        return Secret("s3cret")


def exchange(
    server: TokenServer,
    method: type[ClientSecretBasic | ClientSecretPost] = ClientSecretBasic,
    url: str | None = None,
    rules: ResponseRules | None = None,
) -> ClientCredentials:
    """Make a source of tokens that may ask for their expiry."""
    secret = WatchedSecret(Fixed())
    return ClientCredentials(
        TokenRequest(server.url, (GRANT,), {"X-Market": "vn"}),
        method("id", secret.resolve),
        secret,
        Transport(10.0),
        rules or ResponseRules(),
        FakeClock(START),
        server.url if url is None else url,
    )


def test_a_life_that_is_not_told_is_asked_for() -> None:
    """One more request, authenticated as the first one, tells the life."""
    active = answer(200, {"active": True, "exp": START + 7200})
    with TokenServer(NO_LIFE, active) as server:
        got = exchange(server, ClientSecretPost).fetch()
        _, seen = server.requests
    assert (got.lifetime, got.expiry_source, got.note) == (7200, "introspection", "")
    assert seen.form == {
        "token": "tok-1",
        "token_type_hint": "access_token",
        "client_id": "id",
        "client_secret": "s3cret",
    }
    assert (seen.method, seen.headers["x-market"]) == ("POST", "vn")


@pytest.mark.parametrize(
    ("first", "url", "rules"),
    [
        (token_answer("tok-1", 60), None, None),
        (NO_LIFE, "", None),
        (NO_LIFE, None, ResponseRules(lifetime=60)),
    ],
    ids=["told", "not configured", "configured life"],
)
def test_nothing_is_asked_without_need(
    first: Step, url: str | None, rules: ResponseRules | None
) -> None:
    """A life that is known costs no second request."""
    with TokenServer(first) as server:
        exchange(server, url=url, rules=rules).fetch()
        assert len(server.requests) == 1


@pytest.mark.fault("introspection-down")
@pytest.mark.parametrize(
    ("step", "words"),
    [
        (answer(200, {"active": False}), "introspection does not tell when the token expires"),
        (refusal(401, "invalid_client"), "[invalid_client]"),
        (answer(500, "tok-1 s3cret"), "[http_500]"),
        (answer(400, {"error": "x", "error_description": "tok-1 of s3cret"}), "*** of ***"),
        (reset, "[connection_failed]"),
    ],
    ids=["inactive", "refused", "broken", "echo", "reset"],
)
def test_a_token_is_never_lost_by_it(step: Step, words: str) -> None:
    """Whatever goes wrong, the token is there with default_lifetime, and a note says why."""
    rules = ResponseRules(scope="a", default_lifetime=600)
    narrowed = answer(200, {"access_token": "tok-1", "scope": "b"})
    with TokenServer(narrowed, step) as server:
        got = exchange(server, rules=rules).fetch()
    assert got == token(life=600, expiry_source="default", scope="b")
    assert got.note.startswith(
        "the server granted a narrower scope, without a; default_lifetime counts, for the expiry "
        "is not known: "
    )
    assert words in got.note
    assert [word for word in ("tok-1", "s3cret") if word in got.note] == []
