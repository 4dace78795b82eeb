"""A total deadline for a call that has none, whatever it hangs in, name resolution included."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def call(function: Callable[[], T], seconds: float, abort: Callable[[], None]) -> T:
    """Return what `function` returns or raise what it raises, run in a thread of its own.

    When `seconds` pass first, `abort()` is called and TimeoutError raised at once; what the
    function does afterwards is ignored. `abort` has to make it end, and must not block or raise.
    """
    outcome: list[tuple[T, None] | tuple[None, BaseException]] = []

    def run() -> None:
        try:
            outcome.append((function(), None))
        except BaseException as error:  # noqa: BLE001  # it is raised again, in the caller's thread
            outcome.append((None, error))

    worker = threading.Thread(target=run, name="deadline", daemon=True)
    worker.start()
    try:
        worker.join(seconds)
    finally:
        # Also when a signal's exception ends the wait.
        if not outcome:
            abort()
    if not outcome:
        msg = f"no result within {seconds:g} s"
        raise TimeoutError(msg)
    return _unpack(*outcome.pop())


def _unpack(value: T | None, error: BaseException | None) -> T:
    try:
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # a call without an error has a value
    finally:
        # The error's traceback holds this frame: without this, both wait for the cycle collector.
        del error
