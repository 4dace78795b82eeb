"""One token kept current: ask the schedule, fetch, write, report. The only mutable state."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import KW_ONLY, dataclass, field

from job.core import events, state, transitions
from job.core.clock import Clock, Moment
from job.core.errors import ExchangeError, SinkError, SinkRejected
from job.core.events import Event
from job.core.memo import memo_of, recalled
from job.core.ports import Deferred, Limit, Memory, Sink, Superseded, TokenSource, unlimited
from job.core.schedule import Plan, broken_promise
from job.core.secret import Secret
from job.core.state import Action, Alarm, State
from job.core.tokens import Record, Token, record_of


@dataclass(slots=True, eq=False, repr=False)
class Refresher:
    """Keeps one token current in all its sinks.

    `step` does what is due and returns what happened; it never raises a JobError. One thread at a
    time may call it; refreshers share nothing with each other. A new one knows no more than its
    `memory` does: the first step reads the sinks.
    """

    name: str
    source: TokenSource
    sinks: Sequence[Sink]
    plan: Plan
    request_key: str
    clock: Clock
    _: KW_ONLY
    limit: Limit = unlimited
    memory: Memory | None = None
    _state: State = field(init=False)
    _is_deferred: bool = field(init=False, default=False)
    _outcome: list[Event] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Recall what was known of this token."""
        self._state = state.start(self.clock(), len(self.sinks))
        if self.memory and (memo := self.memory.load(self.name)):
            self._state = recalled(self._state, self.labels, memo)

    def step(self, *, force: bool = False) -> tuple[Event, ...]:
        """Do what is due now and return the events; `force` makes an exchange due."""
        self._outcome = []
        if force:
            self._state = transitions.forced(self._state, self.clock())
        elif self._state.rejected and self.source.changed():
            self._state = transitions.retry_now(self._state)
        action = state.next_action(self._state, self.clock())
        self._is_deferred = force and action is not Action.EXCHANGE
        if action is Action.EXCHANGE:
            self._renew(force=force)
        elif action is Action.DELIVER:
            self._deliver()
        self._raise_alarm()
        if self.memory:
            self.memory.save(self.name, memo_of(self._state, self.labels))
        return tuple(self._outcome)

    def wait_s(self) -> float:
        """Return the seconds until the next step is worthwhile; zero or less means now."""
        now = self.clock()
        return state.wake_at(self._state, now) - now.seen_from(self._state.anchor)

    def deferred_s(self) -> float | None:
        """Return for how long a limit defers the exchange that was due in the last step, if so."""
        return self.wait_s() if self._is_deferred else None

    def seconds_left(self) -> float:
        """Return how long readers still have a valid token; minus infinity if they have none."""
        expires_at, _ = state.readers_until(self._state)
        if expires_at is None:
            return float("-inf")
        return expires_at - self.clock().seen_from(self._state.anchor)

    def is_current(self) -> bool:
        """Tell whether every sink holds the token in hand, and nothing is due."""
        now = self.clock()
        held = all(delivery.held for delivery in self._state.deliveries)
        idle = state.next_action(self._state, now) is Action.WAIT
        due = now.seen_from(self._state.anchor) >= self._state.due_at
        return held and idle and not due and state.is_valid(self._state, now)

    @property
    def known(self) -> State:
        """Return all that is known now: a frozen value that later steps replace."""
        return self._state

    @property
    def labels(self) -> list[str]:
        """Return the names of the sinks, in the order of the state's deliveries."""
        return [sink.label for sink in self.sinks]

    def live_secrets(self) -> tuple[Secret, ...]:
        """Return the token in hand, so that observers can mask it."""
        return (self._state.record.token.access_token,) if self._state.record else ()

    def _renew(self, *, force: bool) -> None:
        """Adopt a token that another process stored, or exchange; then deliver."""
        if self._state.record is None:
            # A restart or a cron run usually finds a good token, and reading needs no claim.
            self._look(state.askable(self._state, self.clock()), force=force)
        if self._is_due(force=force):
            with ExitStack() as claims:
                askable = state.askable(self._state, self.clock())
                readable = self._look(self._claim(claims, askable), force=force)
                if readable and self._is_due(force=force):
                    self._exchange()
                self._deliver()
        else:
            self._deliver()

    def _is_due(self, *, force: bool = False) -> bool:
        return force or state.next_action(self._state, self.clock()) is Action.EXCHANGE

    def _claim(self, claims: ExitStack, positions: list[int]) -> list[int]:
        """Claim these sinks, in one order for all processes, and return those that were won."""
        won = []
        for position in sorted(positions, key=lambda p: self.sinks[p].label):
            try:
                claims.enter_context(self.sinks[position].claim())
                won.append(position)
            except SinkError as error:
                self._not_delivered(position, error)
        return won

    def _look(self, positions: list[int], *, force: bool) -> bool:
        """Read these sinks and adopt the newest good token; False if no sink could be read.

        Then no token may be requested: it could be stored nowhere, or be there already.
        """
        readings: dict[int, Record | None] = {}
        for position in positions:
            try:
                readings[position] = self.sinks[position].read()
            except SinkError as error:
                self._not_delivered(position, error)
        if not readings:
            self._state = transitions.blocked(self._state)
            return False
        before, now = self._state.record, self.clock()
        self._state = transitions.stored(self._state, readings, self.request_key, now, self.plan)
        record = self._state.record
        if record and record is not before and not self._is_due(force=force):
            holder = next(p for p, r in readings.items() if r and r.receipt == record.receipt)
            self._adopted(record, holder)
        return True

    def _exchange(self) -> None:
        before = self.clock().boot
        try:
            with self.limit(self._spare_s()):
                token = self.source.fetch()
        except Deferred as off:
            self._defer(off)
        except ExchangeError as error:
            self._refresh_failed(error)
        else:
            now = self.clock()
            self._obtained(record_of(token, self.request_key), now, now.boot - before)

    def _obtained(self, record: Record, now: Moment, took_s: float) -> None:
        if state.unchanged(self._state, record, now):
            self._state = transitions.not_changed(self._state, now, self.plan)
            held = state.in_hand(self._state)
            self._outcome.append(events.TokenUnchanged(self.name, *self._dates(held)))
            return
        attempts = self._state.failures + 1
        self._state = transitions.exchanged(self._state, record, now, self.plan)
        fingerprint, expires_at, refresh_at = self._dates(record)
        self._outcome.append(
            events.TokenRefreshed(
                self.name,
                fingerprint,
                expires_at,
                record.token.expiry_source,
                refresh_at,
                round(1000 * took_s),
                attempts,
                record.token.note,
                record.token.secret_position,
            )
        )
        self._promise(record.token)

    def _spare_s(self) -> float:
        """Return how long an exchange can be deferred before readers are at risk.

        A retry can always wait: retries would soon use up what is kept for tokens that can't.
        """
        if self._state.failures:
            return math.inf
        risks = [delivery.risk_at for delivery in self._state.deliveries]
        t = self.clock().seen_from(self._state.anchor) + self.plan.policy.retry_budget
        return min(-math.inf if risk is None else risk - t for risk in risks)

    def _defer(self, off: Deferred) -> None:
        """Leave the exchange for later, and report a budget that runs out."""
        now = self.clock()
        self._is_deferred = True
        self._state = transitions.deferred(self._state, off.wait_s, now)
        if short := off.shortage:
            next_at = int(state.exchange_at(self._state, now))
            self._outcome.append(events.TokenBudgetShort(self.name, *short, next_at))

    def _deliver(self) -> None:
        """Write the token in hand to every sink that lacks it and may be tried.

        A sink that fails is retried in a later step, and a rival's newer token may go to each sink
        once, so that a step ends however slow or contended the sinks are.
        """
        now = self.clock()
        for _ in range(2 * len(self.sinks)):
            if pending := state.pending(self._state, now):
                self._write(pending[0])

    def _write(self, position: int) -> None:
        record, before = state.in_hand(self._state), self.clock().boot
        try:
            self.sinks[position].write(record)
        except Superseded as lost:
            self._yield_to(position, lost)
        except SinkError as error:
            self._not_delivered(position, error)
        else:
            self._state = transitions.delivered(self._state, position, self.plan.policy)
            label, fingerprint = self.sinks[position].label, record.receipt.fingerprint
            took_ms = round(1000 * (self.clock().boot - before))
            self._outcome.append(events.TokenDelivered(self.name, label, fingerprint, took_ms))

    def _yield_to(self, position: int, lost: Superseded) -> None:
        """Adopt the newer token that another writer stored, if it belongs to our request.

        A token from the future, stored by a host whose clock is ahead, is neither adopted nor proof
        of a rival: our own is written again later.
        """
        winner, now = lost.winner, self.clock()
        is_other = winner.receipt.request_key != self.request_key
        if is_other and not state.from_the_future(winner, now):
            self._not_delivered(position, _rival(self.sinks[position].label))
            return
        readings = {position: winner}
        self._state = transitions.stored(self._state, readings, self.request_key, now, self.plan)
        if self._state.deliveries[position].held:
            self._adopted(winner, position)
        else:
            self._not_delivered(position, lost)

    def _adopted(self, record: Record, position: int) -> None:
        label = self.sinks[position].label
        self._outcome.append(events.TokenAdopted(self.name, *self._dates(record), label))
        self._promise(record.token)

    def _dates(self, record: Record) -> tuple[str, int, int]:
        exchange_at = state.exchange_at(self._state, self.clock())
        return record.receipt.fingerprint, record.token.expires_at, int(exchange_at)

    def _not_delivered(self, position: int, error: SinkError) -> None:
        now = self.clock()
        self._state = transitions.not_delivered(self._state, position, error, now, self.plan)
        delivery = self._state.deliveries[position]
        retry_at = state.over_at(self._state, delivery.retry_at, now)
        self._outcome.append(
            events.TokenDeliveryFailed(
                self.name,
                self.sinks[position].label,
                error.code,
                error.message,
                delivery.failures,
                int(retry_at),
                error.retryable,
                error.exit_code,
            )
        )

    def _refresh_failed(self, error: ExchangeError) -> None:
        now, record = self.clock(), self._state.record
        self._state = transitions.failed(self._state, error, now, self.plan)
        self._outcome.append(
            events.TokenRefreshFailed(
                self.name,
                error.code,
                error.message,
                error.http_status,
                self._state.failures,
                int(state.exchange_at(self._state, now)),
                record.token.expires_at if record else None,
                error.retryable,
                error.exit_code,
            )
        )

    def _promise(self, token: Token) -> None:
        """Report once, until it changes, that the promise to readers can't be kept, and why."""
        reason = broken_promise(token, self.plan.policy)
        if reason and not self._state.unholdable:
            min_validity = int(self.plan.policy.min_validity)
            self._outcome.append(
                events.TokenPromiseUnholdable(self.name, token.lifetime, min_validity, reason)
            )
        self._state = transitions.promised(self._state, holdable=reason is None)

    def _raise_alarm(self) -> None:
        """Report once when readers are at risk, and once when their token has expired."""
        alarm = state.alarm_of(self._state, self.clock())
        if alarm.value > self._state.alarm.value:
            told = events.TokenExpired if alarm is Alarm.EXPIRED else events.TokenAtRisk
            expires_at, position = state.worst_sink(self._state)
            self._outcome.append(
                told(
                    self.name,
                    self.sinks[position].label,
                    int(expires_at),
                    self._state.failures + self._state.deliveries[position].failures,
                    int(self.plan.policy.min_validity),
                )
            )
        self._state = transitions.told(self._state, alarm)


def _rival(label: str) -> SinkRejected:
    return SinkRejected(
        "rival",
        f"another job writes tokens of another request to {label}; give each its own place",
    )
