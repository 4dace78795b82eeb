"""Two clocks in one reading, because each alone is wrong some day.

The wall clock is what readers of a token compare its expiry with, but it steps. CLOCK_BOOTTIME
(clock_gettime(2)) never steps and runs on through suspend, but it means nothing outside this boot.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Moment(NamedTuple):
    """One instant: `wall` in epoch seconds, `boot` in seconds since boot."""

    wall: float
    boot: float

    def seen_from(self, anchor: "Moment") -> float:
        """Return this instant in epoch seconds by whichever clock ran further since `anchor`.

        An expiry judged by this value is never judged too late: a wall clock that was stepped
        back does not make a token live longer, one that was stepped forward shortens it.
        """
        return max(self.wall, anchor.wall + self.boot - anchor.boot)


Clock = Callable[[], Moment]


def system_clock() -> Moment:
    """Read both clocks of this machine."""
    return Moment(time.time(), time.clock_gettime(_BOOT_CLOCK))
