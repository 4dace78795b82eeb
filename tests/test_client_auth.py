import base64
import json
import secrets
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from urllib.parse import parse_qs, parse_qsl, quote_plus, unquote_plus, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import example
from requests import PreparedRequest, Request
from requests.auth import AuthBase

from job.core.errors import SecretUnavailable
from job.core.secret import Secret
from job.oauth import client_auth
from job.oauth.client_auth import (
    AssertionGrant,
    BearerAssertion,
    ClientAssertion,
    ClientIdOnly,
    ClientSecretBasic,
    ClientSecretPost,
)
from job.oauth.request import RequestFormat, TokenRequest
from job.oauth.request import prepared as ready

FORM = [("grant_type", "client_credentials"), ("scope", "a b")]
ENCODED = "grant_type=client_credentials&scope=a+b"
TEXT = st.text(st.characters(codec="utf-8"), min_size=1)


def prepared(auth: AuthBase, data: object = FORM) -> PreparedRequest:
    """Make a request that the method has signed."""
    return Request("POST", "https://as.test/token", data=data, auth=auth).prepare()


def fixed(value: str) -> Callable[[], Secret]:
    """Make a source that always gives this secret."""
    return lambda: Secret(value)


def credentials(request: PreparedRequest) -> str:
    """Return what the Basic header holds."""
    scheme, _, encoded = str(request.headers["Authorization"]).partition(" ")
    assert scheme == "Basic"
    return base64.b64decode(encoded, validate=True).decode()


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("form", "my+%C3%ADd%3A:p%2Bq%25%26%3D%2F+%F0%9F%94%91"), ("raw", "my íd::p+q%&=/ 🔑")],
)
def test_basic_encodes_as_told(encoding: str, expected: str) -> None:
    """`form` encodes id and secret each before joining them, `raw` sends their UTF-8 bytes."""
    auth = ClientSecretBasic("my íd:", fixed("p+q%&=/ 🔑"), encoding)  # type: ignore[arg-type]
    assert credentials(prepared(auth)) == expected


@given(client_id=TEXT, secret=TEXT)
@pytest.mark.slow
def test_basic_form_can_be_undone(client_id: str, secret: str) -> None:
    """A server that decodes as RFC 6749 section 2.3.1 says gets back any id and any secret."""
    got = credentials(prepared(ClientSecretBasic(client_id, fixed(secret))))
    assert [unquote_plus(part) for part in got.split(":")] == [client_id, secret]


def test_plain_secrets_are_the_same_in_both_encodings() -> None:
    """An id of digits and a base64url secret give one header, whatever the server expects."""
    secret = secrets.token_urlsafe()
    form, raw = (ClientSecretBasic("7590139168389961", fixed(secret), e) for e in ("form", "raw"))
    assert credentials(prepared(form)) == credentials(prepared(raw))


def test_basic_leaves_the_body_alone() -> None:
    """No secret is in the body: a request has one authentication (RFC 6749 section 2.3)."""
    request = prepared(ClientSecretBasic("id", fixed("s3cret")))
    assert (request.body, request.headers["Content-Length"]) == (ENCODED, str(len(ENCODED)))


@pytest.mark.parametrize("data", [FORM, ENCODED, ENCODED.encode()])
def test_post_appends_the_credentials(data: object) -> None:
    """Id and secret follow the form, encoded, with a true Content-Length and no Authorization."""
    request = prepared(ClientSecretPost("my íd", fixed("p+q%&=/ 🔑")), data)
    expected = f"{ENCODED}&client_id=my+%C3%ADd&client_secret=p%2Bq%25%26%3D%2F+%F0%9F%94%91"
    assert (request.body, request.headers["Content-Length"]) == (expected, str(len(expected)))
    assert "Authorization" not in request.headers


def test_post_fixes_the_length_by_itself() -> None:
    """Called on a request that is finished already, the method leaves no wrong length behind."""
    request = prepared(ClientSecretBasic("id", fixed("x")))
    signed = ClientSecretPost("id", fixed("s3cret"))(request)
    assert signed.headers["Content-Length"] == str(len(signed.body or ""))


@given(client_id=TEXT, secret=TEXT)
@pytest.mark.slow
def test_post_can_be_undone(client_id: str, secret: str) -> None:
    """A server gets back any id and any secret from a body without other parameters."""
    body = prepared(ClientSecretPost(client_id, fixed(secret)), None).body
    assert parse_qs(str(body)) == {"client_id": [client_id], "client_secret": [secret]}


ASSERTION = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJpZCJ9.c2lnbmF0dXJl"
URN = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def test_an_assertion_authenticates_the_client() -> None:
    """The three parameters of RFC 7521 section 4.2 follow the form; there is no other proof."""
    request = prepared(ClientAssertion("my id", fixed(ASSERTION), URN))
    assert parse_qsl(str(request.body)) == [
        *FORM,
        ("client_id", "my id"),
        ("client_assertion_type", URN),
        ("client_assertion", ASSERTION),
    ]
    assert "Authorization" not in request.headers


def test_an_assertion_may_be_all_that_names_the_client() -> None:
    """Where the platform's token tells who we are, no client id is sent (RFC 7521 section 4.2)."""
    request = prepared(ClientAssertion("", fixed(ASSERTION), URN))
    assert "client_id" not in dict(parse_qsl(str(request.body)))


def test_an_assertion_may_be_the_grant() -> None:
    """Google's and DocuSign's form (RFC 7523 section 2.1) has the assertion and no client."""
    request = prepared(AssertionGrant(fixed(ASSERTION)))
    assert parse_qsl(str(request.body)) == [*FORM, ("assertion", ASSERTION)]


def test_an_assertion_may_be_a_bearer() -> None:
    """GitHub takes an app's JWT in the Authorization header, and nothing in the body."""
    request = prepared(BearerAssertion(fixed(ASSERTION)))
    assert request.headers["Authorization"] == f"Bearer {ASSERTION}"
    assert request.body == ENCODED


def test_the_client_id_alone() -> None:
    """RFC 8705 section 2 wants the id in the body; what TLS will show is looked at first."""
    looked: list[str] = []
    request = prepared(ClientIdOnly("my id", lambda: looked.append("certificate")))
    assert parse_qsl(str(request.body)) == [*FORM, ("client_id", "my id")]
    assert (looked, "Authorization" in request.headers) == (["certificate"], False)


METHODS = {
    "post": ClientSecretPost("id", fixed("s3cret")),
    "assertion": ClientAssertion("id", fixed(ASSERTION), URN),
    "grant": AssertionGrant(fixed(ASSERTION)),
    "nothing": ClientIdOnly("id", fixed("")),
    "guide": example(2, vars(client_auth))["ClientSecretHeader"]("id", fixed("s3cret")),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_follows_the_layout_of_the_request(name: str) -> None:
    """Form, JSON and query take the same parameters, each where the request has its own."""
    found = []
    layouts: tuple[RequestFormat, ...] = ("form", "json", "query")
    for layout in layouts:
        asked = TokenRequest("https://as.test/token", tuple(FORM), layout=layout)
        request = ready(asked, METHODS[name])
        query = dict(parse_qsl(urlsplit(str(request.url)).query))
        body = str(request.body or "")
        members = json.loads(body) if layout == "json" else dict(parse_qsl(body))
        assert not (query and members)
        found.append(query or members)
    assert found[0] == found[1] == found[2]
    assert found[0].items() > dict(FORM).items()


@pytest.mark.parametrize("secret", ["s3cret", "a-b_c.d~e0F9", "p+q%&=/ ", "café"])
@pytest.mark.slow
def test_basic_is_what_others_make(secret: str) -> None:
    """With `raw` the header is that of authlib and requests_oauth2client, where they can.

    They never encode: by our facts that is wrong (RFC 6749 section 2.3.1), so `form` agrees with
    them only on what encoding leaves alone. Of other alphabets authlib makes Latin-1, we UTF-8.
    """
    import requests_oauth2client  # noqa: PLC0415  # 200 ms
    from authlib.oauth2.auth import encode_client_secret_basic  # noqa: PLC0415  # 60 ms

    raw = prepared(ClientSecretBasic("id", fixed(secret), "raw")).headers["Authorization"]
    form = prepared(ClientSecretBasic("id", fixed(secret))).headers["Authorization"]
    client = SimpleNamespace(client_id="id", client_secret=secret)
    _, headers, _ = encode_client_secret_basic(client, "POST", "https://as.test/token", {}, "")
    other = prepared(requests_oauth2client.ClientSecretBasic("id", secret)).headers["Authorization"]
    assert (raw == headers["Authorization"]) == secret.isascii()
    assert raw == other
    assert (raw == form) == (quote_plus(secret) == secret)


@pytest.mark.parametrize("secret", ["s3cret", "p+q%&=/ ", "café 🔑"])
@pytest.mark.slow
def test_post_is_what_others_make(secret: str) -> None:
    """The parameters are those of authlib and requests_oauth2client, for every secret."""
    import requests_oauth2client  # noqa: PLC0415  # 200 ms
    from authlib.oauth2.auth import encode_client_secret_post  # noqa: PLC0415  # 60 ms

    ours = parse_qs(str(prepared(ClientSecretPost("id", fixed(secret))).body))
    client = SimpleNamespace(client_id="id", client_secret=secret)
    _, _, body = encode_client_secret_post(client, "POST", "https://as.test/token", {}, ENCODED)
    other = prepared(requests_oauth2client.ClientSecretPost("id", secret))
    assert ours == parse_qs(body) == parse_qs(str(other.body))


@pytest.mark.parametrize("method", [ClientSecretBasic, ClientSecretPost])
def test_secret_is_asked_for_each_time(method: type) -> None:
    """A secret that was rotated between two requests is used by the second."""
    rotated: Iterator[Secret] = iter([Secret("before"), Secret("after")])
    auth = method("id", lambda: next(rotated))
    first, second = prepared(auth), prepared(auth)
    sent = [
        credentials(r) if "Authorization" in r.headers else str(r.body) for r in (first, second)
    ]
    assert ["before" in sent[0], "after" in sent[1], "before" in sent[1]] == [True, True, False]


@pytest.mark.parametrize("method", [ClientSecretBasic, ClientSecretPost])
def test_missing_secret_is_told(method: type) -> None:
    """What the source of the secret raises comes through as it is."""

    def fail() -> Secret:
        raise SecretUnavailable("client_secret_unavailable", "no client secret")

    with pytest.raises(SecretUnavailable):
        prepared(method("id", fail))
