"""How many exchanges one client may make, and when. Pure.

Times are epoch seconds by a clock that never steps; they come in as arguments. Nothing here is
thread-safe.
"""

import math
from collections.abc import Iterable
from contextlib import suppress

from job.core.ports import Shortage
from job.core.rate import Rate
from job.core.text import duration

RESERVE = 5
"""A fifth of a budget is spread over the time left, and kept for urgent tokens."""


class Budget:
    """The exchanges of one client: no more than `rate.count` in any `rate.period_s`.

    While more than a fifth of them is left, no exchange waits. The rest is spread over the time
    until the oldest no longer counts; an exchange that can't wait so long may use it all the same.
    """

    def __init__(self, rate: Rate) -> None:
        """Begin with nothing spent."""
        self.rate = rate
        self.spent: list[float] = []
        self.told: dict[bool, float] = {}

    def add(self, spent: Iterable[float], now: float) -> None:
        """Count what others have spent; impossible times are left out.

        A time that lies ahead counts too: the clock may have been set back in the meantime.
        """
        period = self.rate.period_s
        known = {at for at in spent if now - period < at < now + period}
        self.spent = sorted(known.union(at for at in self.spent if at > now - period))

    def wait_s(self, now: float, spare_s: float) -> float:
        """Return 0 if an exchange may be made now, else the seconds until it may.

        `spare_s` is how long it can be deferred without harm.
        """
        self.add((), now)
        left = self.rate.count - len(self.spent)
        if left <= 0:
            return max(self.spent[-self.rate.count] + self.rate.period_s - now, 0.0)
        if left > math.ceil(self.rate.count / RESERVE) or not self.spent:
            return 0.0
        ends_at, last = self.spent[0] + self.rate.period_s, self.spent[-1]
        wait_s = last + (ends_at - last) / (left + 1) - now
        return max(min(wait_s, spare_s), 0.0)

    def spend(self, now: float) -> float:
        """Count an exchange, and return the time under which it is kept: no two are the same."""
        while now in self.spent:
            now += 1e-6
        self.spent.append(now)
        return now

    def give_back(self, at: float) -> None:
        """Uncount an exchange that failed before anything was sent, if it still counts."""
        with suppress(ValueError):
            self.spent.remove(at)

    def tell(self, now: float) -> Shortage | None:
        """Return what to report: once in a period that it is short, once that it is used up."""
        spent = len(self.spent)
        left = max(self.rate.count - spent, 0)
        is_over = not left
        if now < self.told.get(is_over, -math.inf) + self.rate.period_s:
            return None
        self.told[is_over] = now
        return Shortage(spent, left, str(self.rate), _message(spent, left, self.rate))


def _message(spent: int, left: int, budget: Rate) -> str:
    period = duration(budget.period_s)
    used = f"{spent} of the {budget.count} exchanges that max_exchanges allows this "
    used += f"client in {period} are used up; "
    rest = (
        "the rest is spread over the time left, and kept for tokens that would expire"
        if left
        else "none is made until the oldest of them counts no more"
    )
    cure = "see the log for retries that used it up; else ask for fewer tokens, or a larger quota"
    return f"{used}{rest}: {cure}"
