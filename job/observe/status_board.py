"""What is known of every token now, for the page, the metrics and the probes: one look, no I/O.

What a token and its sinks are comes from the refreshers' own state; what happened lately, and in
which words it failed, comes from the events.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from job.core import state
from job.core.clock import Clock, Moment
from job.core.events import (
    Event,
    TokenAdopted,
    TokenDelivered,
    TokenDeliveryFailed,
    TokenEvent,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenUnchanged,
)
from job.core.refresher import Refresher
from job.core.state import Delivery, State

TokenState = Literal["current", "due", "at_risk", "expired", "missing", "unknown"]
"""From best to worst but for the last: `due` is past its refresh time and valid, `at_risk` has less
than the promise left, `missing` means that a sink holds none, `unknown` that none was read yet."""

WORST_FIRST: tuple[TokenState, ...] = (
    "expired",
    "missing",
    "at_risk",
    "unknown",
    "due",
    "current",
)
KEPT_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong last, and is not mended yet; `at` in epoch seconds."""

    at: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One exchange: when, how it went (a failure's code, `ok` or `unchanged`), how long it took."""

    at: int
    outcome: str
    exchange_ms: int | None = None
    life_s: int | None = None


@dataclass(frozen=True, slots=True)
class SinkView:
    """How readers of one sink fare. `retry_at` and `trouble` are None while all is well."""

    label: str
    state: TokenState
    expires_at: int | None
    held: bool
    failures: int
    retry_at: int | None
    trouble: Trouble | None


@dataclass(frozen=True, slots=True)
class TokenView:
    """How one token fares; times in epoch seconds, None where nothing is known.

    `state` is that of the worst sink. `expires_at` is the earliest expiry that readers have,
    `promise_at` when they are at risk; `obtained_at`, `ends_at` (its expiry) and `fingerprint`
    belong to the token in hand. `provider` is empty for one of the operator's own.
    """

    name: str
    provider: str
    state: TokenState
    obtained_at: int | None
    ends_at: int | None
    expires_at: int | None
    refresh_at: int
    promise_at: int | None
    min_validity_s: int
    fingerprint: str | None
    failures: int
    trouble: Trouble | None
    sinks: tuple[SinkView, ...]
    attempts: tuple[Attempt, ...]

    @property
    def ready(self) -> bool:
        """Tell whether every sink has a valid token."""
        return self.state in {"current", "due", "at_risk"}


@dataclass(slots=True)
class _Lately:
    """What events have told of one token; the trouble of a sink by its label."""

    attempts: deque[Attempt] = field(default_factory=lambda: deque(maxlen=KEPT_ATTEMPTS))
    trouble: Trouble | None = None
    of_sinks: dict[str, Trouble] = field(default_factory=dict)


class StatusBoard:
    """Holds what events have told, and looks at the refreshers when asked. Thread-safe."""

    def __init__(
        self,
        refreshers: Callable[[], Mapping[str, Refresher]],
        provider_of: Callable[[str], str],
        clock: Clock,
    ) -> None:
        """Know of no event yet; `refreshers` gives those in force, by the names of tokens."""
        self._refreshers = refreshers
        self._provider_of = provider_of
        self._clock = clock
        self._lately: dict[str, _Lately] = {}
        self._lock = threading.Lock()

    def observe(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, TokenEvent):
            with self._lock:
                _note(self._lately.setdefault(event.token, _Lately()), event, self._clock())

    def views(self) -> list[TokenView]:
        """Return every token, in the order of the configuration."""
        now = self._clock()
        return [self._view(refresher, now) for refresher in self._refreshers().values()]

    def _view(self, refresher: Refresher, now: Moment) -> TokenView:
        known = refresher.known
        with self._lock:
            lately = self._lately.get(refresher.name, _Lately())
            trouble, attempts = lately.trouble, tuple(lately.attempts)
            of_sinks = dict(lately.of_sinks)
        sinks = tuple(
            _sink(label, delivery, known, now, of_sinks.get(label))
            for label, delivery in zip(refresher.labels, known.deliveries, strict=True)
        )
        expires_at, promise_at = state.readers_until(known)
        return TokenView(
            refresher.name,
            self._provider_of(refresher.name),
            min((sink.state for sink in sinks), key=WORST_FIRST.index),
            known.record.token.requested_at if known.record else None,
            known.record.token.expires_at if known.record else None,
            _whole(expires_at),
            int(state.exchange_at(known, now)),
            _whole(promise_at),
            int(refresher.policy.min_validity),
            known.record.receipt.fingerprint if known.record else None,
            known.failures,
            trouble,
            sinks,
            attempts,
        )


def worst_first(views: list[TokenView]) -> list[TokenView]:
    """Return the views in the order in which a person on call wants to see them."""
    never = float("inf")

    def rank(view: TokenView) -> tuple[int, float]:
        return WORST_FIRST.index(view.state), never if view.expires_at is None else view.expires_at

    return sorted(views, key=rank)


def _sink(
    label: str, delivery: Delivery, known: State, now: Moment, trouble: Trouble | None
) -> SinkView:
    waits = delivery.retry_at > now.boot
    return SinkView(
        label,
        _state_of(delivery, known, now),
        _whole(delivery.expires_at),
        delivery.held,
        delivery.failures,
        int(state.over_at(known, delivery.retry_at, now)) if waits else None,
        trouble,
    )


def _state_of(delivery: Delivery, known: State, now: Moment) -> TokenState:
    t = now.seen_from(known.anchor)
    if delivery.expires_at is None:
        return "missing" if known.record or known.failures or delivery.failures else "unknown"
    if t >= delivery.expires_at:
        return "expired"
    if delivery.risk_at is not None and t >= delivery.risk_at:
        return "at_risk"
    return "due" if not delivery.held or t >= known.due_at else "current"


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)


def _note(lately: _Lately, event: TokenEvent, now: Moment) -> None:
    """Remember what an event tells, and forget the trouble that it ends."""
    at = int(now.wall)
    match event:
        case TokenRefreshed():
            life_s = event.expires_at - at
            lately.attempts.append(Attempt(at, "ok", event.exchange_ms, life_s))
            lately.trouble = None
        case TokenUnchanged():
            lately.attempts.append(Attempt(at, "unchanged"))
            lately.trouble = None
        case TokenRefreshFailed():
            lately.attempts.append(Attempt(at, event.code))
            lately.trouble = Trouble(at, event.code, event.message)
        case TokenDeliveryFailed():
            lately.of_sinks[event.sink] = Trouble(at, event.code, event.message)
        case TokenDelivered():
            lately.of_sinks.pop(event.sink, None)
        case TokenAdopted():
            lately.trouble = None
            lately.of_sinks.clear()
        case _:
            pass
