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
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001  # it is raised again, in the caller's thread
            errors.append(error)

    worker = threading.Thread(target=run, name="deadline", daemon=True)
    finished = False
    try:
        worker.start()
        worker.join(seconds)
        # Looked at once: what an abort brings about must never pass for a result.
        finished = bool(results or errors)
    finally:
        if not finished:
            abort()
    if not finished:
        msg = f"no result within {seconds:g} s"
        raise TimeoutError(msg)
    if errors:
        raise errors.pop()
    return results.pop()
