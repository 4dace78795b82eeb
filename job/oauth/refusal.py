"""Why there is no token: every way a server says no, and who has to act. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from job.errors import EndpointUnavailable, ExchangeError, RequestRejected, ResponseInvalid
from job.oauth.answer import Answer, http_date, number_of

TEXT_LENGTH = 200
SEARCHED_LENGTH = 4096

# RFC 6749 sections 4.1.2.1 and 5.2, RFC 8628 section 3.5: it passes by itself.
TRANSIENT_CODES: Mapping[str, str] = {
    "temporarily_unavailable": "the server says that it cannot answer now",
    "server_error": "the server says that it has a fault of its own",
    "slow_down": "the server asks for fewer requests",
}
# RFC 6749 section 5.2, RFC 8707 section 2 and what servers made of them: an operator has to act.
REJECTED_CODES: Mapping[str, str] = {
    "invalid_client": "the server does not accept this client id, secret or auth_method; "
    "check all three",
    "unauthorized_client": "this client may not use this grant or auth_method; "
    "allow it in the client's settings at the server",
    "unsupported_grant_type": "the server does not offer client_credentials at this address; "
    "check token_url",
    "invalid_scope": "the server does not know or does not allow the requested scope; "
    "correct scope",
    "scope_invalid": "the server does not know or does not allow the requested scope; "
    "correct scope",
    "invalid_request": "the server cannot use the request; check auth_method, and whether scope, "
    "audience, resource or extra_params is missing or wrong",
    "invalid_grant": "the server refuses the grant; check the client's permissions and "
    "extra_params",
    "invalid_target": "the server does not know or does not allow the requested resource or "
    "audience; correct it",
    "access_denied": "the server denies access; check the client secret, the audience and the "
    "client's permissions",
}
# Codes that say nothing about the reason: with these, a text about too many requests is believed.
VAGUE_CODES = frozenset({"invalid_request", "access_denied"})

TRANSIENT_STATUSES = frozenset({408, 425, 429})
STATUS_SENTENCES: Mapping[int, str] = {
    401: "the server does not accept this client; check client id, secret and auth_method",
    403: "the server forbids the request; check the client secret and the client's permissions",
    404: "there is no token endpoint at this address; check token_url",
    405: "this address takes no POST; check token_url",
    407: "the proxy wants other credentials; check proxy",
    410: "there is no token endpoint at this address any more; check token_url",
    429: "the server says that there are too many requests",
}

_CODE = re.compile(r"[a-z_]{1,40}")
_CODE_NAMES = ("error", "code", "errcode", "error_code", "errorCode")
_TEXT_NAMES = ("error_description", "message", "msg", "errmsg", "error_message", "detail")
_THROTTLED = re.compile(r"rate.?limit|throttl|too.?many|quota", re.IGNORECASE)
_PLACE = re.compile(r"(?:https?://[\w.:\[\]-]+)?/[\w.~/%-]*", re.ASCII)


def refusal_of(answer: Answer, members: Mapping[str, Any] | None) -> ExchangeError:
    """Return the error that an answer without a token means.

    A status that says "not now" comes first, then the OAuth error code, then the status. The
    message is ours and says what to do; the server's own description follows, masked and cut.
    `error_debug` and bodies never enter it.
    """
    if 300 <= answer.status < 400:  # noqa: PLR2004  # the range that HTTP defines
        return _redirected(answer)
    found = _code_of(members or {})
    said = _text_of(members or {})
    if _is_throttled(answer, found, said if members else answer.body.decode(errors="replace")):
        return _error(EndpointUnavailable, "rate_limited", STATUS_SENTENCES[429], answer, said)
    code = answer.show(found, TEXT_LENGTH)
    if not _CODE.fullmatch(code):
        code = "no_access_token" if answer.succeeded else f"http_{answer.status}"
    return _error(_kind_of(answer.status, code), code, _sentence(answer, code), answer, said)


def retry_after(answer: Answer) -> float | None:
    """Return the server's wish (RFC 9110 section 10.2.3) in seconds, or None if it is no wish.

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
    kind: type[ExchangeError], code: str, sentence: str, answer: Answer, said: str
) -> ExchangeError:
    message = f"{sentence} (HTTP {answer.status})"
    shown = answer.show(said, TEXT_LENGTH)
    if shown:
        message += f"; the server says: {shown}"
    return kind(code, message, http_status=answer.status, retry_after=retry_after(answer))


def _redirected(answer: Answer) -> ExchangeError:
    """Refuse to follow: the client secret would travel along."""
    place = answer.headers.get("location", "").partition("?")[0]
    sentence = "the server redirects, which is never followed; set token_url to the final address"
    if _PLACE.fullmatch(place):
        sentence += f" {answer.show(place, TEXT_LENGTH)}"
    return _error(RequestRejected, "redirected", sentence, answer, "")


def _kind_of(status: int, code: str) -> type[ExchangeError]:
    if status in TRANSIENT_STATUSES or not 200 <= status < 500:  # noqa: PLR2004  # HTTP's ranges
        return EndpointUnavailable
    if code in TRANSIENT_CODES:
        return EndpointUnavailable
    if code in REJECTED_CODES or status >= 300:  # noqa: PLR2004  # HTTP's ranges
        return RequestRejected
    return ResponseInvalid


def _sentence(answer: Answer, code: str) -> str:
    for known in (TRANSIENT_CODES, REJECTED_CODES):
        if code in known:
            return known[code]
    if answer.succeeded:
        return "the answer holds no access_token; check token_url"
    if 400 <= answer.status < 500:  # noqa: PLR2004  # the range that HTTP defines
        return STATUS_SENTENCES.get(answer.status, "the server refuses the request as it is")
    return "the server cannot answer now"


def _is_throttled(answer: Answer, code: str, text: str) -> bool:
    """Tell a rate limit in disguise: some servers say it with 400 or 403 and a sentence."""
    if answer.status not in (400, 403) or code in REJECTED_CODES.keys() - VAGUE_CODES:
        return False
    return _THROTTLED.search(f"{code} {text}"[:SEARCHED_LENGTH]) is not None


def _code_of(members: Mapping[str, Any]) -> str:
    """Return the OAuth error code, wherever it stands, or an empty string.

    Only the RFC's own member may hold a code that we don't know: a `code` may be anything.
    """
    error = members.get("error")
    if isinstance(error, str) and _CODE.fullmatch(error):
        return error
    for value in _strings(members, _CODE_NAMES):
        if value.lower() in TRANSIENT_CODES or value.lower() in REJECTED_CODES:
            return value.lower()
    return ""


def _text_of(members: Mapping[str, Any]) -> str:
    """Return what the server says for people, or an error member that is no code."""
    said = next(_strings(members, _TEXT_NAMES), "")
    error = members.get("error")
    if said or not isinstance(error, str) or _CODE.fullmatch(error):
        return said
    return error


def _strings(members: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    """Yield the named strings of the answer and of the error objects inside it."""
    for holder in _holders(members):
        for name in names:
            value = holder.get(name)
            if isinstance(value, str) and value:
                yield value


def _holders(members: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield every object that may describe the error: UPS nests it as `response.errors[]`."""
    for outer in (members, members.get("response"), members.get("error")):
        if isinstance(outer, dict):
            yield outer
            errors = outer.get("errors")
            if isinstance(errors, list):
                yield from (error for error in errors[:1] if isinstance(error, dict))
