import pytest
from fakes import START, AnsweringSource, FakeClock, MemorySink, ScriptedSource, record, token

from job.core.errors import EndpointUnavailable, SinkUnavailable
from job.core.events import HookFailed, JobStarted
from job.core.ports import TokenSource
from job.core.refresher import Refresher
from job.core.schedule import Plan, Policy
from job.core.tokens import Token, record_of
from job.observe.status import Attempt, RefresherStatus, SinkStatus, Trouble, worst_first
from job.observe.status_board import StatusBoard

DOWN = EndpointUnavailable("timeout", "no answer in time")
FULL = SinkUnavailable("disk_full", "no space is left")
PLAN = Plan(Policy(jitter=0.0), "")
DUE = START + 2412
RISK = START + 3300
END = START + 3600


def good_sink(label: str) -> SinkStatus:
    """Make the status of a sink that holds the token of START."""
    return SinkStatus(
        label,
        "current",
        END,
        since=START,
        obtained_at=START,
        refresh_at=DUE,
        fingerprint=record().receipt.fingerprint,
        held=True,
        failures=0,
        retry_at=None,
        trouble=None,
    )


class Night:
    """One token with its board; `play` steps it and lets the board see what happened."""

    def __init__(self, *script: Token | Exception, sinks: int = 1, plan: Plan = PLAN) -> None:
        self.clock = FakeClock()
        self.sinks = [MemorySink(f"sink-{number}") for number in range(sinks)]
        self.refresher = self.made(ScriptedSource(*script), plan)
        self.board = StatusBoard(lambda: {"tiki": self.refresher}, str.upper, self.clock)

    def made(self, source: TokenSource, plan: Plan) -> Refresher:
        return Refresher("tiki", source, self.sinks, plan, "key", self.clock)

    def play(self, seconds: float = 0.0) -> RefresherStatus:
        """Let time pass, step, and return what the board shows."""
        self.clock.advance(seconds)
        for event in self.refresher.step():
            self.board.observe(event)
        return self.look()

    def look(self, seconds: float = 0.0) -> RefresherStatus:
        """Let time pass and return what the board shows."""
        self.clock.advance(seconds)
        (status,) = self.board.statuses()
        return status


def test_before_the_first_look() -> None:
    """Nothing is claimed of a token that no one has looked at."""
    status = Night().look()
    assert status == RefresherStatus(
        name="tiki",
        provider="TIKI",
        event=None,
        obtained_at=None,
        ends_at=None,
        refresh_at=START,
        promise_at=None,
        min_validity_s=300,
        fingerprint=None,
        failures=0,
        trouble=None,
        sinks=(
            SinkStatus(
                "sink-0", "unknown", None, held=False, failures=0, retry_at=None, trouble=None
            ),
        ),
        attempts=(),
    )
    assert (status.state, status.since, status.expires_at) == ("unknown", None, None)
    assert not status.ready


def test_a_good_token() -> None:
    """One look tells until when it is good, when it is refreshed, and when the promise ends."""
    night = Night(token())
    status = night.play()
    assert status == RefresherStatus(
        name="tiki",
        provider="TIKI",
        event="token.delivered",
        obtained_at=START,
        ends_at=END,
        refresh_at=DUE,
        promise_at=RISK,
        min_validity_s=300,
        fingerprint=record().receipt.fingerprint,
        failures=0,
        trouble=None,
        sinks=(good_sink("sink-0"),),
        attempts=(Attempt(START, "ok", 0, 3600),),
    )
    assert (status.state, status.since, status.expires_at) == ("current", START, END)
    assert status.ready


@pytest.mark.parametrize(
    ("seconds", "word", "since", "ready"),
    [
        (2411, "current", START, True),
        (2412, "due", DUE, True),
        (3299, "due", DUE, True),
        (3300, "at_risk", RISK, True),
        (3600, "expired", END, False),
        (3700, "expired", END, False),
    ],
)
def test_a_token_grows_old(seconds: float, word: str, since: int, ready: bool) -> None:  # noqa: FBT001  # a column
    """The state follows the clock, not the last event."""
    night = Night(token())
    night.play()
    status = night.look(seconds)
    assert (status.state, status.since, status.ready) == (word, since, ready)


def test_an_endpoint_that_is_down() -> None:
    """The last failure is told in words until an exchange succeeds."""
    night = Night(token(), DOWN, token("tok-2", START + 2500))
    night.play()
    status = night.play(2412)
    trouble = Trouble(DUE, "timeout", "no answer in time")
    assert (status.state, status.failures, status.trouble) == ("due", 1, trouble)
    assert status.attempts[-1] == Attempt(DUE, "timeout")
    status = night.play(88)
    assert (status.state, status.failures, status.trouble) == ("current", 0, None)
    assert [attempt.outcome for attempt in status.attempts] == ["ok", "timeout", "ok"]


def test_no_token_at_all() -> None:
    """A sink without a token is missing one as soon as that is known."""
    status = Night(DOWN).play()
    assert (status.state, status.ready, status.sinks[0].state) == ("missing", False, "missing")


def test_one_sink_that_fails() -> None:
    """The token is as good as its worst sink, and that sink says what is wrong and until when."""
    night = Night(token(), sinks=2)
    night.sinks[1].write_errors = [FULL]
    status = night.play()
    trouble = Trouble(START, "disk_full", "no space is left")
    assert status.state == "missing"
    assert status.sinks == (
        good_sink("sink-0"),
        SinkStatus(
            "sink-1",
            "missing",
            None,
            since=START,
            held=False,
            failures=1,
            retry_at=START + 1,
            trouble=trouble,
        ),
    )
    status = night.play(1)
    assert (status.state, status.sinks[1]) == (
        "current",
        good_sink("sink-1"),
    )


def test_a_sink_that_lags_behind() -> None:
    """A sink that holds the token before is due for the one in hand."""
    night = Night(token(), token("tok-2", START + 2412), sinks=2)
    night.play()
    night.sinks[1].write_errors = [FULL]
    status = night.play(2412)
    assert [(sink.state, sink.held, sink.since) for sink in status.sinks] == [
        ("current", True, DUE),
        ("due", False, DUE),
    ]
    assert [sink.fingerprint for sink in status.sinks] == [
        record("tok-2", DUE).receipt.fingerprint,
        record().receipt.fingerprint,
    ]
    assert (status.state, status.expires_at) == ("due", END)


def test_what_a_state_began_with() -> None:
    """The event that began a state can be looked for in the log; a failure that goes on is one."""
    night = Night(token(), *[DOWN] * 4, token("tok-2", START + 6000), sinks=2)
    told = []
    for seconds in (0, 2412, 88, 800, 300, 2400):
        status = night.play(seconds)
        told.append((status.state, status.since, status.event))
    assert told == [
        ("current", START, "token.delivered"),
        ("due", DUE, "token.refresh_failed"),
        ("due", DUE, "token.refresh_failed"),
        ("at_risk", RISK, "token.at_risk"),
        ("expired", END, "token.expired"),
        ("current", START + 6000, "token.delivered"),
    ]


def test_since_when_a_sink_has_had_nothing() -> None:
    """A token that was never there is missing from the first failure on."""
    night = Night(DOWN, DOWN, DOWN)
    told = []
    for seconds in (5, 20, 60):
        status = night.play(seconds)
        told.append((status.state, status.since, status.event, status.failures))
    assert told == [
        ("missing", START + 5, "token.refresh_failed", failures) for failures in (1, 2, 3)
    ]


def test_what_says_nothing_of_the_state_begins_none() -> None:
    """A hook that failed is no beginning."""
    night = Night(token())
    before = night.play()
    night.board.observe(HookFailed("tiki", "run", "refresh", "it failed", 1, START + 60))
    assert night.look() == before


def test_the_same_token_again() -> None:
    """That the server gave nothing new is an attempt of its own kind, and no trouble."""
    night = Night(token(), token(requested_at=START + 2412, life=1188))
    night.play()
    status = night.play(2412)
    assert status.attempts[-1] == Attempt(DUE, "unchanged")
    assert status.trouble is None


def test_a_token_that_another_process_has_stored() -> None:
    """Adopting a token ends all trouble."""
    night = Night(DOWN)
    night.play()
    night.sinks[0].stored = record_of(token("tok-2"), "key")
    status = night.play(1)
    assert (status.state, status.trouble, status.obtained_at) == ("current", None, START)


def test_events_of_the_whole_job_change_nothing() -> None:
    """The board is about tokens."""
    night = Night(token())
    before = night.play()
    night.board.observe(JobStarted("1", 1))
    assert night.look() == before


def test_an_alarm_is_no_attempt() -> None:
    """What readers have is seen in the state; the history has exchanges only."""
    night = Night(token(), DOWN)
    night.play()
    status = night.play(3300)
    assert [attempt.outcome for attempt in status.attempts] == ["ok", "timeout"]


def test_the_worst_comes_first() -> None:
    """Whoever is on call sees at the top what readers suffer from, soonest expiry first."""
    clock = FakeClock()

    def one(name: str, *script: Token | Exception) -> Refresher:
        made = Refresher(name, ScriptedSource(*script), [MemorySink()], PLAN, "key", clock)
        made.step()
        return made

    never = AnsweringSource(token)
    refreshers = [
        one("good", token()),
        Refresher("unread", never, [MemorySink()], PLAN, "key", clock),
        one("dead", token(life=60)),
        one("none", DOWN),
        one("soon", token(life=3000)),
    ]
    clock.advance(100)
    board = StatusBoard(lambda: {each.name: each for each in refreshers}, str, clock)
    names = [status.name for status in worst_first(board.statuses())]
    assert names == ["dead", "none", "unread", "soon", "good"]
