"""One pass over the tokens, for cron: the very refreshers of `run`, stepped once each."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from job.events import (
    Event,
    JobCrashed,
    TokenAdopted,
    TokenDeliveryFailed,
    TokenPromiseUnholdable,
    TokenRefreshed,
    TokenRefreshFailed,
    crashed,
)
from job.pool import Pool
from job.refresh import Refresher

OWN_BUG = 70
ENDPOINT_FAILING = 75
SEVERITY = (0, 75, 74, 77, 78, OWN_BUG)
"""Exit statuses (sysexits.h) from the best to the worst: the worst of all tokens is returned."""
QUIET = (TokenAdopted, TokenPromiseUnholdable)
"""What happens at every pass over a good token, and so is not news."""
WORKERS = 8
STOP_S = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pass did for one token, and whether that is now current in every sink."""

    token: str
    events: tuple[Event, ...]
    current: bool

    @property
    def exit_status(self) -> int:
        """Return the worst of the failures; 0 only if the token is current.

        One that no failure explains is not current when the server gives an expired token again.
        """
        if any(isinstance(event, JobCrashed) for event in self.events):
            return OWN_BUG
        failed = (TokenRefreshFailed, TokenDeliveryFailed)
        found = worst(event.exit_code for event in self.events if isinstance(event, failed))
        return found or (0 if self.current else ENDPOINT_FAILING)

    @property
    def news(self) -> tuple[Event, ...]:
        """Return the events worth a log line: none when nothing was due."""
        if all(isinstance(event, QUIET) for event in self.events):
            return ()
        return self.events

    def as_json(self) -> dict[str, Any]:
        """Return the outcome for `once --json`."""
        return {
            "outcome": self._word(),
            "exit_status": self.exit_status,
            "events": [event.name for event in self.events],
        }

    def _word(self) -> str:
        if self.exit_status:
            return "failed"
        refreshed = any(isinstance(event, TokenRefreshed) for event in self.events)
        return "refreshed" if refreshed else "current"


def worst(statuses: Iterable[int]) -> int:
    """Return the worst exit status, 0 for none."""
    return max(statuses, key=SEVERITY.index, default=0)


def run_once(
    refreshers: Sequence[Refresher], report: Callable[[Event], None], *, force: bool
) -> list[Outcome]:
    """Step each refresher once, several at a time, and report what is news as it comes.

    A bug in one of them is an outcome too: the others are refreshed all the same.
    """
    done: SimpleQueue[Outcome] = SimpleQueue()

    def step(refresher: Refresher) -> None:
        try:
            events = refresher.step(force=force)
            done.put(Outcome(refresher.name, events, refresher.is_current()))
        except Exception as error:  # noqa: BLE001  # told as an event, without its values
            events = (crashed(error, refresher.name),)
            done.put(Outcome(refresher.name, events, current=False))

    pool = Pool(WORKERS)
    for refresher in refreshers:
        pool.submit(refresher.seconds_left(), functools.partial(step, refresher))
    outcomes = []
    for _ in refreshers:
        outcomes.append(done.get())
        for event in outcomes[-1].news:
            report(event)
    pool.stop(STOP_S)
    return sorted(outcomes, key=lambda outcome: outcome.token)
