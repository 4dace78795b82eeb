"""How many exchanges may begin and run at one token endpoint: a window and a semaphore."""

import threading

from job.core.rate import Rate
from job.limits.window import Window

SLOT_S = 0.25
"""For so long an exchange waits in place for another one to end, if few others do."""
RETRY_S = 0.1
"""Who finds an endpoint full asks again no earlier than after this time."""
RETRY_RATE = Rate(10, 1.0)
"""So many of those who wait ask again, or as many as may begin: a server that was hung is found to
be back at once, and however many wait, they do not ask all the time."""


class Endpoint:
    """One token endpoint: at most `concurrency` exchanges at once, and no more than `rate`.

    Who has to wait has a place in the line, and is told when it comes. Times are those of
    job.limits.window. All but `take_slot` needs a lock around it.
    """

    def __init__(self, concurrency: int, rate: Rate) -> None:
        """Begin with a free endpoint."""
        self.slots = threading.Semaphore(concurrency)
        self._waiting = threading.Semaphore(2 * concurrency)
        self._starts = Window(rate)
        self._line = Window(rate)
        self._retries = Window(max(rate, RETRY_RATE, key=lambda rate: rate.per_day))
        self._places: dict[str, float] = {}

    def wait_s(self, who: str, now: float) -> float:
        """Return 0 if the rate lets `who` begin now, else after how many seconds to ask again.

        Newcomers go behind those who have a place in the line. Then it counts what has really
        begun: those who came late leave less room.
        """
        if who not in self._places:
            self._places[who] = self._line.reserve(now)
        if self._places[who] <= now < self._starts.free_at():
            self._places[who] = self._retries.reserve(self._starts.free_at())
        return max(self._places[who] - now, 0.0)

    def take_slot(self) -> bool:
        """Take one of `slots`, and wait a moment for it unless enough others do.

        A server that hangs must not hold all threads of those who wait for it.
        """
        may_wait = self._waiting.acquire(blocking=False)
        try:
            return self.slots.acquire(timeout=SLOT_S if may_wait else 0.0)
        finally:
            if may_wait:
                self._waiting.release()

    def full_s(self, who: str, now: float) -> float:
        """Return after how many seconds `who` is to ask again that found no free slot."""
        self._places[who] = self._retries.reserve(now + RETRY_S)
        return self._places[who] - now

    def begin(self, who: str, now: float) -> None:
        """Count an exchange of `who` as begun."""
        self._places.pop(who, None)
        self._starts.add(now)

    def another(self, now: float) -> bool:
        """Count another request of an exchange that is running, if the rate allows it now."""
        allowed = self._starts.free_at() <= now
        if allowed:
            self._starts.add(now)
        return allowed
