"""Why there is no token: every way in which a server refuses, and who has to act. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from job.core.errors import EndpointUnavailable, ExchangeError, RequestRejected, ResponseInvalid
from job.oauth.settings import AuthMethod
from job.oauth.token_response import SUCCESS, TokenResponse, http_date, number_of

TEXT_LENGTH = 200
SEARCHED_LENGTH = 4096

# RFC 6749 sections 4.1.2.1 and 5.2, RFC 8628 section 3.5: it passes by itself.
TRANSIENT_CODES: Mapping[str, str] = {
    "temporarily_unavailable": "the server says that it cannot answer now",
    "server_error": "the server says that it has a fault of its own",
    "slow_down": "the server asks for fewer requests",
    "rate_limited": "the server says that there are too many requests",
}
DPOP_WANTED = (
    "the server wants proofs of possession (DPoP), which freshtoken does not make; check whether "
    "this client may have Bearer tokens"
)
SCOPE_REFUSED = "the server does not know or does not allow the requested scope; correct scope"
# RFC 6749 section 5.2, RFC 8707 section 2, RFC 9449 sections 5 and 8, and what servers made of
# them: an operator has to act.
REJECTED_CODES: Mapping[str, str] = {
    "invalid_client": "the server does not accept this client id, secret or auth_method; "
    "check all three",
    "unauthorized_client": "this client may not use this grant or auth_method; "
    "allow it in the client's settings at the server",
    "unsupported_grant_type": "the server does not offer this grant at this address; "
    "check token_url and grant_type",
    "invalid_scope": SCOPE_REFUSED,
    "scope_invalid": SCOPE_REFUSED,
    "invalid_request": "the server cannot use the request; check auth_method, and whether scope, "
    "audience, resource or extra_params is missing or wrong",
    "invalid_grant": "the server refuses the grant; check the client's permissions and "
    "extra_params",
    "invalid_target": "the server does not know or does not allow the requested resource or "
    "audience; correct it",
    "invalid_resource": "the server does not know or does not allow the requested resource or "
    "scope; correct it",
    "use_dpop_nonce": DPOP_WANTED,
    "invalid_dpop_proof": DPOP_WANTED,
    "access_denied": "the server denies access; check the client secret, the audience and the "
    "client's permissions",
}
KNOWN_CODES: Mapping[str, str] = {**TRANSIENT_CODES, **REJECTED_CODES}
# Codes that say nothing about the reason: with these, a text about too many requests is believed.
VAGUE_CODES = frozenset({"invalid_request", "invalid_grant", "access_denied"})

UNAUTHORIZED = 401
REDIRECTIONS = range(300, 400)
ERRORS = range(400, 600)
PERMANENT = frozenset(range(200, 500)) - {408, 425, 429}
"""The statuses that do not pass by themselves."""
STATUS_SENTENCES: Mapping[int, str] = {
    401: "the server does not accept this client; check client id, secret and auth_method",
    403: "the server forbids the request; check the client secret and the client's permissions",
    404: "there is no token endpoint at this address; check token_url",
    405: "this address takes no such method; check token_url and http_method",
    407: "the proxy wants other credentials; check proxy",
    410: "there is no token endpoint at this address any more; check token_url",
    429: TRANSIENT_CODES["rate_limited"],
}

NOTABLE_SKEW_S = 30.0
MAX_NUMBER = 10**10

_CODE = re.compile(r"[a-z_]{1,40}")
_CODE_NAMES = ("error", "code", "errcode", "error_code", "errorCode", "type", "name")
_NUMBER_NAMES = (*_CODE_NAMES[:5], "status", "status_code", "statusCode")
_HINT_NAMES = ("error_hint", "error_description")
_OTHER_TEXT_NAMES = """
    errorDescription message Message msg errmsg error_message errorMessage error_msg errorSummary
    faultstring detail description reason title
"""
_TEXT_NAMES = (*_HINT_NAMES, *_OTHER_TEXT_NAMES.split())
_HOLDERS = ("response", "error", "data", "result", "fault", "status", "meta")
_FAILED = frozenset({"error", "fail", "failed", "failure"})
_FINE = re.compile(r"ok|success\w*|true|[\d.+-]*", re.IGNORECASE)
_THROTTLED = re.compile(
    r"rate.?(?:limit|exceed)|throttl|too.?many|too.?frequent|frequency|quota|threshold",
    re.IGNORECASE,
)
_BUSY = re.compile(
    r"busy|try.{1,9}later|temporar|overload|system error|internal (?:server )?error", re.IGNORECASE
)
_WHOSE = r"(?:client|app|application)[ _]?(?:id|secret|key|credentials?)"
_WRONG_CLIENT = re.compile(
    rf"(?:invalid|incorrect|wrong|bad) (?:client\b|{_WHOSE})"
    rf"|{_WHOSE} (?:is |are |were )?(?:in|not )valid",
    re.IGNORECASE,
)
# Hydra's words: the client was registered for one method only, or its credentials were not encoded.
_NOT_DECODED = re.compile(r"authorization header could not be decoded", re.IGNORECASE)
_OTHER_METHOD = re.compile(r"supports client authentication method\W{1,3}(\w{4,30})\W{1,3}but")
_PLACE = re.compile(r"(?:https?://[\w.:\[\]-]+)?/[\w.~/%-]*", re.ASCII)


def error_response_of(
    answer: TokenResponse, members: Mapping[str, Any] | None, *, signed: bool = False
) -> ExchangeError:
    """Return the error that an answer without a token means.

    A status that says "not now" comes first, then the OAuth error code, then the status; where
    that claims success, the number in the body. The message is ours and says what to do; the
    server's own description follows, masked and cut. `error_debug` and bodies never enter it.
    `signed`: the request held an assertion, so that a wrong clock may be the reason.
    """
    if answer.status in REDIRECTIONS:
        return _redirected(answer)
    members = members or {}
    said = _text_of(members)
    searched = (said if members else answer.body.decode(errors="replace"))[:SEARCHED_LENGTH]
    status, code = _status_and_code(answer, members, searched)
    kind = _kind_of(status, code)
    sentence = _advice(members) or _sentence(status, code)
    if signed and kind is RequestRejected and abs(answer.skew_s) > NOTABLE_SKEW_S:
        side = "behind" if answer.skew_s > 0 else "ahead of"
        sentence += (
            f"; this machine's clock is {abs(answer.skew_s):.0f} s {side} the server's, and an "
            "assertion holds times: set the clock first"
        )
    return _error(kind, code, sentence, answer, said)


def _status_and_code(
    answer: TokenResponse, members: Mapping[str, Any], text: str
) -> tuple[int, str]:
    """Return the status that counts, and a code; some servers answer everything with HTTP 200."""
    number = _number_of(members) if answer.succeeded else 0
    status = number if number in ERRORS else answer.status
    code = answer.show(_code_of(members), TEXT_LENGTH)
    if _is_throttled(status, code, text):
        return status, "rate_limited"
    if _CODE.fullmatch(code) and not _is_misnamed(status, code, text):
        return status, code
    if answer.succeeded and _BUSY.search(text):
        return status, "temporarily_unavailable"
    if _kind_of(status, "") is not EndpointUnavailable and _WRONG_CLIENT.search(text):
        return status, "invalid_client"
    return status, _code_without_a_name(answer, members, number)


def _is_misnamed(status: int, code: str, text: str) -> bool:
    """Tell whether a code that means something else stands for a wrong secret.

    ServiceNow calls that server_error, with HTTP 401, and Keycloak unauthorized_client.
    """
    if code == "unauthorized_client":
        return _WRONG_CLIENT.search(text) is not None
    return status == UNAUTHORIZED and code in TRANSIENT_CODES


def _code_without_a_name(answer: TokenResponse, members: Mapping[str, Any], number: int) -> str:
    if not answer.succeeded:
        return f"http_{answer.status}"
    if number:
        return f"error_{number}"
    return "refused" if _is_denied(members) else "no_access_token"


def _is_denied(members: Mapping[str, Any]) -> bool:
    """Tell whether the body states a failure without a code for the reason."""
    failed = any(str(members.get(name)).lower() in _FAILED for name in ("status", "result"))
    unsuccessful = any(members.get(name) is False for name in ("success", "ok"))
    codes = _strings(members, ("code", "errorCode", "error_code"))
    coded = any(not _FINE.fullmatch(code) for code in codes)
    return failed or unsuccessful or coded or bool(members.get("error") or members.get("errors"))


def _advice(members: Mapping[str, Any]) -> str:
    """Return a sentence that names the setting to change, if the server says enough."""
    for text in _strings(members, _HINT_NAMES):
        found = _OTHER_METHOD.search(text[:SEARCHED_LENGTH])
        if found and found[1] in get_args(AuthMethod):
            what = "the server takes another auth_method of this client"
            return f'{what}; set auth_method = "{found[1]}"'
        if _NOT_DECODED.search(text[:SEARCHED_LENGTH]):
            what = "the server decodes the credentials in the Authorization header"
            return f'{what}; set basic_encoding = "form"'
    return ""


def _retry_after(answer: TokenResponse) -> float | None:
    """Return the Retry-After of an answer (RFC 9110 section 10.2.3) in seconds, or None.

    A date is measured against the answer's own Date, so that no clock of ours matters.
    """
    text = answer.headers.get("retry-after", "")
    seconds = number_of(text)
    if seconds is None:
        until = http_date(text)
        now = answer.sent_at if answer.dated is None else answer.dated
        seconds = -1.0 if until is None else until - now
    return seconds if seconds >= 0 else None


def _error(
    kind: type[ExchangeError], code: str, sentence: str, answer: TokenResponse, said: str
) -> ExchangeError:
    message = f"{sentence} (HTTP {answer.status})"
    shown = answer.show(said, TEXT_LENGTH)
    if shown:
        message += f"; the server says: {shown}"
    return kind(code, message, http_status=answer.status, retry_after=_retry_after(answer))


def _redirected(answer: TokenResponse) -> ExchangeError:
    """Refuse to follow, because the client secret would be sent along."""
    place = answer.headers.get("location", "").partition("?")[0]
    sentence = "the server redirects, which is never followed; set token_url to the final address"
    if _PLACE.fullmatch(place):
        sentence += f" {answer.show(place, TEXT_LENGTH)}"
    return _error(RequestRejected, "redirected", sentence, answer, "")


def _kind_of(status: int, code: str) -> type[ExchangeError]:
    if status not in PERMANENT or code in TRANSIENT_CODES:
        return EndpointUnavailable
    return ResponseInvalid if code == "no_access_token" else RequestRejected


def _sentence(status: int, code: str) -> str:
    if code == "no_access_token":
        return "the answer holds no access_token; check token_url"
    passes = status not in PERMANENT
    usual = "the server cannot answer now" if passes else "the server refuses the request as it is"
    return KNOWN_CODES.get(code) or STATUS_SENTENCES.get(status, usual)


def _is_throttled(status: int, code: str, text: str) -> bool:
    """Tell whether this is a rate limit: some servers say so with 200, 400 or 403 and a text."""
    if status not in (*SUCCESS, 400, 403):
        return False
    if code in TRANSIENT_CODES or code in REJECTED_CODES.keys() - VAGUE_CODES:
        return False
    return _THROTTLED.search(f"{code} {text}") is not None


def _code_of(members: Mapping[str, Any]) -> str:
    """Return the OAuth error code, wherever it stands, or an empty string.

    Only the RFC's own member may hold a code that we don't know: a `code` may be anything.
    """
    error = members.get("error")
    if isinstance(error, str) and _CODE.fullmatch(error):
        return error
    for value in _strings(members, _CODE_NAMES):
        if value.lower() in KNOWN_CODES:
            return value.lower()
    return ""


def _text_of(members: Mapping[str, Any]) -> str:
    """Return what the server says to people, which may also be in the `error` member."""
    said = next(_strings(members, _TEXT_NAMES), "")
    error = members.get("error")
    if said or not isinstance(error, str) or _CODE.fullmatch(error):
        return said
    return error


def _number_of(members: Mapping[str, Any]) -> int:
    """Return the first number that stands for an error, as 0 and 200 never do, or 0."""
    for holder in _holders(members):
        for name in _NUMBER_NAMES:
            number = number_of(holder.get(name))
            if number and number not in SUCCESS and abs(number) < MAX_NUMBER:
                return int(number)
    return 0


def _strings(members: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    """Yield the named strings of the answer and of the error objects inside it."""
    for name in names:
        for holder in _holders(members):
            value = holder.get(name)
            if isinstance(value, str) and value:
                yield value


def _holders(members: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield every object that may describe the error: UPS nests it as `response.errors[]`."""
    for outer in (members, *(members.get(name) for name in _HOLDERS)):
        if isinstance(outer, dict):
            yield outer
            errors = outer.get("errors")
            if isinstance(errors, list):
                yield from (error for error in errors[:1] if isinstance(error, dict))
