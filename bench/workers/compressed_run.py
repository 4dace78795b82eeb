"""`freshtoken run`, but for its clock, which runs faster from a moment on that it is told."""

import os
import sys
import threading
import time

from job.compose.refreshers import RefresherSet
from job.compose.tools import Tools
from job.core.clock import Moment
from job.inventory.kinds import load
from job.observe.log import log_observer
from job.runners.daemon import Daemon


class CompressedClock:
    """The time of this machine; from a moment on it is ahead, and `rate` times as fast."""

    def __init__(self, rate: float) -> None:
        """Run as all clocks do."""
        self._rate = rate
        self._begin = float("inf")
        self._leap_s = 0.0
        self._boot = time.time()

    def speed_up(self, begin: float, leap_s: float) -> None:
        """Leap ahead at a moment, and run fast from then on."""
        self._leap_s = leap_s
        self._begin = begin

    def __call__(self) -> Moment:
        """Read the clock."""
        now = time.time()
        if now > self._begin:
            now += self._leap_s + (now - self._begin) * (self._rate - 1)
        return Moment(now, now - self._boot)


def main(config: str, rate: float) -> None:
    """Run until SIGTERM; a line of standard input gives the moment and the leap of its clock."""
    clock = CompressedClock(rate)
    composed = RefresherSet(Tools(os.environ, "bench", clock))
    report = log_observer(sys.stderr, "json", "info", composed.live_secrets)
    refreshers = composed.update(load(config, os.environ).tokens)
    daemon = Daemon(refreshers, report, lambda in_force: in_force, clock=clock)
    speed = lambda: clock.speed_up(*map(float, sys.stdin.readline().split()))  # noqa: E731
    threading.Thread(target=speed, daemon=True).start()
    sys.exit(daemon.run())


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
