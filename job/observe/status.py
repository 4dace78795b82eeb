"""The status of a token: one model for page, terminal, /status.json, metrics and demo. Pure.

Times are epoch seconds, None if unknown. Marks and words repeat what colours say, for people who
can't tell them apart.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from job.core.text import duration

TokenState = Literal["current", "due", "at_risk", "expired", "missing", "unreadable", "unknown"]
"""`due` is past its refresh time or waits for a newer token, `at_risk` has less than the promise
left; a sink that is `missing` holds no token, one that is `unknown` has not been read yet."""

OK, WARNING, CRITICAL = 0, 1, 2
"""Severities, as monitoring plugins have them."""


class StateMeaning(NamedTuple):
    """What a state means to people."""

    mark: str
    word: str
    severity: int
    needs_people: bool = False


STATES: Mapping[TokenState, StateMeaning] = {
    "expired": StateMeaning("✖", "expired", CRITICAL, needs_people=True),
    "missing": StateMeaning("✖", "missing", CRITICAL, needs_people=True),
    "unreadable": StateMeaning("✖", "unreadable", CRITICAL, needs_people=True),
    "at_risk": StateMeaning("▲", "at risk", WARNING, needs_people=True),
    "unknown": StateMeaning("○", "not looked at yet", CRITICAL),
    "due": StateMeaning("◐", "refresh is due", WARNING),
    "current": StateMeaning("●", "good", OK),
}
"""Every state, the worst first."""
VALID: frozenset[TokenState] = frozenset({"current", "due", "at_risk"})


@dataclass(frozen=True, slots=True)
class Trouble:
    """A problem that has not been solved yet; `at` is when it was last seen."""

    at: int
    code: str
    message: str

    @property
    def cause(self) -> str:
        """Return what is wrong, and where."""
        return self.message.partition("; ")[0]

    @property
    def cure(self) -> str:
        """Return what to do; empty where the cause says it."""
        return self.message.partition("; ")[2]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One exchange: when, its outcome (`ok`, `unchanged` or a failure's code), how long it took."""

    at: int
    outcome: str
    exchange_ms: int | None = None
    life_s: int | None = None


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """What the readers of one sink have, in a state that began at `since`.

    `held` tells whether the sink holds the token that belongs there; `refresh_at` is when the one
    that it holds is to be replaced. `retry_at` and `trouble` are None while all is well.
    """

    label: str
    state: TokenState
    expires_at: int | None = None
    since: int | None = None
    obtained_at: int | None = None
    refresh_at: int | None = None
    fingerprint: str | None = None
    held: bool = False
    failures: int = 0
    retry_at: int | None = None
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStatus:
    """What the readers of one token have; `failures` and `trouble` are those of its exchanges."""

    name: str
    sinks: tuple[SinkStatus, ...]
    failures: int = 0
    trouble: Trouble | None = None

    @property
    def state(self) -> TokenState:
        """Return the state of the worst sink."""
        return min((sink.state for sink in self.sinks), key=_badness)

    @property
    def since(self) -> int | None:
        """Return when that state began."""
        return _first(sink.since for sink in self.sinks if sink.state == self.state)

    @property
    def expires_at(self) -> int | None:
        """Return when the first reader is left with an expired token."""
        return _first(sink.expires_at for sink in self.sinks)

    @property
    def ready(self) -> bool:
        """Tell whether every sink has a valid token."""
        return self.state in VALID

    @property
    def troubles(self) -> list[tuple[str, TokenState, Trouble]]:
        """Return the trouble of the exchanges, labelled "", and that of each sink, by its label."""
        own = [("", self.state, self.trouble)] if self.trouble else []
        sinks = worst_first(self.sinks)
        return own + [(sink.label, sink.state, sink.trouble) for sink in sinks if sink.trouble]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefresherStatus(TokenStatus):
    """What the process that refreshes a token knows besides.

    The present state began with the event named `event`. `obtained_at`, `ends_at` (its expiry) and
    `fingerprint` belong to the token in hand; from `promise_at` on readers are at risk. `provider`
    is empty if the configuration names none.
    """

    provider: str
    event: str | None
    obtained_at: int | None
    ends_at: int | None
    refresh_at: int
    promise_at: int | None
    min_validity_s: int
    fingerprint: str | None
    attempts: tuple[Attempt, ...]


def state_of(
    now: float,
    *,
    expires_at: float | None,
    risk_at: float | None,
    due_at: float,
    held: bool,
    obtained_at: float | None,
) -> tuple[TokenState, int | None]:
    """Return the state of a sink that holds such a token, and when that began.

    `held` is false where another token belongs there; that one was obtained at `obtained_at`.
    """
    if expires_at is None:
        return "missing", None
    if now >= expires_at:
        return "expired", int(expires_at)
    if risk_at is not None and now >= risk_at:
        return "at_risk", int(risk_at)
    if now >= due_at:
        return "due", int(due_at)
    return "current" if held else "due", whole(obtained_at)


def whole(moment: float | None) -> int | None:
    """Return a moment in whole seconds."""
    return None if moment is None else int(moment)


Ranked = TypeVar("Ranked", bound=TokenStatus | SinkStatus)


def worst_first(found: Iterable[Ranked]) -> list[Ranked]:
    """Return tokens, or sinks, by badness of state, then by soonest expiry."""
    return sorted(found, key=lambda one: (_badness(one.state), one.expires_at or float("inf")))


def severity(tokens: Iterable[TokenStatus]) -> int:
    """Return the worst severity of all sinks, CRITICAL if there are none."""
    found = (STATES[sink.state].severity for token in tokens for sink in token.sinks)
    return max(found, default=CRITICAL)


def headline(
    tokens: Sequence[TokenStatus],
    now: float,
    left: Callable[[float, float], str] = lambda at, now: duration(at - now),
) -> tuple[str, TokenState]:
    """Return the sentence that sums up all tokens, and the state whose mark it bears.

    `left` formats the time from now to a moment.
    """
    states, count = [token.state for token in tokens], len(tokens)
    of_all = f"of {count} token{'s'[: count - 1]}"
    if bad := [state for state in states if STATES[state].needs_people]:
        verb = "needs" if len(bad) == 1 else "need"
        return f"{len(bad)} {of_all} {verb} you", min(bad, key=_badness)
    if "unknown" in states:
        return "The sinks are being read", "unknown"
    if failing := sum(token.failures > 0 for token in tokens):
        return f"Every token is good, but {failing} {of_all} can't be refreshed", "due"
    if late := sum(token.state == "due" and bool(token.troubles) for token in tokens):
        verb = "waits" if late == 1 else "wait"
        return f"Every token is good, but {late} {of_all} {verb} for a refresh", "due"
    first = _first(token.expires_at for token in tokens) or 0
    return f"Every token is good, for at least {left(first, now)}", "current"


def _badness(state: TokenState) -> int:
    return list(STATES).index(state)


def _first(moments: Iterable[int | None]) -> int | None:
    return min((moment for moment in moments if moment is not None), default=None)
