"""An observer in a thread of its own, so that a log whose reader hangs delays nothing."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from job.core.events import Event

MOST_WAITING = 1000


class BackgroundReporter:
    """Hands events to an observer one after the other, in their order.

    Beyond MOST_WAITING the oldest are dropped. An observer that raises loses that event.
    At the end of the with-block it has `drain_s` seconds for what still waits; `hangs` then tells
    whether that was too short.
    """

    def __init__(self, observe: Callable[[Event], None], drain_s: float) -> None:
        """Observe nothing yet."""
        self._observe = observe
        self._drain_s = drain_s
        self._waiting: deque[Event] = deque(maxlen=MOST_WAITING)
        self._over = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="observer", daemon=True)

    def __call__(self, event: Event) -> None:
        """Queue an event; never waits."""
        with self._changed:
            self._waiting.append(event)
            self._changed.notify()

    def __enter__(self) -> Self:
        """Begin to observe."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Observe what waits."""
        with self._changed:
            self._over = True
            self._changed.notify()
        self._thread.join(self._drain_s)

    @property
    def hangs(self) -> bool:
        """Tell whether the observer is still at work."""
        return self._thread.is_alive()

    def _work(self) -> None:
        while (event := self._next()) is not None:
            with suppress(Exception):
                self._observe(event)

    def _next(self) -> Event | None:
        with self._changed:
            self._changed.wait_for(lambda: self._over or bool(self._waiting))
            return self._waiting.popleft() if self._waiting else None
