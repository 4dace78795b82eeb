"""One pass over the tokens, for cron: the very refreshers of `run`, stepped once each."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from job.events import (
    Event,
    TokenAdopted,
    TokenDeliveryFailed,
    TokenPromiseUnholdable,
    TokenRefreshed,
    TokenRefreshFailed,
)
from job.pool import Pool
from job.refresh import Refresher

SEVERITY = (0, 75, 74, 77, 78, 70)
"""Exit statuses (sysexits.h) from the best to the worst: the worst of all tokens is returned."""
QUIET = (TokenAdopted, TokenPromiseUnholdable)
"""What happens at every pass over a good token, and so is not news."""
WORKERS = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pass did for one token."""

    token: str
    events: tuple[Event, ...]

    @property
    def exit_status(self) -> int:
        """Return the worst of the failures, or 0."""
        failed = (TokenRefreshFailed, TokenDeliveryFailed)
        return worst(event.exit_code for event in self.events if isinstance(event, failed))

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
    """Step each refresher once, several at a time, and report what is news as it comes."""
    done: SimpleQueue[Outcome | Exception] = SimpleQueue()

    def step(refresher: Refresher) -> None:
        try:
            done.put(Outcome(refresher.name, refresher.step(force=force)))
        except Exception as error:  # noqa: BLE001  # raised again by the thread that waits
            done.put(error)

    pool = Pool(WORKERS)
    for refresher in refreshers:
        pool.submit(refresher.seconds_left(), functools.partial(step, refresher))
    outcomes = []
    for _ in refreshers:
        outcome = done.get()
        if isinstance(outcome, Exception):
            raise outcome
        outcomes.append(outcome)
        for event in outcome.news:
            report(event)
    pool.stop(1.0)
    return sorted(outcomes, key=lambda outcome: outcome.token)
