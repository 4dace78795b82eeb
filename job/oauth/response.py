"""Pure: the bytes of an answer become a Token or a typed refusal, with every provider's oddity."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from job.errors import ResponseInvalid
from job.oauth.answer import Answer, AnswerRules, members_of, number_of, printable
from job.oauth.expiry import TEN_YEARS_S, life_of
from job.oauth.refusal import refusal_of
from job.secret import Secret
from job.tokens import Token

MAX_EXTRA_DEPTH = 8
SHOWN_LENGTH = 40

# eBay says "Application Access Token"; Amazon and Apigee have said "BearerToken".
_BEARER = frozenset({"bearer", "bearertoken", "application access token"})
_VISIBLE = re.compile(r"[!-~]+")
_WORDS = re.compile(r"[A-Za-z_:* -]+")
"""A token that stands where its type belongs has digits, as a rule, and is not shown."""


def token_of(answer: Answer, rules: AnswerRules) -> Token:
    """Return the token of an answer (RFC 6749 section 5.1).

    Raises EndpointUnavailable, RequestRejected or ResponseInvalid, and nothing else, whatever
    the bytes. An answer that names an error is one, even with a token and HTTP 200. Members that
    we don't know, and a refresh token, are ignored.
    """
    members = members_of(answer.body)
    answer = _guarded(answer, members)
    if not answer.succeeded or (members or {}).get("error"):
        raise refusal_of(answer, members)
    if members is None:
        raise _invalid(answer, "unreadable_answer", "is no JSON object; check token_url")
    if members.get("access_token") in (None, ""):
        raise refusal_of(answer, members)
    value = _access_token(answer, members["access_token"])
    life = life_of(value, members, answer, rules)
    return Token(
        access_token=Secret(value),
        token_type=_token_type(answer, members.get("token_type")),
        scope=_scope(members.get("scope"), rules.scope),
        requested_at=math.floor(answer.sent_at),
        expires_at=math.floor(answer.sent_at + life.seconds),
        expiry_source=life.source,
        refresh_in=_refresh_in(members.get("refresh_in")),
        extra=_extra(members, rules.keep_extra),
    )


def _guarded(answer: Answer, members: Mapping[str, Any] | None) -> Answer:
    """Return the answer with its own token among what no message shows."""
    value = (members or {}).get("access_token")
    known = (Secret(value),) if isinstance(value, str) else ()
    return replace(answer, secrets=(*answer.secrets, *known))


def _invalid(answer: Answer, code: str, what: str) -> ResponseInvalid:
    return ResponseInvalid(code, f"the server's answer {what}", http_status=answer.status)


def _access_token(answer: Answer, value: object) -> str:
    """Return the value if a header can carry it: visible ASCII.

    RFC 6750 section 2.1 allows less, but real tokens have `^`, `#`, `!` and `:`.
    """
    if isinstance(value, str) and _VISIBLE.fullmatch(value):
        return value
    what = "holds an access_token with characters that no header can carry; ask the provider"
    raise _invalid(answer, "illegal_access_token", what)


def _token_type(answer: Answer, value: object) -> str:
    """Return "Bearer": a token whose type we don't understand must not be used (section 7.1)."""
    if value in (None, "") or (isinstance(value, str) and value.lower() in _BEARER):
        return "Bearer"
    shown = answer.show(value if isinstance(value, str) else type(value).__name__, SHOWN_LENGTH)
    shown = shown if _WORDS.fullmatch(shown) else "unknown"
    what = f"holds a token of type {shown}; ask the provider for Bearer tokens for this client"
    raise _invalid(answer, "unsupported_token_type", what)


def _scope(value: object, requested: str) -> str:
    """Return the granted scope; an absent one means the requested one (section 5.1)."""
    if isinstance(value, list):
        value = " ".join(item for item in value if isinstance(item, str))
    return printable(value) if isinstance(value, str) and value else requested


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
