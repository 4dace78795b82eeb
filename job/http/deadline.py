"""A total deadline for a call that has none, whatever it hangs in, name resolution included."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


def call(function: Callable[[], T], seconds: float, abort: Callable[[], None]) -> T:
    """Return what `function` returns or raise what it raises, run in a thread of its own.

    When `seconds` pass first, `abort()` is called and TimeoutError raised at once; what the
    function does afterwards is ignored. `abort` has to make it end, and must not block or raise.
    """
    return _Worker(function).finish(seconds, abort)


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
