"""What is known of one token, what to do now, and how what happens changes it. Pure.

Times are epoch seconds as `Moment.seen_from(state.anchor)` gives them, lengths are seconds. A
`retry_at` is by the boot clock alone, so that no step of the wall clock lengthens a wait.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from job.clock import Moment
from job.errors import ExchangeError, SinkError
from job.schedule import (
    AFTER_EXPIRY_S,
    BACKOFF_CAP_AT_RISK_S,
    BACKOFF_CAP_S,
    BACKOFF_FIRST_S,
    LAST_CHANCE_S,
    LEAST_GAP_S,
    REJECTED_S,
    RETRY_AFTER_CAP_S,
    SINK_REJECTED_S,
    Plan,
    Policy,
    backoff,
    due_at,
    risk_at,
)
from job.tokens import Receipt, Record

SECRET_LOOK_S = 5.0
"""How often a rejected client's secret is looked at for a change."""
CLOCK_TOLERANCE_S = 60.0
"""How far in the future a token may have been requested by another host's clock."""
ROUNDING_S = 60.0
"""A life that is given again and has grown by less (or by half of it) has been rounded."""


class Action(Enum):
    """What a token needs now."""

    WAIT = "wait"
    EXCHANGE = "exchange"
    DELIVER = "deliver"


class Alarm(Enum):
    """How readers fare: `value` orders them."""

    NONE = 0
    AT_RISK = 1
    EXPIRED = 2


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one sink holds: the expiry and the risk moment of its token, if it has one.

    `held` tells whether that is the token in hand; `left` is its receipt if it was in hand before.
    `failures` counts since the last success. `retry_at` is by the boot clock.
    """

    held: bool = False
    left: Receipt | None = None
    expires_at: float | None = None
    risk_at: float | None = None
    failures: int = 0
    retry_at: float = 0.0


@dataclass(frozen=True, slots=True)
class State:
    """All that is known of one token.

    `anchor` is the moment against which later moments are seen. `due_at` is when the token in
    hand is to be replaced, `retry_at` (by the boot clock) until when no exchange may be made.
    `rejected` means the slow lane. `alarm` is what people have been told.
    """

    anchor: Moment
    due_at: float
    deliveries: tuple[Delivery, ...]
    record: Record | None = None
    retry_at: float = 0.0
    failures: int = 0
    rejected: bool = False
    alarm: Alarm = Alarm.NONE
    unholdable: bool = False


def start(now: Moment, sinks: int) -> State:
    """Return the state of a token of which nothing is known yet: due at once."""
    return State(now, now.wall, (Delivery(),) * sinks)


# The questions


def next_action(state: State, now: Moment) -> Action:
    """Return what to do now.

    1. Due: EXCHANGE. 2. A valid token that a sink lacks, and whose retry has come: DELIVER.
    3. Else WAIT.
    """
    if now.seen_from(state.anchor) >= exchange_at(state, now):
        return Action.EXCHANGE
    return Action.DELIVER if any(True for _ in pending(state, now)) else Action.WAIT


def exchange_at(state: State, now: Moment) -> float:
    """Return when the next exchange may be made.

    1. When the token in hand is due. 2. A token from the future is due now: the clock was stepped
    back, and its readers misjudge its expiry. 3. But not before the wait after a failure is over.
    """
    misjudged = state.record is not None and from_the_future(state.record, now)
    due_at = now.seen_from(state.anchor) if misjudged else state.due_at
    return max(due_at, over_at(state, state.retry_at, now))


def over_at(state: State, retry_at: float, now: Moment) -> float:
    """Return when a wait is over; now if it is already."""
    return now.seen_from(state.anchor) + max(retry_at - now.boot, 0.0)


def askable(state: State, now: Moment) -> Iterator[int]:
    """Yield the sinks, by position, that are not waiting for a retry."""
    t = now.seen_from(state.anchor)
    for position, delivery in enumerate(state.deliveries):
        if over_at(state, delivery.retry_at, now) <= t:
            yield position


def pending(state: State, now: Moment) -> Iterator[int]:
    """Yield the sinks, by position, that lack the valid token in hand and may be tried now."""
    if is_valid(state, now):
        yield from (p for p in askable(state, now) if not state.deliveries[p].held)


def is_valid(state: State, now: Moment) -> bool:
    """Tell whether there is a token in hand that has not expired."""
    record = state.record
    return record is not None and now.seen_from(state.anchor) < record.token.expires_at


def from_the_future(record: Record, now: Moment) -> bool:
    """Tell whether a token was requested at a time that has not come by the wall clock."""
    return now.wall < record.token.requested_at - CLOCK_TOLERANCE_S


def wake_at(state: State, now: Moment) -> float:
    """Return when `next_action` or `alarm_of` can first answer otherwise; finite, maybe past."""
    moments = [exchange_at(state, now)]
    if state.rejected:
        moments.append(now.seen_from(state.anchor) + SECRET_LOOK_S)
    if is_valid(state, now):
        moments += [over_at(state, d.retry_at, now) for d in state.deliveries if not d.held]
    expires_at, risk = readers_until(state)
    if state.alarm is Alarm.NONE and risk is not None:
        moments.append(risk)
    elif state.alarm is Alarm.AT_RISK and expires_at is not None:
        moments.append(expires_at)
    return min(moments)


def readers_until(state: State) -> tuple[float | None, float | None]:
    """Return the earliest expiry and the earliest risk moment among what the sinks hold."""
    expiries = [d.expires_at for d in state.deliveries if d.expires_at is not None]
    risks = [d.risk_at for d in state.deliveries if d.risk_at is not None]
    return min(expiries, default=None), min(risks, default=None)


def worst_sink(state: State) -> tuple[float, int]:
    """Return the earliest expiry among what the sinks hold, and that sink's position."""
    held = [(d.expires_at, p) for p, d in enumerate(state.deliveries) if d.expires_at is not None]
    return min(held)


def in_hand(state: State) -> Record:
    """Return the record in hand; only a state that has one has pending sinks."""
    if state.record is None:
        raise LookupError
    return state.record


def alarm_of(state: State, now: Moment) -> Alarm:
    """Return how the readers of the sinks fare now."""
    t = now.seen_from(state.anchor)
    expires_at, risk = readers_until(state)
    if expires_at is not None and t >= expires_at:
        return Alarm.EXPIRED
    return Alarm.AT_RISK if risk is not None and t >= risk else Alarm.NONE


def unchanged(state: State, record: Record, now: Moment) -> bool:
    """Tell whether the server returned the very token in hand, with nothing that readers need.

    The same token with a longer life is news once the stored expiry has come near, and so is one
    whose stored times come from a clock that has been stepped back. A server that counts the rest
    of a life down rounds it differently each time, which is no news.
    """
    held = state.record
    if held is None or held.receipt.fingerprint != record.receipt.fingerprint:
        return False
    growth = record.token.expires_at - held.token.expires_at
    extended = growth > min(ROUNDING_S, held.token.life / 2)
    ending = alarm_of(state, now) is not Alarm.NONE or not is_valid(state, now)
    return not (extended and ending) and not from_the_future(held, now)


# The transitions


def stored(
    state: State,
    readings: Mapping[int, Record | None],
    request_key: str,
    now: Moment,
    plan: Plan,
) -> State:
    """Return the state after sinks were read; `readings` maps their positions to what they hold.

    The newest token of this request is taken in hand even when it is due: readers have it, and
    sinks may lack it. A token in hand that is newer than all of them stays. One that was in hand
    before is older, even if it looks newer because the clock was set back in between.
    """
    known = [r for p, r in readings.items() if r and r.receipt != state.deliveries[p].left]
    good = [r for r in (*known, state.record) if r and _adoptable(r, request_key, now)]
    best = max(good, key=lambda r: r.token.requested_at, default=state.record)
    if best and not (state.record and state.record.receipt == best.receipt):
        state = _in_hand(state, best, now, plan)
    deliveries = list(state.deliveries)
    for position, reading in readings.items():
        deliveries[position] = _read(deliveries[position], reading, best, now, plan.policy)
    return replace(state, deliveries=tuple(deliveries))


def exchanged(state: State, record: Record, now: Moment, plan: Plan) -> State:
    """Return the state with a new token in hand, which every sink lacks."""
    return replace(_in_hand(state, record, now, plan), retry_at=now.boot + LEAST_GAP_S)


def not_changed(state: State, now: Moment, plan: Plan) -> State:
    """Return the state after the server returned the very token in hand again.

    What is left of its life is planned like a life of its own, with `min_interval` between two
    requests, and the last one just after expiry: so that a server that gives new tokens only near
    expiry is found out in a few requests, and never asked in a loop. After expiry it counts as a
    failure and backs off.
    """
    held = in_hand(state)
    t = now.seen_from(state.anchor)
    if not is_valid(state, now):
        failures = state.failures + 1
        wait = backoff(failures, BACKOFF_CAP_AT_RISK_S, plan.draw(failures))
        return replace(state, failures=failures, rejected=False, retry_at=now.boot + wait)
    rest = replace(held.token, requested_at=int(t), refresh_in=None)
    due = max(due_at(rest, plan.policy, plan.jitter(held)), t + plan.policy.min_interval)
    if due >= held.token.expires_at:
        due = held.token.expires_at + AFTER_EXPIRY_S
    retry_at = now.boot + LEAST_GAP_S
    return replace(state, failures=0, rejected=False, due_at=due, retry_at=retry_at)


def failed(state: State, error: ExchangeError, now: Moment, plan: Plan) -> State:
    """Return the state after an exchange failed: the next attempt, and the old token untouched.

    Transient failures back off with full jitter, faster once readers are at risk; rejections go
    to the slow lane. Retry-After is a floor for both, up to an hour, except that one attempt is
    left before the token in hand expires.
    """
    t = now.seen_from(state.anchor)
    failures = state.failures + 1
    wait = _backoff(state, failures, now, plan) if error.retryable else REJECTED_S
    if error.retry_after is not None:
        wait = max(wait, min(error.retry_after, RETRY_AFTER_CAP_S))
    if error.retryable and state.record:
        chance = state.record.token.expires_at - LAST_CHANCE_S - t
        wait = chance if BACKOFF_FIRST_S <= chance < wait else wait
    rejected, retry_at = not error.retryable, now.boot + wait
    return replace(state, failures=failures, rejected=rejected, retry_at=retry_at)


def blocked(state: State) -> State:
    """Return the state after no sink could be asked: an exchange waits until one can be tried.

    A token that can be stored nowhere is not worth a request, and the sinks may hold a good one.
    """
    retry_at = max(state.retry_at, min(d.retry_at for d in state.deliveries))
    return replace(state, retry_at=retry_at)


def retry_now(state: State) -> State:
    """Return the state with the wait for an exchange ended: what it failed of seems mended."""
    return replace(state, retry_at=0.0)


def forced(state: State, now: Moment) -> State:
    """Return the state after an operator asked for a new token: it is due, and all waits end."""
    due_at = min(state.due_at, now.seen_from(state.anchor))
    deliveries = tuple(replace(d, retry_at=0.0) for d in state.deliveries)
    return replace(state, due_at=due_at, retry_at=0.0, deliveries=deliveries)


def told(state: State, alarm: Alarm) -> State:
    """Return the state after people were told how readers fare."""
    return state if state.alarm is alarm else replace(state, alarm=alarm)


def promised(state: State, *, holdable: bool) -> State:
    """Return the state after people were told whether the promise can be held."""
    return replace(state, unholdable=not holdable)


def delivered(state: State, position: int, policy: Policy) -> State:
    """Return the state after a sink stored the token in hand."""
    return _with_delivery(state, position, _holding(in_hand(state), policy))


def not_delivered(state: State, position: int, error: SinkError, now: Moment, plan: Plan) -> State:
    """Return the state after a sink failed: it alone is tried again later, with the same token."""
    delivery = state.deliveries[position]
    failures = delivery.failures + 1
    wait = _backoff(state, failures, now, plan) if error.retryable else SINK_REJECTED_S
    delivery = replace(delivery, failures=failures, retry_at=now.boot + wait)
    return _with_delivery(state, position, delivery)


def _backoff(state: State, failures: int, now: Moment, plan: Plan) -> float:
    """Return the wait after a failure that may pass; short ones begin before readers are at risk.

    Readers who have no token are at risk. Where a new token kills the old one they may be at any
    failure: the answer with it may have been lost, and a sink that lacks it holds a dead one.
    """
    risks = [d.risk_at for d in state.deliveries if d.risk_at is not None]
    knows_all = state.record is not None and len(risks) == len(state.deliveries)
    certain = knows_all and plan.policy.reissue != "revokes_previous"
    lead = max(min(risks) - now.seen_from(state.anchor), 0.0) if certain else 0.0
    cap = BACKOFF_CAP_S if lead else BACKOFF_CAP_AT_RISK_S
    return min(backoff(failures, cap, plan.draw(failures)), lead + BACKOFF_CAP_AT_RISK_S)


def _in_hand(state: State, record: Record, now: Moment, plan: Plan) -> State:
    """Take a record in hand: times are seen from now on, and failures to get one are over."""
    shift = now.seen_from(state.anchor) - now.wall
    left = state.record.receipt if state.record else None
    lagging = (replace(d, left=left) if d.held else d for d in state.deliveries)
    return replace(
        state,
        record=record,
        anchor=now,
        due_at=due_at(record.token, plan.policy, plan.jitter(record)),
        deliveries=tuple(_lacking(d, record, plan.policy, shift) for d in lagging),
        retry_at=0.0,
        failures=0,
        rejected=False,
    )


def _lacking(
    delivery: Delivery, newer: Record | None, policy: Policy, shift: float = 0.0
) -> Delivery:
    """Return the delivery of a sink that lacks a newer token, which may have killed its own.

    `shift` is how far the wall clock has been stepped back since the times of its own.
    """
    if delivery.expires_at is None or delivery.risk_at is None:
        return replace(delivery, held=False)
    ends = [delivery.expires_at - shift]
    if newer and policy.reissue == "revokes_previous":
        ends.append(newer.token.requested_at)
    risk = min(delivery.risk_at - shift, *ends)
    return replace(delivery, held=False, expires_at=min(ends), risk_at=risk)


def _adoptable(record: Record, request_key: str, now: Moment) -> bool:
    return record.receipt.request_key == request_key and not from_the_future(record, now)


def _read(
    delivery: Delivery, reading: Record | None, best: Record | None, now: Moment, policy: Policy
) -> Delivery:
    if reading is None:
        return replace(delivery, held=False, expires_at=None, risk_at=None)
    held = best is not None and reading.receipt == best.receipt
    if from_the_future(reading, now):
        return replace(delivery, held=held)  # its times say nothing: what was known of it stays
    there = _holding(reading, policy)
    waiting = replace(delivery, expires_at=there.expires_at, risk_at=there.risk_at)
    return there if held else _lacking(waiting, best, policy)


def _holding(record: Record, policy: Policy) -> Delivery:
    expires_at, risk = record.token.expires_at, risk_at(record.token, policy)
    return Delivery(held=True, expires_at=expires_at, risk_at=risk)


def _with_delivery(state: State, position: int, delivery: Delivery) -> State:
    before, after = state.deliveries[:position], state.deliveries[position + 1 :]
    return replace(state, deliveries=(*before, delivery, *after))
