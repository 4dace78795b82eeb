"""Which refresher is stepped when."""

import heapq
import itertools
import threading

from job.core.clock import Clock
from job.core.refresher import Refresher


class DueQueue:
    """Which refresher is to be stepped when, by the boot clock. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        """Hold nothing yet."""
        self._clock = clock
        self._heap: list[tuple[float, int, Refresher]] = []
        self._order = itertools.count()
        self._lock = threading.Lock()

    def put(self, refresher: Refresher, wait_s: float) -> None:
        """Note that a refresher is to be stepped in `wait_s` seconds."""
        at = self._clock().boot + wait_s
        with self._lock:
            heapq.heappush(self._heap, (at, next(self._order), refresher))

    def take_due(self) -> list[Refresher]:
        """Remove and return the refreshers whose time has come."""
        now, due = self._clock().boot, []
        with self._lock:
            while self._heap and self._heap[0][0] <= now:
                due.append(heapq.heappop(self._heap)[2])
        return due

    def take_all(self) -> list[Refresher]:
        """Remove and return every refresher that waits."""
        with self._lock:
            waiting, self._heap = self._heap, []
        return [refresher for _, _, refresher in waiting]
