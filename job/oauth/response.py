"""The bytes of an answer become a Token or a typed refusal, with each provider's quirks. Pure."""

import json
import math
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from job.core.errors import ExchangeError, ResponseInvalid
from job.core.secret import Secret
from job.core.tokens import Token
from job.oauth.error_response import error_response_of
from job.oauth.expiry import TEN_YEARS_S, lifetime_of
from job.oauth.token_response import (
    ResponseRules,
    TokenResponse,
    around,
    at,
    members_of,
    number_of,
    printable,
)

MAX_EXTRA_DEPTH = 8
SHOWN_LENGTH = 40

# eBay says "Application Access Token"; Amazon and Apigee have said "BearerToken".
_BEARER = frozenset({"bearer", "bearertoken", "bearer token", "application access token"})
_VISIBLE = re.compile(r"[!-~]+")
_WORDS = re.compile(r"[A-Za-z_:* -]+")
"""A token that stands where its type belongs has digits, as a rule, and is not shown."""
_TOKEN_NAME = re.compile(r"(?:[A-Za-z]{1,20}_?)?token|jwt", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_]{1,40}")
MAX_DEPTH = 4


def read_token(answer: TokenResponse, rules: ResponseRules) -> Token:
    """Return the token of an answer (RFC 6749 section 5.1).

    Raises EndpointUnavailable, RequestRejected or ResponseInvalid, and nothing else, whatever
    the bytes. An answer that names an error is an error, even with a token and HTTP 200. Unknown
    members and a refresh token are ignored.
    """
    members = members_of(answer.body)
    given = at(members or {}, rules.token_path)
    answer = _guarded(answer, given)
    fields = ChainMap(*map(dict, around(members or {}, rules.token_path)))
    if not answer.succeeded or fields.get("error") or number_of(fields.get("errcode")):
        raise error_response_of(answer, members, signed=rules.signed)
    if members is None:
        raise _unreadable(answer)
    if given in (None, ""):
        raise _without_token(answer, members, rules)
    value = _access_token(answer, given)
    lifetime = lifetime_of(value, members, answer, rules)
    scope = _scope(fields.get("scope"), rules.scope)
    return Token(
        access_token=Secret(value),
        token_type=_token_type(answer, fields, rules),
        scope=scope,
        requested_at=math.floor(answer.sent_at),
        expires_at=math.floor(answer.sent_at + lifetime.seconds),
        expiry_source=lifetime.source,
        refresh_in=_refresh_in(fields.get("refresh_in")),
        extra=_extra(fields, rules.keep_extra),
        note=_narrowed(scope, rules.scope),
    )


def _guarded(answer: TokenResponse, value: object) -> TokenResponse:
    """Return the answer with its own token among the values that no message shows."""
    known = (Secret(value),) if isinstance(value, str) else ()
    return replace(answer, secrets=(*answer.secrets, *known))


def _unreadable(answer: TokenResponse) -> ResponseInvalid:
    """Say what came instead of JSON, and what to set."""
    start = answer.body[:200].lstrip().lower()
    what = "is no JSON object; check token_url and request_format"
    if b"<html" in start or b"<!doctype" in start:
        what = "is a web page; check token_url"
    elif start.startswith(b"<"):
        what = 'is XML; ask for JSON with headers = { Accept = "application/json" }'
    return _invalid(answer, "unreadable_answer", what)


def _without_token(
    answer: TokenResponse, members: Mapping[str, Any], rules: ResponseRules
) -> ExchangeError:
    """Say why there is no token, or where one seems to be."""
    error = error_response_of(answer, members, signed=rules.signed)
    place = next(_places(members, MAX_DEPTH), "")
    if error.code != "no_access_token" or not place:
        return error
    what = f"holds no {rules.token_path}, but {answer.show(place, SHOWN_LENGTH)}"
    return _invalid(answer, error.code, f"{what}; if that is the token, set token_path to it")


def _places(members: Mapping[str, Any], depth: int) -> Iterator[str]:
    """Yield the paths of what is called a token."""
    for name, value in members.items():
        if isinstance(value, str) and value and _TOKEN_NAME.fullmatch(name):
            yield name
        if isinstance(value, dict) and depth and _NAME.fullmatch(name):
            yield from (f"{name}.{rest}" for rest in _places(value, depth - 1))


def _invalid(answer: TokenResponse, code: str, what: str) -> ResponseInvalid:
    return ResponseInvalid(code, f"the server's answer {what}", http_status=answer.status)


def _access_token(answer: TokenResponse, value: object) -> str:
    """Return the value if a header can carry it: visible ASCII.

    RFC 6750 section 2.1 allows less, but real tokens have `^`, `#`, `!` and `:`.
    """
    if isinstance(value, str) and _VISIBLE.fullmatch(value):
        return value
    what = "holds an access_token with characters that no header can carry; ask the provider"
    raise _invalid(answer, "illegal_access_token", what)


def _token_type(answer: TokenResponse, fields: Mapping[str, Any], rules: ResponseRules) -> str:
    """Return "Bearer", or the configured type.

    A token whose type we don't understand must not be used (section 7.1), and one that is bound
    to a key (RFC 9449) is useless to readers, whatever it is called.
    """
    value = fields.get("token_type", fields.get("tokenType"))
    if isinstance(value, str) and value.strip().lower() == "dpop":
        what = "holds a token of type DPoP, which works only with the key that it is bound to"
        cure = "have the provider switch DPoP off for this client"
        raise _invalid(answer, "unsupported_token_type", f"{what}; {cure}")
    if rules.token_type:
        return rules.token_type
    if value in (None, "") or (isinstance(value, str) and value.strip().lower() in _BEARER):
        return "Bearer"
    shown = answer.show(value if isinstance(value, str) else type(value).__name__, SHOWN_LENGTH)
    shown = shown if _WORDS.fullmatch(shown) else "unknown"
    what = f"holds a token of type {shown}; if readers can send it, set token_type to what they put"
    raise _invalid(answer, "unsupported_token_type", f"{what} before it, such as Bearer")


def _scope(value: object, requested: str) -> str:
    """Return the granted scope; an absent one means the requested one (section 5.1)."""
    if isinstance(value, list):
        value = " ".join(item for item in value if isinstance(item, str))
    return printable(value) if isinstance(value, str) and value else requested


def _narrowed(granted: str, requested: str) -> str:
    """Return a note on the scopes that were asked for and not granted (section 3.3)."""
    held = set(re.split(r"[\s,]+", granted))
    missing = [scope for scope in requested.split() if scope not in held]
    return f"the server granted a narrower scope, without {' '.join(missing)}" if missing else ""


def _refresh_in(value: object) -> int | None:
    seconds = number_of(value)
    return int(seconds) if seconds is not None and 1 <= seconds <= TEN_YEARS_S else None


def _extra(members: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: members[name] for name in names if name in members and _storable(members[name])}


def _storable(value: object, depth: int = MAX_EXTRA_DEPTH) -> bool:
    """Tell whether a value can be written as JSON in UTF-8, from any depth of the stack."""
    if isinstance(value, dict):
        return depth > 0 and all(_storable(item, depth - 1) for item in (*value, *value.values()))
    if isinstance(value, list):
        return depth > 0 and all(_storable(item, depth - 1) for item in value)
    return _encodable(value)


def _encodable(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return False
    return True
