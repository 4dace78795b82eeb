"""What must hold at every moment, whatever fails. Nothing here knows the schedule.

Ten invariants, each with the method that looks for a breach of it:

I1  readers never hold a token that is too old if nothing went wrong since half of its life, and
    never a dead one in a year whose outages are all shorter than the lead   `_is_innocent`, `close`
I2  a store never goes back to an older token                                `_goes_forward`
I3  a valid token is never replaced by a dead one, nor by half a text        `_stays_valid`
I4  attempts are bounded, however long the server or a store fails           `_count`
I5  nobody asks before half of the life of the token that it has, or that
    it could have read, nor within a second of its last request              `asks`
I6  readers in need get a token within 30 s of the last thing that went
    wrong, so that nobody who can mend it ever waits longer                  `_is_prompt`
I7  no event holds a secret                                                  `_is_discreet`
I8  a crash costs at most one more token, and not one that every store has   `given`,
    `_remembers`
I9  whoever has a token that is too old in a store says so                   `stepped`
I10 a token whose server hangs delays no other one                           `begins`

That every token makes at most one version of a secret is checked in cloud.py.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from math import inf
from typing import NamedTuple

from job.core.events import (
    Event,
    TokenAdopted,
    TokenAtRisk,
    TokenDelivered,
    TokenDeliveryFailed,
    TokenExpired,
    TokenRefreshed,
    TokenUnchanged,
)
from simulation.ledger import SAME_CLOCK_S, TOKEN_MARK, Ledger, Minted
from simulation.process_log import ProcessLog
from simulation.readers import Promise, Readers, Tally
from simulation.timeline import Timeline

RECOVERY_S = 30.0
PROMPT_S = 4.0
"""A tick, an exchange and a write while nothing fails."""
KEPT_LINES = 1000
MOST_REQUESTS = 600
MOST_REJECTIONS = 30
MOST_SINK_FAULTS = 1200
WITHIN_S = 3600.0
LEAST_GAP_S = 1.0
LATEST_START_S = 2.0
"""A tick, and another one: as many tokens as there are threads in the pool may begin in each."""
ROUNDING_S = SAME_CLOCK_S + 1.0
"""Stored dates are whole seconds, and the clocks of two hosts never agree to the second."""
FIRST_WAITS_S = 60.0
"""What goes wrong shortly before half of a life may still be waited for after it."""
CLIENT_SECRET = "s3cret-of-the-simulation"
SECRETS = (TOKEN_MARK, CLIENT_SECRET)


class Breach(BaseException):
    """A promise does not hold. No code under test can catch it."""


class Moment(NamedTuple):
    """A line of the history."""

    at: float
    who: str
    what: str


class Audit:
    """Watches all that happens; raises Breach."""

    def __init__(
        self,
        timeline: Timeline,
        ledger: Ledger,
        promise: Promise,
        stores: int,
        *,
        is_alone: bool,
    ) -> None:
        self.tally = Tally()
        self.history: deque[Moment] = deque(maxlen=KEPT_LINES)
        self.readers = [Readers(timeline.now, promise, self.tally) for _ in range(stores)]
        self._timeline = timeline
        self._ledger = ledger
        self._promise = promise
        self._logs: list[ProcessLog] = []
        self.breach = ""
        self._is_alone = is_alone
        self._request = 0

    def watch(self, log: ProcessLog) -> None:
        """Answer for this process from now on."""
        log.excused_until = [self._timeline.now] * len(self.readers)
        self._logs.append(log)

    def starts(self, log: ProcessLog, request: int) -> None:
        """Note that a process starts, and which request it makes."""
        log.start()
        if request != self._request:
            self._request = request
            self._ledger.outdate(self._timeline.now)

    def note(self, who: str, what: str) -> None:
        """Add a line to the history."""
        self.history.append(Moment(self._timeline.now, who, what))

    def excuse(self, log: ProcessLog, until: float, stores: Iterable[int] = ()) -> None:
        """Note that something else is at fault until then: for the readers of some stores, or all.

        Whoever has not served readers in need before that has no excuse any more.
        """
        self.look()
        for store in stores or range(len(self.readers)):
            log.excused_until[store] = max(log.excused_until[store], until)

    def look(self) -> None:
        """I1 and I6: readers in need are served at once, or soon after the last trouble."""
        now = self._timeline.now
        for store, readers in enumerate(self.readers):
            if now > readers.in_need_since + PROMPT_S:
                for log in self._logs:
                    self._is_serving(log, store, readers)

    def _is_serving(self, log: ProcessLog, store: int, readers: Readers) -> None:
        if not self._is_overruled(log, readers):
            self._is_prompt(log, store, readers)
            self._is_innocent(log, store, readers)

    def _is_prompt(self, log: ProcessLog, store: int, readers: Readers) -> None:
        """I6: it is not long ago that something else was at fault."""
        least = max(readers.in_need_since, log.excused_until[store])
        if self._timeline.now > least + RECOVERY_S:
            self._breach("I6", f"{log.name} leaves the readers of sink{store} in need")

    def _is_innocent(self, log: ProcessLog, store: int, readers: Readers) -> None:
        """I1: something else was at fault when it was time to get another token."""
        if readers.token and log.excused_until[store] < _innocent_since(readers.token):
            self._breach("I1", f"{log.name} lets the token in sink{store} grow old")

    def _is_overruled(self, log: ProcessLog, readers: Readers) -> bool:
        """Tell whether readers may have the token of a rival with another clock, put over its own.

        Each of the two takes its own for the newer one, and knows nothing of the other's.
        """
        if self._is_alone or log.has is None or readers.token is None:
            return False
        return not all(log.has.is_told_by(skew) for skew in readers.token.skews)

    def asks(
        self, log: ProcessLog, skew: float, there: Iterable[tuple[int, Minted, float]]
    ) -> None:
        """I4 and I5: a request is sent. `there` is what each store holds, and since when."""
        now = self._timeline.now
        self.tally.requests += 1
        if now < log.last_asked_at + LEAST_GAP_S:
            self._breach("I5", f"{log.name} asks twice within a second")
        log.last_asked_at = now
        self._count(log.asked_at, MOST_REQUESTS, f"{log.name} asks")
        known = [log.has] if log.has else []
        known += [token for store, token, since in there if log.has_seen(store, since)]
        if any(self._is_fresh(token, log, skew) for token in known):
            self._breach("I5", f"{log.name} asks, but has or could have read a fresh token")
        self._remembers(log, skew)

    def _is_fresh(self, token: Minted, log: ProcessLog, skew: float) -> bool:
        """Tell whether a token is in the first half of its life.

        Once a clock was stepped, nobody can tell for sure, nor which one of two tokens is newer.
        """
        has, now = log.has, log.last_asked_at
        if has and not (has.is_told_by(skew) and has.is_told_by(log.had_by_clock)):
            return False
        over_at = min(token.half_life_at, token.outdated_at)
        return token.is_told_by(skew) and now < over_at - ROUNDING_S

    def _remembers(self, log: ProcessLog, skew: float) -> None:
        """I8: whoever asks has lost the token that it was given last, or some store has."""
        last = log.given
        is_stored = all(readers.token is last for readers in self.readers)
        if last and is_stored and self._is_fresh(last, log, skew):
            self._breach("I8", f"{log.name} asks, though every store has its last token")

    def given(self, log: ProcessLog, token: Minted, skew: float) -> None:
        """I8: the server gives a token; the last one is half used, or was lost on its way."""
        last, log.given = log.given, token
        if last and last is not token and self._is_fresh(last, log, skew):
            self.tally.spare += 1
            if not log.has_lost:
                self._breach("I8", f"{log.name} gets two tokens in half of a life")
        log.has_lost = False

    def rejected(self, log: ProcessLog) -> None:
        """I4: the server has refused this client."""
        self._count(log.rejected_at, MOST_REJECTIONS, f"{log.name} is rejected")

    def failed(self, log: ProcessLog, store: int) -> None:
        """I4: a call to a store has failed."""
        self._count(log.failed_at[store], MOST_SINK_FAULTS, f"{log.name} tries sink{store}")

    def _count(self, times: deque[float], most: int, what: str) -> None:
        now = self._timeline.now
        times.append(now)
        while times[0] < now - WITHIN_S:
            times.popleft()
        if len(times) > most:
            self._breach("I4", f"{what} {len(times)} times in an hour")

    def stored(self, store: int, text: str) -> None:
        """I2 and I3: this is what the readers of a store find from now on."""
        self.look()
        readers, new = self.readers[store], self._ledger.inside(text)
        if new is None:
            self._breach("I3", f"readers of sink{store} find no whole token")
        elif new is not readers.token:
            self.note(f"sink{store}", f"now holds token {new.serial}")
            if readers.token:
                self._goes_forward(store, readers.token, new)
                self._stays_valid(store, readers.token, new)
            self._measure(store, readers)
            readers.find(new, self._timeline.now)

    def _goes_forward(self, store: int, old: Minted, new: Minted) -> None:
        """I2: the new token is not the older one."""
        if new.is_older_than(old):
            self._breach("I2", f"sink{store} goes back from token {old.serial}")

    def _stays_valid(self, store: int, old: Minted, new: Minted) -> None:
        """I3: the new token is valid, as far as one can know, or the old one is not."""
        dead = new.shows_dead_at <= self._timeline.now
        if dead and self._timeline.now < min(old.dies_at, old.outdated_at):
            self._breach("I3", f"a dead token replaces a valid one in sink{store}")

    def _measure(self, store: int, readers: Readers) -> None:
        """Keep the longest time that readers in need had to wait when all was well again."""
        least = min(log.excused_until[store] for log in self._logs)
        late_s = self._timeline.now - max(readers.in_need_since, least)
        self.tally.slowest_s = max(self.tally.slowest_s, late_s)

    def told(self, log: ProcessLog, event: Event, skew: float) -> None:
        """I7: an event was returned. It also tells which token the process has in hand."""
        self.note(log.name, self._is_discreet(event))
        self._is_alarmed(log, event)
        if isinstance(event, TokenAdopted | TokenRefreshed | TokenUnchanged):
            token = self._ledger.by_fingerprint[event.fingerprint]
            if isinstance(event, TokenRefreshed):
                token.was_got(log.last_asked_at, skew)
            self._has(log, token, skew)
            if isinstance(event, TokenUnchanged):
                # The server gives no other one before.
                self.excuse(log, token.expires_at)

    def _is_alarmed(self, log: ProcessLog, event: Event) -> None:
        """Note an alarm, which stores fail, and whether one has been served."""
        match event:
            case TokenAtRisk() | TokenExpired():
                log.has_alarmed = True
            case TokenDeliveryFailed():
                log.failing.add(event.sink)
            case TokenDelivered():
                log.failing.discard(event.sink)
                log.has_served = True
            case _:
                pass

    def _is_discreet(self, event: Event) -> str:
        """I7: no secret is in an event; return its text."""
        text = repr(event)
        if any(secret in text for secret in SECRETS):
            self._breach("I7", f"a secret is in {event.name}")
        return text

    def _has(self, log: ProcessLog, token: Minted, skew: float) -> None:
        """Note the token in hand, and how far a wrong clock makes its life seem longer.

        A stored expiry is by the clock of the one who asked. Where that was ahead of the clock of
        the one who reads it, nobody can know; nor which of two tokens killed the other one.
        """
        log.has, log.had_by_clock = token, skew
        log.misjudges_by = max(0.0, max(token.skews) - skew)
        is_killed = token.killed_at < token.shows_dead_at
        if is_killed or not token.is_told_by(skew):
            known = replace(token, killed_at=inf)
            self.excuse(log, self._promise.broken_at(known) + log.misjudges_by)

    def stepped(self, log: ProcessLog) -> None:
        """I9: a step is over, and whatever the process knows to be wrong has been told."""
        self.look()
        if log.has_served and not log.failing and all(map(self._is_well, self.readers)):
            log.has_alarmed = False
        log.has_served = False
        if self._is_alone and not log.has_alarmed:
            late_s = log.misjudges_by + PROMPT_S
            for store, readers in enumerate(self.readers):
                knows = readers.token is not None and readers.token is log.has
                if knows and not self._is_well(readers, late_s):
                    self._breach("I9", f"{log.name} does not say that sink{store} is too old")

    def begins(self, log: ProcessLog, late_s: float) -> None:
        """I10: a step begins that was due `late_s` ago, while other tokens are in trouble."""
        self.tally.slowest_start_s = max(self.tally.slowest_start_s, late_s)
        if late_s > LATEST_START_S:
            self._breach("I10", f"{log.name} has to wait for others for {late_s:.1f} s")

    def _is_well(self, readers: Readers, late_s: float = 0.0) -> bool:
        """Tell whether readers have what was promised, as far as anybody but the server knows."""
        if readers.token is None:
            return False
        known = replace(readers.token, killed_at=inf, outdated_at=inf)
        return self._timeline.now <= self._promise.broken_at(known) + late_s

    def died(self, log: ProcessLog, back_at: float) -> None:
        """Note that a process was killed."""
        self.tally.crashes += 1
        self.note(log.name, "is killed")
        self.excuse(log, back_at)

    def close(self, *, is_mild: bool) -> None:
        """Count what is left; in a mild year readers always had a valid token."""
        self.look()
        for readers in self.readers:
            readers.count(self._timeline.now)
        self.tally.minted = len(self._ledger.by_value)
        if is_mild and self.tally.without_s:
            self._breach("I1", f"readers were without a valid token: {self.tally.without_s:.0f} s")

    def _breach(self, invariant: str, what: str) -> None:
        self.breach = f"{invariant}: {what}"
        raise Breach(self.breach)


def _innocent_since(token: Minted) -> float:
    """Return since when nothing may have gone wrong to call a token's end the job's own fault."""
    return min(token.half_life_at - FIRST_WAITS_S, token.killed_at, token.outdated_at)
