import json
import math
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from fakes import START
from hypothesis import given, settings
from hypothesis import strategies as st

from job.core.errors import EndpointUnavailable, ExchangeError, RequestRejected, ResponseInvalid
from job.core.secret import Secret
from job.core.tokens import OutputFormat, Token, parse, record_of, render
from job.oauth.response import read_token
from job.oauth.token_response import ResponseRules, TokenResponse

RULES = ResponseRules()
GOOD = {"access_token": "tok-1", "token_type": "Bearer", "expires_in": 3600}


def answer(
    body: bytes | str | Mapping[str, Any] | list[Any] = GOOD,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    sent_at: float = START + 0.75,
    secrets: tuple[Secret, ...] = (),
) -> TokenResponse:
    """Make an answer; what isn't text becomes JSON."""
    if not isinstance(body, bytes | str):
        body = json.dumps(body)
    content = body.encode() if isinstance(body, str) else body
    return TokenResponse(status, headers or {}, content, sent_at, secrets)


def without(name: str) -> dict[str, Any]:
    """Make a good answer that lacks a member."""
    return {key: value for key, value in GOOD.items() if key != name}


def refused(given: TokenResponse, rules: ResponseRules = RULES) -> tuple[type, str, int | None]:
    """Return class, code and status of the refusal."""
    with pytest.raises(ExchangeError) as caught:
        read_token(given, rules)
    return type(caught.value), caught.value.code, caught.value.http_status


def outcome_of(given: TokenResponse, rules: ResponseRules) -> Token | ExchangeError:
    """Return the token or the refusal."""
    try:
        return read_token(given, rules)
    except ExchangeError as error:
        return error


def message_of(given: TokenResponse) -> str:
    """Return the refusal's text."""
    with pytest.raises(ExchangeError) as caught:
        read_token(given, RULES)
    return str(caught.value)


def test_a_good_answer_is_a_token() -> None:
    """Every field is taken, the clock readings round down, and a refresh token is ignored."""
    body = GOOD | {
        "scope": "a b",
        "refresh_in": "1800.5",
        "refresh_token": "r",
        "unknown": {"x": 1},
    }
    assert read_token(answer(body), ResponseRules(scope="a b c")) == Token(
        access_token=Secret("tok-1"),
        token_type="Bearer",
        scope="a b",
        requested_at=START,
        expires_at=START + 3600,
        expiry_source="expires_in",
        refresh_in=1800,
    )


@pytest.mark.parametrize("status", [200, 201, 203, 299])
def test_any_2xx_is_success(status: int) -> None:
    """Tokens also come with 201 Created."""
    assert read_token(answer(status=status), RULES).access_token == Secret("tok-1")


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),
        b"\r\n " + json.dumps(GOOD).encode() + b"\n",
        json.dumps(GOOD)[:-1].encode() + b', "note": "caf\xe9"}',
        json.dumps(GOOD)[:-1].encode() + b', "a": NaN, "b": -Infinity, "c": 1' + b"0" * 5000 + b"}",
        b'{"access_token": "old", ' + json.dumps(GOOD)[1:].encode(),
        b"access_token=tok-1&token_type=bearer&expires_in=3600",
        b"expires_in=3600&scope=&access_token=tok%2D1&token_type=bearer\n",
    ],
    ids=["bom", "white space", "latin-1", "numbers", "repeated", "form", "form, reordered"],
)
def test_bodies_of_all_kinds_are_read(body: bytes) -> None:
    """JSON as servers really write it, and form encoding whatever the Content-Type says."""
    given = answer(body, headers={"content-type": "text/plain"})
    assert read_token(given, RULES) == read_token(answer(GOOD), RULES)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"tok-1",
        b'"access_token=tok-1"',
        b'["access_token"]',
        b"null",
        b"<html><a href='/x?a=1&access_token=tok'>sign in</a></html>",
        b"<a&access_token=tok",
        b"x=1 &access_token=tok",
        b"access_token=a&" + b"x=1&" * 200 + b"access_token=b",
        b'{"access_token": "tok-1"',
        b'{"access_token": "tok-1", "x": ' + b"[" * 100_000,
        b"\x00\xff\xfe garbage",
    ],
)
def test_a_body_that_is_no_object_is_unreadable(body: bytes) -> None:
    """A page, a fragment or a bomb is never searched for something that looks like a token."""
    assert refused(answer(body)) == (ResponseInvalid, "unreadable_answer", 200)


@pytest.mark.parametrize("body", [{}, without("access_token"), GOOD | {"access_token": None}])
def test_no_token_is_refused(body: dict[str, Any]) -> None:
    """An object without a token has one code, whether the member is missing or null."""
    assert refused(answer(body)) == (ResponseInvalid, "no_access_token", 200)
    assert refused(answer(GOOD | {"access_token": ""})) == (ResponseInvalid, "no_access_token", 200)


@pytest.mark.parametrize(
    "value",
    ["a b", "a\nb", "a\r\nX: y", "tok\u00e9", "tok\ud800", "\x7f", 7, True, ["a"], {"a": 1}],
)
def test_a_token_that_no_header_can_carry_is_refused(value: object) -> None:
    """Nothing but visible ASCII is ever published: a newline would forge a header of a reader."""
    given = answer(GOOD | {"access_token": value})
    assert refused(given) == (ResponseInvalid, "illegal_access_token", 200)
    assert str(value) not in message_of(given)


def test_odd_but_legal_tokens_are_taken() -> None:
    """Real tokens use characters outside the Bearer set of RFC 6750."""
    value = "v^1.1#i^1!00D:~+/=|"
    assert read_token(answer(GOOD | {"access_token": value}), RULES).access_token == Secret(value)


@pytest.mark.parametrize(
    "value", ["bearer", "BEARER", "BearerToken", "Application Access Token", "", None]
)
def test_bearer_under_all_its_names(value: object) -> None:
    """The type is stored in one spelling, and a missing one means Bearer."""
    assert read_token(answer(GOOD | {"token_type": value}), RULES).token_type == "Bearer"
    assert read_token(answer(without("token_type")), RULES).token_type == "Bearer"


@pytest.mark.parametrize("value", ["DPoP", "mac", "N_A", 7, [["x"]]])
def test_other_types_are_refused(value: object) -> None:
    """Readers could not use a token of a type that is not Bearer (RFC 6749 section 7.1)."""
    given = answer(GOOD | {"token_type": value})
    assert refused(given) == (ResponseInvalid, "unsupported_token_type", 200)


def test_type_is_named() -> None:
    """The message names the type, so that the operator knows what to set or to switch off."""
    assert message_of(answer(GOOD | {"token_type": "Zoho\n"})) == (
        "the server's answer holds a token of type Zoho; if readers can send it, set token_type to "
        "what they put before it, such as Bearer [unsupported_token_type]"
    )
    assert message_of(answer(GOOD | {"token_type": "DPoP\n"})) == (
        "the server's answer holds a token of type DPoP, which works only with the key that it is "
        "bound to; have the provider switch DPoP off for this client [unsupported_token_type]"
    )


@pytest.mark.parametrize("value", ["Zoho", "N_A", "bearer", None, 7])
def test_a_configured_type_is_stored_whatever_the_answer_says(value: object) -> None:
    """The operator knows what readers put before the token."""
    rules = ResponseRules(token_type="OAuth")
    assert read_token(answer(GOOD | {"token_type": value}), rules).token_type == "OAuth"


@pytest.mark.parametrize("value", ["DPoP", "dpop "])
def test_a_bound_token_is_refused_whatever_is_configured(value: str) -> None:
    """No name makes a token that is bound to a key work without it (RFC 9449)."""
    given = answer(without("token_type") | {"tokenType": value})
    expected = (ResponseInvalid, "unsupported_token_type", 200)
    assert refused(given, ResponseRules(token_type="Bearer")) == expected


ENVELOPE = {"data": {"tokens": [{"value": "tok-1", "expiresIn": 60, "scope": "b"}]}, "scope": "a"}


def test_a_token_in_an_envelope() -> None:
    """Members beside the token are believed before those at the top, and no path is a surprise."""
    rules = ResponseRules(token_path="data.tokens.0.value", keep_extra=("value", "scope"))
    token = read_token(answer(ENVELOPE), rules)
    assert token.access_token == Secret("tok-1")
    assert (token.lifetime, token.scope, token.extra) == (60, "b", {"value": "tok-1", "scope": "b"})


@pytest.mark.parametrize(
    "path",
    [
        *("data.tokens.1.value", "data.tokens.x.value", "data.tokens.-1.value", "scope.value"),
        *("data.tokens." + "9" * 30 + ".value", "data.tokens.\u0660.value", "data.0.value"),
        *(".", "", "data..tokens"),
    ],
)
def test_a_path_that_leads_nowhere(path: str) -> None:
    """Whatever a path meets on its way, there is no token."""
    given = answer(ENVELOPE | {"access_token": "other"})
    assert refused(given, ResponseRules(token_path=path)) == (
        ResponseInvalid,
        "no_access_token",
        200,
    )


def test_a_member_may_have_a_point_in_its_name() -> None:
    """The whole name comes before the path that it could be."""
    body = {"a.b": "tok-1", "a": {"b": "tok-2"}}
    assert read_token(answer(body), ResponseRules(token_path="a.b")).access_token == Secret("tok-1")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"data": {"accessToken": "s3cret"}}, "holds no access_token, but data.accessToken; if"),
        ({"token": "s3cret"}, "holds no access_token, but token; if that is the token, set token_"),
        ({"a": {"b": {"jwt": "s3cret"}}}, "but a.b.jwt; if"),
        ({"a": {"b": {"c": {"d": {"e": {"token": "s3cret"}}}}}}, "holds no access_token; check"),
        ({"a b": {"token": "s3cret"}, "csrf_tokens": "x", "token": ""}, "holds no access_token; c"),
    ],
)
def test_a_token_at_another_place_is_pointed_at(body: dict[str, Any], told: str) -> None:
    """Who meets a provider with an envelope reads where the token seems to be."""
    message = message_of(answer(body))
    assert told in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<html><body>sign in</body></html>", "is a web page; check token_url"),
        ("<!doctype HTML>", "is a web page; check token_url"),
        (
            "<?xml version='1.0'?><t/>",
            'is XML; ask for JSON with headers = { Accept = "application',
        ),
        (
            "\n<OAuthTokenDTO/>",
            'is XML; ask for JSON with headers = { Accept = "application/json" }',
        ),
        ("tok", "is no JSON object; check token_url and request_format"),
    ],
)
def test_what_came_instead_of_json_is_told(body: str, told: str) -> None:
    """The message says what the answer is and what to set."""
    assert f"the server's answer {told}" in message_of(answer(body))


@pytest.mark.fault("narrower-scope")
@pytest.mark.parametrize(
    ("granted", "note"),
    [
        ("a", "the server granted a narrower scope, without b c"),
        (["c", "a"], "the server granted a narrower scope, without b"),
        ("c,b,a", ""),
        ("a b c d", ""),
        (None, ""),
    ],
)
def test_a_narrower_scope_is_noted(granted: object, note: str) -> None:
    """A token with less than was asked for is taken, and the operator is told (section 3.3)."""
    token = read_token(answer(GOOD | {"scope": granted}), ResponseRules(scope="a b c"))
    assert token.note == note


@pytest.mark.parametrize("value", [40001, "40001", -1])
def test_an_error_number_beside_a_token_is_an_error(value: object) -> None:
    """WeChat's errcode is an error like the RFC's own member; 0 is none."""
    assert refused(answer(GOOD | {"errcode": value}))[:2] == (RequestRejected, f"error_{value}")
    for fine in (0, "0", None, "ok"):
        assert read_token(answer(GOOD | {"errcode": fine}), RULES).lifetime == 3600


def test_an_object_alone_in_a_list_is_read() -> None:
    """Some servers put a list around everything."""
    assert read_token(answer([GOOD]), RULES) == read_token(answer(GOOD), RULES)
    assert refused(answer([GOOD, GOOD])) == (ResponseInvalid, "unreadable_answer", 200)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a b", "a b"),
        (["a", "b", 7], "a b"),
        (" a\tb\n\ud800", "a b"),
        ("", "asked"),
        (None, "asked"),
        (7, "asked"),
        ([], "asked"),
    ],
)
def test_scope_is_text_that_can_be_stored(value: object, expected: str) -> None:
    """Scope comes as text or list; without one the requested scope was granted (section 5.1)."""
    given = answer(GOOD | {"scope": value})
    assert read_token(given, ResponseRules(scope="asked")).scope == expected


@pytest.mark.parametrize("value", [0, -5, 0.5, "soon", None, True, 1e300, 4e8])
def test_refresh_hint_must_be_a_positive_number(value: object) -> None:
    """A hint that makes no sense is no hint."""
    assert read_token(answer(GOOD | {"refresh_in": value}), RULES).refresh_in is None


def test_extra_members_are_kept_when_named() -> None:
    """Only named members are kept, and of them only what every store can hold."""
    deep: Any = "x"
    for _ in range(9):
        deep = [deep]
    body = GOOD | {
        "instance_url": "https://x.test",
        "nested": {"a": [1, 2.5, None, True, "é"]},
        "unnamed": 1,
        "deep": deep,
        "deep_object": {"a": deep},
        "lone": "\ud800",
        "lone_key": {"\ud800": 1},
    }
    text = json.dumps(body)[:-1] + ', "huge": 1e999}'
    names = ("instance_url", "nested", "deep", "deep_object", "lone", "lone_key", "huge", "missing")
    token = read_token(answer(text), ResponseRules(keep_extra=names))
    assert token.extra == {key: body[key] for key in ("instance_url", "nested")}


@pytest.mark.parametrize("error", ["invalid_client", {"code": 1}, 40013, True])
def test_success_with_an_error_is_an_error(error: object) -> None:
    """HTTP 200 is not believed when the body names an error, not even with a token in it."""
    codes = {"invalid_client": "invalid_client", 40013: "error_40013"}
    code = codes.get(error, "refused") if isinstance(error, str | int) else "error_1"
    assert refused(answer(GOOD | {"error": error})) == (RequestRejected, code, 200)


@pytest.mark.parametrize("error", [None, "", 0, False, {}, []])
def test_an_empty_error_is_none(error: object) -> None:
    """Servers that always send the member send it empty when all is well."""
    assert read_token(answer(GOOD | {"error": error}), RULES).access_token == Secret("tok-1")


def test_nothing_secret_shows() -> None:
    """Neither the answer's nor the token's repr shows what must not be seen."""
    value = secrets.token_urlsafe()
    given = answer(GOOD | {"access_token": value}, secrets=(Secret(value),))
    assert value not in repr(given) + repr(read_token(given, RULES))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
LIVES = st.none() | st.integers(-1, 2**70) | st.floats() | st.text("0123456789.-+ e") | JSON
BODIES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.fixed_dictionaries(
        {},
        optional={
            "access_token": st.text("abc.!~ \né", max_size=8) | JSON,
            "token_type": st.sampled_from(["bearer", "Bearer", "mac"]) | JSON,
            "scope": JSON,
            "refresh_in": LIVES,
            "error": st.sampled_from(["invalid_client", "server_error", "Not good"]) | JSON,
            "errors": JSON,
            "response": JSON,
            "error_description": JSON,
            **dict.fromkeys(
                ("expires_in", "expires", "expires_at", "expires_on", "expire", "expiry_time"),
                LIVES,
            ),
        },
    ).map(lambda members: json.dumps(members).encode()),
)
DATES = st.datetimes().map(lambda moment: format_datetime(moment.replace(tzinfo=UTC)))
HEADERS = st.dictionaries(
    st.sampled_from(["date", "age", "retry-after", "location", "content-type"]),
    st.text(max_size=30) | DATES | st.integers().map(str),
)
ALL_RULES = st.builds(
    ResponseRules,
    scope=st.just("asked"),
    lifetime=st.none() | st.integers(1, 10**6),
    jwt_expiry=st.booleans(),
    token_path=st.sampled_from(["access_token", "response.errors.0", "errors.a", "response"]),
    expiry_path=st.sampled_from(["", "expires", "errors.0", "response.expires"]),
    unit_s=st.sampled_from([1.0, 0.001]),
    signed=st.booleans(),
    keep_extra=st.just(("scope", "errors", "expires_in", "response")),
)


@pytest.mark.fault("hostile-answer")
@settings(max_examples=200, deadline=2000)
@given(
    body=BODIES,
    status=st.integers(100, 999) | st.just(200),
    headers=HEADERS,
    sent_at=st.floats(0, 4e9),
    rules=ALL_RULES,
)
@pytest.mark.slow
def test_every_answer_is_a_token_or_a_refusal(
    body: bytes, status: int, headers: dict[str, str], sent_at: float, rules: ResponseRules
) -> None:
    """Whatever comes, it is a token that can be used and stored, or one of our errors."""
    given = TokenResponse(status, headers, body, sent_at, (Secret("abc"),))
    outcome = outcome_of(given, rules)
    if isinstance(outcome, Token):
        assert outcome.access_token.reveal().isascii()
        assert outcome.access_token.reveal().isprintable()
        assert 0 < outcome.lifetime <= 315_360_000
        assert outcome.requested_at == math.floor(sent_at)
        layout = OutputFormat("json", "name")
        text = render(record_of(outcome, "key"), layout).encode().decode()
        assert parse(text, layout) is not None
    else:
        assert isinstance(outcome, EndpointUnavailable | RequestRejected | ResponseInvalid)
        assert len(outcome.message) < 1000
        assert outcome.message.isprintable()
        assert outcome.retry_after is None or 0 <= outcome.retry_after < math.inf


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 2**20,
        b'{"a":' * 200_000,
        b"1" * 2**20,
        b'"' + b"\\ud800" * 170_000 + b'"',
        b"a=1&" * 2**18 + b"access_token=x",
        b"access_token=" + b"%" * 2**20,
        b'{"error": "x y", "message": "' + b"too " * 2**18 + b'"}',
        b'{"access_token": "a", "scope": "' + b"a " * 2**19 + b'"}',
    ],
    ids=["lists", "objects", "digits", "escapes", "fields", "percents", "text", "scope"],
)
def test_the_worst_bodies_take_no_time(body: bytes) -> None:
    """A body of the greatest allowed size costs little CPU, whatever is in it."""
    began = time.process_time()
    for status in (200, 403):
        outcome_of(answer(body, status), ResponseRules(jwt_expiry=True))
    assert time.process_time() - began < 2


def test_dates_far_away_are_no_harm() -> None:
    """The first and the last day of the calendar are dates like any other."""
    for moment in (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)):
        headers = {"date": format_datetime(moment)}
        given = answer(without("expires_in"), headers=headers)
        assert read_token(given, RULES).expires_at == START + 900
