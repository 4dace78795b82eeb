"""Two clocks: expiry is stored in wall-clock time, and age is measured in time since boot."""

from __future__ import annotations

import time
from typing import Callable, NamedTuple

_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
"""Linux calls the clock that runs on through suspend CLOCK_BOOTTIME; Windows has no clock ids."""


class Moment(NamedTuple):
    """One instant: `wall` in epoch seconds, `boot` in seconds since boot."""

    wall: float
    boot: float


Clock = Callable[[], Moment]


def system_clock() -> Moment:
    """Read both clocks of this machine."""
    boot = time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)
    return Moment(time.time(), boot)
