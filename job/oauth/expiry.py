"""How long a token lives: which of the server's claims is believed. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from job.core.errors import ResponseInvalid
from job.core.json_object import claims_of
from job.core.tokens import Token
from job.oauth.error_response import error_response_of
from job.oauth.token_response import (
    ResponseRules,
    TokenResponse,
    around,
    at,
    http_date,
    members_of,
    number_of,
)

ExpirySource = Literal["lifetime", "expires_in", "expires_at", "introspection", "jwt", "default"]

TEN_YEARS_S = 315_360_000
FIRST_MILLISECONDS = 100_000_000_000
"""As seconds this is the year 5138: an instant from here on is in milliseconds."""

# These are a lifetime with some servers and an instant with others: the size tells.
_EITHER = """
    expires expire expiration expiry expires_time expire_time expireTime expiry_time expiryTime
    expirationTime
"""
_RELATIVE = """
    expires_in expiresIn expire_in expireIn expires_in_seconds expiresInSeconds
    access_token_validity
"""
EITHER = tuple(_EITHER.split())
RELATIVE = (*_RELATIVE.split(), *EITHER)
ABSOLUTE = ("expires_at", "expiresAt", "expires_on", "expiresOn", *EITHER)


class TokenLifetime(NamedTuple):
    """The believed lifetime in seconds, at least 1, and where it comes from."""

    seconds: float
    source: ExpirySource


def lifetime_of(
    token: str, members: Mapping[str, Any], answer: TokenResponse, rules: ResponseRules
) -> TokenLifetime:
    """Return the lifetime of a token from the moment before its request was sent.

    The order of trust: the configured `lifetime`; a relative field (RFC 6749 section 5.1), which
    no clock can falsify; an absolute field, measured by the server's clock; `default_lifetime`.
    The `exp` of a JWT, where asked for, only ever shortens the first three, or stands in for
    them. A claim that is not a number, or over ten years, is skipped. A configured `expiry_path` is
    the only field that counts; its size tells a lifetime from an instant. Raises ResponseInvalid
    when a believable claim says that the token has already expired.
    """
    if rules.lifetime is None:
        stated = _stated(members, answer, rules)
    else:
        stated = TokenLifetime(rules.lifetime, "lifetime")
    claims = (stated, _jwt(token, answer) if rules.jwt_expiry else None)
    return min(filter(None, claims), default=TokenLifetime(rules.default_lifetime, "default"))


def remaining(value: object, answer: TokenResponse) -> float | None:
    """Return the seconds from an answer to an instant in it, by the server's clock, at least 1.

    None if it is not an instant, or over ten years away; raises ResponseInvalid if it has passed.
    """
    instant = _instant(value)
    if instant is None or instant - answer.server_time > TEN_YEARS_S:
        return None
    seconds = instant - answer.server_time
    if seconds < 1:
        raise ResponseInvalid(
            "already_expired",
            "the server says that the token has already expired, so it is not published; "
            "check this machine's clock, or set `lifetime` if the server is wrong",
        )
    return seconds


def introspected(token: Token, answer: TokenResponse) -> Token:
    """Return the token with the expiry that an introspection answer gives (RFC 7662 section 2.2).

    Raises ExchangeError for an answer without one, or that calls the token inactive: servers also
    say that to a client that may not ask.
    """
    members = members_of(answer.body) or {}
    if not answer.succeeded:
        raise error_response_of(answer, members)
    seconds = remaining(members.get("exp"), answer)
    if members.get("active") is not True or seconds is None:
        raise ResponseInvalid(
            "no_expiry",
            "introspection does not tell when the token expires; check introspection_url, and "
            "whether the client may introspect its tokens",
            http_status=answer.status,
        )
    expires_at = math.floor(answer.sent_at + seconds)
    return replace(token, expires_at=expires_at, expiry_source="introspection")


def _stated(
    members: Mapping[str, Any], answer: TokenResponse, rules: ResponseRules
) -> TokenLifetime | None:
    """Return the lifetime that the answer states, beside the token or at its top."""
    layers = around(members, rules.token_path)
    if rules.expiry_path:
        layers = ({EITHER[0]: at(members, rules.expiry_path)},)
    lives = (_relative(layer, rules.unit_s) or _absolute(layer, answer) for layer in layers)
    return next(filter(None, lives), None)


def _relative(members: Mapping[str, Any], unit_s: float) -> TokenLifetime | None:
    for value in _values(members, RELATIVE):
        count = number_of(value)
        if count is None or count * unit_s > TEN_YEARS_S:
            continue
        seconds = count * unit_s
        if seconds < 1:
            raise ResponseInvalid(
                "expires_in_not_positive",
                f"the server gives the token a life of {seconds:g} s, so it is not published; "
                "if this provider means that it never expires, set `lifetime`",
            )
        return TokenLifetime(seconds, "expires_in")
    return None


def _absolute(members: Mapping[str, Any], answer: TokenResponse) -> TokenLifetime | None:
    for value in _values(members, ABSOLUTE):
        seconds = remaining(value, answer)
        if seconds is not None:
            return TokenLifetime(seconds, "expires_at")
    return None


def _jwt(token: str, answer: TokenResponse) -> TokenLifetime | None:
    """Read `exp` (RFC 7519 section 4.1.4) without verifying it: only the lifetime matters here."""
    seconds = remaining((claims_of(token) or {}).get("exp"), answer)
    return None if seconds is None else TokenLifetime(seconds, "jwt")


def _values(members: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[Any]:
    return (members[name] for name in names if name in members)


def _instant(value: object) -> float | None:
    """Return epoch seconds from epoch seconds, epoch milliseconds, ISO 8601 or an HTTP-date."""
    number = number_of(value)
    if number is None:
        return _iso_8601(value) or http_date(value) if isinstance(value, str) else None
    if number <= TEN_YEARS_S:
        return None  # a length of time in the wrong field, or a zero that means nothing
    return number / 1000 if number >= FIRST_MILLISECONDS else number


def _iso_8601(text: str) -> float | None:
    try:
        parsed = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
