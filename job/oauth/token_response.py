"""What came back from the token endpoint, and how its body and its dates are read. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl

from job.core.secret import MASK, Secret, mask

SUCCESS = range(200, 300)
MAX_DIGITS = 20
MAX_FORM_LENGTH = 65_536
MAX_FORM_FIELDS = 100
MAX_NUMBER_LENGTH = 32
BEYOND_FLOATS = 2**1023
SANE_SKEW_S = 86_400.0
"""A server's Date further away than this says nothing about the server's clock."""

_JWT = re.compile(r"eyJ[\w.-]{8,}", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)
_FORM = re.compile(r"(?:[\w.~%+-]+=[^\s<>\"{}&]*&)*(?:access_token|error)=[^\s<>\"{}]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """One HTTP answer. Header names are lower case; `sent_at` is epoch seconds before sending.

    `secrets` are the values of the request that a server may echo; no message ever shows them.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    sent_at: float
    secrets: tuple[Secret, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Tell whether the status is any 2xx: 201 is used for tokens too."""
        return self.status in SUCCESS

    @property
    def dated(self) -> float | None:
        """Return the server's own time by its Date header (RFC 9110 section 6.6.1), if readable."""
        return http_date(self.headers.get("date", ""))

    @property
    def skew_s(self) -> float:
        """Return how far the server's clock is ahead of ours; 0 if the answer can't tell."""
        return self.server_time - self.sent_at

    @property
    def server_time(self) -> float:
        """Return the server's clock when it answered, or ours where the Date can't be trusted.

        A Date with an Age comes from a cache, one that is a day away from nowhere.
        """
        dated = self.dated
        if dated is None or "age" in self.headers or abs(dated - self.sent_at) > SANE_SKEW_S:
            return self.sent_at
        return dated

    def show(self, text: str, limit: int) -> str:
        """Return a text of the server that may stand in a message: masked, printable and short.

        Whatever looks like a JWT is masked, too: it may be an assertion or a token.
        """
        masked = _JWT.sub(MASK, mask(text, self.secrets))
        return printable(masked[: 4 * limit])[:limit]


@dataclass(frozen=True, slots=True)
class ResponseRules:
    """What the configuration says about answers.

    `scope` is the requested one; `lifetime` replaces whatever the server says about it, in
    seconds; `default_lifetime` stands in when it says nothing; `jwt_expiry` lets the `exp` of a
    JWT shorten it; `keep_extra` names the members that are kept beside the token. `token_path` and
    `expiry_path` say where they stand (see `at`), without the latter the usual names are looked
    for; `unit_s` is what a lifetime is counted in, in seconds. `token_type` is stored as the type
    whatever the server calls it. `signed`: the request held an assertion, which has times in it.
    """

    scope: str = ""
    lifetime: int | None = None
    default_lifetime: int = 900
    jwt_expiry: bool = False
    keep_extra: tuple[str, ...] = ()
    token_path: str = "access_token"  # noqa: S105  # a name, not a secret
    expiry_path: str = ""
    unit_s: float = 1.0
    token_type: str = ""
    signed: bool = False


def members_of(body: bytes) -> dict[str, Any] | None:
    """Return the members of a JSON object or of a form, whatever the Content-Type claims, or None.

    An object alone in a list is one, too. A repeated member counts as its last. NaN, infinities
    and integers beyond 20 digits become None: they are JSON to Python only.
    """
    text = body.decode("utf-8-sig", "replace").strip()
    try:
        parsed = json.loads(text, parse_int=_integer, parse_constant=_nothing)
    except (ValueError, RecursionError):
        parsed = _form(text)
    if isinstance(parsed, list) and len(parsed) == 1:
        parsed = parsed[0]
    return parsed if isinstance(parsed, dict) else None


def at(members: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401  # parsed JSON
    """Return what stands at a path such as data.tokens.0.value, or None.

    A number counts the items of a list from 0. A member whose whole name is the path comes first.
    """
    if path in members:
        return members[path]
    found: Any = members
    for name in path.split("."):
        if (
            isinstance(found, list)
            and name.isascii()
            and name.isdigit()
            and len(name) <= MAX_DIGITS
        ):
            found = dict(enumerate(found)).get(int(name))
        else:
            found = found.get(name) if isinstance(found, dict) else None
    return found


def around(members: Mapping[str, Any], path: str) -> tuple[Mapping[str, Any], ...]:
    """Return the members beside a path, then those at the top of the answer."""
    holder = at(members, path.rpartition(".")[0])
    return (holder, members) if isinstance(holder, dict) else (members,)


def number_of(value: object) -> float | None:
    """Return a finite JSON number, or one written as a string, or None."""
    if isinstance(value, str):
        text = value.strip()
        if len(text) > MAX_NUMBER_LENGTH or not _NUMBER.fullmatch(text):
            return None
        return float(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Neither infinity nor NaN passes, nor an integer that no float can hold.
    return float(value) if abs(value) < BEYOND_FLOATS else None


def printable(text: str) -> str:
    """Return the text without control characters and with one space for each white space."""
    spaced = " ".join(text.split())
    return " ".join("".join(filter(str.isprintable, spaced)).split())


def http_date(text: str) -> float | None:
    """Return an HTTP-date (RFC 9110 section 5.6.7) in epoch seconds, or None if it isn't one."""
    try:
        parsed = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= MAX_DIGITS else None


def _nothing(_: str) -> None:
    return None


def _form(text: str) -> dict[str, str] | None:
    """Read a form-encoded answer. A page that merely holds a link is not one."""
    if len(text) > MAX_FORM_LENGTH or not _FORM.fullmatch(text):
        return None
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS))
    except ValueError:
        return None
