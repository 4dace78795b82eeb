"""Defects put into the job by hand: what a run with one of them must find.

Each replaces a part of the real thing by a worse one, through the door by which the part comes in;
the rest is the job as it is. `python -m simulation --defect NAME --seed N` plays one.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import NamedTuple

from job.core.clock import Clock, Moment
from job.core.errors import ExchangeError, SinkError
from job.core.ports import Sink, TokenSource
from job.core.refresher import Refresher
from job.core.schedule import Plan
from job.core.secret import Secret
from job.core.tokens import Record, record_of
from job.runners.sweep import Sweep

DAY_S = 86_400.0


class MarginOnly(Refresher):
    """It renews a day before expiry, whatever the life is."""

    def _exchange(self) -> None:
        super()._exchange()
        if self._state.record:
            due_at = self._state.record.token.expires_at - DAY_S
            self._state = replace(self._state, due_at=due_at)


class MintsAgain(Refresher):
    """It throws away what a sink would not take, and asks for another token."""

    def _not_delivered(self, position: int, error: SinkError) -> None:
        super()._not_delivered(position, error)
        self._state = replace(self._state, due_at=0.0)


class RenewsLate(Refresher):
    """It renews when the promise to readers is broken already, by some seconds."""

    def _exchange(self) -> None:
        super()._exchange()
        if self._state.record:
            due_at = self._state.record.token.expires_at - self.plan.policy.min_validity + 10.0
            self._state = replace(self._state, due_at=due_at)


class MissesWakeUp(Refresher):
    """Now and then it is not woken for a day."""

    sleeps = 0

    def wait_s(self) -> float:
        self.sleeps += 1
        return super().wait_s() + (DAY_S if self.sleeps % 20 == 0 else 0.0)


class AsksAtOnce(Refresher):
    """It reckons a backoff, and never waits for it."""

    def _refresh_failed(self, error: ExchangeError) -> None:
        super()._refresh_failed(error)
        self._state = replace(self._state, retry_at=0.0)


class GivesUp(Refresher):
    """It takes ten failures for a verdict, and waits for an operator."""

    def _refresh_failed(self, error: ExchangeError) -> None:
        super()._refresh_failed(error)
        if self._state.failures == 10:
            self._state = replace(self._state, retry_at=self.clock().boot + DAY_S)


class StartsAnew(Refresher):
    """It does not read the sinks when it starts: each start costs a token."""

    def _look(self, positions: list[int], *, force: bool) -> bool:
        return self._state.record is None or super()._look(positions, force=force)


class PublishesErrors(Refresher):
    """It writes whatever the server says."""

    def _refresh_failed(self, error: ExchangeError) -> None:
        super()._refresh_failed(error)
        if self._state.record:
            said = replace(self._state.record.token, access_token=Secret(error.code))
            for sink in self.sinks:
                with suppress(SinkError):
                    sink.write(record_of(said, self.request_key))


class WritesTheFirst(Refresher):
    """It writes the token that it had first, however old that is."""

    first: Record | None = None

    def _write(self, position: int) -> None:
        self.first = self.first or self._state.record
        now, self._state = self._state, replace(self._state, record=self.first)
        super()._write(position)
        self._state = replace(self._state, record=now.record)


class Blind:
    """A sink that looks again right before it writes, and so overwrites whatever is there."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.label = sink.label

    def claim(self) -> AbstractContextManager[None]:
        return self._sink.claim()

    def read(self) -> Record | None:
        return self._sink.read()

    def write(self, record: Record) -> None:
        self._sink.read()
        self._sink.write(record)


class WritesBlindly(Refresher):
    """It does not compare before it swaps: the last writer wins."""

    def __init__(
        self,
        name: str,
        source: TokenSource,
        sinks: Sequence[Sink],
        plan: Plan,
        request_key: str,
        now: Clock,
    ) -> None:
        super().__init__(name, source, [*map(Blind, sinks)], plan, request_key, now)


class WallClockOnly(Refresher):
    """It knows one clock, so that a step of it ends or stretches every wait."""

    def __init__(
        self,
        name: str,
        source: TokenSource,
        sinks: Sequence[Sink],
        plan: Plan,
        request_key: str,
        now: Clock,
    ) -> None:
        super().__init__(
            name, source, sinks, plan, request_key, lambda: Moment(now().wall, now().wall)
        )


class AdoptsAll(Refresher):
    """It takes a token in a sink for its own, whatever request got it."""

    def _look(self, positions: list[int], *, force: bool) -> bool:
        for position in positions:
            try:
                found = self.sinks[position].read()
            except SinkError:
                continue
            if found:
                self.request_key = found.receipt.request_key
        return super()._look(positions, force=force)


class TellsTheToken(Refresher):
    """It puts the token into an event."""

    def _dates(self, record: Record) -> tuple[str, int, int]:
        return (record.token.access_token.reveal(), *super()._dates(record)[1:])


class RaisesNoAlarm(Refresher):
    """It tells nobody that readers have an old token."""

    def _raise_alarm(self) -> None:
        """Do nothing."""


class OneAtATime(Sweep):
    """It does the work itself, one token after the other."""

    def _submit(self, refresher: Refresher, urgency: float) -> None:
        self._step(refresher)


class Defect(NamedTuple):
    """A defect, the invariant that it breaks, and seeds of so many days that find it."""

    invariant: str
    seeds: tuple[int, ...]
    refresher: type[Refresher] = Refresher
    sweep: type[Sweep] = Sweep
    days: float = 8.0


DEFECTS: Mapping[str, Defect] = {
    "renews-late": Defect("I1", (3, 4, 5), RenewsLate),
    "older-token-written": Defect("I2", (2, 7, 8), WritesTheFirst),
    "last-writer-wins": Defect("I2", (10,), WritesBlindly, days=60.0),
    "errors-published": Defect("I3", (5, 22), PublishesErrors),
    "no-backoff": Defect("I4", (22, 49), AsksAtOnce),
    "margin-larger-than-life": Defect("I5", (1, 2, 3), MarginOnly),
    "sink-failure-mints-again": Defect("I5", (6, 38, 48), MintsAgain),
    "missed-wake-up": Defect("I6", (1, 2, 4), MissesWakeUp),
    "gives-up": Defect("I6", (5, 22), GivesUp),
    "wall-clock-only": Defect("I6", (29, 42), WallClockOnly),
    "adopts-all": Defect("I6", (5, 6, 8), AdoptsAll),
    "token-in-event": Defect("I7", (1, 2, 3), TellsTheToken),
    "starts-anew": Defect("I8", (5, 12, 17), StartsAnew),
    "no-alarm": Defect("I9", (41, 49), RaisesNoAlarm),
    "one-at-a-time": Defect("I10", (1, 2, 3), sweep=OneAtATime),
}
