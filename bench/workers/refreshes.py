"""Refreshes of one token by the objects that `freshtoken run` is made of, logged as it logs."""

import os
import sys
import time

from job.compose.refreshers import RefresherSet
from job.compose.tools import Tools
from job.core.clock import Moment, system_clock
from job.inventory.kinds import load
from job.observe.log import log_observer


class ClockAhead:
    """The time of this machine and more: two refreshes of a token are never within a second."""

    ahead_s = 0.0

    def __call__(self) -> Moment:
        """Read the clock."""
        now = system_clock()
        return Moment(now.wall + self.ahead_s, now.boot + self.ahead_s)


def main(config: str, count: int) -> None:
    """Refresh `count` times; print the CPU seconds of all but the first, which loads the rest."""
    clock = ClockAhead()
    composed = RefresherSet(Tools(os.environ, "bench", clock))
    [refresher] = composed.update(load(config, os.environ).tokens).values()
    with open(os.devnull, "w", encoding="utf-8") as stream:
        report = log_observer(stream, "json", "info", composed.live_secrets)
        for number in range(count + 1):
            if number == 1:
                before = time.process_time()
            for event in refresher.step(force=True):
                report(event)
            clock.ahead_s += 2.0
            if not refresher.is_current():
                sys.exit("a refresh failed")
    print(time.process_time() - before)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
