import base64
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from fakes import START
from hypothesis import given
from hypothesis import strategies as st

from job.core.errors import ExchangeError, ResponseInvalid
from job.oauth.expiry import ABSOLUTE, RELATIVE
from job.oauth.response import read_token
from job.oauth.token_response import ResponseRules, TokenResponse

SENT_AT = START + 0.75
RULES = ResponseRules()
HOUR = 3600
OPAQUE = "tok"
OURS = timezone(timedelta(hours=7))


def life(
    members: Mapping[str, Any],
    rules: ResponseRules = RULES,
    headers: Mapping[str, str] | None = None,
    token: str = OPAQUE,
) -> tuple[int, str]:
    """Return the seconds that the token lives after its request, and where they come from."""
    body = json.dumps({"access_token": token, **members}).encode()
    got = read_token(TokenResponse(200, headers or {}, body, SENT_AT), rules)
    assert got.requested_at == START
    return got.lifetime, got.expiry_source


def code(members: Mapping[str, Any], rules: ResponseRules = RULES, token: str = OPAQUE) -> str:
    """Return the code with which the life is refused."""
    with pytest.raises(ResponseInvalid) as caught:
        life(members, rules, token=token)
    return caught.value.code


def date(offset_s: float) -> dict[str, str]:
    """Make the Date header of a server whose clock is off by so much."""
    return {"date": format_datetime(datetime.fromtimestamp(START + offset_s, UTC), usegmt=True)}


def jwt(exp: object) -> str:
    """Make a token that looks like a JWT."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": exp}).encode()).decode().rstrip("=")
    return f"e30.{claims}.sig"


@pytest.mark.parametrize("value", [3600, "3600", 3600.0, " 3600 ", "3600.75", 3600.25, "+3600"])
@pytest.mark.parametrize("name", RELATIVE)
def test_relative_fields(name: str, value: object) -> None:
    """A life is believed as a number or as text, under each of its names."""
    assert life({name: value})[1] == "expires_in"
    assert life({name: value})[0] in (3600, 3601)


@pytest.mark.parametrize("value", [7_200_000, "7200000", 7_200_000.0])
def test_a_life_in_milliseconds(value: object) -> None:
    """The configured unit counts for every name; an instant is known by its size all the same."""
    rules = ResponseRules(unit_s=0.001)
    assert life({"expires_in": value}, rules) == (7200, "expires_in")
    assert life({"expires_at": (START + HOUR) * 1000}, rules) == (HOUR, "expires_at")
    assert life({"expires": (START + HOUR) * 1000}, rules) == (HOUR, "expires_at")
    assert code({"expires_in": 999}, rules) == "expires_in_not_positive"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (60, (60, "expires_in")),
        ("60", (60, "expires_in")),
        (START + HOUR, (HOUR, "expires_at")),
        ((START + HOUR) * 1000, (HOUR, "expires_at")),
        ("2025-11-24T17:00:00Z", (HOUR, "expires_at")),
        ("Mon, 24 Nov 2025 17:00:00 GMT", (HOUR, "expires_at")),
        ("soon", (900, "default")),
        (None, (900, "default")),
    ],
)
def test_a_configured_field_is_the_only_one(value: object, expected: tuple[int, str]) -> None:
    """Where a path is given no other field is believed; its size tells a life from an instant."""
    rules = ResponseRules(expiry_path="meta.ttl")
    members = {"expires_in": 5, "expires_at": START + 5, "meta": {"ttl": value}}
    headers = {"date": "Mon, 24 Nov 2025 16:00:00 GMT"}
    assert life(members, rules, headers)[1] == expected[1]
    assert abs(life(members, rules, headers)[0] - expected[0]) <= 1


def test_what_stands_beside_the_token_is_believed_first() -> None:
    """An envelope's own life comes before one at the top, which may be another thing's."""
    members = {"expires_in": 5, "data": {"token": OPAQUE, "expire": 70}}
    assert life(members, ResponseRules(token_path="data.token")) == (70, "expires_in")


def test_sums_round_down() -> None:
    """The token counts as expired no later than it is: the sum is rounded, not its parts."""
    assert [life({"expires_in": v})[0] for v in (10, 10.25, "10.24", 10.2)] == [10, 11, 10, 10]


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, "", "soon", "1h", "1e3", "0x10", "\u0663\u0664", [60], {"s": 60}),
        *(1e12, 315_360_001, "9" * 40, 10**30),
    ],
)
def test_what_is_no_life_is_not_believed(value: object) -> None:
    """The next source is asked, and in the end the default stands in."""
    assert life({"expires_in": value}) == (900, "default")
    assert life({"expires_in": value}, ResponseRules(default_lifetime=60)) == (60, "default")
    assert life({"expires_in": value, "expire": 50}) == (50, "expires_in")
    assert life({"expires_in": value, "expires_at": START + 61}) == (61, "expires_at")


def test_numbers_that_are_json_to_python_only() -> None:
    """NaN, infinities, overflowing floats and 5000 digits are not believed and do no harm."""
    for text in ("NaN", "Infinity", "-Infinity", "1e400", "9" * 5000):
        body = f'{{"access_token": "tok", "expires_in": {text}}}'.encode()
        assert read_token(TokenResponse(200, {}, body, SENT_AT), RULES).lifetime == 900


@pytest.mark.parametrize("value", [0, -1, "0", "-1", -0.5, "0.0", 0.4, -(10**18)])
def test_a_life_of_nothing_is_refused(value: object) -> None:
    """A token that is dead on arrival is never published; the message names the way out."""
    assert code({"expires_in": value, "expires_at": START + HOUR}) == "expires_in_not_positive"
    with pytest.raises(ResponseInvalid, match="if this provider means that it never expires, set"):
        life({"expires_in": value})


def test_the_configured_lifetime_wins() -> None:
    """An operator who knows better is believed before every field, also before a zero."""
    rules = ResponseRules(lifetime=7)
    for members in ({"expires_in": 60}, {"expires_in": 0}, {"expires_at": 1}, {}):
        assert life(members, rules) == (7, "lifetime")


def test_a_relative_field_is_believed_before_an_absolute_one() -> None:
    """Seconds need no clock, so they come first, wherever they stand in the body."""
    assert life({"expires_at": START + 60, "expires_in": 120}) == (120, "expires_in")


@pytest.mark.parametrize(
    "value",
    [
        START + HOUR,
        str(START + HOUR),
        float(START + HOUR),
        (START + HOUR) * 1000,
        str((START + HOUR) * 1000 + 250),
        datetime.fromtimestamp(START + HOUR, UTC).isoformat(),
        datetime.fromtimestamp(START + HOUR, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        datetime.fromtimestamp(START + HOUR, UTC).strftime(" %Y-%m-%d %H:%M:%S "),
        datetime.fromtimestamp(START + HOUR, OURS).isoformat(),
    ],
)
@pytest.mark.parametrize("name", ABSOLUTE)
def test_absolute_fields(name: str, value: object) -> None:
    """Epoch seconds, epoch milliseconds and ISO 8601, which is UTC when it doesn't say."""
    assert life({name: value}) == (HOUR, "expires_at")


@pytest.mark.parametrize("offset_s", [-7200, 0, 7200])
def test_absolute_fields_are_read_by_the_servers_clock(offset_s: float) -> None:
    """A wrong clock, ours or the server's, changes no life as long as the server tells its own."""
    members = {"expires_at": START + offset_s + HOUR}
    assert life(members, headers=date(offset_s)) == (HOUR, "expires_at")


@pytest.mark.parametrize(
    "headers",
    [date(90_000), date(-90_000), date(7200) | {"age": "3"}, {"date": "yesterday"}, {"date": ""}],
)
def test_a_date_that_cannot_be_trusted_is_not_used(headers: dict[str, str]) -> None:
    """A Date from a cache, from another day or from nowhere gives way to our own clock."""
    assert life({"expires_at": START + HOUR}, headers=headers) == (HOUR, "expires_at")


@pytest.mark.parametrize("value", [0, -5, 3600, "never", None, True, START * 10, "9999-01-01"])
def test_an_instant_that_makes_no_sense_is_not_believed(value: object) -> None:
    """Small numbers, words and instants over ten years away are passed over."""
    assert life({"expires_at": value}) == (900, "default")


@pytest.mark.parametrize("value", [START, START - HOUR, (START - 1) * 1000, "2001-01-01T00:00:00Z"])
def test_a_token_that_has_expired_is_refused(value: object) -> None:
    """An instant in the past means a dead token or a wrong clock, and the message says so."""
    assert code({"expires_on": value}) == "already_expired"


@pytest.mark.parametrize(
    ("members", "exp", "expected"),
    [
        ({"expires_in": 3600}, START + 60, (60, "jwt")),
        ({"expires_in": 60}, START + 3600, (60, "expires_in")),
        ({"expires_at": START + 3600}, START + 60.5, (60, "jwt")),
        ({}, START + 60, (60, "jwt")),
        ({}, (START + 60) * 1000, (60, "jwt")),
        ({}, None, (900, "default")),
        ({}, "later", (900, "default")),
        ({"expires_in": 60}, 0, (60, "expires_in")),
    ],
)
def test_jwt_expiry_only_shortens(
    members: dict[str, Any], exp: object, expected: tuple[int, str]
) -> None:
    """`exp` is the lesser of two claims or the only one, and only when it was asked for."""
    rules = ResponseRules(jwt_expiry=True)
    assert life(members, rules, token=jwt(exp)) == expected
    assert life(members, token=jwt(exp))[1] != "jwt"


@pytest.mark.parametrize("exp", [10**400, -(10**400), float("nan"), float("inf"), "9" * 400])
def test_an_exp_that_no_float_can_hold_does_no_harm(exp: object) -> None:
    """A JWT is anyone's text: numbers beyond all reason in it are not believed."""
    members = {"access_token": jwt(exp), "expires_in": 60}
    assert life(members, ResponseRules(jwt_expiry=True)) == (60, "expires_in")


def test_jwt_expiry_shortens_the_configured_life() -> None:
    """Any life is an upper bound: a JWT that ends earlier than `lifetime` says ends earlier."""
    rules = ResponseRules(lifetime=600, jwt_expiry=True)
    assert life({}, rules, token=jwt(START + 60)) == (60, "jwt")


def test_a_jwt_that_has_expired_is_refused() -> None:
    """A JWT whose own claim says that it is dead is not published."""
    assert code({"expires_in": 60}, ResponseRules(jwt_expiry=True), jwt(START)) == "already_expired"


@pytest.mark.parametrize(
    "token", ["opaque", "a.b", "a.b.c.d.e", "a.b.c", "a.!!.c", "a.W10.c", "..", "a.x.c"]
)
def test_opaque_tokens_have_no_expiry(token: str) -> None:
    """A token that is no JWT, or an encrypted one, is no error: it just says nothing."""
    assert life({}, ResponseRules(jwt_expiry=True), token=token) == (900, "default")


@given(
    seconds=st.floats(allow_nan=False) | st.integers() | st.integers().map(str),
    sent_at=st.floats(0, 4e9),
)
def test_no_life_is_too_long(seconds: object, sent_at: float) -> None:
    """The stored expiry never lies after the request plus what the server said."""
    body = json.dumps({"access_token": "tok", "expires_in": seconds}).encode()
    try:
        token = read_token(TokenResponse(200, {}, body, sent_at), RULES)
    except ExchangeError:
        return
    if token.expiry_source == "expires_in":
        assert token.expires_at <= sent_at + float(seconds)  # type: ignore[arg-type]
        assert token.expires_at == math.floor(sent_at + float(seconds))  # type: ignore[arg-type]
    assert token.lifetime >= 1
