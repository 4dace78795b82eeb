"""The sweep: what is due goes to a pool of threads, worst first, and comes back to the queue.

The queue is a heap, so that the cost of a sweep grows with what is due, not with all tokens.
"""

import functools
import heapq
import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter

from job.core.clock import Clock
from job.core.events import Event, crashed
from job.core.refresher import Refresher
from job.runners.pool import Pool

AFTER_CRASH_S = 60.0
WORKERS = 32
SLOW_S = 2.0
"""Tokens whose last step took longer may hang again, and share half of the workers."""


class DueQueue:
    """When each refresher is to be stepped, by the boot clock. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        """Hold nothing yet."""
        self._clock = clock
        self._heap: list[tuple[float, int, Refresher]] = []
        self._order = itertools.count()
        self._lock = threading.Lock()

    def put(self, refresher: Refresher, wait_s: float) -> None:
        """Add a refresher that is to be stepped in `wait_s` seconds."""
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
        """Remove and return all refreshers."""
        with self._lock:
            waiting, self._heap = self._heap, []
        return [refresher for _, _, refresher in waiting]


class Sweep:
    """The refreshers in force: each is in the queue, in the pool, or being stepped.

    Safe from any thread; it never waits for a step.
    """

    def __init__(self, tell: Callable[[Event], None], clock: Clock) -> None:
        """Hold no refresher yet; `tell` gets the events of the steps, and must not raise."""
        self._tell = tell
        self._clock = clock
        self._in_force: Mapping[str, Refresher] = {}
        self._forced: set[str] = set()
        self._slow: set[str] = set()
        # Held while refreshers come into force or are forced, and while one is put back.
        self._lock = threading.Lock()
        self._queue = DueQueue(clock)
        self._pool = Pool(WORKERS)

    @property
    def in_force(self) -> Mapping[str, Refresher]:
        """Return the refreshers of the configuration in force."""
        return self._in_force

    def put_in_force(self, changed: Mapping[str, Refresher]) -> None:
        """Step these from now on, and no others; those that were there before go on unchanged."""
        with self._lock:
            before, self._in_force = self._in_force, changed
            self._forced &= changed.keys()
            self._slow &= changed.keys()
            waiting = self._queue.take_all()
        self._enter(waiting)
        self._enter(r for name, r in changed.items() if before.get(name) is not r)

    def force_all(self) -> None:
        """Have the next sweep take every token; many requests between two sweeps are one."""
        with self._lock:
            self._forced.update(self._in_force)
        self.resync()

    def resync(self) -> None:
        """Compute again when each idle refresher is to be stepped."""
        self._enter(self._queue.take_all())

    def run(self, ticked: Callable[[], None]) -> None:
        """Hand what is due to the pool, worst first; `ticked` is called as a sign of progress."""
        ticked()
        due = [(self._urgency(refresher), refresher) for refresher in self._queue.take_due()]
        for urgency, refresher in sorted(due, key=itemgetter(0)):
            ticked()  # many tokens may take seconds
            self._submit(refresher, urgency)

    def stop(self, seconds: float) -> None:
        """Begin no more steps, and wait at most `seconds` for those that run."""
        self._pool.stop(seconds)

    def _urgency(self, refresher: Refresher) -> float:
        try:
            return refresher.seconds_left()
        except Exception as error:  # noqa: BLE001  # the rest of the sweep must not be lost
            self._tell(crashed(error, refresher.name))
            return float("-inf")

    def _submit(self, refresher: Refresher, urgency: float) -> None:
        """Hand a refresher to the pool, or put it back if that fails: nothing else holds it."""
        slow = refresher.name in self._slow
        try:
            self._pool.submit(urgency, functools.partial(self._step, refresher), slow=slow)
        except Exception as error:  # noqa: BLE001  # the same
            self._tell(crashed(error, refresher.name))
            self._put_back(refresher, AFTER_CRASH_S)

    def _step(self, refresher: Refresher) -> None:
        """Step one refresher and queue it again, whatever happens."""
        if not self._is_in_force(refresher):
            return
        began, wait_s = self._clock().boot, AFTER_CRASH_S
        try:
            for event in refresher.step(force=self._take_force(refresher.name)):
                self._tell(event)
            wait_s = refresher.wait_s()
        except BaseException as error:  # noqa: BLE001  # a bug with one token must not stop the others
            self._tell(crashed(error, refresher.name))
        is_slow = self._clock().boot - began > SLOW_S
        (self._slow.add if is_slow else self._slow.discard)(refresher.name)
        self._put_back(refresher, wait_s)

    def _put_back(self, refresher: Refresher, wait_s: float) -> None:
        """Queue a refresher again; it is due at once if it was forced during its step."""
        with self._lock:
            if self._is_in_force(refresher):
                forced = refresher.name in self._forced
                self._queue.put(refresher, 0.0 if forced else wait_s)

    def _is_in_force(self, refresher: Refresher) -> bool:
        return self._in_force.get(refresher.name) is refresher

    def _take_force(self, name: str) -> bool:
        """Tell, once for each command, whether a token is to be refreshed before it is due."""
        with self._lock:
            forced = name in self._forced
            self._forced.discard(name)
            return forced

    def _enter(self, refreshers: Iterable[Refresher]) -> None:
        for refresher in refreshers:
            self._put_back(refresher, refresher.wait_s())
