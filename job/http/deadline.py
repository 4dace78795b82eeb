"""A total deadline for a call that has none, whatever it hangs in, name resolution included."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")

KEEP_S = 5.0


class Threads:
    """Makes calls in threads of its own, each of which is kept for the next call unless it is late.

    A new thread mostly runs on another core, with cold caches: a third of the cost of an exchange.
    """

    def __init__(self, keep_s: float = KEEP_S) -> None:
        """Start none yet. A thread ends when it has waited `keep_s` seconds for another call."""
        self._keep_s = keep_s
        self._idle: list[_Thread] = []

    def call(self, function: Callable[[], T], seconds: float, abort: Callable[[], None]) -> T:
        """Return what `function` returns or raise what it raises.

        When `seconds` pass first, `abort()` is called and TimeoutError raised at once; what the
        function does afterwards is ignored. `abort` has to make it end, and must not block or
        raise.
        """
        finished = False
        try:  # already around the beginning: a signal may break it off at any moment
            call = self.begin(function)
            finished = call.wait(seconds)
        finally:
            if not finished:
                abort()
        if not finished:
            raise late(seconds)
        return call.outcome()

    def begin(self, function: Callable[[], T]) -> "Call[T]":
        """Begin a call, and return what tells of its end."""
        thread = self._thread()
        call = Call(function, thread)
        thread.calls.put(call)
        return call

    def _thread(self) -> "_Thread":
        """Take the thread that was used last, or start one."""
        with suppress(IndexError):
            return self._idle.pop()
        thread = _Thread(self._idle, self._keep_s)
        thread.start()
        return thread


class Sequential:
    """Makes the calls to one place, one after the other, each with its own deadline.

    A late call goes on in its thread, and the next one begins when it has ended: at most one thread
    hangs for a place, and no late call is carried out behind the back of a newer one.
    """

    def __init__(self, threads: Threads) -> None:
        """Begin without a call."""
        self._threads = threads
        self._late: Call[object] | None = None

    def call(self, function: Callable[[], T], seconds: float) -> T:
        """Return what `function` returns or raise what it raises; TimeoutError after `seconds`."""
        until = time.monotonic() + seconds
        if seconds <= 0 or (self._late is not None and not self._late.wait(seconds)):
            raise late(seconds)
        self._late = None
        call = self._threads.begin(function)
        if not call.wait(max(until - time.monotonic(), 0.0)):
            self._late = call  # type: ignore[assignment]  # nobody asks for its outcome
            raise late(seconds)
        return call.outcome()


def late(seconds: float) -> TimeoutError:
    """Return the error of a call that took longer than it may."""
    return TimeoutError(f"no result within {seconds:g} s")


def call(function: Callable[[], T], seconds: float, abort: Callable[[], None]) -> T:
    """Make one call as `Threads.call` does, in a thread that is not kept."""
    return Threads(keep_s=0.0).call(function, seconds, abort)


class Call(Generic[T]):
    """One call, and what became of it."""

    def __init__(self, function: Callable[[], T], thread: "_Thread") -> None:
        """Wait for the thread to make it."""
        self._function = function
        self._thread = thread
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        # Not a queue: before Python 3.12, a signal has SimpleQueue.get find nothing too early.
        self._running = threading.Lock()
        self._running.acquire()

    def make(self) -> None:
        """Make the call, in its thread."""
        try:
            self._results.append(self._function())
        except BaseException as error:  # noqa: BLE001  # it is raised again, in the caller's thread
            self._errors.append(error)

    def end(self) -> None:
        """Let the one that waits for it go on."""
        self._running.release()

    def wait(self, seconds: float) -> bool:
        """Wait for its end; where it is late, its thread makes no other call."""
        finished = False
        try:
            finished = self._running.acquire(timeout=seconds)
        finally:
            if not finished:
                self._thread.is_late = True
        return finished

    def outcome(self) -> T:
        """Give the outcome away: an error that is kept would keep all that its frames hold."""
        if self._errors:
            raise self._errors.pop()
        return self._results.pop()


class _Thread(threading.Thread):
    """A thread of Threads; a daemon, so that no process waits for it."""

    def __init__(self, idle: "list[_Thread]", keep_s: float) -> None:
        super().__init__(name="deadline", daemon=True)
        self.calls: SimpleQueue[Call[Any]] = SimpleQueue()
        self.is_late = False
        self._idle = idle
        self._keep_s = keep_s

    def run(self) -> None:
        """Make the calls that come, until none has come for long or one was late."""
        while self._make_one():
            pass

    def _make_one(self) -> bool:
        """Make the next call; tell whether another may follow. While it waits it holds nothing."""
        call = self._next()
        if call is None:
            return False
        call.make()
        is_late = self.is_late
        if not is_late:
            self._idle.append(self)
        call.end()
        return not is_late

    def _next(self) -> Call[Any] | None:
        with suppress(Empty):
            return self.calls.get(timeout=self._keep_s)
        with suppress(ValueError):
            self._idle.remove(self)
            return None
        return self.calls.get()  # somebody has just taken this thread
