"""What must hold at every moment, whatever the weather. Nothing here knows the schedule.

The numbers are those of the plan of the tests:

I1 readers never hold a token that is too old if nothing went wrong since half of its life
I2 a store never goes back to an older token
I3 a valid token is never replaced by a dead one
I4 attempts are bounded, however long the server or a store fails
I5 nobody asks before half of the life of the token that it has or could have read, nor within a
   second of its last request
I6 readers in need get a token within 30 s of the last thing that went wrong, so that nobody who
   can mend it ever waits longer
I7 no event holds a secret
I8 a crash costs at most one more token: it follows from I5, which knows no crash
I9 whoever has a token that is too old in a store says so

I10, that a hung token delays no other, is about the pool of threads, which is not part of this
world. That every token makes at most one version of a secret is checked in cloud.py.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import inf
from typing import NamedTuple

from job.events import (
    Event,
    TokenAdopted,
    TokenAtRisk,
    TokenDelivered,
    TokenExpired,
    TokenRefreshed,
    TokenUnchanged,
)
from simulation.ledger import SAME_CLOCK_S, TOKEN_MARK, Ledger, Minted
from simulation.readers import Promise, Readers, Tally
from simulation.timeline import Timeline

RECOVERY_S = 30.0
PROMPT_S = 4.0
"""A tick, an exchange and a write in good weather."""
KEPT_LINES = 1000
MOST_REQUESTS = 600
MOST_REJECTIONS = 30
MOST_SINK_FAULTS = 1200
WITHIN_S = 3600.0
LEAST_GAP_S = 1.0
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


@dataclass(slots=True)
class Conduct:
    """What is known of one process: what it did, what it may know and what excuses it.

    `excused_until` has a moment for each store: until then something else was at fault. `has` is
    the token in hand, `had_by_clock` how far the clock was ahead when it was taken in hand, and
    `misjudges_by` by how much its life seems longer for that. `looked` are the stores that it has
    read since `claimed_at`.
    """

    name: str
    excused_until: list[float] = field(default_factory=list)
    asked_at: deque[float] = field(default_factory=deque)
    rejected_at: deque[float] = field(default_factory=deque)
    failed_at: dict[int, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    last_asked_at: float = -inf
    has_alarmed: bool = False
    claimed_at: dict[int, float] = field(default_factory=dict)
    looked: set[int] = field(default_factory=set)
    has: Minted | None = None
    had_by_clock: float = 0.0
    misjudges_by: float = 0.0

    def forget(self) -> None:
        """Forget what a dead process knew."""
        self.last_asked_at, self.has_alarmed = -inf, False
        self.has, self.misjudges_by = None, 0.0
        self.looked.clear()

    def has_seen(self, store: int, since: float) -> bool:
        """Tell whether it has read what a store holds since then."""
        return store in self.looked and since < self.claimed_at.get(store, -inf)


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
        self._conducts: list[Conduct] = []
        self._is_alone = is_alone

    def watch(self, conduct: Conduct) -> None:
        """Answer for this process from now on."""
        conduct.excused_until = [self._timeline.now] * len(self.readers)
        self._conducts.append(conduct)

    def note(self, who: str, what: str) -> None:
        """Add a line to the history."""
        self.history.append(Moment(self._timeline.now, who, what))

    def excuse(self, conduct: Conduct, until: float, stores: Iterable[int] = ()) -> None:
        """Note that something else is at fault until then: for the readers of some stores, or all.

        Whoever has not served readers in need before that has no excuse any more.
        """
        self.look()
        for store in stores or range(len(self.readers)):
            conduct.excused_until[store] = max(conduct.excused_until[store], until)

    def look(self) -> None:
        """I1 and I6: readers in need are served at once, or soon after the last trouble."""
        now = self._timeline.now
        for store, readers in enumerate(self.readers):
            if now > readers.in_need_since + PROMPT_S:
                for conduct in self._conducts:
                    self._is_serving(conduct, store, readers)

    def _is_serving(self, conduct: Conduct, store: int, readers: Readers) -> None:
        now, excused_until = self._timeline.now, conduct.excused_until[store]
        if self._is_overruled(conduct, readers):
            return
        if now > max(readers.in_need_since, excused_until) + RECOVERY_S:
            self._breach("I6", f"{conduct.name} leaves the readers of sink{store} in need")
        if readers.token and excused_until < _innocent_since(readers.token):
            self._breach("I1", f"{conduct.name} lets the token in sink{store} grow old")

    def _is_overruled(self, conduct: Conduct, readers: Readers) -> bool:
        """Tell whether readers may have the token of a rival with another clock, put over its own.

        Each of the two takes its own for the newer one, and knows nothing of the other's.
        """
        if self._is_alone or conduct.has is None or readers.token is None:
            return False
        return not all(conduct.has.is_told_by(skew) for skew in readers.token.skews)

    def asks(
        self, conduct: Conduct, skew: float, there: Iterable[tuple[int, Minted, float]]
    ) -> None:
        """I4 and I5: a request is sent. `there` is what each store holds, and since when."""
        now = self._timeline.now
        self.tally.requests += 1
        if now < conduct.last_asked_at + LEAST_GAP_S:
            self._breach("I5", f"{conduct.name} asks twice within a second")
        conduct.last_asked_at = now
        self._count(conduct.asked_at, MOST_REQUESTS, f"{conduct.name} asks")
        known = [conduct.has] if conduct.has else []
        known += [token for store, token, since in there if conduct.has_seen(store, since)]
        if any(self._is_fresh(token, conduct, skew) for token in known):
            self._breach("I5", f"{conduct.name} asks, but has or could have read a fresh token")

    def _is_fresh(self, token: Minted, conduct: Conduct, skew: float) -> bool:
        """Tell whether a token is in the first half of its life.

        Once a clock was stepped, nobody can tell for sure, nor which one of two tokens is newer.
        """
        has, now = conduct.has, self._timeline.now
        if has and not (has.is_told_by(skew) and has.is_told_by(conduct.had_by_clock)):
            return False
        return token.is_told_by(skew) and now < token.half_life_at - ROUNDING_S

    def rejected(self, conduct: Conduct) -> None:
        """I4: the server has refused this client."""
        self._count(conduct.rejected_at, MOST_REJECTIONS, f"{conduct.name} is rejected")

    def failed(self, conduct: Conduct, store: int) -> None:
        """I4: a call to a store has failed."""
        self._count(conduct.failed_at[store], MOST_SINK_FAULTS, f"{conduct.name} tries sink{store}")

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
        now, readers = self._timeline.now, self.readers[store]
        new, old = self._ledger.inside(text), readers.token
        if new is None:
            self._breach("I3", f"readers of sink{store} find no whole token")
        elif new is not old:
            self.note(f"sink{store}", f"now holds token {new.serial}")
            if old and new.is_older_than(old):
                self._breach("I2", f"sink{store} goes back from token {old.serial}")
            if old and now < old.dies_at and now >= new.dies_at:
                self._breach("I3", f"a dead token replaces a valid one in sink{store}")
            self._measure(store, readers)
            readers.find(new, now)

    def _measure(self, store: int, readers: Readers) -> None:
        """Keep the longest time that readers in need had to wait when all was well again."""
        least = min(conduct.excused_until[store] for conduct in self._conducts)
        late_s = self._timeline.now - max(readers.in_need_since, least)
        self.tally.slowest_s = max(self.tally.slowest_s, late_s)

    def told(self, conduct: Conduct, event: Event, skew: float) -> None:
        """I7: an event was returned. It also tells which token the process has in hand."""
        text = repr(event)
        self.note(conduct.name, text)
        if any(secret in text for secret in SECRETS):
            self._breach("I7", f"a secret is in {event.name}")
        if isinstance(event, TokenAtRisk | TokenExpired):
            conduct.has_alarmed = True
        elif isinstance(event, TokenDelivered) and self._is_well(self.readers[0]):
            conduct.has_alarmed = False
        if isinstance(event, TokenAdopted | TokenRefreshed | TokenUnchanged):
            token = self._ledger.by_fingerprint[event.fingerprint]
            if isinstance(event, TokenRefreshed):
                token.was_got(conduct.last_asked_at, skew)
            self._has(conduct, token, skew)
            if isinstance(event, TokenUnchanged) and conduct.has:
                # The server gives no other one before.
                self.excuse(conduct, conduct.has.expires_at)

    def _has(self, conduct: Conduct, token: Minted, skew: float) -> None:
        """Note the token in hand, and how far a wrong clock makes its life seem longer.

        A stored expiry is by the clock of the one who asked. Where that was ahead of the clock of
        the one who reads it, nobody can know.
        """
        conduct.has, conduct.had_by_clock = token, skew
        conduct.misjudges_by = max(0.0, max(token.skews) - skew)
        if not token.is_told_by(skew):
            self.excuse(conduct, self._promise.broken_at(token) + conduct.misjudges_by)

    def stepped(self, conduct: Conduct) -> None:
        """I9: a step is over, and whatever the process knows to be wrong has been told."""
        self.look()
        if not self._is_alone or len(self.readers) > 1:
            return
        readers = self.readers[0]
        knows = readers.token is not None and readers.token is conduct.has
        late_s = conduct.misjudges_by + PROMPT_S
        if knows and not conduct.has_alarmed and not self._is_well(readers, late_s):
            self._breach("I9", f"{conduct.name} does not say that its token is too old")

    def _is_well(self, readers: Readers, late_s: float = 0.0) -> bool:
        """Tell whether readers have what was promised, as far as anybody but the server knows."""
        if readers.token is None:
            return False
        known = replace(readers.token, killed_at=inf)
        return self._timeline.now <= self._promise.broken_at(known) + late_s

    def died(self, conduct: Conduct, back_at: float) -> None:
        """Note that a process was killed."""
        self.tally.crashes += 1
        self.note(conduct.name, "is killed")
        self.excuse(conduct, back_at)

    def close(self, *, is_mild: bool) -> None:
        """Count what is left; in mild weather readers always had a valid token."""
        self.look()
        for readers in self.readers:
            readers.count(self._timeline.now)
        self.tally.minted = len(self._ledger.by_value)
        if is_mild and self.tally.without_s:
            self._breach("I1", f"readers were without a valid token: {self.tally.without_s:.0f} s")

    def _breach(self, invariant: str, what: str) -> None:
        raise Breach(f"{invariant}: {what}")


def _innocent_since(token: Minted) -> float:
    """Return since when nothing may have gone wrong to call a token's end the job's own fault."""
    return min(token.half_life_at - FIRST_WAITS_S, token.killed_at)
