"""The watchdog: a thread on the monotonic clock that sees clock steps and a dead sweep."""

import threading
from collections.abc import Callable
from contextlib import suppress

from job.core.clock import Clock

STEP_S = 2.0
"""A drift between the clocks beyond this is a step, not a slew."""
DEAD_AFTER_LOOKS = 10
"""Looks, not seconds: a process that was stopped as a whole for hours is not dead."""


class Watchdog:
    """Watches while the with-block lasts, and gives the commands "resync" and "dead"."""

    def __init__(self, clock: Clock, command: Callable[[str, str], None], tick_s: float) -> None:
        """Watch `clock` and a sweep that runs every `tick_s`, once entered."""
        self._clock = clock
        self._command = command
        self._tick_s = tick_s
        self._drift = self._measure()
        self._looks_since_tick = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        """Start watching."""
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def is_content(self) -> bool:
        """Tell whether the sweep has run lately."""
        return self._looks_since_tick <= DEAD_AFTER_LOOKS / 2

    def ticked(self) -> None:
        """Note that the sweep is alive."""
        self._looks_since_tick = 0

    def look(self) -> None:
        """Check whether the clocks have drifted apart, and whether the sweep has run."""
        self._looks_since_tick += 1
        if self._looks_since_tick > DEAD_AFTER_LOOKS:
            self._command("dead", f"the sweep has missed {DEAD_AFTER_LOOKS} ticks")
        drift = self._measure()
        step = drift - self._drift
        if abs(step) > STEP_S:
            # Only here, so that small steps add up.
            self._drift = drift
            self._command("resync", f"{step:.1f}")

    def _measure(self) -> float:
        now = self._clock()
        return now.wall - now.boot

    def _watch(self) -> None:
        while not self._stop.wait(self._tick_s):
            with suppress(Exception):  # nobody watches the watchdog
                self.look()
