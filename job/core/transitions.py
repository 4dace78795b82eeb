"""How what happens changes what is known of one token. Pure.

Times are epoch seconds as `Moment.seen_from(state.anchor)` gives them, lengths are seconds.
"""

from collections.abc import Mapping
from dataclasses import replace

from job.core import schedule
from job.core.clock import Moment
from job.core.errors import ExchangeError, SinkError
from job.core.schedule import Plan, Policy, backoff, due_at, risk_at
from job.core.state import Alarm, Delivery, State, from_the_future, in_hand, is_valid
from job.core.tokens import Record


def stored(
    state: State,
    readings: Mapping[int, Record | None],
    request_key: str,
    now: Moment,
    plan: Plan,
) -> State:
    """Return the state after sinks were read; `readings` maps their positions to what they hold.

    The newest token of this request is taken in hand even when it is due: readers have it, and
    other sinks may lack it. A newer token in hand stays. One that was in hand before is older, even
    if it looks newer because the clock was set back in between. Readers of a token of another
    request are at risk: it may lack the scope that they need.
    """
    known = [r for p, r in readings.items() if r and r.receipt != state.deliveries[p].left]
    ours = [r for r in (*known, state.record) if r and r.receipt.request_key == request_key]
    good = [r for r in ours if not from_the_future(r, now)]
    best = max(good, key=lambda r: r.token.requested_at, default=state.record)
    if best and not (state.record and state.record.receipt == best.receipt):
        state = _in_hand(state, best, now, plan)
    deliveries = list(state.deliveries)
    for position, reading in readings.items():
        delivery = _read(deliveries[position], reading, best, now, plan.policy)
        foreign = reading is not None and reading.receipt.request_key != request_key
        if foreign and delivery.risk_at is not None:
            delivery = replace(delivery, risk_at=min(delivery.risk_at, now.wall))
        deliveries[position] = delivery
    return replace(state, deliveries=tuple(deliveries))


def exchanged(state: State, record: Record, now: Moment, plan: Plan) -> State:
    """Return the state with a new token in hand, which every sink lacks."""
    return replace(_in_hand(state, record, now, plan), retry_at=now.boot + schedule.LEAST_GAP_S)


def not_changed(state: State, now: Moment, plan: Plan) -> State:
    """Return the state after the server returned the token in hand again.

    The rest of its lifetime is planned like a lifetime of its own, with `min_interval` between two
    requests and the last one just after expiry: so a server that gives new tokens only near expiry
    costs a few requests, and never a loop. After expiry it counts as a failure and backs off.
    """
    held = in_hand(state)
    t = now.seen_from(state.anchor)
    if not is_valid(state, now):
        failures = state.failures + 1
        wait = backoff(failures, schedule.BACKOFF_CAP_AT_RISK_S, plan.draw(failures))
        return replace(state, failures=failures, rejected=False, retry_at=now.boot + wait)
    rest = replace(held.token, requested_at=int(t), refresh_in=None)
    due = max(due_at(rest, plan.policy, plan.jitter(held)), t + plan.policy.min_interval)
    if due >= held.token.expires_at:
        due = held.token.expires_at + schedule.AFTER_EXPIRY_S
    retry_at = now.boot + schedule.LEAST_GAP_S
    return replace(state, failures=0, rejected=False, due_at=due, retry_at=retry_at)


def failed(state: State, error: ExchangeError, now: Moment, plan: Plan) -> State:
    """Return the state after an exchange failed: the next attempt, and the old token untouched.

    Transient failures back off with full jitter, faster once readers are at risk; rejections go
    to the slow lane. Retry-After is a minimum for both, up to an hour, but one attempt is made
    before the token in hand expires.
    """
    t = now.seen_from(state.anchor)
    failures = state.failures + 1
    wait = _backoff(state, failures, now, plan) if error.retryable else schedule.REJECTED_S
    if error.retry_after is not None:
        wait = max(wait, min(error.retry_after, schedule.RETRY_AFTER_CAP_S))
    if error.retryable and state.record:
        chance = state.record.token.expires_at - schedule.LAST_CHANCE_S - t
        wait = chance if schedule.BACKOFF_FIRST_S <= chance < wait else wait
    rejected, retry_at = not error.retryable, now.boot + wait
    return replace(state, failures=failures, rejected=rejected, retry_at=retry_at)


def deferred(state: State, wait_s: float, now: Moment) -> State:
    """Return the state after a limit deferred an exchange, which is not a failure."""
    return replace(state, retry_at=now.boot + wait_s)


def blocked(state: State) -> State:
    """Return the state after no sink could be read: an exchange waits until one can be tried.

    A token that can be stored nowhere is not worth a request, and the sinks may hold a good one.
    """
    retry_at = max(state.retry_at, min(d.retry_at for d in state.deliveries))
    return replace(state, retry_at=retry_at)


def retry_now(state: State) -> State:
    """Return the state without the wait for an exchange: the cause of the failure seems gone."""
    return replace(state, retry_at=0.0)


def forced(state: State, now: Moment) -> State:
    """Return the state after an operator asked for a new token: it is due, and all waits end.

    The wait for an exchange ends within a second, since two are never made in one second.
    """
    due_at = min(state.due_at, now.seen_from(state.anchor))
    deliveries = tuple(replace(d, retry_at=0.0) for d in state.deliveries)
    retry_at = min(state.retry_at, now.boot + schedule.LEAST_GAP_S)
    return replace(state, due_at=due_at, retry_at=retry_at, deliveries=deliveries)


def told(state: State, alarm: Alarm) -> State:
    """Return the state after an alarm, or its end, was reported."""
    return state if state.alarm is alarm else replace(state, alarm=alarm)


def promised(state: State, *, holdable: bool) -> State:
    """Return the state after it was reported whether the promise can be kept."""
    return replace(state, unholdable=not holdable)


def delivered(state: State, position: int, policy: Policy) -> State:
    """Return the state after a sink stored the token in hand."""
    return _with_delivery(state, position, _holding(in_hand(state), policy))


def not_delivered(state: State, position: int, error: SinkError, now: Moment, plan: Plan) -> State:
    """Return the state after a sink failed: only this one is retried, with the same token."""
    delivery = state.deliveries[position]
    failures = delivery.failures + 1
    wait = _backoff(state, failures, now, plan) if error.retryable else schedule.SINK_REJECTED_S
    delivery = replace(delivery, failures=failures, retry_at=now.boot + wait)
    return _with_delivery(state, position, delivery)


def _backoff(state: State, failures: int, now: Moment, plan: Plan) -> float:
    """Return the wait after a transient failure; waits get short before readers are at risk.

    Readers without a token are at risk. If a new token kills the old one they may be at any
    failure: the response may have been lost, and a sink that lacks the new token holds a dead one.
    """
    risks = [d.risk_at for d in state.deliveries if d.risk_at is not None]
    knows_all = state.record is not None and len(risks) == len(state.deliveries)
    certain = knows_all and plan.policy.reissue != "revokes_previous"
    lead = max(min(risks) - now.seen_from(state.anchor), 0.0) if certain else 0.0
    cap = schedule.BACKOFF_CAP_S if lead else schedule.BACKOFF_CAP_AT_RISK_S
    return min(backoff(failures, cap, plan.draw(failures)), lead + schedule.BACKOFF_CAP_AT_RISK_S)


def _in_hand(state: State, record: Record, now: Moment, plan: Plan) -> State:
    """Take a record in hand: the anchor is now, and failures to get one are over."""
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

    `shift` is how far the wall clock has been stepped back since the sink's token was stored.
    """
    if delivery.expires_at is None or delivery.risk_at is None:
        return replace(delivery, held=False)
    ends = [delivery.expires_at - shift]
    if newer and policy.reissue == "revokes_previous":
        ends.append(newer.token.requested_at)
    risk = min(delivery.risk_at - shift, *ends)
    return replace(delivery, held=False, expires_at=min(ends), risk_at=risk)


def _read(
    delivery: Delivery, reading: Record | None, best: Record | None, now: Moment, policy: Policy
) -> Delivery:
    if reading is None:
        return replace(delivery, held=False, expires_at=None, risk_at=None)
    held = best is not None and reading.receipt == best.receipt
    if from_the_future(reading, now) or reading.receipt == delivery.left:
        # Its times may come from a clock that was ahead: keep what was known of it.
        return replace(delivery, held=held)
    there = _holding(reading, policy)
    waiting = replace(delivery, expires_at=there.expires_at, risk_at=there.risk_at)
    return there if held else _lacking(waiting, best, policy)


def _holding(record: Record, policy: Policy) -> Delivery:
    expires_at, risk = record.token.expires_at, risk_at(record.token, policy)
    return Delivery(held=True, expires_at=expires_at, risk_at=risk)


def _with_delivery(state: State, position: int, delivery: Delivery) -> State:
    before, after = state.deliveries[:position], state.deliveries[position + 1 :]
    return replace(state, deliveries=(*before, delivery, *after))
