"""One HTTP request in every layout that token endpoints take."""

import json
import re
import secrets
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from fakes import FakeClock
from hypothesis import given
from hypothesis import strategies as st
from token_server import Step, TokenServer, answer, cut, reset

from job.core.errors import ExchangeError
from job.core.secret import Secret
from job.credentials.watched import WatchedSecret
from job.http.transport import Transport
from job.oauth.client_auth import ClientSecretBasic, ClientSecretPost
from job.oauth.exchange import ClientCredentials
from job.oauth.request import RequestFormat, TokenRequest, get_request, prepared, with_params
from job.oauth.token_response import ResponseRules

URL = "https://as.example/token"
PLAIN = "s3cret"
FORM = "application/x-www-form-urlencoded"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
PARAMS = (("grant_type", "g"), ("scope", ""), ("resource", "urn:b"), ("resource", "urn:a"))


def plain(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Add no credentials."""
    return request


def post(secret: str = PLAIN, **names: str) -> ClientSecretPost:
    """Make credentials that are parameters."""
    return ClientSecretPost("id", lambda: Secret(secret), **names)


def params_of(request: requests.PreparedRequest) -> list[tuple[str, Any]]:
    """Return the parameters of a request, wherever it has them."""
    query = parse_qsl(urlsplit(str(request.url)).query, keep_blank_values=True)
    if request.headers.get("Content-Type") == "application/json":
        assert query == []
        return list(json.loads(str(request.body)).items())
    return query or parse_qsl(str(request.body or ""), keep_blank_values=True)


def test_a_form_is_the_usual_layout() -> None:
    """The body is a form in the order of the parameters; what is empty is left out."""
    request = prepared(TokenRequest(URL, PARAMS), post())
    assert request.body == (
        "grant_type=g&resource=urn%3Ab&resource=urn%3Aa&client_id=id&client_secret=s3cret"
    )
    assert (request.method, request.url) == ("POST", URL)
    assert request.headers["Content-Type"] == FORM
    assert request.headers["Content-Length"] == str(len(request.body))


def test_a_json_object_holds_everything() -> None:
    """Credentials stand beside the other parameters, and one that repeats is a list."""
    request = prepared(TokenRequest(URL, (*PARAMS, ("resource", "c")), layout="json"), post())
    assert json.loads(str(request.body)) == {
        "grant_type": "g",
        "resource": ["urn:b", "urn:a", "c"],
        "client_id": "id",
        "client_secret": "s3cret",
    }
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Content-Length"] == str(len(str(request.body)))


@pytest.mark.parametrize(("method", "length"), [("POST", "0"), ("GET", None)])
def test_a_query_has_no_body(method: Any, length: str | None) -> None:  # noqa: ANN401  # one of two texts
    """Everything is in the URL, after what is there already, and the length of nothing is told."""
    asked = TokenRequest(f"{URL}?v=1", PARAMS, method=method, layout="query")
    request = prepared(asked, post())
    assert request.url == (
        f"{URL}?v=1&grant_type=g&resource=urn%3Ab&resource=urn%3Aa&client_id=id&client_secret=s3cret"
    )
    assert (request.method, request.body) == (method, None)
    assert request.headers.get("Content-Length") == length
    assert "Content-Type" not in request.headers


@pytest.mark.parametrize(
    ("layout", "body", "length"), [("form", None, "0"), ("json", "{}", "2"), ("query", None, "0")]
)
def test_a_request_may_have_no_parameters(
    layout: RequestFormat, body: str | None, length: str
) -> None:
    """A header alone may be all that a server wants."""
    auth = ClientSecretBasic("id", lambda: Secret("s3cret"), scheme="ID")
    request = prepared(TokenRequest(URL, (), layout=layout), auth)
    assert (request.url, request.body) == (URL, body)
    assert request.headers["Content-Length"] == length
    assert request.headers["Authorization"] == "ID aWQ6czNjcmV0"


@pytest.mark.parametrize("layout", ["form", "json", "query"])
@given(name=TEXT, value=TEXT, secret=TEXT)
@pytest.mark.slow
def test_every_layout_can_be_undone(
    layout: RequestFormat, name: str, value: str, secret: str
) -> None:
    """A server gets back any parameter and any secret, from every layout."""
    asked = TokenRequest(URL, ((f"x{name}", value),), layout=layout)
    sent = params_of(prepared(asked, post(secret)))
    assert sent == [(f"x{name}", value), ("client_id", "id"), ("client_secret", secret)]


def test_credentials_have_the_names_that_the_server_wants() -> None:
    """Their parameters can be called anything, and the id can be left out."""
    request = prepared(TokenRequest(URL, ()), post(id_param="appid", secret_param="secret"))
    assert request.body == "appid=id&secret=s3cret"
    assert prepared(TokenRequest(URL, ()), post(id_param="")).body == "client_secret=s3cret"


def test_a_request_of_others_has_a_form() -> None:
    """Credentials never go into the URL of a request that wasn't made for that."""
    theirs = requests.Request("POST", URL, data={"a": "b"}).prepare()
    theirs.body = b"a=b"
    assert with_params(theirs, [("client_secret", "s3cret")]).body == "a=b&client_secret=s3cret"
    empty = requests.Request("POST", URL).prepare()
    assert (post()(empty).url, empty.body) == (URL, "client_id=id&client_secret=s3cret")


def test_each_request_has_a_uuid_of_its_own() -> None:
    """All marks of one request are the same UUID, and the next request has another."""
    headers = {"X-Id": "{uuid}", "X-Trace": "a-{uuid}-{uuid}", "X-Plain": "{id}"}
    asked = TokenRequest(URL, (), headers)
    first, second = (prepared(asked, plain).headers for _ in range(2))
    assert UUID4.fullmatch(first["X-Id"])
    assert first["X-Trace"] == f"a-{first['X-Id']}-{first['X-Id']}"
    assert first["X-Plain"] == "{id}"
    assert first["X-Id"] != second["X-Id"]


def test_a_plain_get() -> None:
    """Metadata are asked for without a body and without credentials."""
    request = get_request("https://as.example/.well-known/x")
    assert (request.method, request.body) == ("GET", None)
    assert {"Authorization", "Content-Type", "Content-Length"} & set(request.headers) == set()


def test_a_request_shows_no_parameter_and_no_header() -> None:
    """Either may hold a secret of its own, such as a password of an application."""
    asked = TokenRequest(URL, (("password", "s3cret"),), {"X-Key": "k3y"})
    assert [word for word in ("s3cret", "k3y") if word in repr(asked)] == []


SECRET = secrets.token_urlsafe()


def garbled(text: str) -> Step:
    """Make an answer that quotes a text in its body and in a redirect."""
    return answer(302, text, {"Location": f"/elsewhere?x={text}"})


@pytest.mark.fault("secret-in-url")
@pytest.mark.parametrize(
    "step",
    [
        reset,
        b"",
        b"\x00garbage\r\n\r\n",
        cut(answer(200, "x"), -1),
        answer(500, f"GET /token?client_secret={SECRET} failed"),
        answer(400, {"error": "invalid_request", "error_description": f"/t?secret={SECRET}&a=b"}),
        answer(200, {"errcode": 1, "errmsg": f"/t?secret={SECRET}"}),
        garbled(SECRET),
        answer(301, b"", {"Location": f"https://as.test/{SECRET}"}),
    ],
)
def test_a_url_with_a_secret_reaches_no_error(step: Step) -> None:
    """With a query the URL is a secret: no failure of any kind tells more of it than the host."""
    with TokenServer(step) as server:
        error = failure(server.url)
    assert SECRET not in f"{error!r} {error} {error.args} {vars(error)}"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/token", "http://[::1", "http://\x00/", "nothing", "http://as.invalid./t"],
)
def test_a_url_that_cannot_be_used_reaches_no_error(url: str) -> None:
    """A refused connection, a name without an address and no URL at all tell the host alone."""
    error = failure(url)
    assert SECRET not in f"{error!r} {error} {error.args} {vars(error)}"
    assert (error.__cause__, error.__context__) == (None, None)


def failure(url: str) -> ExchangeError:
    """Return the error of an exchange whose credentials are in the URL."""
    secret = WatchedSecret(Fixed())
    source = ClientCredentials(
        TokenRequest(url, (("grant_type", "client_credential"),), method="GET", layout="query"),
        ClientSecretPost("id", secret.resolve),
        secret,
        Transport(10.0),
        ResponseRules(),
        FakeClock(),
    )
    with pytest.raises(ExchangeError) as caught:
        source.fetch()
    return caught.value


class Fixed:
    """A source that always gives the same secret."""

    def resolve(self) -> Secret:
        return Secret(SECRET)
