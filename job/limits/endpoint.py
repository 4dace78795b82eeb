"""How many exchanges may begin and run at one token endpoint: a window and a semaphore.

Times are epoch seconds by a clock that never steps; they come in as arguments.
"""

import math
import threading
from collections import deque

from job.core.rate import Rate

SLOT_S = 0.25
"""How long an exchange waits in place for another one to end, if few others wait."""
RETRY_S = 0.1
"""The least wait of an exchange that finds the endpoint full."""
RETRY_RATE = Rate(10, 1.0)
"""How many waiting exchanges try again, or as many as may begin if that is more: a server that hung
is soon found to be back, and however many wait, they do not try all the time."""


class Window:
    """A sliding window: no more than `rate.count` starts in any `rate.period_s`."""

    def __init__(self, rate: Rate) -> None:
        """Begin empty."""
        self._period_s = rate.period_s
        self._starts: deque[float] = deque(maxlen=rate.count)

    def free_at(self) -> float:
        """Return when one more start fits; may be past."""
        is_full = len(self._starts) == self._starts.maxlen
        return self._starts[0] + self._period_s if is_full else -math.inf

    def add(self, at: float) -> None:
        """Count a start; none may lie before the one that was added last."""
        self._starts.append(at)

    def reserve(self, earliest: float) -> float:
        """Count a start at the first moment that fits, and return it."""
        at = max(earliest, self.free_at())
        self.add(at)
        return at


class Endpoint:
    """One token endpoint: at most `concurrency` exchanges at once, and no more than `rate`.

    Each exchange that has to wait has a place in the queue. All methods but `take_slot` need a lock
    around them.
    """

    def __init__(self, concurrency: int, rate: Rate) -> None:
        """Begin with a free endpoint."""
        self.slots = threading.Semaphore(concurrency)
        self._waiting = threading.Semaphore(2 * concurrency)
        self._starts = Window(rate)
        self._queue = Window(rate)
        self._retries = Window(max(rate, RETRY_RATE, key=lambda rate: rate.per_day))
        self._places: dict[str, float] = {}

    def wait_s(self, token: str, now: float) -> float:
        """Return 0 if the rate lets `token` begin now, else the seconds until the next try.

        Newcomers go to the end of the queue. When its place comes, what counts is how many have
        really begun: late ones leave less room.
        """
        if token not in self._places:
            self._places[token] = self._queue.reserve(now)
        if self._places[token] <= now < self._starts.free_at():
            self._places[token] = self._retries.reserve(self._starts.free_at())
        return max(self._places[token] - now, 0.0)

    def take_slot(self) -> bool:
        """Take one of `slots`, and wait a moment for it unless enough others do.

        A server that hangs must not keep every thread waiting.
        """
        may_wait = self._waiting.acquire(blocking=False)
        try:
            return self.slots.acquire(timeout=SLOT_S if may_wait else 0.0)
        finally:
            if may_wait:
                self._waiting.release()

    def full_s(self, token: str, now: float) -> float:
        """Return after how many seconds `token`, having found no free slot, may try again."""
        self._places[token] = self._retries.reserve(now + RETRY_S)
        return self._places[token] - now

    def begin(self, token: str, now: float) -> None:
        """Count an exchange of `token` as begun."""
        self._places.pop(token, None)
        self._starts.add(now)

    def another(self, now: float) -> bool:
        """Count another request of an exchange that is running, if the rate allows it now."""
        allowed = self._starts.free_at() <= now
        if allowed:
            self._starts.add(now)
        return allowed
