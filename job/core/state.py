"""What is known of one token, and what to do now. Pure.

Times are epoch seconds as `Moment.seen_from(state.anchor)` gives them, lengths are seconds. A
`retry_at` is by the boot clock alone, so that no step of the wall clock lengthens a wait.
"""

from dataclasses import dataclass
from enum import Enum

from job.core.clock import Moment
from job.core.tokens import Receipt, Record

SECRET_LOOK_S = 5.0
"""How often the secret of a rejected client is checked for a change."""
CLOCK_TOLERANCE_S = 60.0
"""How far in the future a token may have been requested by another host's clock."""
ROUNDING_S = 60.0
"""A lifetime that is stated again and grew by less than this (or half of itself) was rounded."""


class Action(Enum):
    """What a token needs now."""

    WAIT = "wait"
    EXCHANGE = "exchange"
    DELIVER = "deliver"


class Alarm(Enum):
    """The state of readers, from good to bad: `value` orders them."""

    NONE = 0
    AT_RISK = 1
    EXPIRED = 2


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one sink holds: the expiry and the risk moment of its token, if it has one.

    `held`: this is the token in hand. `left` is its receipt if it was in hand before. `failures`
    counts since the last success. `retry_at` is by the boot clock.
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

    `anchor` is the moment from which later moments are seen. `due_at` is when the token in hand is
    to be replaced; no exchange may be made before `retry_at` (by the boot clock). `rejected` means
    the slow lane. `alarm` and `unholdable` are what has been reported.
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
    """Return the state of a token of which nothing is known: it is due at once."""
    return State(now, now.wall, (Delivery(),) * sinks)


def next_action(state: State, now: Moment) -> Action:
    """Return what to do now.

    1. Due: EXCHANGE. 2. A valid token that a sink lacks, and whose retry has come: DELIVER.
    3. Else WAIT.
    """
    if now.seen_from(state.anchor) >= exchange_at(state, now):
        return Action.EXCHANGE
    return Action.DELIVER if pending(state, now) else Action.WAIT


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


def askable(state: State, now: Moment) -> list[int]:
    """Return the positions of the sinks that are not waiting for a retry."""
    t = now.seen_from(state.anchor)
    return [p for p, d in enumerate(state.deliveries) if over_at(state, d.retry_at, now) <= t]


def pending(state: State, now: Moment) -> list[int]:
    """Return the positions of the sinks that lack the valid token in hand and may be tried now."""
    if not is_valid(state, now):
        return []
    return [p for p in askable(state, now) if not state.deliveries[p].held]


def is_valid(state: State, now: Moment) -> bool:
    """Tell whether there is a token in hand that has not expired."""
    record = state.record
    return record is not None and now.seen_from(state.anchor) < record.token.expires_at


def from_the_future(record: Record, now: Moment) -> bool:
    """Tell whether a token was requested later than now, by the wall clock."""
    return now.wall < record.token.requested_at - CLOCK_TOLERANCE_S


def wake_at(state: State, now: Moment) -> float:
    """Return when `next_action` or `alarm_of` can first change; finite, may be past."""
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
    """Return the alarm that what readers have now calls for."""
    t = now.seen_from(state.anchor)
    expires_at, risk = readers_until(state)
    if expires_at is not None and t >= expires_at:
        return Alarm.EXPIRED
    return Alarm.AT_RISK if risk is not None and t >= risk else Alarm.NONE


def unchanged(state: State, record: Record, now: Moment) -> bool:
    """Tell whether the server returned the token in hand again, with nothing new for readers.

    The same token with a longer lifetime is new once the stored expiry is near, and so is one whose
    stored times come from a clock that has been stepped back since. A server that states the rest
    of a lifetime rounds it differently each time, and that changes nothing.
    """
    held = state.record
    if held is None or held.receipt.fingerprint != record.receipt.fingerprint:
        return False
    growth = record.token.expires_at - held.token.expires_at
    extended = growth > min(ROUNDING_S, held.token.lifetime / 2)
    ending = alarm_of(state, now) is not Alarm.NONE or not is_valid(state, now)
    return not (extended and ending) and not from_the_future(held, now)
