import base64
import secrets
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests import PreparedRequest, Request
from requests.auth import AuthBase

from job.errors import SecretUnavailable
from job.oauth.client_auth import ClientSecretBasic, ClientSecretPost
from job.secret import Secret

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
def test_post_can_be_undone(client_id: str, secret: str) -> None:
    """A server gets back any id and any secret from a body without other parameters."""
    body = prepared(ClientSecretPost(client_id, fixed(secret)), None).body
    assert parse_qs(str(body)) == {"client_id": [client_id], "client_secret": [secret]}


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
