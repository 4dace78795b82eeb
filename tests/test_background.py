"""An observer in a thread of its own: order, and an observer that hangs or raises."""

import threading
import time
from collections.abc import Iterator

import pytest

from job.core.events import Event, JobStopped
from job.observe.background import MOST_WAITING, BackgroundReporter

PATIENCE_S = 10.0
SHORT_S = 0.05


class Reader:
    """An observer that hangs until `open` is set, and remembers what it has seen."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.begun = threading.Event()
        self.open = threading.Event()

    def __call__(self, event: Event) -> None:
        self.begun.set()
        self.open.wait(PATIENCE_S)
        assert isinstance(event, JobStopped)
        self.seen.append(event.reason)


@pytest.fixture
def reader() -> Iterator[Reader]:
    """Give an observer that hangs; at the end no thread is left."""
    before = set(threading.enumerate())
    made = Reader()
    yield made
    made.open.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_S)
    assert set(threading.enumerate()) <= before


def test_everything_is_observed_in_its_order(reader: Reader) -> None:
    """Promise: what has been told when the block ends has been observed then."""
    reader.open.set()
    with BackgroundReporter(reader, PATIENCE_S) as aside:
        for number in range(500):
            aside(JobStopped(str(number)))
    assert reader.seen == [str(number) for number in range(500)]
    assert not aside.hangs


@pytest.mark.fault("log-hangs")
def test_an_observer_that_hangs_holds_nobody_up(reader: Reader) -> None:
    """Promise: telling never waits, and the end waits for as long as it was told to."""
    before = time.monotonic()
    with BackgroundReporter(reader, SHORT_S) as aside:
        aside(JobStopped("first"))
        assert reader.begun.wait(PATIENCE_S)
        for number in range(2 * MOST_WAITING):
            aside(JobStopped(str(number)))
        entered = time.monotonic()
    assert time.monotonic() - entered < 10 * SHORT_S
    assert time.monotonic() - before < PATIENCE_S / 2
    assert aside.hangs


@pytest.mark.fault("log-hangs")
def test_the_newest_are_kept_when_the_observer_hangs(reader: Reader) -> None:
    """Promise: memory is bounded; once the log is read again it tells how things stand now."""
    with BackgroundReporter(reader, PATIENCE_S) as aside:
        aside(JobStopped("first"))
        assert reader.begun.wait(PATIENCE_S)
        for number in range(2 * MOST_WAITING):
            aside(JobStopped(str(number)))
        reader.open.set()
    newest = range(MOST_WAITING, 2 * MOST_WAITING)
    assert reader.seen == ["first", *map(str, newest)]
    assert not aside.hangs


@pytest.mark.fault("log-unwritable")
def test_an_observer_that_raises_is_called_again() -> None:
    """Promise: a full disk costs the lines of that time, and no later one."""
    seen: list[Event] = []

    def observe(event: Event) -> None:
        seen.append(event)
        if len(seen) == 1:
            raise OSError(28, "no space left on device")

    with BackgroundReporter(observe, PATIENCE_S) as aside:
        aside(JobStopped("lost"))
        aside(JobStopped("told"))
    assert seen == [JobStopped("lost"), JobStopped("told")]
