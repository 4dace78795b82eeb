"""A bounded pool of threads that takes the most urgent first and never keeps the process alive."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

Task = Callable[[], None]


class _Entry(NamedTuple):
    urgency: float
    order: int
    task: Task
    slow: bool


class Pool:
    """At most `size` daemon threads, started as they are needed; tasks must not raise.

    Tasks that are known to be slow run in at most half of the threads: however many of them hang,
    and however urgent they are, the others find a thread.
    """

    def __init__(self, size: int) -> None:
        """Start no thread yet."""
        self._size = size
        self._swift: list[_Entry] = []
        self._slow: list[_Entry] = []
        self._slow_running = 0
        self._order = itertools.count()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._stopping = False
        self._changed = threading.Condition()

    def submit(self, urgency: float, task: Task, *, slow: bool = False) -> None:
        """Run `task` as soon as a thread is free; lower numbers of `urgency` go first.

        After `stop` it is dropped. Raises RuntimeError, without keeping the task, when there are no
        threads and none can be started.
        """
        with self._changed:
            if self._stopping:
                return
            # A thread that has been woken counts as idle until it has taken its task.
            waiting = len(self._swift) + min(len(self._slow), self._slow_free())
            if waiting >= self._idle and len(self._threads) < self._size:
                self._start_thread()
            entry = _Entry(urgency, next(self._order), task, slow)
            heapq.heappush(self._slow if slow else self._swift, entry)
            self._changed.notify()

    def stop(self, deadline_s: float) -> bool:
        """Drop what waits and let what runs finish; return whether it did within the deadline."""
        with self._changed:
            self._stopping = True
            self._swift.clear()
            self._slow.clear()
            self._changed.notify_all()
        until = time.monotonic() + deadline_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # A process limit is reached: the existing threads do the work, if there are any.
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while (entry := self._next()) is not None:
            entry.task()
            with self._changed:
                self._slow_running -= entry.slow

    def _next(self) -> _Entry | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._stopping or self._runnable() is not None)
            self._idle -= 1
            heap = None if self._stopping else self._runnable()
            if heap is None:
                return None
            entry = heapq.heappop(heap)
            self._slow_running += entry.slow
            return entry

    def _runnable(self) -> list[_Entry] | None:
        """Return the heap with the most urgent task that may run now."""
        heaps = [self._swift, self._slow if self._slow_free() else []]
        return min((heap for heap in heaps if heap), key=lambda heap: heap[0], default=None)

    def _slow_free(self) -> int:
        """Return how many more slow tasks may run."""
        return max(self._size // 2, 1) - self._slow_running
