"""One token kept current: ask the schedule, fetch, write, report. The only mutable state."""

import math
from collections.abc import Sequence
from contextlib import ExitStack

from job.core import state, transitions
from job.core.clock import Clock
from job.core.errors import ExchangeError, SinkError, SinkRejected
from job.core.events import (
    Event,
    TokenAdopted,
    TokenAtRisk,
    TokenBudgetShort,
    TokenDelivered,
    TokenDeliveryFailed,
    TokenExpired,
    TokenPromiseUnholdable,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenUnchanged,
)
from job.core.memo import memo_of, recalled
from job.core.ports import Deferred, Limit, Memory, Sink, Superseded, TokenSource, unlimited
from job.core.schedule import Plan, Policy, broken_promise
from job.core.secret import Secret
from job.core.state import Action, Alarm
from job.core.tokens import Record, Token, record_of


class Refresher:
    """Keeps one token current in all its sinks.

    `step` does what is due and returns what happened; it never raises a JobError. One thread at a
    time may call it; refreshers share nothing with each other.
    """

    __slots__ = (
        "_clock",
        "_is_deferred",
        "_limit",
        "_memory",
        "_outcome",
        "_plan",
        "_request_key",
        "_sinks",
        "_source",
        "_state",
        "name",
    )

    def __init__(  # noqa: PLR0913  # what a token is, where it comes from and goes to, and when
        self,
        name: str,
        source: TokenSource,
        sinks: Sequence[Sink],
        plan: Plan,
        request_key: str,
        clock: Clock,
        *,
        limit: Limit = unlimited,
        memory: Memory | None = None,
    ) -> None:
        """Know no more than `memory` does: the first step reads the sinks."""
        self.name = name
        self._source = source
        self._sinks = sinks
        self._plan = plan
        self._request_key = request_key
        self._clock = clock
        self._limit = limit
        self._is_deferred = False
        self._memory = memory
        self._state = state.start(clock(), len(sinks))
        if memory and (memo := memory.load(name)):
            self._state = recalled(self._state, self.labels, memo)
        self._outcome: list[Event] = []

    def step(self, *, force: bool = False) -> tuple[Event, ...]:
        """Do what is due now and return the events; `force` makes an exchange due."""
        self._outcome = []
        if force:
            self._state = transitions.forced(self._state, self._clock())
        elif self._cause_is_gone():
            self._state = transitions.retry_now(self._state)
        action = state.next_action(self._state, self._clock())
        self._is_deferred = force and action is not Action.EXCHANGE
        if action is Action.EXCHANGE:
            self._renew(force=force)
        elif action is Action.DELIVER:
            self._deliver()
        self._raise_alarm()
        if self._memory:
            self._memory.save(self.name, memo_of(self._state, self.labels))
        return tuple(self._outcome)

    def wait_s(self) -> float:
        """Return the seconds until the next step is worth making; zero or less means now."""
        now = self._clock()
        return state.wake_at(self._state, now) - now.seen_from(self._state.anchor)

    def deferred_s(self) -> float | None:
        """Return for how long a limit defers the exchange that was due in the last step, if so."""
        return self.wait_s() if self._is_deferred else None

    def seconds_left(self) -> float:
        """Return how long readers still have a valid token; minus infinity if they have none."""
        expires_at, _ = state.readers_until(self._state)
        if expires_at is None:
            return float("-inf")
        return expires_at - self._clock().seen_from(self._state.anchor)

    def is_current(self) -> bool:
        """Tell whether every sink holds the token in hand, and nothing is due."""
        now = self._clock()
        held = all(delivery.held for delivery in self._state.deliveries)
        idle = state.next_action(self._state, now) is Action.WAIT
        due = now.seen_from(self._state.anchor) >= self._state.due_at
        return held and idle and not due and state.is_valid(self._state, now)

    @property
    def known(self) -> state.State:
        """Return all that is known now; it never changes, a later look returns another one."""
        return self._state

    @property
    def labels(self) -> list[str]:
        """Return the names of the sinks, in the order of the state's deliveries."""
        return [sink.label for sink in self._sinks]

    @property
    def policy(self) -> Policy:
        """Return when this token is to be refreshed."""
        return self._plan.policy

    def live_secrets(self) -> tuple[Secret, ...]:
        """Return the token in hand, so that observers can mask it."""
        return (self._state.record.token.access_token,) if self._state.record else ()

    def _renew(self, *, force: bool) -> None:
        """Adopt what another process was faster to store, or exchange; then deliver."""
        if self._state.record is None:
            # A restart or a cron run mostly finds a good token, and a look needs no claim.
            self._look(self._askable(), force=force)
        if self._is_due(force=force):
            with ExitStack() as claims:
                readable = self._look(self._claim(claims, self._askable()), force=force)
                if readable and self._is_due(force=force):
                    self._exchange()
                self._deliver()
        else:
            self._deliver()

    def _is_due(self, *, force: bool = False) -> bool:
        return force or state.next_action(self._state, self._clock()) is Action.EXCHANGE

    def _cause_is_gone(self) -> bool:
        """Tell whether the cause of a rejection seems to have gone before the wait is over."""
        return self._state.rejected and self._source.changed()

    def _askable(self) -> list[int]:
        return [*state.askable(self._state, self._clock())]

    def _claim(self, claims: ExitStack, positions: list[int]) -> list[int]:
        """Claim these sinks, in one order for all processes, and return those that were won."""
        won = []
        for position in sorted(positions, key=lambda p: self._sinks[p].label):
            try:
                claims.enter_context(self._sinks[position].claim())
                won.append(position)
            except SinkError as error:
                self._not_delivered(position, error)
        return won

    def _look(self, positions: list[int], *, force: bool) -> bool:
        """Read these sinks and adopt the newest token found if it is good; False if none is read.

        Then nothing may be minted: the token could be stored nowhere, or be there already.
        """
        readings: dict[int, Record | None] = {}
        for position in positions:
            try:
                readings[position] = self._sinks[position].read()
            except SinkError as error:
                self._not_delivered(position, error)
        if not readings:
            self._state = transitions.blocked(self._state)
            return False
        before, now = self._state.record, self._clock()
        self._state = transitions.stored(self._state, readings, self._request_key, now, self._plan)
        record = self._state.record
        if record and record is not before and not self._is_due(force=force):
            holder = next(p for p, r in readings.items() if r and r.receipt == record.receipt)
            self._adopted(record, holder)
        return True

    def _exchange(self) -> None:
        """Ask for a new token once."""
        before = self._clock()
        try:
            with self._limit(self._spare_s()):
                token = self._source.fetch()
        except Deferred as off:
            self._defer(off)
            return
        except ExchangeError as error:
            self._state = transitions.failed(self._state, error, self._clock(), self._plan)
            self._refresh_failed(error)
            return
        record, now = record_of(token, self._request_key), self._clock()
        if state.unchanged(self._state, record, now):
            self._state = transitions.not_changed(self._state, now, self._plan)
            self._unchanged()
            return
        attempts = self._state.failures + 1
        self._state = transitions.exchanged(self._state, record, now, self._plan)
        self._refreshed(record, now.boot - before.boot, attempts)

    def _spare_s(self) -> float:
        """Return how long an exchange can be deferred before readers are at risk.

        A retry can wait for ever: retries would soon use up what is kept for tokens that can't.
        """
        if self._state.failures:
            return math.inf
        risks = [delivery.risk_at for delivery in self._state.deliveries]
        t = self._clock().seen_from(self._state.anchor) + self._plan.policy.retry_budget
        return min(-math.inf if risk is None else risk - t for risk in risks)

    def _defer(self, off: Deferred) -> None:
        """Leave the exchange for later, and tell people if a budget runs out."""
        now = self._clock()
        self._is_deferred = True
        self._state = transitions.deferred(self._state, off.wait_s, now)
        if short := off.shortage:
            next_at = int(state.exchange_at(self._state, now))
            self._outcome.append(
                TokenBudgetShort(
                    self.name, short.spent, short.left, short.budget, short.message, next_at
                )
            )

    def _deliver(self) -> None:
        """Write the token in hand to every sink that lacks it and may be tried.

        What fails has its next try in a later step, and a rival's newer token may go to each sink
        once: so a step ends, however slow or contended the sinks are.
        """
        now = self._clock()
        for _ in range(2 * len(self._sinks)):
            position = next(state.pending(self._state, now), None)
            if position is None:
                return
            self._write(position)

    def _write(self, position: int) -> None:
        before = self._clock()
        try:
            self._sinks[position].write(state.in_hand(self._state))
        except Superseded as lost:
            self._yield_to(position, lost)
        except SinkError as error:
            self._not_delivered(position, error)
        else:
            self._delivered(position, self._clock().boot - before.boot)

    def _yield_to(self, position: int, lost: Superseded) -> None:
        """Take over the newer token that another writer stored, if it was got for our request.

        A token from the future, stored by a clock that is ahead, is neither taken over nor proof of
        a rival: our own is written again later.
        """
        winner, now = lost.winner, self._clock()
        is_other = winner.receipt.request_key != self._request_key
        if is_other and not state.from_the_future(winner, now):
            self._not_delivered(position, _rival(self._sinks[position].label))
            return
        readings = {position: winner}
        self._state = transitions.stored(self._state, readings, self._request_key, now, self._plan)
        if self._state.deliveries[position].held:
            self._adopted(winner, position)
        else:
            self._not_delivered(position, lost)

    # What happened, told

    def _adopted(self, record: Record, position: int) -> None:
        label = self._sinks[position].label
        self._outcome.append(TokenAdopted(self.name, *self._dates(record), label))
        self._promise(record.token)

    def _refreshed(self, record: Record, took_s: float, attempts: int) -> None:
        fingerprint, expires_at, refresh_at = self._dates(record)
        self._outcome.append(
            TokenRefreshed(
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

    def _unchanged(self) -> None:
        record = state.in_hand(self._state)
        self._outcome.append(TokenUnchanged(self.name, *self._dates(record)))

    def _dates(self, record: Record) -> tuple[str, int, int]:
        exchange_at = state.exchange_at(self._state, self._clock())
        return record.receipt.fingerprint, record.token.expires_at, int(exchange_at)

    def _delivered(self, position: int, took_s: float) -> None:
        record = state.in_hand(self._state)
        self._state = transitions.delivered(self._state, position, self._plan.policy)
        label, fingerprint = self._sinks[position].label, record.receipt.fingerprint
        self._outcome.append(TokenDelivered(self.name, label, fingerprint, round(1000 * took_s)))

    def _not_delivered(self, position: int, error: SinkError) -> None:
        now = self._clock()
        self._state = transitions.not_delivered(self._state, position, error, now, self._plan)
        delivery = self._state.deliveries[position]
        retry_at = state.over_at(self._state, delivery.retry_at, now)
        self._outcome.append(
            TokenDeliveryFailed(
                self.name,
                self._sinks[position].label,
                error.code,
                error.message,
                delivery.failures,
                int(retry_at),
                error.retryable,
                error.exit_code,
            )
        )

    def _refresh_failed(self, error: ExchangeError) -> None:
        record = self._state.record
        self._outcome.append(
            TokenRefreshFailed(
                self.name,
                error.code,
                error.message,
                error.http_status,
                self._state.failures,
                int(state.exchange_at(self._state, self._clock())),
                record.token.expires_at if record else None,
                error.retryable,
                error.exit_code,
            )
        )

    def _promise(self, token: Token) -> None:
        """Say once, until it changes, that the promise to readers can't be held, and why."""
        reason = broken_promise(token, self._plan.policy)
        if reason and not self._state.unholdable:
            min_validity = int(self._plan.policy.min_validity)
            self._outcome.append(
                TokenPromiseUnholdable(self.name, token.lifetime, min_validity, reason)
            )
        self._state = transitions.promised(self._state, holdable=reason is None)

    def _raise_alarm(self) -> None:
        """Tell once when readers are at risk, and once when what they have has expired."""
        alarm = state.alarm_of(self._state, self._clock())
        if alarm.value > self._state.alarm.value:
            told = TokenExpired if alarm is Alarm.EXPIRED else TokenAtRisk
            expires_at, position = state.worst_sink(self._state)
            self._outcome.append(
                told(
                    self.name,
                    self._sinks[position].label,
                    int(expires_at),
                    self._state.failures + self._state.deliveries[position].failures,
                    int(self._plan.policy.min_validity),
                )
            )
        self._state = transitions.told(self._state, alarm)


def _rival(label: str) -> SinkRejected:
    return SinkRejected(
        "rival",
        f"another job writes tokens of another request to {label}; give each its own place",
    )
