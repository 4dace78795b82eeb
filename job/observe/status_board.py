"""What is known of every token now, for the page, the metrics and the probes. No I/O.

The state of a token and its sinks comes from the refreshers; recent attempts, and the messages of
failures, come from the events.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from job.core import events, state
from job.core.clock import Clock, Moment
from job.core.refresher import Refresher
from job.core.state import Delivery, State
from job.observe.status import Attempt, RefresherStatus, SinkStatus, Trouble, state_of, whole

KEPT_ATTEMPTS = 50
FAILURES = (events.TokenRefreshFailed, events.TokenDeliveryFailed)
BEGINNINGS = (
    events.TokenAdopted,
    events.TokenRefreshed,
    events.TokenUnchanged,
    events.TokenDelivered,
    events.TokenAtRisk,
    events.TokenExpired,
    *FAILURES,
)
"""Events with which a state begins; of consecutive failures, the first."""


@dataclass(slots=True)
class _Lately:
    """What is known from events of one token, whose present state began with `event` at `since`."""

    attempts: deque[Attempt] = field(default_factory=lambda: deque(maxlen=KEPT_ATTEMPTS))
    trouble: Trouble | None = None
    of_sinks: dict[str, Trouble] = field(default_factory=dict)
    event: str | None = None
    since: int | None = None


class StatusBoard:
    """Remembers events, and reads the refreshers when asked. Thread-safe."""

    def __init__(
        self,
        refreshers: Callable[[], Mapping[str, Refresher]],
        provider_of: Callable[[str], str],
        clock: Clock,
    ) -> None:
        """Start empty; `refreshers` gives those in force, by the names of tokens."""
        self._refreshers = refreshers
        self._provider_of = provider_of
        self._clock = clock
        self._lately: dict[str, _Lately] = {}
        self._lock = threading.Lock()

    def observe(self, event: events.Event) -> None:
        """Take note of an event."""
        if isinstance(event, events.TokenEvent):
            with self._lock:
                _note(self._lately.setdefault(event.token, _Lately()), event, self._clock())

    def statuses(self) -> list[RefresherStatus]:
        """Return every token, in the order of the configuration."""
        now = self._clock()
        return [self._status(refresher, now) for refresher in self._refreshers().values()]

    def _status(self, refresher: Refresher, now: Moment) -> RefresherStatus:
        known = refresher.known
        with self._lock:
            seen = self._lately.get(refresher.name, _Lately())
            lately = replace(seen, of_sinks=dict(seen.of_sinks), attempts=seen.attempts.copy())
        token = known.record.token if known.record else None
        deliveries = zip(refresher.labels, known.deliveries, strict=True)
        return RefresherStatus(
            name=refresher.name,
            provider=self._provider_of(refresher.name),
            event=lately.event,
            obtained_at=token.requested_at if token else None,
            ends_at=token.expires_at if token else None,
            refresh_at=int(state.exchange_at(known, now)),
            promise_at=whole(state.readers_until(known)[1]),
            min_validity_s=int(refresher.plan.policy.min_validity),
            fingerprint=known.record.receipt.fingerprint if known.record else None,
            failures=known.failures,
            trouble=lately.trouble,
            sinks=tuple(_sink(*each, known, now, lately) for each in deliveries),
            attempts=tuple(lately.attempts),
        )


def _sink(label: str, delivery: Delivery, known: State, now: Moment, lately: _Lately) -> SinkStatus:
    record, held = known.record, known.record if delivery.held else None
    receipt = held.receipt if held else delivery.left
    word, since = state_of(
        now.seen_from(known.anchor),
        expires_at=delivery.expires_at,
        risk_at=delivery.risk_at,
        due_at=known.due_at,
        held=delivery.held,
        obtained_at=record.token.requested_at if record else None,
    )
    if word == "missing":
        since = lately.since
        word = word if record or known.failures or delivery.failures else "unknown"
    waits = delivery.retry_at > now.boot
    return SinkStatus(
        label,
        word,
        whole(delivery.expires_at),
        since,
        obtained_at=held.token.requested_at if held else None,
        refresh_at=int(known.due_at) if held else None,
        fingerprint=receipt.fingerprint if receipt else None,
        held=delivery.held,
        failures=delivery.failures,
        retry_at=int(state.over_at(known, delivery.retry_at, now)) if waits else None,
        trouble=lately.of_sinks.get(label),
    )


def _note(lately: _Lately, event: events.TokenEvent, now: Moment) -> None:
    """Remember an event, and forget the trouble that it ends."""
    at = int(now.wall)
    goes_on = isinstance(event, FAILURES) and bool(lately.trouble or lately.of_sinks)
    if isinstance(event, BEGINNINGS) and not goes_on:
        lately.event, lately.since = event.name, at
    match event:
        case events.TokenRefreshed():
            life_s = event.expires_at - at
            lately.attempts.append(Attempt(at, "ok", event.exchange_ms, life_s))
            lately.trouble = None
        case events.TokenUnchanged():
            lately.attempts.append(Attempt(at, "unchanged"))
            lately.trouble = None
        case events.TokenRefreshFailed():
            lately.attempts.append(Attempt(at, event.code))
            lately.trouble = Trouble(at, event.code, event.message)
        case events.TokenDeliveryFailed():
            lately.of_sinks[event.sink] = Trouble(at, event.code, event.message)
        case events.TokenDelivered():
            lately.of_sinks.pop(event.sink, None)
        case events.TokenAdopted():
            lately.trouble = None
            lately.of_sinks.clear()
        case _:
            pass
