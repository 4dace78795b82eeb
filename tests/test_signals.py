"""Signals of this process: held, heard before there is anyone to hear them, and handed over."""

import signal
from collections.abc import Iterator

import pytest

from job.runners.process import TO_END, TO_RUN, Signals, hold_signals, release_signals


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fail a test that leaves a signal held or a handler in place."""
    before = [signal.getsignal(number) for number in TO_RUN], held()
    yield
    release_signals()
    assert ([signal.getsignal(number) for number in TO_RUN], set()) == before


def held() -> set[signal.Signals]:
    """Return which of our signals wait."""
    return {signal.Signals(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())} & {*TO_RUN}


def send(*numbers: signal.Signals) -> None:
    """Send signals to this thread: others of a test runner may not hold them."""
    for number in numbers:
        signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_before_the_work_begins_a_stop_leaves_at_once(number: signal.Signals) -> None:
    """Promise: nothing is in hand yet, so the process leaves, with the status that it is given."""
    with pytest.raises(SystemExit) as left, Signals(TO_RUN, leaving=SystemExit(7)):
        send(number)
    assert left.value.code == 7


@pytest.mark.fault("sigterm-at-start")
def test_a_stop_while_signals_were_held_is_heard() -> None:
    """Promise: a signal from the first moments is neither deadly nor lost."""
    hold_signals()
    send(signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in TO_RUN}
    with pytest.raises(SystemExit) as left, Signals(TO_RUN, leaving=SystemExit(0)):
        pytest.fail("it goes on")
    assert left.value.code == 0
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.fault("sigterm-at-start")
def test_what_was_heard_too_early_is_handed_over() -> None:
    """Promise: a reload that was asked for before there was anyone to do it is done."""
    told: list[tuple[str, str]] = []
    with Signals(TO_RUN, leaving=SystemExit(0)) as signals:
        send(signal.SIGHUP, signal.SIGUSR1)
        signals.hand_to(lambda *command: told.append(command))
        send(signal.SIGTERM, signal.SIGINT)
    assert told == [
        ("reload", "SIGHUP"),
        ("refresh", "SIGUSR1"),
        ("stop", "SIGTERM"),
        ("stop", "SIGINT"),
    ]


def test_a_stop_whose_exception_gets_lost_is_handed_over_too() -> None:
    """Promise: Python drops what is raised in a destructor; the stop is not dropped with it."""
    told: list[tuple[str, str]] = []
    with Signals(TO_RUN, leaving=SystemExit(0)) as signals:
        with pytest.raises(SystemExit):
            send(signal.SIGTERM)
        signals.hand_to(lambda *command: told.append(command))
    assert told == [("stop", "SIGTERM")]


def test_what_ends_by_itself_stops_on_a_hangup() -> None:
    """Promise: a closed terminal ends `once` cleanly; SIGUSR1 means nothing to it."""
    told: list[tuple[str, str]] = []
    before = signal.getsignal(signal.SIGUSR1)
    with Signals(TO_END, leaving=SystemExit(0)) as signals:
        signals.hand_to(lambda *command: told.append(command))
        send(signal.SIGHUP)
        assert signal.getsignal(signal.SIGUSR1) is before
    assert told == [("stop", "SIGHUP")]


@pytest.mark.fault("sigterm")
def test_signals_that_were_held_are_ignored_at_the_end() -> None:
    """Promise: a signal that comes when all is done can't change how the process ends."""
    before = {number: signal.getsignal(number) for number in TO_RUN}
    hold_signals()
    with Signals(TO_RUN, leaving=SystemExit(0)) as signals:
        signals.hand_to(lambda *_: None)
        assert held() == set()
    assert held() == {*TO_RUN}
    release_signals()
    send(*TO_RUN)
    assert {signal.signal(number, handler) for number, handler in before.items()} == {
        signal.SIG_IGN
    }
