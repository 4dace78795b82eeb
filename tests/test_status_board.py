import pytest
from fakes import START, AnsweringSource, FakeClock, MemorySink, ScriptedSource, record, token

from job.core.errors import EndpointUnavailable, SinkUnavailable
from job.core.events import JobStarted
from job.core.ports import TokenSource
from job.core.refresher import Refresher
from job.core.schedule import Plan, Policy
from job.core.tokens import Token, record_of
from job.observe.status_board import Attempt, SinkView, StatusBoard, TokenView, Trouble, worst_first

DOWN = EndpointUnavailable("timeout", "no answer in time")
FULL = SinkUnavailable("disk_full", "no space is left")
PLAN = Plan(Policy(jitter=0.0), "")
DUE = START + 2412
RISK = START + 3300
END = START + 3600


class Night:
    """One token with its board; `play` steps it and lets the board see what happened."""

    def __init__(self, *script: Token | Exception, sinks: int = 1, plan: Plan = PLAN) -> None:
        self.clock = FakeClock()
        self.sinks = [MemorySink(f"sink-{number}") for number in range(sinks)]
        self.refresher = self.made(ScriptedSource(*script), plan)
        self.board = StatusBoard(lambda: {"tiki": self.refresher}, str.upper, self.clock)

    def made(self, source: TokenSource, plan: Plan) -> Refresher:
        return Refresher("tiki", source, self.sinks, plan, "key", self.clock)

    def play(self, seconds: float = 0.0) -> TokenView:
        """Let time pass, step, and return what the board shows."""
        self.clock.advance(seconds)
        for event in self.refresher.step():
            self.board.observe(event)
        return self.look()

    def look(self, seconds: float = 0.0) -> TokenView:
        """Let time pass and return what the board shows."""
        self.clock.advance(seconds)
        (view,) = self.board.views()
        return view


def test_before_the_first_look() -> None:
    """Nothing is claimed of a token that no one has looked at."""
    view = Night().look()
    assert view == TokenView(
        name="tiki",
        provider="TIKI",
        state="unknown",
        obtained_at=None,
        ends_at=None,
        expires_at=None,
        refresh_at=START,
        promise_at=None,
        min_validity_s=300,
        fingerprint=None,
        failures=0,
        trouble=None,
        sinks=(
            SinkView(
                "sink-0", "unknown", None, held=False, failures=0, retry_at=None, trouble=None
            ),
        ),
        attempts=(),
    )
    assert not view.ready


def test_a_good_token() -> None:
    """One look tells until when it is good, when it is refreshed, and when the promise ends."""
    night = Night(token())
    view = night.play()
    assert view == TokenView(
        name="tiki",
        provider="TIKI",
        state="current",
        obtained_at=START,
        ends_at=END,
        expires_at=END,
        refresh_at=DUE,
        promise_at=RISK,
        min_validity_s=300,
        fingerprint=record().receipt.fingerprint,
        failures=0,
        trouble=None,
        sinks=(
            SinkView("sink-0", "current", END, held=True, failures=0, retry_at=None, trouble=None),
        ),
        attempts=(Attempt(START, "ok", 0, 3600),),
    )
    assert view.ready


@pytest.mark.parametrize(
    ("seconds", "word", "ready"),
    [
        (2411, "current", True),
        (2412, "due", True),
        (3300, "at_risk", True),
        (3600, "expired", False),
    ],
)
def test_a_token_grows_old(seconds: float, word: str, ready: bool) -> None:  # noqa: FBT001  # a column
    """The state follows the clock, not the last event."""
    night = Night(token())
    night.play()
    view = night.look(seconds)
    assert (view.state, view.ready) == (word, ready)


def test_an_endpoint_that_is_down() -> None:
    """The last failure is told in words until an exchange succeeds."""
    night = Night(token(), DOWN, token("tok-2", START + 2500))
    night.play()
    view = night.play(2412)
    trouble = Trouble(DUE, "timeout", "no answer in time")
    assert (view.state, view.failures, view.trouble) == ("due", 1, trouble)
    assert view.attempts[-1] == Attempt(DUE, "timeout")
    view = night.play(88)
    assert (view.state, view.failures, view.trouble) == ("current", 0, None)
    assert [attempt.outcome for attempt in view.attempts] == ["ok", "timeout", "ok"]


def test_no_token_at_all() -> None:
    """A sink without a token is missing one as soon as that is known."""
    view = Night(DOWN).play()
    assert (view.state, view.ready, view.sinks[0].state) == ("missing", False, "missing")


def test_one_sink_that_fails() -> None:
    """The token is as good as its worst sink, and that sink says what is wrong and until when."""
    night = Night(token(), sinks=2)
    night.sinks[1].write_errors = [FULL]
    view = night.play()
    trouble = Trouble(START, "disk_full", "no space is left")
    assert view.state == "missing"
    assert view.sinks == (
        SinkView("sink-0", "current", END, held=True, failures=0, retry_at=None, trouble=None),
        SinkView(
            "sink-1", "missing", None, held=False, failures=1, retry_at=START + 1, trouble=trouble
        ),
    )
    view = night.play(1)
    assert (view.state, view.sinks[1]) == (
        "current",
        SinkView("sink-1", "current", END, held=True, failures=0, retry_at=None, trouble=None),
    )


def test_a_sink_that_lags_behind() -> None:
    """A sink that holds the token before is due for the one in hand."""
    night = Night(token(), token("tok-2", START + 2412), sinks=2)
    night.play()
    night.sinks[1].write_errors = [FULL]
    view = night.play(2412)
    assert [(sink.state, sink.held) for sink in view.sinks] == [("current", True), ("due", False)]
    assert (view.state, view.expires_at) == ("due", END)


def test_the_same_token_again() -> None:
    """That the server gave nothing new is an attempt of its own kind, and no trouble."""
    night = Night(token(), token(requested_at=START + 2412, life=1188))
    night.play()
    view = night.play(2412)
    assert view.attempts[-1] == Attempt(DUE, "unchanged")
    assert view.trouble is None


def test_a_token_that_another_process_has_stored() -> None:
    """Adopting a token ends all trouble."""
    night = Night(DOWN)
    night.play()
    night.sinks[0].stored = record_of(token("tok-2"), "key")
    view = night.play(1)
    assert (view.state, view.trouble, view.obtained_at) == ("current", None, START)


def test_events_of_the_whole_job_change_nothing() -> None:
    """The board is about tokens."""
    night = Night(token())
    before = night.play()
    night.board.observe(JobStarted("1", 1))
    assert night.look() == before


def test_an_alarm_is_no_attempt() -> None:
    """What is told of readers is seen in the state; the history has exchanges only."""
    night = Night(token(), DOWN)
    night.play()
    view = night.play(3300)
    assert [attempt.outcome for attempt in view.attempts] == ["ok", "timeout"]


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
    names = [view.name for view in worst_first(board.views())]
    assert names == ["dead", "none", "unread", "soon", "good"]
