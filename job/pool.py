"""A bounded pool of threads that takes the worst first and never keeps the process alive."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable

Task = Callable[[], None]


class Pool:
    """At most `size` daemon threads, started as they are needed; tasks must not raise."""

    def __init__(self, size: int) -> None:
        """Start no thread yet."""
        self._size = size
        self._waiting: list[tuple[float, int, Task]] = []
        self._order = itertools.count()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._stopping = False
        self._changed = threading.Condition()

    def submit(self, urgency: float, task: Task) -> None:
        """Run `task` as soon as a thread is free; those of lesser `urgency` number go first.

        After `stop` it is dropped. Raises RuntimeError, and keeps nothing, when there is no thread
        and the system gives none.
        """
        with self._changed:
            if self._stopping:
                return
            # An idle thread that has been woken still counts as idle until it has taken its task.
            if len(self._waiting) >= self._idle and len(self._threads) < self._size:
                self._start_thread()
            heapq.heappush(self._waiting, (urgency, next(self._order), task))
            self._changed.notify()

    def stop(self, deadline_s: float) -> bool:
        """Drop what waits and let what runs finish; tell whether it did within the deadline."""
        with self._changed:
            self._stopping = True
            self._waiting.clear()
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
            # A limit of processes is reached: the threads that are there do the work, if any are.
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while (task := self._next()) is not None:
            task()

    def _next(self) -> Task | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._stopping or bool(self._waiting))
            self._idle -= 1
            return None if self._stopping else heapq.heappop(self._waiting)[2]
