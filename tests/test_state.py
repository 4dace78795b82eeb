"""What is known of a token: every question and transition as values, and what no order breaks."""

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fakes import START, record, token
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from job.core import state, transitions
from job.core.clock import Moment, system_clock
from job.core.errors import (
    EndpointUnavailable,
    ExchangeError,
    RequestRejected,
    ResponseInvalid,
    SecretUnavailable,
    SinkError,
    SinkRejected,
    SinkUnavailable,
)
from job.core.ports import Superseded
from job.core.schedule import Plan, Policy
from job.core.state import Action, Alarm, Delivery, State
from job.core.tokens import Record, Token, record_of

HOUR = 3600
BOOT = 1000.0
NOW = Moment(START, BOOT)
PLAN = Plan(Policy(jitter=0.0), "host")
DUE = START + 2412
OURS = record()
HELD = Delivery(held=True, expires_at=START + HOUR, risk_at=START + 3300)
FAILED_ONCE = Delivery(failures=1, retry_at=BOOT + 1)
DOWN = EndpointUnavailable("timeout", "no answer")
DENIED = RequestRejected("invalid_client", "refused")
FULL = SinkUnavailable("disk_full", "full")
FORBIDDEN = SinkRejected("permission_denied", "forbidden")
LATER = record("tok-2", START + 60)
FUTURE = record("tok-f", START + 61)

some = settings(database=None, deadline=None, max_examples=10)
draws = st.floats(0, 1, exclude_max=True)


def after(seconds: float, step: float = 0.0) -> Moment:
    """Return the moment so many seconds later; the wall clock was also set by `step`."""
    return Moment(START + seconds + step, BOOT + seconds)


def holding(*deliveries: Delivery, **more: Any) -> State:  # noqa: ANN401  # any field of State
    """Make the state of a healthy token in hand; `more` replaces any field."""
    fields: dict[str, Any] = {"due_at": DUE, "record": OURS} | more
    return State(anchor=NOW, deliveries=deliveries or (HELD,), **fields)


class TestClock:
    """The two clocks."""

    @pytest.mark.parametrize(
        ("later", "seen"),
        [
            (Moment(START, BOOT), START),
            (Moment(START + 10, BOOT + 10), START + 10),
            (Moment(START - HOUR, BOOT + 10), START + 10),
            (Moment(START + HOUR, BOOT + 10), START + HOUR),
            (Moment(START + HOUR, BOOT), START + HOUR),
        ],
    )
    def test_the_clock_that_ran_further_counts(self, later: Moment, seen: float) -> None:
        """No step of the wall clock makes a token live longer."""
        assert later.seen_from(NOW) == seen

    def test_both_clocks_are_read(self) -> None:
        """The system's clock gives epoch seconds and seconds since boot."""
        before = Moment(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))
        now = system_clock()
        assert before.wall <= now.wall <= before.wall + 60
        assert before.boot <= now.boot <= before.boot + 60


class TestQuestions:
    """What to do, and when to look again."""

    def test_nothing_is_known_at_first(self) -> None:
        """A new token is due at once, whatever its sinks hold."""
        fresh = state.start(NOW, 2)
        assert fresh == State(NOW, START, (Delivery(), Delivery()))
        assert state.next_action(fresh, NOW) is Action.EXCHANGE
        assert state.wake_at(fresh, NOW) == START
        assert state.alarm_of(fresh, NOW) is Alarm.NONE
        assert state.readers_until(fresh) == (None, None)

    @pytest.mark.parametrize(
        ("known", "now", "action", "wake"),
        [
            pytest.param(holding(), NOW, Action.WAIT, DUE, id="good"),
            pytest.param(holding(), after(2411.9), Action.WAIT, DUE, id="just not due"),
            pytest.param(holding(), after(2412), Action.EXCHANGE, DUE, id="due"),
            pytest.param(
                holding(), after(0, 3000), Action.EXCHANGE, START + 3000, id="the clock went on"
            ),
            pytest.param(
                holding(), after(2412, -60), Action.EXCHANGE, DUE, id="the clock went back"
            ),
            pytest.param(
                holding(), after(0, -60), Action.WAIT, DUE, id="the clock tolerance is not left"
            ),
            pytest.param(
                holding(), after(0, -61), Action.EXCHANGE, START, id="a token from the future"
            ),
            pytest.param(
                holding(retry_at=BOOT + 1),
                after(0, -61),
                Action.WAIT,
                START + 1,
                id="a token from the future after a failure",
            ),
            pytest.param(
                holding(HELD, Delivery()), NOW, Action.DELIVER, START, id="a sink lacks it"
            ),
            pytest.param(
                holding(HELD, FAILED_ONCE), NOW, Action.WAIT, START + 1, id="a sink has failed"
            ),
            pytest.param(
                holding(HELD, FAILED_ONCE),
                after(1),
                Action.DELIVER,
                START + 1,
                id="its wait is over",
            ),
            pytest.param(
                holding(HELD, FAILED_ONCE),
                after(0, 10),
                Action.WAIT,
                START + 11,
                id="its wait is not shortened by the wall clock",
            ),
            pytest.param(
                holding(Delivery(), due_at=START + HOUR + 1),
                after(HOUR),
                Action.WAIT,
                START + HOUR + 1,
                id="an expired token is not delivered",
            ),
            pytest.param(
                holding(Delivery(), due_at=START + HOUR + 1),
                after(HOUR, -60),
                Action.WAIT,
                START + HOUR + 1,
                id="nor one that lives on by a clock that went back",
            ),
            pytest.param(
                holding(retry_at=BOOT + 2500),
                after(2412),
                Action.WAIT,
                START + 2500,
                id="due, but waiting",
            ),
            pytest.param(
                holding(retry_at=BOOT + 2500),
                after(2499, 9 * HOUR),
                Action.WAIT,
                START + 3300,
                id="a wait is not shortened by the wall clock",
            ),
            pytest.param(
                holding(retry_at=BOOT + 2500, rejected=True, failures=1),
                after(2412),
                Action.WAIT,
                START + 2417,
                id="rejected: the secret is looked at",
            ),
            pytest.param(
                holding(due_at=START + 9999), NOW, Action.WAIT, START + 3300, id="risk is told"
            ),
            pytest.param(
                holding(due_at=START + 9999, alarm=Alarm.AT_RISK),
                after(3301),
                Action.WAIT,
                START + HOUR,
                id="then expiry is",
            ),
            pytest.param(
                holding(due_at=START + 9999, alarm=Alarm.EXPIRED),
                after(HOUR + 1),
                Action.WAIT,
                START + 9999,
                id="then nothing more",
            ),
        ],
    )
    def test_decisions(self, known: State, now: Moment, action: Action, wake: float) -> None:
        """Each answer changes at its moment, not before, and the wake-up is not missed."""
        assert (state.next_action(known, now), state.wake_at(known, now)) == (action, wake)

    @pytest.mark.parametrize(
        ("deliveries", "now", "alarm"),
        [
            ((Delivery(),), after(9999), Alarm.NONE),
            ((HELD,), after(3299), Alarm.NONE),
            ((HELD,), after(3300), Alarm.AT_RISK),
            ((HELD,), after(3599), Alarm.AT_RISK),
            ((HELD,), after(HOUR), Alarm.EXPIRED),
            ((HELD,), after(0, HOUR), Alarm.EXPIRED),
            ((HELD,), after(HOUR, -HOUR), Alarm.EXPIRED),
            ((HELD, Delivery(expires_at=START + 9, risk_at=START + 5)), after(5), Alarm.AT_RISK),
            ((Delivery(expires_at=START + 9, risk_at=START + 5), HELD), after(9), Alarm.EXPIRED),
        ],
    )
    def test_alarms(self, deliveries: tuple[Delivery, ...], now: Moment, alarm: Alarm) -> None:
        """The worst sink decides how readers fare, by whichever clock ran further."""
        assert state.alarm_of(holding(*deliveries), now) is alarm

    def test_the_worst_sink(self) -> None:
        """The sink whose token expires first is named, be it the token in hand or not."""
        worst = Delivery(expires_at=START + 9, risk_at=START + 5)
        known = holding(HELD, Delivery(), worst)
        assert state.worst_sink(known) == (START + 9, 2)
        assert state.readers_until(known) == (START + 9, START + 5)

    @pytest.mark.parametrize(
        ("answer", "now", "deliveries", "same"),
        [
            pytest.param(record("tok-2"), after(2412), (HELD,), False, id="another token"),
            pytest.param(OURS, after(2412), (HELD,), True, id="the very token"),
            pytest.param(record(life=3000), after(2412), (HELD,), True, id="with less life"),
            pytest.param(record(life=3660), after(3500), (HELD,), True, id="rounded near expiry"),
            pytest.param(record(life=3660), after(3700), (HELD,), True, id="rounded after expiry"),
            pytest.param(record(life=7200), after(3299), (HELD,), True, id="longer, but not yet"),
            pytest.param(record(life=7200), after(3300), (HELD,), False, id="longer, near expiry"),
            pytest.param(record(life=3661), after(3300), (HELD,), False, id="a minute longer"),
            pytest.param(
                record(life=3661), after(HOUR), (Delivery(),), False, id="longer, stored nowhere"
            ),
            pytest.param(OURS, after(0, -61), (HELD,), False, id="from the future"),
        ],
    )
    def test_unchanged(
        self,
        answer: Record,
        now: Moment,
        deliveries: tuple[Delivery, ...],
        same: bool,  # noqa: FBT001  # what is expected, by name
    ) -> None:
        """The same token is news only when readers need its new times."""
        assert state.unchanged(holding(*deliveries), answer, now) is same

    def test_a_longer_life_is_news_for_short_tokens_too(self) -> None:
        """The rounding that is allowed for is no more than half of a life."""
        short = replace(holding(Delivery()), record=record(life=10))
        ended = after(10)
        assert state.unchanged(short, record(life=15), ended)
        assert not state.unchanged(short, record(life=16), ended)

    def test_nothing_in_hand(self) -> None:
        """The first token is never the same as none, and nothing can be taken from no hand."""
        assert not state.unchanged(state.start(NOW, 1), OURS, NOW)
        with pytest.raises(LookupError):
            state.in_hand(state.start(NOW, 1))
        assert state.in_hand(holding()) is OURS


class TestTransitions:
    """How each thing that happens changes what is known."""

    @pytest.mark.parametrize(
        ("readings", "best", "due_at", "deliveries"),
        [
            pytest.param((None, None), None, START, (Delivery(), Delivery()), id="empty sinks"),
            pytest.param((OURS, OURS), OURS, DUE, (HELD, HELD), id="all hold it"),
            pytest.param((OURS, None), OURS, DUE, (HELD, Delivery()), id="one lacks it"),
            pytest.param(
                (OURS, LATER),
                LATER,
                DUE + 60,
                (
                    replace(HELD, held=False),
                    Delivery(held=True, expires_at=START + 3660, risk_at=START + 3360),
                ),
                id="the newest wins",
            ),
            pytest.param(
                (FUTURE, OURS),
                OURS,
                DUE,
                (Delivery(), HELD),
                id="from the future",
            ),
            pytest.param(
                (record("tok-2", START + 9, 60), OURS),
                record("tok-2", START + 9, 60),
                START + 39,
                (
                    Delivery(held=True, expires_at=START + 69, risk_at=START + 54),
                    replace(HELD, held=False),
                ),
                id="the newest wins, though it expires first",
            ),
            pytest.param(
                (record(key="other"), None),
                None,
                START,
                (replace(HELD, held=False, risk_at=START), Delivery()),
                id="of another request: its readers are at risk",
            ),
            pytest.param(
                (record("tok-f", START + 61, key="other"), None),
                None,
                START,
                (Delivery(), Delivery()),
                id="of another request, from the future",
            ),
            pytest.param(
                (record(requested_at=START - HOUR), None),
                record(requested_at=START - HOUR),
                DUE - HOUR,
                (Delivery(held=True, expires_at=START, risk_at=START - 300), Delivery()),
                id="expired",
            ),
        ],
    )
    def test_stored_at_first(
        self,
        readings: tuple[Record | None, ...],
        best: Record | None,
        due_at: float,
        deliveries: tuple[Delivery, ...],
    ) -> None:
        """The newest good token of this request is taken in hand; each sink's expiry is known."""
        found = dict(enumerate(readings))
        assert transitions.stored(state.start(NOW, 2), found, "key", NOW, PLAN) == State(
            NOW, due_at, deliveries, record=best
        )

    def test_stored_keeps_what_is_newer(self) -> None:
        """A token in hand that is newer than what sinks hold stays, and its waits too."""
        known = holding(FAILED_ONCE, HELD, record=LATER, retry_at=BOOT + 9, failures=3)
        assert transitions.stored(known, {0: OURS}, "key", after(5), PLAN) == replace(
            known, deliveries=(replace(HELD, held=False, failures=1, retry_at=BOOT + 1), HELD)
        )

    def test_stored_ends_failures(self) -> None:
        """Another process got a token: our failures to get one are over, the slow lane too."""
        known = holding(failures=7, rejected=True, retry_at=BOOT + 300, due_at=START)
        now = after(61)
        held = Delivery(held=True, expires_at=START + 3660, risk_at=START + 3360)
        assert transitions.stored(known, {0: LATER}, "key", now, PLAN) == State(
            now, DUE + 60, (held,), record=LATER
        )

    def test_stored_forgets_what_is_gone(self) -> None:
        """A token that was removed from a sink is lacked there, and a read heals a sink."""
        failing = replace(HELD, failures=2, retry_at=BOOT + 9)
        known = holding(HELD, failing)
        assert transitions.stored(known, {0: None, 1: OURS}, "key", NOW, PLAN) == holding(
            Delivery(), HELD
        )

    def test_a_good_token_is_better_than_one_from_the_future(self) -> None:
        """After a step back, another host's good token is taken instead of our misdated one."""
        known = holding(record=FUTURE)
        taken = transitions.stored(known, {0: OURS}, "key", NOW, PLAN)
        assert taken == holding(HELD)
        there = replace(HELD, held=False)
        unknown = holding(there, record=FUTURE)
        assert transitions.stored(unknown, {0: FUTURE}, "key", NOW, PLAN) == holding(
            HELD, record=FUTURE
        )

    def test_exchanged(self) -> None:
        """A new token starts afresh: every sink lacks it, and sinks keep their waits."""
        known = holding(
            HELD, FAILED_ONCE, failures=4, rejected=True, retry_at=BOOT, alarm=Alarm.AT_RISK
        )
        fresh, now = record("tok-2", START + 2412), after(2413)
        assert transitions.exchanged(known, fresh, now, PLAN) == State(
            now,
            DUE + 2412,
            (replace(HELD, held=False, left=OURS.receipt), FAILED_ONCE),
            record=fresh,
            retry_at=BOOT + 2414,
            alarm=Alarm.AT_RISK,
        )

    def test_a_new_token_after_a_step_back(self) -> None:
        """What sinks still hold is dated as before, by the boot clock."""
        now = after(600, -2 * HOUR)
        fresh = record("tok-2", START + 600 - 2 * HOUR)
        left = replace(HELD, held=False, left=OURS.receipt)
        earlier = replace(left, expires_at=START - HOUR, risk_at=START + 3300 - 2 * HOUR)
        assert transitions.exchanged(holding(), fresh, now, PLAN).deliveries == (earlier,)
        assert transitions.exchanged(holding(), LATER, after(60, HOUR), PLAN).deliveries == (left,)

    def test_the_replaced_token_after_a_step_back(self) -> None:
        """What was in hand before is not taken again, though by its date it is the newer one."""
        step, fresh = -120, record("tok-2", START + 100 - 120)
        known = transitions.exchanged(holding(HELD, Delivery()), fresh, after(100, step), PLAN)
        now = after(200, step)
        for found in ({0: OURS}, {0: OURS, 1: None}, {0: OURS, 1: fresh}):
            assert transitions.stored(known, found, "key", now, PLAN).record == fresh
        taken = transitions.stored(known, {0: LATER}, "key", now, PLAN)
        assert taken.record == LATER

    def test_a_misdated_token_that_was_replaced(self) -> None:
        """What is known of the life of a misdated token stays when its dates come true.

        Found by seed 114 of the simulation: a full store kept a token of a clock that was a day
        ahead, and after that day its readers were taken to be served.
        """
        step, ahead = -24 * HOUR, replace(HELD, held=False, left=OURS.receipt)
        fresh = record("tok-2", START + 100 + step)
        known = transitions.exchanged(holding(), fresh, after(100, step), PLAN)
        earlier = replace(ahead, expires_at=START + HOUR + step, risk_at=START + 3300 + step)
        assert known.deliveries == (earlier,)
        now = after(24 * HOUR + 200, step)
        assert transitions.stored(known, {0: OURS}, "key", now, PLAN).deliveries == (earlier,)

    def test_a_new_token_that_kills_the_old_one(self) -> None:
        """A sink that still holds an older token holds a dead one since the new one's request."""
        plan = Plan(Policy(reissue="revokes_previous"), "host")
        dead = Delivery(left=OURS.receipt, expires_at=START + 60, risk_at=START + 60)
        known = transitions.exchanged(holding(HELD, Delivery()), LATER, after(61), plan)
        assert known.deliveries == (dead, Delivery())
        assert transitions.stored(known, {0: OURS}, "key", after(62), plan).deliveries == (
            dead,
            Delivery(),
        )

    @pytest.mark.parametrize(
        ("now", "policy", "due_in"),
        [
            pytest.param(after(2412), Policy(jitter=0.0), 795.96, id="0.67 of what is left"),
            pytest.param(after(3208), Policy(jitter=0.0), 196, id="half of what is left"),
            pytest.param(after(3550), Policy(jitter=0.0), 30, id="min_interval"),
            pytest.param(after(3569), Policy(jitter=0.0), 30, id="the last one before expiry"),
            pytest.param(after(3570), Policy(jitter=0.0), 31, id="just after expiry"),
            pytest.param(after(3599.5), Policy(jitter=0.0), 1.5, id="at the end"),
            pytest.param(
                after(3599.9), Policy(jitter=0.0, min_interval=0.0), 1, id="no min_interval"
            ),
            pytest.param(after(2412), Policy(fresh_window=100.0), 1089, id="the fresh window"),
            pytest.param(after(2412), Policy(jitter=0.0, max_age=60.0), 60, id="max_age"),
            pytest.param(after(10), Policy(reissue="same_until_expiry"), 3591, id="until expiry"),
        ],
    )
    def test_not_changed(self, now: Moment, policy: Policy, due_in: float) -> None:
        """The server is asked again when a new token is likely, a few times in all."""
        known = holding(failures=2, rejected=True)
        again = transitions.not_changed(known, now, Plan(policy, "host"))
        assert again == replace(
            known, failures=0, rejected=False, due_at=again.due_at, retry_at=now.boot + 1
        )
        assert state.exchange_at(again, now) - now.wall == pytest.approx(due_in, abs=1e-3)

    def test_not_changed_forgets_the_hint(self) -> None:
        """`refresh_in` counts from the first answer: it does not come round again and again."""
        known = holding(record=record_of(token(refresh_in=60), "key"))
        assert transitions.not_changed(known, after(60), PLAN).due_at == pytest.approx(
            START + 60 + 0.67 * 3540
        )

    def test_not_changed_after_expiry(self) -> None:
        """An expired token that is given again is a failure, and backs off."""
        known = holding(due_at=START + HOUR + 1, failures=0)
        first = transitions.not_changed(known, after(HOUR + 1), PLAN)
        assert first == replace(known, failures=1, retry_at=BOOT + HOUR + 2)
        tenth = transitions.not_changed(replace(known, failures=9), after(HOUR), PLAN)
        assert tenth.retry_at == BOOT + HOUR + max(1.0, 15 * PLAN.draw(10))

    @pytest.mark.parametrize(
        ("error", "seconds", "wait"),
        [
            pytest.param(DOWN, 2412, 1.0, id="transient: a second"),
            pytest.param(
                ResponseInvalid("no_access_token", ""), 2412, 1.0, id="an unusable answer"
            ),
            pytest.param(DENIED, 2412, 300.0, id="rejected: the slow lane"),
            pytest.param(SecretUnavailable("x", ""), 2412, 300.0, id="no secret: the slow lane"),
            pytest.param(
                EndpointUnavailable("http_429", "", retry_after=120.0), 2412, 120.0, id="a floor"
            ),
            pytest.param(
                EndpointUnavailable("http_429", "", retry_after=0.0), 2412, 1.0, id="no floor"
            ),
            pytest.param(
                EndpointUnavailable("http_429", "", retry_after=9e9), 2412, 1173.0, id="last chance"
            ),
            pytest.param(
                EndpointUnavailable("http_429", "", retry_after=9e9), 3584, 1.0, id="a second off"
            ),
            pytest.param(
                EndpointUnavailable("http_429", "", retry_after=9e9), 3585, 3600.0, id="it is over"
            ),
            pytest.param(
                RequestRejected("x", "", retry_after=9e9), 2412, 3600.0, id="rejected: no chance"
            ),
            pytest.param(
                RequestRejected("x", "", retry_after=60.0), 2412, 300.0, id="rejected: less"
            ),
        ],
    )
    def test_failed(self, error: ExchangeError, seconds: float, wait: float) -> None:
        """The next attempt comes by the kind of failure; token and deliveries are untouched."""
        known, now = holding(), after(seconds)
        assert transitions.failed(known, error, now, PLAN) == replace(
            known, failures=1, rejected=not error.retryable, retry_at=now.boot + wait
        )

    @pytest.mark.parametrize(
        ("seconds", "ceiling"),
        [
            pytest.param(2412, 60.0, id="long before the risk"),
            pytest.param(3299, 16.0, id="a second before the risk"),
            pytest.param(3300, 15.0, id="at risk"),
        ],
    )
    def test_failures_hurry_when_readers_are_at_risk(self, seconds: float, ceiling: float) -> None:
        """No wait that began before readers were at risk reaches far into it."""
        waits = [
            transitions.failed(holding(failures=n), DOWN, after(seconds), PLAN).retry_at
            - BOOT
            - seconds
            for n in range(10, 100)
        ]
        assert ceiling - 2 < max(waits) <= ceiling

    @pytest.mark.parametrize(
        ("known", "policy"),
        [
            pytest.param(state.start(NOW, 1), Policy(), id="no token"),
            pytest.param(holding(HELD, Delivery()), Policy(), id="none in one sink"),
            pytest.param(holding(), Policy(reissue="revokes_previous"), id="maybe revoked"),
        ],
    )
    def test_failures_hurry_without_a_token(self, known: State, policy: Policy) -> None:
        """Readers who have no token, or may have a dead one, are at risk."""
        plan = Plan(policy, "host")
        waits = [
            transitions.failed(replace(known, failures=n), DOWN, NOW, plan).retry_at - BOOT
            for n in range(10, 100)
        ]
        assert 14 < max(waits) <= 15

    def test_a_failure_makes_nothing_due(self) -> None:
        """A token that was misjudged for a while is due when it was, whatever failed meanwhile."""
        past = after(10, -3 * HOUR)
        assert state.next_action(holding(), past) is Action.EXCHANGE
        known = transitions.failed(holding(), DOWN, past, PLAN)
        assert known == holding(failures=1, retry_at=BOOT + 11)
        assert state.next_action(known, after(12)) is Action.WAIT

    @pytest.mark.parametrize(("retry_at", "expected"), [(0.0, BOOT + 7), (BOOT + 99, BOOT + 99)])
    def test_blocked(self, retry_at: float, expected: float) -> None:
        """Without a sink to ask, an exchange waits for the first one, and for its own wait."""
        waiting = (Delivery(retry_at=BOOT + 60), Delivery(retry_at=BOOT + 7))
        known = holding(*waiting, due_at=START, retry_at=retry_at)
        assert transitions.blocked(known) == replace(known, retry_at=expected)

    def test_waits_can_be_ended(self) -> None:
        """A mended secret ends the exchange's wait, an operator all waits and the token's time.

        The wait for an exchange goes on for a second, so that two are never made in one.
        """
        known = holding(FAILED_ONCE, retry_at=BOOT + 300, rejected=True, failures=1)
        assert transitions.retry_now(known) == replace(known, retry_at=0.0)
        assert transitions.forced(known, after(10)) == replace(
            known, due_at=START + 10, retry_at=BOOT + 11, deliveries=(Delivery(failures=1),)
        )
        assert transitions.forced(known, after(2500)).due_at == DUE

    def test_told_and_promised(self) -> None:
        """What people were told is kept, to say it once."""
        known = holding()
        assert transitions.told(known, Alarm.NONE) is known
        assert transitions.told(known, Alarm.EXPIRED) == replace(known, alarm=Alarm.EXPIRED)
        assert transitions.promised(known, holdable=False) == replace(known, unholdable=True)
        assert transitions.promised(replace(known, unholdable=True), holdable=True) == known

    def test_delivered(self) -> None:
        """A sink that took the token has healed; the others are as they were."""
        known = holding(HELD, replace(FAILED_ONCE, expires_at=START + 5, risk_at=START))
        assert transitions.delivered(known, 1, PLAN.policy) == holding(HELD, HELD)

    @pytest.mark.parametrize(
        ("error", "wait"), [(FULL, 1.0), (FORBIDDEN, 60.0), (Superseded(LATER), 1.0)]
    )
    def test_not_delivered(self, error: SinkError, wait: float) -> None:
        """A sink that failed waits alone, and what readers find in it is still known."""
        old = Delivery(expires_at=START + 5, risk_at=START)
        known = holding(old, HELD)
        assert transitions.not_delivered(known, 0, error, NOW, PLAN) == holding(
            replace(old, failures=1, retry_at=BOOT + wait), HELD
        )


class Sequences(RuleBasedStateMachine):
    """Whatever happens in whatever order, there is a next moment, in time, and no loop."""

    exchange_errors = st.one_of(
        st.builds(
            EndpointUnavailable,
            st.just("http_503"),
            st.just(""),
            retry_after=st.none() | st.floats(0, 1e9),
        ),
        st.builds(
            RequestRejected,
            st.just("invalid_client"),
            st.just(""),
            retry_after=st.none() | st.floats(0, 1e9),
        ),
        st.builds(ResponseInvalid, st.just("too_large"), st.just("")),
        st.builds(SecretUnavailable, st.just("client_secret_unavailable"), st.just("")),
    )
    positions = st.integers(0, 1)
    spans = st.one_of(st.floats(0, 120), st.floats(0, 2 * HOUR), st.floats(0, 90 * 86_400))
    lives = st.one_of(st.integers(1, 60), st.integers(60, 2 * HOUR), st.integers(1, 10**7))

    @initialize(
        min_interval=st.sampled_from((0.0, 30.0, 600.0)),
        min_validity=st.sampled_from((0.0, 300.0)),
        max_age=st.sampled_from((None, 0.5, 900.0)),
        reissue=st.sampled_from(("independent", "revokes_previous", "same_until_expiry")),
        fresh_window=st.sampled_from((None, 300.0)),
    )
    def begin(self, **wishes: Any) -> None:  # noqa: ANN401  # any field of Policy
        self.plan = Plan(Policy(**wishes), "host")
        self.now = NOW
        self.minted = 0
        self.known = state.start(self.now, 2)

    def mint(self, life: int, ago: int) -> Record:
        self.minted += 1
        return record(f"tok-{self.minted}", int(self.now.wall) - ago, life)

    @rule(seconds=spans)
    def advance(self, seconds: float) -> None:
        self.now = Moment(self.now.wall + seconds, self.now.boot + seconds)

    @rule(seconds=st.floats(-1e8, 1e8))
    def set_wall_clock(self, seconds: float) -> None:
        self.now = Moment(self.now.wall + seconds, self.now.boot)

    @rule()
    def sleep_until_the_wake_up(self) -> None:
        wait = state.wake_at(self.known, self.now) - self.now.seen_from(self.known.anchor)
        self.advance(max(wait, 0.0))

    @rule(life=lives, ago=st.integers(-90, 100_000), copies=st.integers(1, 2))
    def read_another_token(self, life: int, ago: int, copies: int) -> None:
        found = self.mint(life, ago)
        readings = {0: found, 1: found if copies == 2 else None}
        self.known = transitions.stored(self.known, readings, "key", self.now, self.plan)

    @rule(position=positions)
    def read_nothing(self, position: int) -> None:
        self.known = transitions.stored(self.known, {position: None}, "key", self.now, self.plan)

    @rule(life=lives, took=st.integers(0, 15))
    def exchange(self, life: int, took: int) -> None:
        minted = self.mint(life, took)
        self.known = transitions.exchanged(self.known, minted, self.now, self.plan)

    @precondition(lambda self: self.known.record)
    @rule()
    def get_the_same_token(self) -> None:
        self.known = transitions.not_changed(self.known, self.now, self.plan)

    @rule(error=exchange_errors)
    def fail(self, error: ExchangeError) -> None:
        t = self.now.seen_from(self.known.anchor)
        held = self.known.record
        self.known = transitions.failed(self.known, error, self.now, self.plan)
        floor = t + min(error.retry_after or 1.0, HOUR) - 1e-3
        last_chance = held is not None and self.known.retry_at - self.now.boot == pytest.approx(
            held.token.expires_at - 15 - t, abs=1e-3
        )
        assert state.exchange_at(self.known, self.now) >= floor or last_chance

    @rule(position=positions, error=st.sampled_from((FULL, FORBIDDEN, Superseded(OURS))))
    def fail_to_deliver(self, position: int, error: SinkError) -> None:
        before = state.exchange_at(self.known, self.now)
        self.known = transitions.not_delivered(self.known, position, error, self.now, self.plan)
        assert state.exchange_at(self.known, self.now) == before

    @precondition(lambda self: self.known.record)
    @rule(position=positions)
    def deliver(self, position: int) -> None:
        before = state.exchange_at(self.known, self.now)
        self.known = transitions.delivered(self.known, position, self.plan.policy)
        assert state.exchange_at(self.known, self.now) == before

    @precondition(lambda self: not state.askable(self.known, self.now))
    @rule()
    def find_no_sink(self) -> None:
        self.known = transitions.blocked(self.known)

    @rule()
    def mend_or_force(self) -> None:
        self.known = transitions.retry_now(transitions.forced(self.known, self.now))

    @rule()
    def raise_the_alarm(self) -> None:
        self.known = transitions.told(self.known, state.alarm_of(self.known, self.now))

    @invariant()
    def the_wake_up_is_near(self) -> None:
        t = self.now.seen_from(self.known.anchor)
        held = self.known.record
        expiry = held.token.expires_at - t if held else 0.0
        wait = state.wake_at(self.known, self.now) - t
        assert math.isfinite(wait)
        assert wait <= max(HOUR, expiry + 1)

    @invariant()
    def the_wake_up_is_neither_late_nor_in_vain(self) -> None:
        known = transitions.told(self.known, state.alarm_of(self.known, self.now))
        action = state.next_action(known, self.now)
        wait = state.wake_at(known, self.now) - self.now.seen_from(known.anchor)
        assert (wait > 0) is (action is Action.WAIT)
        if wait > 0.001:
            until = Moment(self.now.wall + wait * 0.999, self.now.boot + wait * 0.999)
            assert state.next_action(known, until) is Action.WAIT
            assert state.alarm_of(known, until) is known.alarm


@pytest.mark.slow
def test_any_sequence() -> None:
    """After any sequence of events and clock steps there is a next moment, in time, and no loop."""
    run_state_machine_as_test(
        Sequences,
        settings=settings(database=None, deadline=None, max_examples=30, stateful_step_count=20),
    )


def ask(
    known: State, plan: Plan, answer: Callable[[Moment], Token | ExchangeError], until: float
) -> tuple[State, list[float]]:
    """Play what a healthy sink and `answer` do; return the moments of the exchanges made."""
    now, exchanges = NOW, []
    while now.boot < BOOT + until:
        if state.next_action(known, now) is Action.EXCHANGE:
            exchanges.append(now.boot - BOOT)
            given = answer(now)
            if isinstance(given, ExchangeError):
                known = transitions.failed(known, given, now, plan)
            elif state.unchanged(known, record_of(given, "key"), now):
                known = transitions.not_changed(known, now, plan)
            else:
                known = transitions.exchanged(known, record_of(given, "key"), now, plan)
                known = transitions.delivered(known, 0, plan.policy)
        known = transitions.told(known, state.alarm_of(known, now))
        wait = state.wake_at(known, now) - now.seen_from(known.anchor)
        assert wait > 0
        now = Moment(now.wall + wait, now.boot + wait)
    return known, exchanges


class TestPermanentFailure:
    """How often a server that never gives a token is asked."""

    @some
    @given(st.text(), st.sampled_from((10, 600, HOUR)))
    def test_transient(self, seed: str, life: int) -> None:
        """A server that is down is asked about 480 times an hour, and never less than every 15 s.

        That is once the promise is at risk; the draws of a seed may be a little luckier.
        """
        known = replace(holding(), record=record(life=life), due_at=START)
        _, exchanges = ask(known, Plan(Policy(), seed), lambda _: DOWN, 3 * HOUR)
        last_hour = [at for at in exchanges if at >= 2 * HOUR]
        assert 3600 / 9 <= len(last_hour) <= 3600 / 6.5

    @some
    @given(st.text(), st.sampled_from((DENIED, SecretUnavailable("no_secret", ""))))
    def test_rejected(self, seed: str, error: ExchangeError) -> None:
        """A server that refuses us is asked 12 or 13 times an hour: no lock-out, no storm."""
        _, exchanges = ask(state.start(NOW, 1), Plan(Policy(), seed), lambda _: error, HOUR)
        assert exchanges == [300.0 * n for n in range(12)]

    @some
    @given(st.text(), st.floats(1, 1e6))
    def test_retry_after(self, seed: str, retry_after: float) -> None:
        """A server that says when to come back is never asked before, up to an hour."""
        error = EndpointUnavailable("http_429", "", retry_after=retry_after)
        _, exchanges = ask(state.start(NOW, 1), Plan(Policy(), seed), lambda _: error, HOUR)
        gaps = [b - a for a, b in itertools.pairwise(exchanges)]
        assert all(gap >= min(retry_after, HOUR) - 1e-3 for gap in gaps)


class TestUnchangedNeverLoops:
    """A server that returns the same token again and again."""

    @some
    @given(st.text(), st.integers(1, 40_000), st.floats(0, 0.999), st.floats(0, 3))
    def test_shrinking_life(self, seed: str, life: int, fraction: float, delay: float) -> None:
        """One that counts the life down is asked a few times, and each token is stored once."""
        end = START + life + fraction

        def answer(now: Moment) -> Token | ExchangeError:
            left = math.floor(end - now.wall - delay)
            if left < 1:
                return ResponseInvalid("expires_in_not_positive", "")
            return token(requested_at=math.floor(now.wall), life=left)

        plan = Plan(Policy(), seed)
        known, exchanges = ask(state.start(NOW, 1), plan, answer, life)
        assert len(exchanges) <= 3 + 2 * math.log2(life + 2)
        assert known.record is None or known.record.token.requested_at == START

    @some
    @given(st.text(), st.integers(1, 40_000), st.sampled_from((0.0, 30.0)))
    def test_constant_life(self, seed: str, life: int, min_interval: float) -> None:
        """One that says the same life each time is asked a few times per life, for ever."""
        plan = Plan(Policy(min_interval=min_interval), seed)
        _, exchanges = ask(
            state.start(NOW, 1),
            plan,
            lambda now: token(requested_at=math.floor(now.wall), life=life),
            10 * life,
        )
        gaps = [b - a for a, b in itertools.pairwise(exchanges)]
        assert min(gaps, default=1.0) >= 1.0 - 1e-6
        assert len(exchanges) <= 10 * (3 + 2 * math.log2(life + 2))

    @some
    @given(st.text(), st.integers(60, 40_000), st.floats(0.01, 100))
    def test_impatient_operator(self, seed: str, life: int, max_age: float) -> None:
        """Even with a tiny `max_age`, a server that has no new token is asked each min_interval."""
        plan = Plan(Policy(max_age=max_age), seed)
        _, exchanges = ask(
            state.start(NOW, 1), plan, lambda _: token(life=life), min(life, HOUR) - 1
        )
        gaps = [b - a for a, b in itertools.pairwise(exchanges)]
        assert all(gap >= 30 - 1e-6 for gap in gaps)
