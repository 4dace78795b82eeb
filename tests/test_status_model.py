"""The one status model: its states, their order, and what is said of them."""

from typing import get_args

import pytest
from fakes import START

from job.observe.status import (
    STATES,
    SinkStatus,
    TokenState,
    TokenStatus,
    Trouble,
    headline,
    state_of,
    worst_first,
)

LATE = Trouble(START, "", "its refresh is late; see the log")


def status(name: str, *sinks: SinkStatus, failures: int = 0) -> TokenStatus:
    """Make the status of a token."""
    return TokenStatus(name=name, sinks=sinks, failures=failures)


def test_every_state_has_its_meaning() -> None:
    """No state lacks an order, a mark, a word or a severity; the worst four need people."""
    assert set(STATES) == set(get_args(TokenState))
    assert [told.needs_people for told in STATES.values()] == [True] * 4 + [False] * 3


def test_words_differ_where_states_do() -> None:
    """No state is told by a colour or a mark alone."""
    assert len({told.word for told in STATES.values()}) == len(STATES)


@pytest.mark.parametrize(
    ("now", "held", "told"),
    [
        (99, True, ("current", 10)),
        (99, False, ("due", 10)),
        (100, True, ("due", 100)),
        (199, False, ("due", 100)),
        (200, True, ("at_risk", 200)),
        (299, False, ("at_risk", 200)),
        (300, True, ("expired", 300)),
    ],
)
def test_the_state_of_what_a_sink_holds(
    now: float,
    held: bool,  # noqa: FBT001  # a column
    told: tuple[TokenState, int],
) -> None:
    """The state and its beginning follow from the moments of a life, with exact edges."""
    moments = {"obtained_at": 10.5, "due_at": 100.0, "expires_at": 300.0}
    assert state_of(now, risk_at=200.0, held=held, **moments) == told


def test_a_token_is_as_good_as_its_worst_sink() -> None:
    """State and beginning are those of the worst sinks, the expiry is the earliest of all."""
    token = status(
        "a",
        SinkStatus("x", "current", START + 60, START - 9),
        SinkStatus("y", "at_risk", START + 90, START - 3),
        SinkStatus("z", "at_risk", START + 91, START - 5),
    )
    assert (token.state, token.since, token.expires_at) == ("at_risk", START - 5, START + 60)
    assert token.ready
    assert not status("b", SinkStatus("x", "unknown")).ready


def test_the_order_is_that_of_a_person_on_call() -> None:
    """The worst state first, then the soonest expiry, and what was never there last."""
    tokens = [
        status("good", SinkStatus("x", "current", START + 9)),
        status("late", SinkStatus("x", "due", START + 9)),
        status("later", SinkStatus("x", "due", START + 10)),
        status("never", SinkStatus("x", "missing")),
        status("half", SinkStatus("x", "missing"), SinkStatus("y", "current", START + 60)),
    ]
    order = ["half", "never", "late", "later", "good"]
    assert [token.name for token in worst_first(tokens)] == order
    assert [sink.label for sink in worst_first(tokens[4].sinks)] == ["x", "y"]


def test_the_failure_of_an_exchange_is_told_before_what_waits() -> None:
    """The sentence says what people can do something about; a refresh under way is no news."""
    good = status("good", SinkStatus("x", "current", START + 60))
    due = status("due", SinkStatus("x", "due", START + 60))
    late = status("late", SinkStatus("x", "due", START + 60, trouble=LATE))
    failing = status("failing", SinkStatus("x", "current", START + 60), failures=2)

    def said(*tokens: TokenStatus) -> str:
        return headline(tokens, START)[0].removeprefix("Every token is good, ")

    assert said(good, due) == "for at least 1m"
    assert said(good, due, late) == "but 1 of 3 tokens waits for a refresh"
    assert said(late, failing) == "but 1 of 2 tokens can't be refreshed"


def test_a_trouble_has_a_cause_and_a_cure() -> None:
    """What is wrong stands before the first semicolon, what to do behind it."""
    assert (LATE.cause, LATE.cure) == ("its refresh is late", "see the log")
    assert Trouble(START, "timeout", "no answer in time").cure == ""


def test_troubles_name_their_place() -> None:
    """What is wrong with the exchanges comes first, then each sink, the worst first."""
    down, full = Trouble(START, "timeout", "no answer"), Trouble(START, "disk_full", "no space")
    token = TokenStatus(
        name="a",
        sinks=(
            SinkStatus("x", "current"),
            SinkStatus("y", "due", trouble=LATE),
            SinkStatus("z", "missing", trouble=full),
        ),
        trouble=down,
    )
    assert token.troubles == [("", "missing", down), ("z", "missing", full), ("y", "due", LATE)]
