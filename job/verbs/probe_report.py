"""What two answers of a token endpoint show, and which settings follow from that. Pure."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from job.config.checks import place_of
from job.config.settings import CommonSettings, TokenSettings
from job.core.secret import mask
from job.core.text import DAY_S, duration, entry, wrapped
from job.core.tokens import Token
from job.oauth.expiry import lifetime_of
from job.oauth.token_response import (
    ResponseRules,
    TokenResponse,
    at,
    members_of,
    number_of,
    printable,
)

LONG_LIFE_S = 8 * DAY_S
SHORTER_S = 60
"""A JWT is believed if it expires at least this much before the time that its answer gives."""
SHOWN = 200
MAX_DEPTH = 4
THOUSAND = 1000
MAYBE_MS = 100_000
DEAD = "the token that readers have is dead from then on, until `freshtoken once {} --force`."
KILLS: Mapping[str, str] = {
    "independent": f"If a new token kills the one before here, {DEAD}",
    "revokes_previous": f"A new token kills the one before here, as reissue says: {DEAD}",
    "same_until_expiry": f"It should get the same one twice, as reissue says; if not, {DEAD}",
}
UNTOLD = (
    "the answer doesn't say how long the token lives: find it out, and set it; or set "
    "introspection_url or, for a JWT, jwt_expiry"
)
TELLS_A_LIFE = re.compile(r"expir|expires|valid|ttl|lifetime", re.IGNORECASE)
BARE_PATH = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One exchange: the answer, and the token that was read from it."""

    answer: TokenResponse
    token: Token


@dataclass(frozen=True, slots=True)
class Survival:
    """Whether the first token works after the second was issued (None: unknown), and the proof."""

    works: bool | None
    how: str


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What was seen. Nothing in it is secret."""

    auth_method: str
    life_s: int
    expiry_source: str
    same_token: bool
    first_works: bool | None
    how: str
    skew_s: int | None
    token_type: str
    asked_scope: str
    scope: str
    members: tuple[str, ...]
    settings: Mapping[str, Any]
    notes: tuple[str, ...]

    def lines(self, name: str) -> Iterator[str]:
        """Yield the lines for people: what was seen, and what to do with a token of this name."""
        for head, text in self._entries():
            yield entry(head, text)
        yield ""
        if self.settings:
            yield f"Add to {place_of(name)}:"
            yield ""
            yield from (f"{key} = {json.dumps(value)}" for key, value in self.settings.items())
        else:
            yield "Nothing has to be added to the configuration."
        if not self.same_token and not self.first_works:
            may = "may have" if self.first_works is None else "have"
            yield ""
            yield wrapped(f"Readers {may} a dead token now: freshtoken once {name} --force", "", "")

    def _entries(self) -> Iterator[tuple[str, str]]:
        yield "auth method", f"{self.auth_method} was accepted"
        life = duration(self.life_s)
        yield "token life", f"{life} ({self.life_s} s, by {self.expiry_source})"
        yield "second token", "the same one again" if self.same_token else "another one"
        works = {True: "still works", False: "is dead now", None: "unknown"}
        yield "first token", f"{works[self.first_works]} ({self.how})"
        yield "clock", self._clock()
        yield "scope", self._scope()
        yield "answer holds", ", ".join(self.members)
        for note in self.notes:
            yield "note", note

    def _clock(self) -> str:
        if self.skew_s is None:
            return "the answer has no date to compare with"
        if abs(self.skew_s) <= 1:
            return "this machine's is the same as the server's"
        side = "behind" if self.skew_s > 0 else "ahead of"
        return f"this machine's is {duration(abs(self.skew_s))} {side} the server's"

    def _scope(self) -> str:
        if self.scope == self.asked_scope:
            return self.scope or "none was requested, and the answer names none"
        return f"{self.scope} (asked for: {self.asked_scope or 'none'})"


def warning(name: str, settings: TokenSettings) -> str:
    """Return what a person has to know before any request is sent."""
    host = urlsplit(settings.token_url or settings.issuer or "").hostname or "the server"
    text = f"This asks {host} for two tokens, with the client of {name}, and writes neither."
    text += " " + KILLS[settings.reissue].format(name)
    if settings.max_exchanges:
        text += f" It takes two of {settings.max_exchanges.text} exchanges."
    return wrapped(text, "", "")


def report(
    first: Exchanged,
    second: Exchanged,
    survival: Survival,
    settings: CommonSettings,
    rules: ResponseRules,
) -> ProbeReport:
    """Return what two exchanges, one after the other, show of a token endpoint."""
    same = first.token.access_token == second.token.access_token
    members = members_of(first.answer.body) or {}
    show = _sanitizer(first, second)
    found = tuple(map(show, _members(members)))
    dated = first.answer.dated is not None and "age" not in first.answer.headers
    advice = [
        _reissue(same, survival.works, settings),
        _life(first, rules, members, found),
        _long_life(first.token, settings),
    ]
    return ProbeReport(
        settings.auth_method,
        first.token.lifetime,
        first.token.expiry_source,
        same,
        True if same else survival.works,
        "there is only one" if same else survival.how,
        round(first.answer.skew_s) if dated else None,
        first.token.token_type,
        rules.scope,
        show(first.token.scope),
        found,
        {key: value for given, _ in advice for key, value in given.items()},
        tuple(note for _, notes in advice for note in notes),
    )


Advice = tuple[dict[str, Any], list[str]]
"""Settings to add, and notes."""


def _reissue(same: bool, works: bool | None, settings: CommonSettings) -> Advice:  # noqa: FBT001  # two answers
    """Return what a new token does to the previous one, unless the configuration says so."""
    if same and settings.fresh_window is None:
        note = (
            "with same_until_expiry the token is renewed just after its expiry; if the provider "
            "says that a new one comes in the last minutes of the old, set fresh_window instead"
        )
        return _other("same_until_expiry", settings), [note]
    if same:
        return {}, []
    if works is None:
        note = "set probe_url to a URL of the API that any token may GET, to know whether it works"
        return {}, [note]
    return _other("independent" if works else "revokes_previous", settings), []


def _other(reissue: str, settings: CommonSettings) -> dict[str, Any]:
    return {} if settings.reissue == reissue else {"reissue": reissue}


def _life(
    first: Exchanged, rules: ResponseRules, members: Mapping[str, Any], found: tuple[str, ...]
) -> Advice:
    """Return the settings by which the lifetime is found, if it was not, or is stated twice."""
    token = first.token
    if token.expiry_source == "default":
        named = filter(TELLS_A_LIFE.search, found)
        likely = [path for path in named if number_of(at(members, path)) is not None]
        if len(likely) == 1 and BARE_PATH.fullmatch(likely[0]):
            return {"expiry_path": likely[0]}, []
        return {"default_lifetime": f"{token.lifetime}s"}, [UNTOLD]
    value = token.access_token.reveal()
    by_jwt = lifetime_of(value, members, first.answer, replace(rules, jwt_expiry=True))
    if by_jwt.source == "jwt" and token.lifetime - by_jwt.seconds > SHORTER_S:
        return {"jwt_expiry": True}, [f"the token itself says that it lives {by_jwt.seconds:.0f} s"]
    if rules.unit_s == 1 and token.lifetime >= MAYBE_MS and token.lifetime % THOUSAND == 0:
        note = "if the provider counts in milliseconds, set expiry_unit"
        return {}, [f'{duration(token.lifetime)} is long: {note} = "ms"']
    return {}, []


def _long_life(token: Token, settings: CommonSettings) -> Advice:
    if token.lifetime < LONG_LIFE_S or settings.max_age is not None:
        return {}, []
    return {"max_age": "7d"}, ["a token that is renewed each week shows early that it was revoked"]


def _members(value: object, path: str = "", depth: int = MAX_DEPTH) -> Iterator[str]:
    """Yield the paths of an answer's members, never their values."""
    for name, member in value.items() if isinstance(value, dict) else ():
        if isinstance(member, dict) and member and depth:
            yield from _members(member, f"{path}{name}.", depth - 1)
        else:
            yield f"{path}{name}"


def _sanitizer(first: Exchanged, second: Exchanged) -> Callable[[str], str]:
    """Return a function that makes a text of the server safe to show: masked, printable, short."""
    tokens = (first.token.access_token, second.token.access_token)
    known = (*first.answer.secrets, *second.answer.secrets, *tokens)
    return lambda text: printable(mask(text, known))[:SHOWN]
