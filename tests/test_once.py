"""One pass over the tokens: several at a time, and one that fails alone."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from fakes import START, FakeClock, MemorySink, ScriptedSource, record, token

from job.core.clock import system_clock
from job.core.errors import EndpointUnavailable, RequestRejected, SinkRejected, SinkUnavailable
from job.core.events import (
    Event,
    JobCrashed,
    TokenAdopted,
    TokenAtRisk,
    TokenPromiseUnholdable,
    TokenUnchanged,
)
from job.core.ports import Sink, TokenSource
from job.core.rate import Rate
from job.core.refresher import Refresher
from job.core.schedule import Plan, Policy
from job.core.tokens import Token
from job.limits.limiter import Limiter, Limits
from job.runners.once import WORKERS, Outcome, Pass, worst

PATIENCE_S = 10.0


def refresher(name: str, source: TokenSource, *sinks: Sink) -> Refresher:
    """Make a refresher of the real kind."""
    return Refresher(
        name, source, sinks or [MemorySink()], Plan(Policy(), name), "key", FakeClock()
    )


def run(*refreshers: Refresher, force: bool = False) -> tuple[list[Outcome], list[Event]]:
    """Step them once; return the outcomes and what was reported."""
    told: list[Event] = []
    return Pass(refreshers, told.append, force=force, timeout_s=PATIENCE_S).run(), told


def test_nothing_due_is_no_news() -> None:
    """Good stored tokens are adopted without a request, and nothing is reported."""
    sources = [ScriptedSource() for _ in range(3)]
    every = [
        refresher(f"t{number}", source, MemorySink(stored=record()))
        for number, source in enumerate(sources)
    ]
    outcomes, told = run(*every)
    assert told == []
    assert [outcome.exit_status for outcome in outcomes] == [0, 0, 0]
    assert [source.fetched for source in sources] == [0, 0, 0]
    assert outcomes[0].as_json() == {
        "outcome": "current",
        "exit_status": 0,
        "events": ["token.adopted"],
    }


def test_what_was_due_is_refreshed_and_told() -> None:
    """A token that is missing is got and stored, and both are reported in their order."""
    sink = MemorySink()
    (outcome,), told = run(refresher("one", ScriptedSource(token("new")), sink))
    assert [event.name for event in told] == ["token.refreshed", "token.delivered"]
    assert outcome == Outcome("one", tuple(told), current=True)
    assert sink.stored == record("new")
    assert outcome.as_json() == {
        "outcome": "refreshed",
        "exit_status": 0,
        "events": ["token.refreshed", "token.delivered"],
    }


def test_force_makes_an_exchange_due() -> None:
    """With force a good token is replaced all the same."""
    source = ScriptedSource(token("new", START + 1))
    sink = MemorySink(stored=record("old"))
    run(refresher("one", source, sink), force=True)
    assert (source.fetched, sink.stored) == (1, record("new", START + 1))


@pytest.mark.parametrize(
    ("source", "sink_error", "status"),
    [
        (ScriptedSource(EndpointUnavailable("timeout", "slow")), None, 75),
        (ScriptedSource(RequestRejected("invalid_client", "no")), None, 77),
        (ScriptedSource(token()), SinkUnavailable("disk_full", "full"), 74),
        (ScriptedSource(token()), SinkRejected("denied", "no", permission=True), 77),
        (ScriptedSource(token()), SinkRejected("symlink", "no"), 74),
    ],
)
def test_a_failure_has_its_exit_status(
    source: ScriptedSource, sink_error: SinkUnavailable | SinkRejected | None, status: int
) -> None:
    """The contract's statuses tell a script who has to act."""
    sink = MemorySink()
    sink.write_errors += [sink_error] if sink_error else []
    (outcome,), told = run(refresher("one", source, sink))
    assert outcome.exit_status == status
    assert outcome.as_json()["outcome"] == "failed"
    assert told == list(outcome.events)


def test_an_expired_token_that_is_given_again_is_not_current() -> None:
    """No request failed, and still 0 would be a lie: readers find an expired token."""
    old = record("old", START - 3700)
    again = token("old", START - 3700)
    (outcome,), told = run(refresher("one", ScriptedSource(again), MemorySink(stored=old)))
    assert [event.name for event in told] == ["token.unchanged", "token.expired"]
    assert outcome.exit_status == 75


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], 0),
        ([0, 0], 0),
        ([75, 0], 75),
        ([75, 74], 74),
        ([74, 77, 75], 77),
        ([78, 77], 78),
        ([70, 78], 70),
    ],
)
def test_the_worst_status_wins(statuses: list[int], expected: int) -> None:
    """What passes by itself yields to what needs an operator, and that to a bug of ours."""
    assert worst(statuses) == expected


class Crashing:
    """A source with a bug, whose message holds a secret."""

    def fetch(self) -> Token:
        raise ZeroDivisionError("hunter2hunter2")  # what a library might say

    def changed(self) -> bool:
        return False


def test_a_bug_in_one_token_leaves_the_others_alone() -> None:
    """The crash is an outcome of its own, told by its place and never by its values."""
    good = [refresher(f"t{n}", ScriptedSource(token(f"tok-{n}"))) for n in range(3)]
    outcomes, told = run(good[0], refresher("bug", Crashing()), *good[1:])
    assert {outcome.token: outcome.exit_status for outcome in outcomes} == {
        "bug": 70,
        "t0": 0,
        "t1": 0,
        "t2": 0,
    }
    (crash,) = [event for event in told if isinstance(event, JobCrashed)]
    assert (crash.error, crash.token) == ("ZeroDivisionError", "bug")
    assert "test_once.py" in crash.traceback
    assert "hunter2" not in str(told)
    assert outcomes[0].as_json() == {
        "outcome": "failed",
        "exit_status": 70,
        "events": ["job.crashed"],
    }


def test_tokens_are_stepped_side_by_side() -> None:
    """A slow server delays its own token only: WORKERS exchanges run at once."""
    together = threading.Barrier(WORKERS)

    def meeting(value: str) -> Callable[[], Token]:
        def fetch() -> Token:
            together.wait(PATIENCE_S)
            return token(value)

        return fetch

    names = [f"t{number:02}" for number in range(2 * WORKERS)]
    every = [refresher(name, ScriptedSource(meeting(name))) for name in reversed(names)]
    outcomes, _ = run(*every)
    assert [(outcome.token, outcome.exit_status) for outcome in outcomes] == [
        (name, 0) for name in names
    ]


def test_no_thread_is_left() -> None:
    """After a pass the process is as it was."""
    before = set(threading.enumerate())
    run(*(refresher(f"t{n}", ScriptedSource(token())) for n in range(20)))
    assert set(threading.enumerate()) <= before


def test_no_tokens_is_a_pass_too() -> None:
    """With nothing to do there is nothing to tell."""
    assert run() == ([], [])


@pytest.mark.parametrize(
    ("events", "news"),
    [
        ((), False),
        ((TokenAdopted("one", "f", 2, 1, "s"),), False),
        ((TokenAdopted("one", "f", 2, 1, "s"), TokenPromiseUnholdable("one", 2, 3, "r")), False),
        ((TokenAdopted("one", "f", 2, 1, "s"), TokenAtRisk("one", "s", 2, 0, 3)), True),
        ((TokenUnchanged("one", "f", 2, 1),), True),
    ],
)
def test_what_every_pass_finds_is_no_news(events: tuple[Event, ...], *, news: bool) -> None:
    """Cron mails whatever is printed: only what happened is told, and then the whole of it."""
    assert Outcome("one", events, current=True).news == (events if news else ())


# The end of a pass that does not end


class Hanging:
    """A source that hangs until the test ends."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()

    def fetch(self) -> Token:
        self.begun.set()
        self.open.wait(PATIENCE_S)
        return token("late")

    def changed(self) -> bool:
        return False


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """Give a source that hangs; no thread is left of it."""
    before = set(threading.enumerate())
    made = Hanging()
    yield made
    made.open.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_S)
    assert set(threading.enumerate()) <= before


@pytest.mark.fault("once-hangs")
def test_a_pass_ends_by_itself(hanging: Hanging) -> None:
    """Promise: what hangs is given up, counts as failing for now, and takes nobody along."""
    good = refresher("good", ScriptedSource(token("new")))
    both = [refresher("hung", hanging), good]
    outcomes = Pass(both, lambda _: None, force=False, timeout_s=0.1, stop_s=0.05).run()
    assert [(one.token, one.exit_status, one.current) for one in outcomes] == [
        ("good", 0, True),
        ("hung", 75, False),
    ]
    assert outcomes[1].as_json() == {"outcome": "failed", "exit_status": 75, "events": []}


@pytest.mark.fault("sigterm-once")
def test_a_stop_finishes_what_is_in_hand_and_begins_nothing(hanging: Hanging) -> None:
    """Promise: SIGTERM costs no token that has been asked for; the others are asked for later."""
    waiting = [ScriptedSource(token(f"tok-{n}")) for n in range(3)]
    sink = MemorySink()
    busy = [Hanging() for _ in range(WORKERS - 1)]
    made = [refresher("hung", hanging, sink)]
    made += [refresher(f"busy-{n}", source) for n, source in enumerate(busy)]
    made += [refresher(f"wait-{n}", source) for n, source in enumerate(waiting)]
    one = Pass(made, lambda _: None, force=False, timeout_s=PATIENCE_S)
    outcomes = list[Outcome]()
    thread = threading.Thread(target=lambda: outcomes.extend(one.run()))
    thread.start()
    assert all(source.begun.wait(PATIENCE_S) for source in [hanging, *busy])
    one.stop("stop", "SIGTERM")
    one.stop("stop", "SIGTERM")
    thread.join(0.05)
    assert thread.is_alive()
    for source in [hanging, *busy]:
        source.open.set()
    thread.join(PATIENCE_S)
    ended = {outcome.token: outcome.exit_status for outcome in outcomes}
    assert {name for name, status in ended.items() if status == 0} == {
        "hung",
        *(f"busy-{n}" for n in range(WORKERS - 1)),
    }
    assert {ended[f"wait-{n}"] for n in range(3)} == {75}
    assert sum(source.fetched for source in waiting) == 0
    assert sink.stored is not None


def test_a_forced_exchange_that_a_limit_puts_off_is_not_done() -> None:
    """The status tells who asked for a new token that there is none, good as the old one is."""
    limits, sink = Limits(system_clock), MemorySink()
    budget = limits.budget("client", Rate(1, 3600))
    limiter = Limiter("one", limits, limits.endpoint("as.example", 4, Rate(10, 1)), budget)
    source, plan = ScriptedSource(token("tok-1", int(time.time()))), Plan(Policy(), "one")
    first, second = (
        Refresher("one", source, [sink], plan, "key", system_clock, limit=limiter.exchange)
        for _ in range(2)
    )
    outcomes = [*run(first)[0], *run(second, force=True)[0]]

    assert [outcome.exit_status for outcome in outcomes] == [0, 75]


@pytest.mark.slow
def test_a_token_that_is_put_off_has_its_turn_in_the_same_pass() -> None:
    """Limits spread a pass over a little time; none of its tokens is left behind."""
    limits = Limits(system_clock)
    endpoint = limits.endpoint("as.example", 4, Rate(2, 0.2))
    names = [f"t{number}" for number in range(6)]
    limited = [
        Refresher(
            name,
            ScriptedSource(token(f"tok-{name}", int(time.time()))),
            [MemorySink()],
            Plan(Policy(), name),
            "key",
            system_clock,
            limit=Limiter(name, limits, endpoint).exchange,
        )
        for name in names
    ]
    outcomes, told = run(*limited)

    assert [(outcome.token, outcome.exit_status) for outcome in outcomes] == [
        (name, 0) for name in names
    ]
    assert len([event for event in told if event.name == "token.refreshed"]) == 6


def test_a_turn_that_comes_too_late_is_left_for_the_next_pass() -> None:
    """A spent budget does not keep cron waiting: the token is told to be not current."""
    limits = Limits(system_clock)
    budget = limits.budget("client", Rate(1, 3600.0))
    budget.spend(limits.now())
    limiter = Limiter("t", limits, limits.endpoint("as.example", 4, Rate(2, 1.0)), budget)
    source, plan, limit = ScriptedSource(token()), Plan(Policy(), "t"), limiter.exchange
    limited = Refresher("t", source, [MemorySink()], plan, "key", system_clock, limit=limit)
    outcomes, told = run(limited)

    assert [(outcome.exit_status, source.fetched) for outcome in outcomes] == [(75, 0)]
    assert [event.name for event in told] == ["token.budget_short"]
