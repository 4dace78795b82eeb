"""A process with the loop of the daemon, on a host that stops, dies and has a wrong clock."""

import math
from collections import deque
from collections.abc import Callable

from job.core.clock import Moment
from job.core.refresher import Refresher
from simulation.audit import Audit, Breach
from simulation.faults import Faults, Spell
from simulation.process_log import ProcessLog
from simulation.timeline import Timeline

TICK_S = 1.0


class Killed(BaseException):
    """The process dies here: nothing after this point happens, but for the kernel's clean-up."""


class Process:
    """One run of the job after the other, each with a refresher that knows nothing yet.

    `every_s` makes it a cron job: one step, then a new process. All that touches the world calls
    `spend`: there time passes, rivals act, and this process may be frozen or killed.
    """

    def __init__(
        self,
        number: int,
        host: int,
        timeline: Timeline,
        faults: Faults,
        audit: Audit,
    ) -> None:
        self.name = f"process{number}"
        self.log = ProcessLog(self.name)
        self.every_s = 0.0
        self.timeline = timeline
        self.audit = audit
        self.is_alive = False
        self.starts = 0
        self._spells = deque(sorted([*faults.of(self.name), *faults.of("request")]))
        self._doom: tuple[int, Spell] | None = None
        self._clock_steps = deque(at for s in faults.of(f"clock{host}") for at in (s.begin, s.end))
        self._faults = faults
        self._clock_place = f"clock{host}"
        self._ahead_s = 0.7 * host
        self._booted_at = timeline.now - 1000.0

    def clock(self) -> Moment:
        """Read this host's clocks."""
        now = self.timeline.now
        return Moment(now + self.skew, now - self._booted_at)

    @property
    def skew(self) -> float:
        """Return by how much the wall clock is ahead of the true time."""
        error = self._faults.now(self._clock_place, self.timeline.now)
        return self._ahead_s + (error.value if error else 0.0)

    @property
    def request(self) -> int:
        """Return which request the operator wants tokens of."""
        return self._faults.begun("request", self.timeline.now)

    def live(self, build: Callable[[], Refresher]) -> None:
        """Run, and run again after each death."""
        while True:
            try:
                self._serve(build)
            except Killed:
                self._rest()

    def touch(self) -> None:
        """Die here if it is time."""
        if self._doom:
            touches, spell = self._doom
            if touches == 1:
                self._die(spell)
            self._doom = (touches - 1, spell)
        if not self.is_alive:
            raise Killed

    def spend(self, seconds: float, *, waits: bool = False) -> None:
        """Touch the world and let time pass; `waits` says that the time is not its own fault."""
        self.touch()
        if waits or seconds > TICK_S:
            self.audit.excuse(self.log, self.timeline.now + seconds)
        self._sleep_until(self.timeline.now + seconds)

    def wait(self, seconds: float) -> None:
        """Wait for a rival."""
        self.spend(seconds, waits=True)

    def _serve(self, build: Callable[[], Refresher]) -> None:
        refresher = self.start(build)
        self._sleep_till_due(refresher)
        while True:
            self._step(refresher)
            if self.every_s:
                self._sleep_till_cron()
                refresher = self.start(build)
            else:
                self._sleep_till_due(refresher)

    def start(self, build: Callable[[], Refresher]) -> Refresher:
        """Begin a new life."""
        self.is_alive = True
        self.starts += 1
        self.audit.starts(self.log, self.request)
        return build()

    def _step(self, refresher: Refresher) -> None:
        try:
            events = refresher.step()
        except Exception as error:
            raise Breach(f"step never raises: {type(error).__name__}: {error}") from error
        for event in events:
            self.audit.told(self.log, event, self.skew)
        self.audit.stepped(self.log)

    def _sleep_till_due(self, refresher: Refresher) -> None:
        """Sleep until the daemon's tick finds the refresher due, or its guard sees a clock step."""
        while True:
            wait_s = refresher.wait_s()
            if not math.isfinite(wait_s):
                raise Breach(f"it is always known when to come back, but wait_s is {wait_s}")
            due_at = self.timeline.now + max(wait_s, 0.0)
            stepped_at = self._next_clock_step()
            if due_at < stepped_at:
                self._sleep_until(self._tick_after(due_at))
                return
            self._sleep_until(self._tick_after(stepped_at))

    def _sleep_till_cron(self) -> None:
        next_at = (self.timeline.now // self.every_s + 1) * self.every_s
        self.audit.excuse(self.log, next_at)
        self._sleep_until(next_at)

    def _tick_after(self, at: float) -> float:
        ticks = max(at, self.timeline.now) - self._booted_at
        return self._booted_at + (math.floor(ticks / TICK_S) + 1) * TICK_S

    def _next_clock_step(self) -> float:
        while self._clock_steps and self._clock_steps[0] <= self.timeline.now:
            self._clock_steps.popleft()
        return self._clock_steps[0] if self._clock_steps else math.inf

    def _sleep_until(self, at: float) -> None:
        """Sleep, and meet what comes before that time: be frozen, or be killed."""
        while self._spells and self._spells[0].begin <= at:
            spell = self._spells.popleft()
            self.timeline.sleep_until(spell.begin)
            if spell.kind == "stop":
                self.audit.excuse(self.log, spell.end + TICK_S)
                self.timeline.sleep_until(spell.end)
                at = max(at, spell.end + TICK_S)
            elif spell.value:
                self._doom = (int(spell.value), spell)
            else:
                self._die(spell)
        self.timeline.sleep_until(at)

    def _die(self, spell: Spell) -> None:
        self.is_alive = False
        self._doom = None
        self._back_at = max(spell.end, self.timeline.now + TICK_S)
        self._reboots = spell.kind == "reboot"
        self.audit.died(self.log, self._back_at)
        raise Killed

    def _rest(self) -> None:
        """Stay dead until the supervisor, or the machine, has started again."""
        self.timeline.sleep_until(self._back_at)
        while self._spells and self._spells[0].begin <= self.timeline.now:
            self._spells.popleft()
        if self._reboots:
            self._booted_at = self.timeline.now - 20.0
