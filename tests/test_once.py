"""One pass over the tokens: several at a time, and one that fails alone."""

import threading
from collections.abc import Callable

import pytest
from fakes import START, FakeClock, MemorySink, ScriptedSource, record, token

from job.errors import EndpointUnavailable, RequestRejected, SinkRejected, SinkUnavailable
from job.events import (
    Event,
    JobCrashed,
    TokenAdopted,
    TokenAtRisk,
    TokenPromiseUnholdable,
    TokenUnchanged,
)
from job.once import WORKERS, Outcome, run_once, worst
from job.refresh import Refresher, TokenSource
from job.schedule import Plan, Policy
from job.sinks import Sink
from job.tokens import Token

PATIENCE_S = 10.0


def refresher(name: str, source: TokenSource, *sinks: Sink) -> Refresher:
    """Make a refresher of the real kind."""
    return Refresher(
        name, source, sinks or [MemorySink()], Plan(Policy(), name), "key", FakeClock()
    )


def run(*refreshers: Refresher, force: bool = False) -> tuple[list[Outcome], list[Event]]:
    """Step them once; return the outcomes and what was reported."""
    told: list[Event] = []
    return run_once(refreshers, told.append, force=force), told


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
    before = threading.active_count()
    run(*(refresher(f"t{n}", ScriptedSource(token())) for n in range(20)))
    assert threading.active_count() == before


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
