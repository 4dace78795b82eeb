"""A total deadline for a call that has none, whatever it hangs in, name resolution included."""

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


def call(function: Callable[[], T], seconds: float, abort: Callable[[], None]) -> T:
    """Return what `function` returns or raise what it raises, run in a thread of its own.

    When `seconds` pass first, `abort()` is called and TimeoutError raised at once; what the
    function does afterwards is ignored. `abort` has to make it end, and must not block or raise.
    """
    return _Worker(function).finish(seconds, abort)


class Caller:
    """Makes calls that end in time, one after the other, although no socket of theirs is ours.

    A call that is late ends as soon as it runs Python again, for which a byte that drips in, or the
    end of a socket's own timeout, is enough. The next call begins when it has ended. So at most one
    thread hangs, and no late call is carried out behind the back of a newer one.
    """

    def __init__(self) -> None:
        """Begin without a call."""
        self._late: _Watched[object] | None = None

    def call(self, function: Callable[[], T], seconds: float) -> T:
        """Return what `function` returns or raise what it raises; TimeoutError after `seconds`."""
        until = time.monotonic() + seconds
        if self._late is not None and self._late.is_alive():
            self._late.join(max(seconds, 0.0))
        left = until - time.monotonic()
        if left <= 0.0:
            msg = "no time is left to begin"
            raise TimeoutError(msg)
        worker = _Watched(function)
        self._late = worker  # type: ignore[assignment]  # what it returns is of no matter here
        return worker.finish(left, worker.interrupt)


class _Worker(threading.Thread, Generic[T]):
    """A thread for one function; a daemon, so that no process waits for it."""

    def __init__(self, function: Callable[[], T]) -> None:
        super().__init__(target=self._work, args=(function,), name="deadline", daemon=True)
        self._results: list[T] = []
        self._errors: list[BaseException] = []

    def finish(self, seconds: float, abort: Callable[[], None]) -> T:
        """Run, and give the outcome or abort."""
        finished = False
        try:
            self.start()
            self.join(seconds)
            # Looked at once: what an abort brings about must never pass for a result.
            finished = bool(self._results or self._errors)
        finally:
            if not finished:
                abort()
        if not finished:
            msg = f"no result within {seconds:g} s"
            raise TimeoutError(msg)
        if self._errors:
            raise self._errors.pop()
        return self._results.pop()

    def _work(self, function: Callable[[], T]) -> None:
        try:
            self._results.append(function())
        except BaseException as error:  # noqa: BLE001  # it is raised again, in the caller's thread
            self._errors.append(error)


class _Interrupted(BaseException):
    """Ends a late function: no handler of Exception, and so no retry, swallows it."""


class _Watched(_Worker[T]):
    """A worker that looks at each call of a function whether it is late.

    The look is a profile function of this thread (sys.setprofile). PyThreadState_SetAsyncExc would
    cost nothing, but while its target sits in a system call, Python 3.11 loops for ever in any
    other thread that is traced.
    """

    _is_late = False

    def interrupt(self) -> None:
        """Have it end."""
        self._is_late = True

    def _work(self, function: Callable[[], T]) -> None:
        end = (None for _ in ())  # an expression that raises
        with suppress(_Interrupted):
            sys.setprofile(lambda *_: self._is_late and end.throw(_Interrupted))
            super()._work(function)
