"""One pass over the tokens, for cron: the refreshers of `run`, stepped once each."""

import functools
import heapq
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from job.core import events
from job.core.events import Event, crashed
from job.core.refresher import Refresher
from job.runners.pool import Pool

OWN_BUG = 70
ENDPOINT_FAILING = 75
SEVERITY = (0, 75, 74, 77, 78, OWN_BUG)
"""Exit statuses (sysexits.h) from the best to the worst: the worst of all tokens is returned."""
QUIET = (events.TokenAdopted, events.TokenPromiseUnholdable)
"""What every pass over a good token reports, so it is not news."""
WORKERS = 8
LOOK_S = 1.0
STOP_S = 4.0
"""How long a stop waits for the work in hand: less than the 5 s that are promised."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pass did for one token, and whether that is now current in every sink.

    `deferred_s` is how long a limit defers its exchange, if one does.
    """

    token: str
    events: tuple[Event, ...]
    current: bool
    deferred_s: float | None = None

    @property
    def exit_status(self) -> int:
        """Return the worst of the failures; 0 only if the token is current.

        Without a failure, a token is not current if the server returned an expired token again, or
        if a limit defers its exchange beyond the end of the pass.
        """
        if any(isinstance(event, events.JobCrashed) for event in self.events):
            return OWN_BUG
        failed = (events.TokenRefreshFailed, events.TokenDeliveryFailed)
        found = worst(event.exit_code for event in self.events if isinstance(event, failed))
        return found or (0 if self.current else ENDPOINT_FAILING)

    @property
    def news(self) -> tuple[Event, ...]:
        """Return the events worth a log line: none when nothing was due."""
        return () if all(isinstance(event, QUIET) for event in self.events) else self.events

    def as_json(self) -> dict[str, Any]:
        """Return the outcome for `once --json`."""
        refreshed = any(isinstance(event, events.TokenRefreshed) for event in self.events)
        well = "refreshed" if refreshed else "current"
        return {
            "outcome": "failed" if self.exit_status else well,
            "exit_status": self.exit_status,
            "events": [event.name for event in self.events],
        }


def worst(statuses: Iterable[int]) -> int:
    """Return the worst exit status, 0 for none."""
    return max(statuses, key=SEVERITY.index, default=0)


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what `once --json` prints: the worst exit status, and each token's outcome."""
    return {
        "exit_status": worst(outcome.exit_status for outcome in outcomes),
        "tokens": {outcome.token: outcome.as_json() for outcome in outcomes},
    }


class Pass:
    """One step for each refresher, several at a time, each reported as it ends if it is news.

    One whose exchange a limit defers is stepped again when its turn comes. A bug in one of them is
    an outcome too: the others are refreshed all the same. After `timeout_s` seconds, or when the
    pass is stopped, no more steps begin, and those that run have `stop_s` seconds more. A token
    that is not done then is not current.
    """

    def __init__(
        self,
        refreshers: Iterable[Refresher],
        report: Callable[[Event], None],
        *,
        force: bool,
        timeout_s: float,
        stop_s: float = STOP_S,
    ) -> None:
        """Do nothing yet."""
        self._waiting = {refresher.name: refresher for refresher in refreshers}
        self._report = report
        self._force = force
        self._timeout_s = timeout_s
        self._stop_s = stop_s
        self._pool = Pool(WORKERS)
        self._later: list[tuple[float, str]] = []
        self._done: SimpleQueue[Outcome | None] = SimpleQueue()

    def run(self) -> list[Outcome]:
        """Make the pass and return the outcomes by name."""
        for name in self._waiting:
            self._submit(name)
        outcomes = [*self._ended(time.monotonic() + self._timeout_s)]
        self._pool.stop(self._stop_s)
        outcomes += self._ended(0.0)
        outcomes += (Outcome(name, (), current=False) for name in self._waiting)
        return sorted(outcomes, key=lambda outcome: outcome.token)

    def stop(self, *_: str) -> None:
        """Have `run` end; safe from any thread, and in a signal handler."""
        self._done.put(None)

    def _ended(self, until: float) -> Iterator[Outcome]:
        """Yield outcomes until a moment of the monotonic clock, or until the pass is stopped.

        0.0 yields what has ended already, even after a stop.
        """
        while self._waiting and (outcome := self._next_end(until)) is not None:
            for event in outcome.news:
                self._report(event)
            again_at = time.monotonic() + (outcome.deferred_s or 0.0)
            if outcome.deferred_s is not None and again_at < until:
                heapq.heappush(self._later, (again_at, outcome.token))
            else:
                del self._waiting[outcome.token]
                yield outcome

    def _next_end(self, until: float) -> Outcome | None:
        """Wait for a step to end, and wake each second: another thread may get a signal."""
        while True:
            left = max(until - time.monotonic(), 0.0)
            try:
                outcome = self._done.get(timeout=min(left, LOOK_S, self._retry_deferred()))
            except Empty:
                if not left:
                    return None
            else:
                if outcome is not None or until:
                    return outcome

    def _retry_deferred(self) -> float:
        """Step the deferred whose turn has come; return the seconds until the next turn."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._submit(heapq.heappop(self._later)[1])
        return self._later[0][0] - now if self._later else math.inf

    def _submit(self, name: str) -> None:
        refresher = self._waiting[name]
        self._pool.submit(refresher.seconds_left(), functools.partial(self._step, refresher))

    def _step(self, refresher: Refresher) -> None:
        try:
            events = refresher.step(force=self._force)
            deferred_s = refresher.deferred_s()
            current = deferred_s is None and refresher.is_current()
            outcome = Outcome(refresher.name, events, current, deferred_s)
        except Exception as error:  # noqa: BLE001  # reported as an event, without its values
            outcome = Outcome(refresher.name, (crashed(error, refresher.name),), current=False)
        self._done.put(outcome)
