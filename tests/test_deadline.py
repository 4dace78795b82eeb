import functools
import signal
import threading
import time
import weakref
from queue import Empty

import pytest

from job.http import deadline

SHORT_S = 0.02


def never() -> None:
    """Abort what must not be aborted."""
    pytest.fail("aborted in time")


def test_gives_the_result() -> None:
    """What the function returns is returned, None included, and nothing is aborted."""
    assert deadline.call(lambda: "done", 5, never) == "done"
    assert deadline.call(lambda: None, 5, never) is None


def test_gives_the_exception() -> None:
    """What the function raises is raised, the same object, also where it is a TimeoutError."""
    for error in (ValueError("no"), TimeoutError("its own"), SystemExit(3)):

        def fail(error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            deadline.call(fail, 5, never)
        assert caught.value is error


def test_ends_in_time_whatever_hangs() -> None:
    """At the deadline it aborts once and raises at once, even if the function goes on for long."""
    go_on, aborted = threading.Event(), []
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no result within 0.02 s"):
        deadline.call(lambda: go_on.wait(10), SHORT_S, lambda: aborted.append(1))
    assert (aborted, time.monotonic() - began < 5) == ([1], True)
    go_on.set()


def test_what_an_abort_brings_about_is_no_result() -> None:
    """A function that ends because of the abort, and looks well, is late all the same."""
    cut, ended = threading.Event(), threading.Event()

    def reads() -> str:
        cut.wait(10)
        ended.set()
        return "half an answer"

    def abort() -> None:
        cut.set()
        ended.wait(10)

    with pytest.raises(TimeoutError):
        deadline.call(reads, SHORT_S, abort)


def test_a_wait_that_is_interrupted_aborts() -> None:
    """When a signal breaks the wait off, the function is aborted and not left unwatched."""
    cut = threading.Event()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def hang() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        cut.wait(10)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            deadline.call(hang, 5, cut.set)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert cut.is_set()


def test_the_caller_lends_no_thread() -> None:
    """The thread is a daemon: a process that wants to leave does not wait for it."""
    assert deadline.call(lambda: threading.current_thread().daemon, 5, never) is True


def workers(count: int, threads: deadline.Threads) -> list[threading.Thread]:
    """Return the thread in which each of so many calls was made."""
    return [threads.call(threading.current_thread, 5, never) for _ in range(count)]


@pytest.mark.slow
def test_a_thread_is_kept_for_the_next_call() -> None:
    """Calls one after the other share a thread; it holds nothing of a call, and ends in time."""
    threads, given = deadline.Threads(0.5), GivenBack()
    [thread] = {*workers(3, threads)}
    held = weakref.ref(given)
    threads.call(functools.partial(id, given), 5, never)
    del given
    workers(1, threads)
    assert held() is None

    thread.join(5)
    assert not thread.is_alive()
    [other] = workers(1, threads)
    assert other is not thread
    other.join(5)


class GivenBack:
    """Something that a call is made with."""


def test_a_late_thread_is_not_used_again() -> None:
    """It ends with its call, and the next one gets another thread."""
    threads, hung, go_on = deadline.Threads(0.0), [], threading.Event()

    def hang() -> None:
        hung.append(threading.current_thread())
        go_on.wait(10)

    with pytest.raises(TimeoutError):
        threads.call(hang, SHORT_S, lambda: None)
    assert workers(1, threads) != hung
    go_on.set()
    hung[0].join(5)
    assert not hung[0].is_alive()


def test_a_thread_that_is_taken_as_it_leaves_makes_the_call() -> None:
    """Between the end of its patience and its leaving the list a thread can be taken."""
    thread = deadline._Thread([], 0.0)
    thread.calls = Leaving()  # type: ignore[assignment]  # it has the one method that is used
    assert thread._next() == "call"


class Leaving:
    """A queue whose first look finds nothing."""

    def get(self, timeout: float | None = None) -> str:
        if timeout is not None:
            raise Empty
        return "call"


# Calls to one place


def test_a_place_gives_what_its_calls_give() -> None:
    """Results and exceptions come through, one call after the other."""
    place = deadline.Sequential(deadline.Threads(0.0))

    def fail() -> None:
        raise LookupError

    assert [place.call(lambda n=n: n, 5) for n in range(3)] == [0, 1, 2]
    with pytest.raises(LookupError):
        place.call(fail, 5)
    assert place.call(lambda: "again", 5) == "again"


@pytest.mark.fault("aws-drips")
def test_a_late_call_holds_the_next_one_up() -> None:
    """A call that hangs lets no other of its place begin: threads never add up."""
    go_on, begun = threading.Event(), []
    place = deadline.Sequential(deadline.Threads(0.0))
    with pytest.raises(TimeoutError):
        place.call(go_on.wait, SHORT_S)
    for _ in range(5):
        with pytest.raises(TimeoutError):
            place.call(lambda: begun.append(1), SHORT_S)
    assert begun == []

    go_on.set()
    assert place.call(lambda: "next", 5) == "next"


def test_without_time_no_call_begins() -> None:
    """A call that would be late from the start is not made."""
    for seconds in (0, -1):
        with pytest.raises(TimeoutError):
            deadline.Sequential(deadline.Threads(0.0)).call(lambda: pytest.fail("made"), seconds)
