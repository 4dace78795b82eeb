import os
import signal
import threading
import time

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
        os.kill(os.getpid(), signal.SIGUSR1)
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
