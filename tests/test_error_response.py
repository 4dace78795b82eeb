import json
import secrets
from collections.abc import Mapping
from typing import Any

import pytest
from fakes import START
from hypothesis import given
from hypothesis import strategies as st

from job.core.errors import EndpointUnavailable, ExchangeError, RequestRejected, ResponseInvalid
from job.core.secret import Secret
from job.oauth.error_response import REJECTED_CODES, TRANSIENT_CODES
from job.oauth.response import read_token
from job.oauth.token_response import ResponseRules, TokenResponse

Body = bytes | str | Mapping[str, Any] | list[Any]

RULES = ResponseRules()
CLIENT = "the server does not accept this client"
BARE = f"{CLIENT}; check client id, secret and auth_method (HTTP 401)"
CODED = f"{CLIENT} id, secret or auth_method; check all three (HTTP 401)"
LATER, OPERATOR, INVALID = EndpointUnavailable, RequestRejected, ResponseInvalid


def refuse(
    status: int,
    body: Body = b"",
    headers: Mapping[str, str] | None = None,
    secrets: tuple[Secret, ...] = (),
    rules: ResponseRules = RULES,
) -> ExchangeError:
    """Return the error that an answer means; a mapping becomes JSON."""
    if not isinstance(body, bytes | str):
        body = json.dumps(body)
    content = body.encode() if isinstance(body, str) else body
    with pytest.raises(ExchangeError) as caught:
        read_token(TokenResponse(status, headers or {}, content, START, secrets), rules)
    assert caught.value.http_status == status
    return caught.value


def verdict(status: int, body: Body = b"") -> tuple[type, str]:
    """Return the class and the code of the error."""
    error = refuse(status, body)
    return type(error), error.code


@pytest.mark.parametrize(
    ("status", "kind"),
    [(s, LATER) for s in (100, 199, 408, 425, 429, 500, 502, 503, 504, 520, 599, 999)]
    + [(s, OPERATOR) for s in (400, 401, 402, 403, 404, 405, 407, 410, 415, 451, 499)],
)
def test_statuses_without_a_body(status: int, kind: type) -> None:
    """A bare status decides by itself who has to act; some servers send nothing else."""
    assert verdict(status) == (kind, f"http_{status}")
    assert verdict(status, "<html>Something went wrong</html>") == (kind, f"http_{status}")


@pytest.mark.parametrize("status", [408, 425, 500, 503, 100])
def test_what_passes_is_not_called_a_refusal(status: int) -> None:
    """Whatever is tried again soon says that the server can't answer now."""
    assert refuse(status).message == f"the server cannot answer now (HTTP {status})"


@pytest.mark.parametrize("code", REJECTED_CODES)
def test_codes_that_need_an_operator(code: str) -> None:
    """The codes of RFC 6749 and their kin stop fast retries, whatever the 2xx or 4xx status."""
    for status in (200, 400, 401, 403, 422):
        assert verdict(status, {"error": code}) == (OPERATOR, code)


@pytest.mark.parametrize("code", TRANSIENT_CODES)
def test_codes_that_pass(code: str) -> None:
    """A server that says it cannot answer now is asked again, whatever the status."""
    for status in (200, 400, 403, 503):
        assert verdict(status, {"error": code}) == (LATER, code)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_not_now_outweighs_a_code(status: int) -> None:
    """A status that means "not now" is believed before a code, which is still told."""
    assert verdict(status, {"error": "invalid_request"}) == (LATER, "invalid_request")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"error": "Unauthorized"}, "http_401"),
        (401, {"error": "INVALID_CLIENT"}, "invalid_client"),
        (401, {"error": "bad_credentials"}, "bad_credentials"),
        (401, {"error": "x" * 41}, "http_401"),
        (400, {"error": 7}, "http_400"),
        (400, {"error": {"code": "invalid_grant", "message": "no"}}, "invalid_grant"),
        (400, {"error": {"errors": [{"code": "invalid_scope"}]}}, "invalid_scope"),
        (400, {"errors": [{"code": "invalid_client"}, {"code": "x"}]}, "invalid_client"),
        (401, {"response": {"errors": [{"code": "250002", "message": "no"}]}}, "http_401"),
        (401, {"response": {"errors": [{"code": "invalid_client"}]}}, "invalid_client"),
        (400, {"errcode": "invalid_request"}, "invalid_request"),
        (400, {"code": "anything_at_all"}, "http_400"),
        (400, {"errors": ["no"], "error": None}, "http_400"),
        (400, {"errors": {"code": "invalid_client"}}, "http_400"),
        (400, "error=invalid_client&error_description=no", "invalid_client"),
        (400, ["invalid_client"], "http_400"),
    ],
)
def test_errors_in_all_shapes(status: int, body: Body, expected: str) -> None:
    """The code is found where servers put it; what is no code of OAuth becomes the status."""
    assert verdict(status, body) == (OPERATOR, expected)


@pytest.mark.fault("error-with-success")
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"errcode": 40164, "errmsg": "invalid ip"}, (OPERATOR, "error_40164")),
        ({"errcode": 40013, "errmsg": "invalid appid"}, (OPERATOR, "invalid_client")),
        ({"errcode": -1, "errmsg": "system busy"}, (LATER, "temporarily_unavailable")),
        ({"code": "99991400", "msg": "request frequency limit"}, (LATER, "rate_limited")),
        ({"code": 99991663}, (OPERATOR, "error_99991663")),
        ({"code": -7}, (OPERATOR, "error_-7")),
        ({"data": {"error_code": 10002}, "message": "error"}, (OPERATOR, "error_10002")),
        ({"code": 10**10}, (INVALID, "no_access_token")),
        ({"status": 401}, (OPERATOR, "error_401")),
        ({"statusCode": 429}, (LATER, "error_429")),
        ({"error": 500}, (LATER, "error_500")),
        ({"error": {"message": "bad key"}}, (OPERATOR, "refused")),
        ({"error": "Something is wrong"}, (OPERATOR, "refused")),
        ({"errors": ["no"]}, (OPERATOR, "refused")),
        ({"success": False, "message": "no"}, (OPERATOR, "refused")),
        ({"ok": False}, (OPERATOR, "refused")),
        ({"status": "FAILED"}, (OPERATOR, "refused")),
        ({"result": "error"}, (OPERATOR, "refused")),
        ({"code": "UNAUTHENTICATED"}, (OPERATOR, "refused")),
        ({"code": "Success", "errorCode": "0"}, (INVALID, "no_access_token")),
        ({"error": {"type": "invalid_grant"}}, (OPERATOR, "invalid_grant")),
        ({"success": False, "message": "try again later"}, (LATER, "temporarily_unavailable")),
        ({"code": 0, "message": "no"}, (INVALID, "no_access_token")),
        ({"code": "200", "status": 201, "success": True}, (INVALID, "no_access_token")),
        ({"message": "no"}, (INVALID, "no_access_token")),
    ],
)
def test_errors_that_come_as_success(body: dict[str, Any], expected: tuple[type, str]) -> None:
    """With HTTP 200 the body's number counts; without any sign of a no the answer has no sense."""
    assert verdict(200, body) == expected


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"errcode": 40164}, "the server refuses the request as it is (HTTP 200)"),
        ({"success": False}, "the server refuses the request as it is (HTTP 200)"),
        ({"status": 401}, BARE.replace("HTTP 401", "HTTP 200")),
        ({"error": 503}, "the server cannot answer now (HTTP 200)"),
    ],
)
def test_errors_that_come_as_success_say_what_they_are(body: dict[str, Any], sentence: str) -> None:
    """The sentence goes with the number in the body, the status stays the one that came."""
    assert refuse(200, body).message == sentence


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (403, {"message": "invalid client secret"}, "invalid_client"),
        (400, {"message": "Invalid client"}, "invalid_client"),
        (401, {"errors": [{"code": "X", "message": "ClientId is Invalid"}]}, "invalid_client"),
        (401, "<p>Bad client credentials</p>", "invalid_client"),
        (404, {"message": "app key not valid"}, "invalid_client"),
        (403, {"error": "forbidden", "message": "invalid client secret"}, "forbidden"),
        (403, {"message": "invalid clients"}, "http_403"),
    ],
)
def test_a_wrong_client_in_words(status: int, body: Body, expected: str) -> None:
    """A server without codes that blames the client's id or secret is understood."""
    assert verdict(status, body) == (OPERATOR, expected)
    assert verdict(503, body)[0] is LATER


def test_a_wrong_secret_that_is_called_the_servers_error() -> None:
    """ServiceNow says server_error with 401; waiting a second would not help."""
    body = {"error": "server_error", "error_description": "access_denied"}
    assert verdict(401, body) == (OPERATOR, "http_401")


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (401, "Invalid client or Invalid client credentials", "invalid_client"),
        (400, "Invalid client secret", "invalid_client"),
        (400, "This app is not authorized by the enterprise admin", "unauthorized_client"),
    ],
)
def test_a_wrong_secret_that_is_called_a_lack_of_rights(
    status: int, said: str, expected: str
) -> None:
    """Keycloak says unauthorized_client of a wrong secret; no right at the server would help."""
    body = {"error": "unauthorized_client", "error_description": said}
    assert verdict(status, body) == (OPERATOR, expected)


@pytest.mark.fault("throttled-in-disguise")
@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize(
    "body",
    [
        {"error": "invalid_request", "error_description": "exceeded the rate limit of 10 tokens"},
        {"error": "access_denied", "error_description": "Too many requests"},
        {"errors": [{"code": "FORBIDDEN", "message": "We have throttled you"}]},
        {"error": "quota_exceeded"},
        "<html><title>You are being rate limited</title></html>",
        "Request THROTTLED",
    ],
)
def test_rate_limits_in_disguise(status: int, body: Body) -> None:
    """Some servers say "too many requests" as 400 or 403 and a sentence: it passes by itself."""
    assert verdict(status, body) == (LATER, "rate_limited")
    assert verdict(404, body)[0] is OPERATOR


def test_a_lock_out_is_no_rate_limit() -> None:
    """A clear code stands: trying a wrong secret faster only prolongs a lock-out."""
    body = {"error": "invalid_client", "error_description": "too many failed attempts"}
    assert verdict(400, body) == (OPERATOR, "invalid_client")


@pytest.mark.fault("redirect")
@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://as.test/oauth2/token/?client_secret=s3cret#x", " https://as.test/oauth2/token/"),
        ("/oauth2/token", " /oauth2/token"),
        ("https://user:s3cret@as.test/token", ""),
        ("https://as.test/<token>", ""),
        ("javascript:alert(1)", ""),
        ("", ""),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300, 399])
def test_redirects_are_refused_with_their_cure(status: int, location: str, shown: str) -> None:
    """A redirect is never followed; the operator reads which address to set."""
    error = refuse(status, {"error": "server_error"}, {"location": location})
    cure = f"which is never followed; set token_url to the final address{shown}"
    expected = f"the server redirects, {cure} (HTTP {status}) [redirected]"
    assert (type(error), str(error)) == (OPERATOR, expected)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"error": "invalid_client", "error_description": "Not\tknown\r\n \x1b[31m."},
            f"{CODED}; the server says: Not known [31m. [invalid_client]",
        ),
        (
            {"status": 401, "message": "invalid client secret"},
            f"{CODED}; the server says: invalid client secret [invalid_client]",
        ),
        (
            {"status": 401, "message": "Unauthorized"},
            f"{BARE}; the server says: Unauthorized [http_401]",
        ),
        (
            {"error": "Bad client credentials", "error_debug": "bcrypt hash s3cret"},
            f"{CODED}; the server says: Bad client credentials [invalid_client]",
        ),
        (
            {"error": "invalid_client", "error_hint": "The key.", "error_description": "Generic."},
            f"{CODED}; the server says: The key. [invalid_client]",
        ),
        ("<html>s3cret</html>", f"{BARE} [http_401]"),
    ],
)
def test_messages_say_what_to_do(body: Body, expected: str) -> None:
    """Our sentence comes first, then the server's words in printable form, then the code."""
    assert str(refuse(401, body)) == expected


def hydra(registered: str, used: str, mark: str) -> str:
    """Make Hydra's words for a client that proves itself in the wrong way."""
    return (
        f"The OAuth 2.0 Client supports client authentication method {mark}{registered}{mark}, "
        f"but method {mark}{used}{mark} was requested."
    )


@pytest.mark.parametrize("member", ["error_hint", "error_description"])
@pytest.mark.parametrize("mark", ['"', "'"])
def test_the_method_that_a_server_names_is_the_cure(member: str, mark: str) -> None:
    """Hydra tells which method the client is registered for, in old and in new words."""
    text = hydra("client_secret_post", "client_secret_basic", mark)
    error = refuse(401, {"error": "invalid_client", member: text})
    assert error.code == "invalid_client"
    assert error.message.startswith(
        "the server takes another auth_method of this client; "
        'set auth_method = "client_secret_post" (HTTP 401); the server says: The OAuth 2.0 Client'
    )


def test_a_method_that_we_do_not_know_is_no_cure() -> None:
    """Only what can be set is told to be set."""
    body = {"error": "invalid_client", "error_hint": hydra("magic_link", "none", '"')}
    assert refuse(401, body).message.startswith(CODED)


def test_credentials_that_could_not_be_decoded() -> None:
    """Hydra refuses a raw percent sign in the Basic header: the encoding is what to set."""
    text = 'The client secret in the HTTP authorization header could not be decoded from "x".'
    message = refuse(400, {"error": "invalid_request", "error_hint": text}).message
    assert 'set basic_encoding = "form" (HTTP 400)' in message


@pytest.mark.fault("assertion-clock")
@pytest.mark.parametrize(
    ("date", "told"),
    [
        ("Mon, 24 Nov 2025 16:00:31 GMT", "this machine's clock is 31 s behind the server's"),
        ("Mon, 24 Nov 2025 15:50:00 GMT", "this machine's clock is 600 s ahead of the server's"),
        ("Mon, 24 Nov 2025 16:00:30 GMT", ""),
        ("Mon, 24 Nov 2015 16:00:00 GMT", ""),
        ("no date", ""),
    ],
)
def test_a_clock_that_is_off_is_told_where_times_are_signed(date: str, told: str) -> None:
    """A refused assertion may be the fault of our clock; a refused secret never is."""
    body = {"error": "invalid_client"}
    signed = refuse(401, body, {"date": date}, rules=ResponseRules(signed=True)).message
    assert (told in signed, "clock" in signed) == (True, bool(told))
    assert "clock" not in refuse(401, body, {"date": date}).message
    passing = refuse(503, body, {"date": date}, rules=ResponseRules(signed=True)).message
    assert "clock" not in passing


def test_what_looks_like_an_assertion_is_masked() -> None:
    """A server that quotes the assertion brings nothing of it into the message, cut or whole."""
    text = "assertion eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln and eyJhbGciOiJSUzI1Ni is expired"
    message = refuse(401, {"error": "invalid_client", "error_description": text}).message
    assert message.endswith("the server says: assertion *** and *** is expired")


def test_every_known_sentence_has_a_cure_or_passes() -> None:
    """A refusal that needs an operator always tells what to look at."""
    words = ("check", "correct", "allow it")
    assert [
        c for c, text in REJECTED_CODES.items() if not any(word in text for word in words)
    ] == []


def test_descriptions_are_cut() -> None:
    """Of what the server says, 200 characters are shown."""
    error = refuse(500, {"message": "x" * 5000})
    assert error.message == f"the server cannot answer now (HTTP 500); the server says: {'x' * 200}"


@pytest.mark.parametrize("offset", range(150, 210, 7))
def test_echoed_secrets_are_masked(offset: int) -> None:
    """A secret that a server echoes never shows, not even the part before the cut."""
    secret = Secret(secrets.token_urlsafe(32))
    text = "." * offset + secret.reveal()
    for body in ({"error": "invalid_client", "error_description": text}, {"error": text}):
        message = str(refuse(401, body, secrets=(secret,)))
        assert secret.reveal()[:4] not in message


def test_a_secret_is_no_error_code() -> None:
    """A secret that looks like an error code does not become one."""
    error = refuse(401, {"error": "hunter_two"}, secrets=(Secret("hunter_two"),))
    assert (error.code, "hunter_two" in str(error)) == ("http_401", False)


DATE = "Mon, 24 Nov 2025 16:00:00 GMT"
LATER_DATE = "Mon, 24 Nov 2025 16:02:00 GMT"


@pytest.mark.fault("retry-after")
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": LATER_DATE, "date": DATE}, 120.0),
        ({"retry-after": DATE, "date": LATER_DATE}, None),
        ({"retry-after": LATER_DATE, "date": "?"}, 120.0),
        ({"retry-after": LATER_DATE}, 120.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1e5"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("status", [200, 307, 400, 429, 503])
def test_retry_after(status: int, headers: dict[str, str], expected: float | None) -> None:
    """Both forms are read, a date by the server's own clock; what is no wish is ignored."""
    assert refuse(status, {"error": "x"}, headers).retry_after == expected


def test_the_dates_above_mean_what_they_say() -> None:
    """The tests' moment of sending is the first of the two dates."""
    assert START == 1_764_000_000


@given(st.text())
@pytest.mark.slow
def test_any_retry_after_is_a_length_or_nothing(text: str) -> None:
    """No header breaks the reading of an answer."""
    wish = refuse(503, headers={"retry-after": text}).retry_after
    assert wish is None or wish >= 0
