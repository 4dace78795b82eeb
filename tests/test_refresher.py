"""Stories of one token: what is done, what is told, and what its readers see."""

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator

import pytest
from fakes import START, AnsweringSource, FakeClock, MemorySink, ScriptedSource, record, token
from hypothesis import given, settings
from hypothesis import strategies as st

from job.core.errors import (
    EndpointUnavailable,
    ExchangeError,
    RequestRejected,
    SinkError,
    SinkRejected,
    SinkUnavailable,
)
from job.core.events import (
    Event,
    TokenAdopted,
    TokenAtRisk,
    TokenDelivered,
    TokenDeliveryFailed,
    TokenExpired,
    TokenPromiseUnholdable,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenUnchanged,
)
from job.core.ports import Sink, Superseded, TokenSource
from job.core.refresher import Refresher
from job.core.schedule import Plan, Policy, broken_promise
from job.core.tokens import OutputFormat, Record, Token, record_of, render

HOUR = 3600
DUE = START + 2412
STEADY = Policy(jitter=0.0)
DOWN = EndpointUnavailable("timeout", "no answer")
DENIED = RequestRejected("invalid_client", "refused", http_status=401)
FULL = SinkUnavailable("disk_full", "full")
FORBIDDEN = SinkRejected("permission_denied", "forbidden", permission=True)
LOCKED = SinkUnavailable("locked", "locked")

Told = list[tuple[float, Event]]


class Server:
    """A token endpoint: it numbers its tokens, and fails for as long as `error` is set."""

    def __init__(self, clock: FakeClock, life: int = HOUR) -> None:
        self.clock = clock
        self.life = life
        self.minted = 0
        self.error: ExchangeError | None = None

    def __call__(self) -> Token:
        if self.error:
            raise self.error
        self.minted += 1
        return token(f"tok-{self.minted}", math.floor(self.clock().wall), self.life)


def refresher(
    clock: FakeClock,
    source: TokenSource,
    *sinks: Sink,
    policy: Policy = STEADY,
    seed: str = "host",
    key: str = "key",
) -> Refresher:
    """Make the refresher of a token named `tiki`."""
    return Refresher("tiki", source, sinks, Plan(policy, seed), key, clock)


def play(
    job: Refresher,
    clock: FakeClock,
    seconds: float,
    before_step: Callable[[], object] = lambda: None,
) -> Told:
    """Step as the daemon does, each time after `wait_s`; return what was told, and when."""
    start, told = clock().boot, []
    while clock().boot < start + seconds:
        before_step()
        told += [(round(clock().boot - 1000, 3), event) for event in job.step()]
        assert job.wait_s() > 0
        clock.advance(min(job.wait_s(), start + seconds - clock().boot))
    before_step()
    return told


def names(told: Told) -> list[tuple[float, str]]:
    """Return the names of what was told."""
    return [(at, event.name) for at, event in told]


def refreshed(new: Token, refresh_at: int, *, ms: int = 0, attempts: int = 1) -> TokenRefreshed:
    """Expect the event of a new token."""
    fingerprint = new.access_token.fingerprint()
    source = new.expiry_source
    return TokenRefreshed("tiki", fingerprint, new.expires_at, source, refresh_at, ms, attempts)


def delivered(new: Token, sink: str = "memory", *, ms: int = 0) -> TokenDelivered:
    """Expect the event of a token that was stored."""
    return TokenDelivered("tiki", sink, new.access_token.fingerprint(), ms)


def adopted(found: Record, refresh_at: int, sink: str = "memory") -> TokenAdopted:
    """Expect the event of a token that was found."""
    receipt = found.receipt
    return TokenAdopted("tiki", receipt.fingerprint, receipt.expires_at, refresh_at, sink)


def refused(
    error: ExchangeError, failures: int, retry_at: int, expires_at: int | None
) -> TokenRefreshFailed:
    """Expect the event of an exchange that failed."""
    return TokenRefreshFailed(
        "tiki",
        error.code,
        error.message,
        error.http_status,
        failures,
        retry_at,
        expires_at,
        error.retryable,
        error.exit_code,
    )


def undelivered(
    error: SinkError, failures: int, retry_at: int, sink: str = "memory"
) -> TokenDeliveryFailed:
    """Expect the event of a sink that failed."""
    return TokenDeliveryFailed(
        "tiki",
        sink,
        error.code,
        error.message,
        failures,
        retry_at,
        error.retryable,
        error.exit_code,
    )


def rival(sink: str) -> SinkRejected:
    """Expect the error about a writer of another request's tokens."""
    what = f"another job writes tokens of another request to {sink}; give each its own place"
    return SinkRejected("rival", what)


@pytest.fixture
def clock() -> FakeClock:
    """Give a clock that stands still."""
    return FakeClock()


@pytest.fixture
def sink() -> MemorySink:
    """Give an empty sink."""
    return MemorySink()


class TestStart:
    """What is found at the start, and what it costs."""

    def test_first_token(self, clock: FakeClock, sink: MemorySink) -> None:
        """Nothing stored: one exchange, one write, and the next look when it is due."""
        first = token()
        job = refresher(clock, ScriptedSource(first), sink)
        assert job.step() == (refreshed(first, DUE), delivered(first))
        assert sink.written == [record_of(first, "key")]
        assert job.wait_s() == 2412
        assert job.step() == ()

    def test_what_is_remarkable_is_told(self, clock: FakeClock, sink: MemorySink) -> None:
        """A note on the answer goes along with the event, and into no store."""
        noted = token(note="the server granted a narrower scope, without write")
        told = refresher(clock, ScriptedSource(noted), sink).step()[0]
        assert told == dataclasses.replace(refreshed(noted, DUE), note=noted.note)
        assert "narrower" not in render(sink.written[0], OutputFormat("json", "tiki"))

    def test_how_long_it_took(self, clock: FakeClock) -> None:
        """Exchange and write are told in milliseconds of the boot clock."""

        class Slow(MemorySink):
            def write(self, record: Record) -> None:
                clock.advance(0.0404)
                super().write(record)

        def slow() -> Token:
            clock.advance(0.25)
            return token()

        job = refresher(clock, ScriptedSource(slow), Slow())
        assert job.step() == (refreshed(token(), DUE, ms=250), delivered(token(), ms=40))

    def test_a_hundred_restarts(self, clock: FakeClock) -> None:
        """A stored token that is not due is adopted each time: cron every minute mints nothing."""
        good = record()
        sink, source = MemorySink(stored=good), ScriptedSource()
        sink.claim_errors = [LOCKED]  # a look needs no claim
        told = []
        for _ in range(100):
            told.append(refresher(clock, source, sink).step())
            clock.advance(24)
        assert told == [(adopted(good, DUE),)] * 100
        assert (source.fetched, sink.written) == (0, [])

    def test_a_sink_that_lacks_it(self, clock: FakeClock) -> None:
        """A token in one sink is copied to the other without an exchange."""
        good = record()
        full, empty, source = MemorySink("a", good), MemorySink("b"), ScriptedSource()
        told = refresher(clock, source, empty, full).step()
        assert told == (adopted(good, DUE, "a"), delivered(good.token, "b"))
        assert (empty.written, full.written, source.fetched) == ([good], [], 0)

    def test_an_older_copy(self, clock: FakeClock) -> None:
        """The newest of the stored tokens is taken, and replaces the older one."""
        old, new = record("old", START - 60), record("new")
        first, second = MemorySink("a", old), MemorySink("b", new)
        told = refresher(clock, ScriptedSource(), first, second).step()
        assert told == (adopted(new, DUE, "b"), delivered(new.token, "a"))
        assert first.stored == new

    def test_expired_in_the_store(self, clock: FakeClock) -> None:
        """A token that has expired is replaced at once."""
        sink = MemorySink(stored=record("old", START - HOUR))
        told = refresher(clock, ScriptedSource(token()), sink).step()
        assert told == (refreshed(token(), DUE), delivered(token()))

    def test_expired_in_the_store_during_an_outage(self, clock: FakeClock) -> None:
        """Readers of an expired token are told of at once, and it stays where it is."""
        old = record("old", START - HOUR)
        sink = MemorySink(stored=old)
        told = refresher(clock, ScriptedSource(DOWN), sink).step()
        assert told == (
            refused(DOWN, 1, START + 1, START),
            TokenExpired("tiki", "memory", START, 1, 300),
        )
        assert sink.stored == old

    def test_due_in_the_store(self, clock: FakeClock, sink: MemorySink) -> None:
        """A token that is due but valid is kept and copied while the endpoint is down."""
        due = record("due", START - 2500)
        told = refresher(clock, ScriptedSource(DOWN), sink, MemorySink("b", due)).step()
        assert told == (refused(DOWN, 1, START + 1, START + 1100), delivered(due.token))

    def test_from_the_future(self, clock: FakeClock) -> None:
        """A stored token of a clock that was ahead is not adopted, and does not block ours."""
        future = record("future", START + 61)
        sink = MemorySink(stored=future)
        told = refresher(clock, ScriptedSource(token()), sink).step()
        assert told == (refreshed(token(), DUE), delivered(token()))

    def test_a_little_ahead(self, clock: FakeClock) -> None:
        """Hosts' clocks differ by some seconds: such a token is good."""
        ahead = record(requested_at=START + 60)
        job = refresher(clock, ScriptedSource(), MemorySink(stored=ahead))
        assert job.step() == (adopted(ahead, DUE + 60),)

    def test_another_request(self, clock: FakeClock) -> None:
        """A changed request never adopts the old request's token."""
        sink = MemorySink(stored=record("old", key="old key"))
        told = refresher(clock, ScriptedSource(token()), sink).step()
        assert told == (refreshed(token(), DUE), delivered(token()))
        assert sink.stored == record()


class TestOutage:
    """The token endpoint fails."""

    @settings(database=None, deadline=None, max_examples=20)
    @given(st.text(), st.floats(0, 3 * HOUR), st.floats(0, 1173))
    @pytest.mark.slow
    def test_an_outage_shorter_than_the_lead(self, seed: str, begin: float, length: float) -> None:
        """The promise survives an outage of 13.8 minutes at any moment, the token one of 19.5.

        After refresh_at (0.67) of an hour 888 s are left of the promise, 1188 of the life; the
        longest waits for the next attempt are 60 s and, once at risk, 15 s.
        """
        clock, sink = FakeClock(), MemorySink()
        server = Server(clock)
        left: list[float] = []

        def look() -> None:
            down = begin <= clock().boot - 1000 < begin + length
            server.error = DOWN if down else None
            if sink.stored:
                left.append(sink.stored.token.expires_at - clock().wall)

        job = refresher(clock, AnsweringSource(server), sink, policy=Policy(), seed=seed)
        play(job, clock, 4 * HOUR, look)
        assert min(left, default=300) > (299.999 if length <= 828 else 0)

    @pytest.mark.parametrize("seed", ["a", "b", "c", "d", "e"])
    @pytest.mark.slow
    def test_past_expiry(self, clock: FakeClock, sink: MemorySink, seed: str) -> None:
        """Risk and expiry are each told once, at their moment; recovery comes within 15 s."""
        server = Server(clock)
        job = refresher(clock, AnsweringSource(server), sink, seed=seed)
        first = play(job, clock, 2412)
        server.error = DOWN
        outage = play(job, clock, 2000)
        server.error = None
        recovery = play(job, clock, 600)

        failures = [event for _, event in outage if isinstance(event, TokenRefreshFailed)]
        assert [event.failures for event in failures] == [*range(1, len(failures) + 1)]
        risky = sum(at <= 3300 for at, event in outage if event in failures)
        late = sum(at <= 3600 for at, event in outage if event in failures)
        assert [(at, event) for at, event in outage if event not in failures] == [
            (3300, TokenAtRisk("tiki", "memory", START + 3600, risky, 300)),
            (3600, TokenExpired("tiki", "memory", START + 3600, late, 300)),
        ]
        at = recovery[0][0]
        new = token("tok-2", math.floor(START + at))
        refresh_at = int(new.requested_at + 2412)
        assert first[1:] == [(0, delivered(token()))]
        assert recovery == [
            (at, refreshed(new, refresh_at, attempts=len(failures) + 1)),
            (at, delivered(new)),
        ]
        assert 4412 <= at < 4427

    def test_each_retry_comes_when_it_was_announced(
        self, clock: FakeClock, sink: MemorySink
    ) -> None:
        """The `retry_at` of a failure is when the next attempt is made."""
        source = AnsweringSource(Server(clock))
        source.answer.error = DOWN  # type: ignore[attr-defined]  # the Server above
        told = play(refresher(clock, source, sink), clock, 300)
        announced = [e.retry_at for _, e in told if isinstance(e, TokenRefreshFailed)]
        assert announced[:-1] == [int(START + at) for at, _ in told[1:]]
        assert len(told) == source.fetched > 20

    def test_retry_after(self, clock: FakeClock, sink: MemorySink) -> None:
        """The server's wish is a floor, but one attempt is left before the token expires."""
        busy = EndpointUnavailable("http_429", "busy", http_status=429, retry_after=1800.0)
        server = Server(clock)
        source = AnsweringSource(server)
        job = refresher(clock, source, sink)
        play(job, clock, 2412)
        server.error = busy
        source.has_changed = True  # no cure for a busy server
        assert play(job, clock, 2000) == [
            (2412, refused(busy, 1, START + 3585, START + HOUR)),
            (3300, TokenAtRisk("tiki", "memory", START + HOUR, 1, 300)),
            (3585, refused(busy, 2, START + 5385, START + HOUR)),
            (3600, TokenExpired("tiki", "memory", START + HOUR, 2, 300)),
        ]

    def test_rejected(self, clock: FakeClock, sink: MemorySink) -> None:
        """A refused client is tried every 5 minutes, and at once when its secret changes."""
        server = Server(clock)
        server.error = DENIED
        source = AnsweringSource(server)
        job = refresher(clock, source, sink)
        assert play(job, clock, 610, lambda: job.wait_s() <= 5) == [
            (0, refused(DENIED, 1, START + 300, None)),
            (300, refused(DENIED, 2, START + 600, None)),
            (600, refused(DENIED, 3, START + 900, None)),
        ]
        assert job.wait_s() <= 5
        source.has_changed, server.error = True, None
        new = token(requested_at=START + 610)
        assert play(job, clock, 60) == [
            (610, refreshed(new, DUE + 610, attempts=4)),
            (610, delivered(new)),
        ]

    def test_a_changed_secret_that_is_no_better(self, clock: FakeClock, sink: MemorySink) -> None:
        """A secret that keeps changing is tried at each look, every 5 seconds, not in a loop."""
        source = ScriptedSource(*[DENIED] * 7)
        source.has_changed = True
        told = play(refresher(clock, source, sink), clock, 31)
        assert names(told) == [(5.0 * n, "token.refresh_failed") for n in range(7)]

    def test_rejected_until_another_process_has_a_token(
        self, clock: FakeClock, sink: MemorySink
    ) -> None:
        """A token that is adopted ends the slow lane: a changed secret then mints nothing."""
        source = ScriptedSource(DENIED)
        job = refresher(clock, source, sink)
        play(job, clock, 200)
        good = record(requested_at=START + 200)
        sink.stored = good
        assert play(job, clock, 200) == [(300, adopted(good, DUE + 200))]
        source.has_changed = True
        assert play(job, clock, 600) == []
        assert source.fetched == 1


class TestSinks:
    """Stores fail, heal, and are shared with rivals."""

    def test_refuses_then_heals(self, clock: FakeClock, sink: MemorySink) -> None:
        """The token in hand is kept and delivered later: one exchange, whatever the sink does."""
        source = ScriptedSource(token())
        sink.write_errors = [FULL, FORBIDDEN, FULL]
        told = play(refresher(clock, source, sink), clock, 120)
        third = 61 + max(1.0, 4 * Plan(STEADY, "host").draw(3))
        assert told == [
            (0, refreshed(token(), DUE)),
            (0, undelivered(FULL, 1, START + 1)),
            (1, undelivered(FORBIDDEN, 2, START + 61)),
            (61, undelivered(FULL, 3, int(START + third))),
            (round(third, 3), delivered(token())),
        ]
        assert (source.fetched, sink.written) == (1, [record()])

    def test_two_sinks_fail_and_heal_alone(self, clock: FakeClock) -> None:
        """What one sink does is nothing to the other."""
        first, second = MemorySink("a"), MemorySink("b")
        first.write_errors, second.write_errors = [FULL], [FORBIDDEN]
        told = play(refresher(clock, ScriptedSource(token()), first, second), clock, 120)
        assert told == [
            (0, refreshed(token(), DUE)),
            (0, undelivered(FULL, 1, START + 1, "a")),
            (0, undelivered(FORBIDDEN, 1, START + 60, "b")),
            (1, delivered(token(), "a")),
            (60, delivered(token(), "b")),
        ]

    def test_nothing_is_minted_while_no_sink_can_be_read(self, clock: FakeClock) -> None:
        """A token that can be stored nowhere is not asked for, however long it is due."""
        first, second, source = MemorySink("a"), MemorySink("b"), ScriptedSource(token())
        first.read_errors, second.read_errors = [FORBIDDEN] * 5, [FORBIDDEN] * 5
        job = refresher(clock, source, first, second)
        told = play(job, clock, 300)
        assert names(told) == [
            (60.0 * n, "token.delivery_failed") for n in (0, 0, 1, 1, 2, 2, 3, 3, 4, 4)
        ]
        assert source.fetched == 0
        new = token()
        assert play(job, clock, 60) == [
            (300, refreshed(new, DUE)),
            (300, delivered(new, "a")),
            (300, delivered(new, "b")),
        ]

    def test_nothing_is_minted_by_force_either(self, clock: FakeClock, sink: MemorySink) -> None:
        """An operator who forces a refresh gets no token that can't be stored, until it can."""
        source = ScriptedSource(token("tok-2"))
        sink.stored = record()
        job = refresher(clock, source, sink)
        job.step()
        sink.read_errors = [FORBIDDEN]
        assert job.step(force=True) == (undelivered(FORBIDDEN, 1, START + 60),)
        assert source.fetched == 0
        told = play(job, clock, 120)
        assert names(told) == [(60, "token.refreshed"), (60, "token.delivered")]

    def test_nothing_is_minted_for_a_token_from_the_future_either(
        self, clock: FakeClock, sink: MemorySink
    ) -> None:
        """After a step back the sink is asked first, as always."""
        source = ScriptedSource(token())
        job = refresher(clock, source, sink)
        play(job, clock, 600)
        clock.step(-HOUR)
        sink.read_errors = [FORBIDDEN, FORBIDDEN]
        told = play(job, clock, 120)
        assert names(told) == [(600, "token.delivery_failed"), (660, "token.delivery_failed")]
        assert source.fetched == 1

    def test_one_readable_sink_is_enough(self, clock: FakeClock) -> None:
        """A sink that can't be read does not stop the token of another one."""
        bad, good = MemorySink("a"), MemorySink("b")
        bad.read_errors = [FORBIDDEN]
        told = play(refresher(clock, ScriptedSource(token()), bad, good), clock, 120)
        assert told == [
            (0, undelivered(FORBIDDEN, 1, START + 60, "a")),
            (0, refreshed(token(), DUE)),
            (0, delivered(token(), "b")),
            (60, delivered(token(), "a")),
        ]

    def test_an_unreadable_sink_keeps_its_own_pace(self, clock: FakeClock) -> None:
        """However often the endpoint is tried, a sink that refuses is asked once a minute."""
        bad, good = MemorySink("a", record()), MemorySink("b", record())
        server = Server(clock)
        server.error = DOWN
        job = refresher(clock, AnsweringSource(server), bad, good)
        play(job, clock, 2412)
        bad.read_errors = [FORBIDDEN] * 100
        told = play(job, clock, 600)
        assert sum(isinstance(event, TokenRefreshFailed) for _, event in told) > 10
        assert 5 <= 100 - len(bad.read_errors) <= 11

    def test_a_sink_that_has_healed_is_forgiven(self, clock: FakeClock) -> None:
        """A read that works ends a sink's failures, so that later ones start from the first."""
        job_sink = MemorySink(stored=record())
        server = Server(clock)
        server.error = DOWN
        job = refresher(clock, AnsweringSource(server), job_sink)
        play(job, clock, 2412)
        job_sink.read_errors = [FULL]
        told = play(job, clock, 10)
        assert told[:2] == [
            (2412, undelivered(FULL, 1, DUE + 1)),
            (2413, refused(DOWN, 1, DUE + 2, START + HOUR)),
        ]
        job_sink.read_errors = [FULL]
        healed = play(job, clock, 60)
        assert [
            event.failures for _, event in healed if isinstance(event, TokenDeliveryFailed)
        ] == [1]

    def test_an_expired_token_is_not_delivered(self, clock: FakeClock, sink: MemorySink) -> None:
        """A token that expires before its sink heals is let go of quietly, without a busy loop."""
        server = Server(clock, life=100)
        sink.write_errors = [FORBIDDEN] * 100
        job = refresher(clock, AnsweringSource(server), sink)
        play(job, clock, 50)
        server.error = DOWN
        told = play(job, clock, 200)
        sink.write_errors = []
        assert [at for at, event in told if isinstance(event, TokenDeliveryFailed)] == [60]
        assert [at for at, event in told if isinstance(event, TokenDelivered)] == []
        play(job, clock, 100)
        assert sink.written == []

    def test_a_removed_token_is_put_back(self, clock: FakeClock) -> None:
        """A sink that was emptied gets the valid token in hand again when it is looked at."""
        sink = MemorySink(stored=record())
        source = ScriptedSource(DOWN)
        job = refresher(clock, source, sink)
        play(job, clock, 2412)
        sink.stored = None
        assert job.step() == (
            refused(DOWN, 1, DUE + 1, START + HOUR),
            delivered(token()),
        )

    def test_a_lock_that_is_held(self, clock: FakeClock, sink: MemorySink) -> None:
        """While a rival holds the claim nothing is minted; then its token is adopted."""
        source = ScriptedSource()
        sink.claim_errors = [LOCKED]
        job = refresher(clock, source, sink)
        assert job.step() == (undelivered(LOCKED, 1, START + 1),)
        sink.stored = record()
        assert play(job, clock, 60) == [(1, adopted(record(), DUE))]
        assert source.fetched == 0

    def test_a_sink_that_can_not_be_claimed(self, clock: FakeClock) -> None:
        """It is not written to without its claim, and has its turn when its wait is over."""
        held, free = MemorySink("a"), MemorySink("b")
        held.claim_errors = [LOCKED]
        told = play(refresher(clock, ScriptedSource(token()), held, free), clock, 60)
        assert told == [
            (0, undelivered(LOCKED, 1, START + 1, "a")),
            (0, refreshed(token(), DUE)),
            (0, delivered(token(), "b")),
            (1, delivered(token(), "a")),
        ]

    def test_claims_are_made_in_one_order(self, clock: FakeClock) -> None:
        """However its configuration orders the sinks, no process waits for another in a circle."""
        order: list[str] = []

        class Claimed(MemorySink):
            @contextlib.contextmanager
            def claim(self) -> Iterator[None]:
                order.append(self.label)
                yield
                order.append(f"{self.label} released")

        second, first = Claimed("b"), Claimed("a")
        refresher(clock, ScriptedSource(token()), second, first).step()
        assert order == ["a", "b", "b released", "a released"]
        assert second.written == first.written == [record()]

    def test_slow_sinks_that_fail(self, clock: FakeClock) -> None:
        """A step tries each sink once, even if it takes them longer to fail than they wait."""

        class Slow(MemorySink):
            def write(self, record: Record) -> None:
                clock.advance(61)
                super().write(record)

        first, second = Slow("a"), Slow("b")
        first.write_errors, second.write_errors = [FULL] * 9, [FULL] * 9
        job = refresher(clock, ScriptedSource(token()), first, second)
        assert [event.name for event in job.step()] == [
            "token.refreshed",
            "token.delivery_failed",
            "token.delivery_failed",
        ]
        assert (len(first.write_errors), len(second.write_errors)) == (8, 8)

    def test_a_revoked_token(self, clock: FakeClock) -> None:
        """Where a new token kills the old one, a sink that lacks it is told of and hurried."""
        policy = Policy(reissue="revokes_previous")
        server = Server(clock)
        first, second = MemorySink("a"), MemorySink("b")
        job = refresher(clock, AnsweringSource(server), first, second, policy=policy)
        play(job, clock, 3240)
        second.write_errors = [FULL] * 20
        told = play(job, clock, 300)
        new = token("tok-2", START + 3240)
        assert told[:4] == [
            (3240, refreshed(new, START + 6480)),
            (3240, delivered(new, "a")),
            (3240, undelivered(FULL, 1, START + 3241, "b")),
            (3240, TokenExpired("tiki", "b", START + 3240, 1, 300)),
        ]
        assert {type(event) for _, event in told[4:-1]} == {TokenDeliveryFailed}
        assert told[-1][1] == delivered(new, "b")
        assert max(b - a for (a, _), (b, _) in itertools.pairwise(told)) <= 15.001

    def test_another_process_was_faster(self, clock: FakeClock) -> None:
        """The sinks are read before an exchange: a token found there is adopted instead."""
        sink, source = MemorySink(stored=record()), ScriptedSource()
        job = refresher(clock, source, sink)
        play(job, clock, 2412)
        new = record("tok-2", DUE - 9)
        sink.stored = new
        assert job.step() == (adopted(new, DUE - 9 + 2412),)
        assert (source.fetched, sink.written) == (0, [])

    @pytest.mark.slow
    def test_replicas_share_the_work(self, clock: FakeClock, sink: MemorySink) -> None:
        """Ten hosts on one sink mint as often as one: jitter has one come first, others adopt."""
        server = Server(clock)
        source = AnsweringSource(server)
        hosts = [
            refresher(clock, source, sink, policy=Policy(), seed=f"host-{n}") for n in range(10)
        ]
        while clock().boot < 1000 + 24 * HOUR:
            for host in hosts:
                host.step()
            clock.advance(max(min(host.wait_s() for host in hosts), 1))
        assert len(sink.written) == server.minted == math.ceil(24 * HOUR / 2240)

    def test_superseded(self, clock: FakeClock) -> None:
        """A rival's newer token of our request is adopted and copied to the other sink."""
        first, second = MemorySink("a"), MemorySink("b")
        winner = record("winner", START + 1)
        second.write_errors = [Superseded(winner)]
        source = ScriptedSource(token())
        job = refresher(clock, source, first, second)
        assert job.step() == (
            refreshed(token(), DUE),
            delivered(token(), "a"),
            adopted(winner, DUE + 1, "b"),
            delivered(winner.token, "a"),
        )
        assert (first.stored, second.stored, source.fetched) == (winner, winner, 1)

    def test_superseded_within_a_second(self, clock: FakeClock, sink: MemorySink) -> None:
        """Of two tokens of one second, the one that is in the store wins."""
        winner = record("winner")
        sink.write_errors = [Superseded(winner)]
        job = refresher(clock, ScriptedSource(token()), sink)
        assert job.step() == (refreshed(token(), DUE), adopted(winner, DUE))

    @pytest.mark.parametrize("key", ["key", "other"])
    def test_superseded_by_a_clock_that_is_ahead(
        self, clock: FakeClock, sink: MemorySink, key: str
    ) -> None:
        """A token from the future is not taken over, and our own is written soon: no loop.

        One of another request neither: it may be an old one of our own, and no rival's. Found by
        seed 53 of the simulation.
        """
        future = Superseded(record("future", START + 61, key=key))
        sink.write_errors = [future]
        source = ScriptedSource(token())
        told = play(refresher(clock, source, sink), clock, 60)
        assert told == [
            (0, refreshed(token(), DUE)),
            (0, undelivered(future, 1, START + 1)),
            (1, delivered(token())),
        ]
        assert source.fetched == 1

    def test_rival(self, clock: FakeClock) -> None:
        """Two requests for one place are told of, and neither loops nor mints for it."""
        sink = MemorySink("shared")
        sink.write_errors = [Superseded(record("theirs", START + 1, key="other"))] * 3
        source = ScriptedSource(token())
        told = play(refresher(clock, source, sink), clock, 150)
        assert told == [
            (0, refreshed(token(), DUE)),
            (0, undelivered(rival("shared"), 1, START + 60, "shared")),
            (60, undelivered(rival("shared"), 2, START + 120, "shared")),
            (120, undelivered(rival("shared"), 3, START + 180, "shared")),
        ]
        assert source.fetched == 1

    def test_contended_sinks(self, clock: FakeClock) -> None:
        """A step ends even if rivals store a newer token at every write."""
        rivals: Iterator[int] = itertools.count(1)

        class Contended(MemorySink):
            def write(self, record_: Record) -> None:
                number = next(rivals)
                raise Superseded(record(f"rival-{number}", START + number))

        job = refresher(clock, ScriptedSource(token()), Contended("a"), Contended("b"))
        assert [event.name for event in job.step()] == ["token.refreshed", *["token.adopted"] * 4]
        assert job.wait_s() == 0


class TestUnchanged:
    """The server returns the token that we have."""

    def test_same_token(self, clock: FakeClock, sink: MemorySink) -> None:
        """It is told, not stored again, and asked for anew when a new one is likely."""
        source = ScriptedSource(token(), token())
        job = refresher(clock, source, sink)
        play(job, clock, 2412)
        fingerprint = token().access_token.fingerprint()
        refresh_at = int(DUE + 0.67 * 1188)
        assert job.step() == (TokenUnchanged("tiki", fingerprint, START + HOUR, refresh_at),)
        assert sink.written == [record()]
        assert job.wait_s() == pytest.approx(0.67 * 1188)

    def test_until_the_last_second(self, clock: FakeClock, sink: MemorySink) -> None:
        """A server that has nothing new before expiry: each token is stored once, and few asks.

        Its count of what is left comes out differently each time, which is no news.
        """
        given: set[float] = set()

        def shared() -> Token:
            asked, born = clock().wall, START + HOUR * ((clock().wall - START) // HOUR)
            clock.advance(0.1 if born in given else 2.6)
            given.add(born)
            left = math.floor(born + HOUR + 0.9 - clock().wall)
            return token(f"tok-{born:.0f}", math.floor(asked), left)

        source = AnsweringSource(shared)
        play(refresher(clock, source, sink), clock, 5 * HOUR - 60)
        values = [stored.token.access_token for stored in sink.written]
        assert len(values) == len(set(values)) == 5
        assert source.fetched <= 5 * 12

    def test_a_life_that_slides(self, clock: FakeClock, sink: MemorySink) -> None:
        """A token whose life is given anew each time is stored again before its readers need it."""
        source = AnsweringSource(lambda: token(requested_at=math.floor(clock().wall)))
        left: list[float] = []

        def look() -> None:
            if sink.stored:
                left.append(sink.stored.token.expires_at - clock().wall)

        play(refresher(clock, source, sink), clock, 24 * HOUR, look)
        assert min(left) > 0
        assert len(sink.written) <= 26

    def test_after_expiry(self, clock: FakeClock, sink: MemorySink) -> None:
        """An expired token that is given again and again is a failure, and backs off."""
        source = AnsweringSource(lambda: token(life=60))
        told = play(refresher(clock, source, sink), clock, 660)
        late = [event for at, event in told if at > 60 and isinstance(event, TokenUnchanged)]
        assert 600 / 9 <= len(late) <= 600 / 6
        assert sink.written == [record(life=60)]


class TestTime:
    """Clocks step, machines sleep, tokens live for seconds."""

    def test_clock_stepped_back(self, clock: FakeClock, sink: MemorySink) -> None:
        """Readers would believe the token too long: it is replaced at once, one exchange."""
        server = Server(clock)
        job = refresher(clock, AnsweringSource(server), sink)
        play(job, clock, 600)
        clock.step(-2 * HOUR)
        assert job.wait_s() == 0
        new = token("tok-2", START + 600 - 2 * HOUR)
        assert play(job, clock, HOUR / 2) == [
            (600, refreshed(new, new.requested_at + 2412)),
            (600, delivered(new)),
        ]
        assert sink.stored == record_of(new, "key")

    def test_clock_stepped_back_during_an_outage(self, clock: FakeClock, sink: MemorySink) -> None:
        """What can't be replaced at once is tried again with backoff, and lives no longer."""
        server = Server(clock)
        job = refresher(clock, AnsweringSource(server), sink)
        play(job, clock, 600)
        clock.step(-2 * HOUR)
        server.error = DOWN
        told = play(job, clock, HOUR)
        assert 1000 / 9 < len(told) < 1500 / 6
        alarms = [(at, e) for at, e in told if not isinstance(e, TokenRefreshFailed)]
        assert [(at, type(event)) for at, event in alarms] == [
            (3300, TokenAtRisk),
            (3600, TokenExpired),
        ]

    @pytest.mark.parametrize("errors", [[DOWN], [FULL]])
    def test_clock_stepped_back_and_forward(
        self, clock: FakeClock, sink: MemorySink, errors: list[ExchangeError | SinkError]
    ) -> None:
        """Once the time is right again, the token is good again: what failed is not tried again."""
        server = Server(clock)
        job = refresher(clock, AnsweringSource(server), sink)
        play(job, clock, 600)
        clock.step(-2 * HOUR)
        server.error = next((e for e in errors if isinstance(e, ExchangeError)), None)
        sink.read_errors = [e for e in errors if isinstance(e, SinkError)]
        assert len(job.step()) == 1
        clock.step(2 * HOUR)
        server.error = None
        told = play(job, clock, 3000)
        assert [at for at, event in told if isinstance(event, TokenRefreshed)] == [2412]

    def test_clock_stepped_back_while_a_sink_fails(
        self, clock: FakeClock, sink: MemorySink
    ) -> None:
        """What readers have expires when it would have, though the new token is dated earlier."""
        server = Server(clock)
        job = refresher(clock, AnsweringSource(server), sink)
        play(job, clock, 600)
        clock.step(-2 * HOUR)
        sink.write_errors = [FULL] * 9999
        told = play(job, clock, 2 * HOUR)
        alarms = [(at, e) for at, e in told if isinstance(e, TokenAtRisk | TokenExpired)]
        assert [(at, type(event)) for at, event in alarms] == [
            (3300, TokenAtRisk),
            (3600, TokenExpired),
        ]
        tries = [at for at, event in told if isinstance(event, TokenDeliveryFailed) and at > 3300]
        assert max(b - a for a, b in itertools.pairwise(tries)) <= 15.001

    def test_clock_stepped_forward(self, clock: FakeClock, sink: MemorySink) -> None:
        """By the wall clock that readers use the token has expired: it is replaced at once."""
        server = Server(clock)
        job = refresher(clock, AnsweringSource(server), sink)
        play(job, clock, 600)
        clock.step(HOUR)
        assert job.wait_s() <= 0
        new = token("tok-2", START + 600 + HOUR)
        assert play(job, clock, 60) == [
            (600, refreshed(new, new.requested_at + 2412)),
            (600, delivered(new)),
        ]

    @pytest.mark.parametrize("error", [DOWN, DENIED])
    def test_clock_stepped_forward_and_back_during_an_outage(
        self, clock: FakeClock, sink: MemorySink, error: ExchangeError
    ) -> None:
        """A wrong time that was set right again lengthens no wait: the token is still in time."""
        server = Server(clock)
        job = refresher(clock, AnsweringSource(server), sink)
        play(job, clock, 600)
        clock.step(86_400)
        server.error = error
        job.step()
        clock.step(-86_400)
        server.error = None
        told = play(job, clock, 3000)
        assert [at for at, event in told if isinstance(event, TokenRefreshed)] == [2412]

    def test_clock_stepped_forward_and_back_while_a_sink_fails(
        self, clock: FakeClock, sink: MemorySink
    ) -> None:
        """A sink's wait is not lengthened either."""
        job = refresher(clock, ScriptedSource(token()), sink)
        sink.write_errors = [FULL, FULL]
        job.step()
        clock.advance(1)
        clock.step(600)
        job.step()
        clock.step(-600)
        second = 1 + max(1.0, 2 * Plan(STEADY, "host").draw(2))
        assert names(play(job, clock, 60)) == [(round(second, 3), "token.delivered")]

    def test_suspend(self, clock: FakeClock, sink: MemorySink) -> None:
        """After a long sleep the token is replaced at the first look, without an alarm before."""
        server = Server(clock)
        job = refresher(clock, AnsweringSource(server), sink)
        job.step()
        clock.advance(3 * HOUR)
        assert job.wait_s() <= 0
        new = token("tok-2", START + 3 * HOUR)
        assert job.step() == (refreshed(new, DUE + 3 * HOUR), delivered(new))

    def test_short_tokens(self, clock: FakeClock, sink: MemorySink) -> None:
        """Ten-second tokens are refreshed at half of their life; why is told once."""
        server = Server(clock, life=10)
        job = refresher(clock, AnsweringSource(server), sink, policy=Policy())
        told = play(job, clock, 30)
        reason = broken_promise(token(life=10), Policy())
        assert reason is not None
        assert told[:3] == [
            (0, refreshed(token(life=10), START + 5)),
            (0, TokenPromiseUnholdable("tiki", 10, 300, reason)),
            (0, delivered(token(life=10))),
        ]
        assert names(told[3:]) == [
            (5.0 * n, name) for n in range(1, 6) for name in ("token.refreshed", "token.delivered")
        ]

    def test_a_promise_that_changes(self, clock: FakeClock, sink: MemorySink) -> None:
        """It is told again when it was holdable in between."""
        source = ScriptedSource(
            token("a", START, 10), token("b", START + 5, 900), token("c", START + 545, 10)
        )
        told = play(refresher(clock, source, sink), clock, 546)
        assert names(told) == [
            (0, "token.refreshed"),
            (0, "token.promise_unholdable"),
            (0, "token.delivered"),
            (5, "token.refreshed"),
            (5, "token.delivered"),
            (545, "token.refreshed"),
            (545, "token.promise_unholdable"),
            (545, "token.delivered"),
        ]

    def test_never_two_exchanges_within_a_second(self, clock: FakeClock, sink: MemorySink) -> None:
        """Not even for one-second tokens, and an operator who asks for it."""
        policy = Policy(min_interval=0.0, max_age=0.001)
        server = Server(clock, life=1)
        told = play(refresher(clock, AnsweringSource(server), sink, policy=policy), clock, 10)
        asked = [at for at, event in told if isinstance(event, TokenRefreshed)]
        assert asked == [*range(10)]

    def test_a_token_that_arrives_dead(self, clock: FakeClock, sink: MemorySink) -> None:
        """An answer slower than its token's life is not stored over a token that lives."""
        old = record()
        sink.stored = old

        def slow() -> Token:
            asked = math.floor(clock().wall)
            clock.advance(12)
            return token(f"tok-{asked}", asked, 10)

        job = refresher(clock, AnsweringSource(slow), sink)
        play(job, clock, 2500)
        assert (sink.stored, sink.written) == (old, [])


class TestForce:
    """What an operator may ask for."""

    def test_force(self, clock: FakeClock) -> None:
        """A good token is replaced all the same, at the start and later."""
        sink = MemorySink(stored=record())
        server = Server(clock)
        server.minted = 1
        job = refresher(clock, AnsweringSource(server), sink)
        clock.advance(9)
        second = token("tok-2", START + 9)
        assert job.step(force=True) == (refreshed(second, DUE + 9), delivered(second))
        clock.advance(9)
        third = token("tok-3", START + 18)
        assert job.step(force=True) == (refreshed(third, DUE + 18), delivered(third))

    def test_force_ends_waits(self, clock: FakeClock, sink: MemorySink) -> None:
        """The waits after failures end too, of the endpoint and of the sinks."""
        sink.write_errors = [FORBIDDEN]
        second = token("tok-2")
        job = refresher(clock, ScriptedSource(DENIED, token(), second), sink)
        assert job.step() == (refused(DENIED, 1, START + 300, None),)
        assert job.step(force=True) == ()
        clock.advance(1)
        assert job.step() == (
            refreshed(token(), DUE, attempts=2),
            undelivered(FORBIDDEN, 1, START + 61),
        )
        clock.advance(1)
        assert job.step(force=True) == (refreshed(second, DUE), delivered(second))

    def test_force_makes_no_two_exchanges_in_a_second(
        self, clock: FakeClock, sink: MemorySink
    ) -> None:
        """A wish that comes right after an exchange is put off until a second has passed."""
        job = refresher(clock, AnsweringSource(Server(clock)), sink)
        job.step()
        clock.advance(0.25)
        assert job.step(force=True) == ()
        assert job.deferred_s() == 0.75
        clock.advance(0.75)
        assert names([(0, event) for event in job.step()]) == [
            (0, "token.refreshed"),
            (0, "token.delivered"),
        ]
        assert job.deferred_s() is None

    def test_force_that_fails(self, clock: FakeClock) -> None:
        """A forced exchange that fails is tried again until it succeeds."""
        sink = MemorySink(stored=record())
        job = refresher(clock, ScriptedSource(DOWN, token("tok-2")), sink)
        job.step()
        assert job.step(force=True) == (refused(DOWN, 1, START + 1, START + HOUR),)
        assert names(play(job, clock, 60)) == [(1, "token.refreshed"), (1, "token.delivered")]


class TestReads:
    """What others may ask a refresher."""

    def test_is_current(self, clock: FakeClock) -> None:
        """Current is: every sink holds the token in hand, it is valid, and nothing is due."""
        first, second = MemorySink("a"), MemorySink("b")
        second.write_errors = [FULL]
        server = Server(clock)
        job = refresher(clock, AnsweringSource(server), first, second)
        seen = [job.is_current()]
        for seconds in (0, 1, 2410, 1, 0, 1200):
            clock.advance(seconds)
            server.error = DOWN if clock().boot > 1001 else None
            before = job.is_current()
            job.step()
            seen += [before, job.is_current()]
        assert seen == [
            False,
            *(False, False),  # one sink failed
            *(False, True),  # it has healed
            *(True, True),  # a second before it is due
            *(False, False),  # due, and the endpoint is down
            *(False, False),
            *(False, False),  # expired
        ]

    def test_is_not_current_once_expired(self, clock: FakeClock, sink: MemorySink) -> None:
        """A token that can only be replaced after its expiry is not current in between."""
        policy = Policy(reissue="same_until_expiry")
        job = refresher(clock, ScriptedSource(token()), sink, policy=policy)
        job.step()
        clock.advance(3599)
        seen = [job.is_current()]
        clock.advance(1)
        seen.append(job.is_current())
        assert seen == [True, False]

    def test_seconds_left(self, clock: FakeClock) -> None:
        """What readers have left is that of the sink whose token expires first."""
        old, new = record("old", START - 60), record("new")
        first, second = MemorySink("a", old), MemorySink("b", new)
        first.write_errors = [FULL] * 9
        job = refresher(clock, ScriptedSource(), first, second)
        assert job.seconds_left() == -math.inf
        job.step()
        assert job.seconds_left() == 3540
        clock.advance(3541)
        assert job.seconds_left() == -1

    def test_live_secrets(self, clock: FakeClock, sink: MemorySink) -> None:
        """The token in hand is given to those who mask it."""
        job = refresher(clock, ScriptedSource(token()), sink)
        assert job.live_secrets() == ()
        job.step()
        assert job.live_secrets() == (token().access_token,)
