"""Two clocks in one reading, because neither is enough alone.

Readers compare a token's expiry with the wall clock, but that clock steps. CLOCK_BOOTTIME
(clock_gettime(2)) never steps and continues through suspend, but means nothing outside this boot.
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

        So an expiry is never seen too late: a wall clock that is stepped back does not make a token
        live longer; one that is stepped forward shortens its life.
        """
        return max(self.wall, anchor.wall + self.boot - anchor.boot)


Clock = Callable[[], Moment]


def system_clock() -> Moment:
    """Read both clocks of this machine."""
    return Moment(time.time(), time.clock_gettime(_BOOT_CLOCK))
