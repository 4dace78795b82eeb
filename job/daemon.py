"""The scheduler process: a sweep that only looks, a pool that works, signals and a watchdog.

APScheduler runs one recurring tick, the only pattern that was seen to survive late workers, full
pools, suspend and every clock jump (docs/decisions/0003-one-tick.md). The tick takes what is due
from a heap, so that its cost follows what is due and not how many tokens there are.
"""

import heapq
import itertools
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Literal

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from job import __version__
from job.clock import Clock, system_clock
from job.errors import ConfigError
from job.events import (
    ClockStepped,
    ConfigRejected,
    Event,
    JobCrashed,
    JobReloaded,
    JobStarted,
    JobStopped,
    crashed,
)
from job.pool import Pool
from job.refresh import Refresher

TICK_S = 1.0
STEP_S = 2.0
"""A drift between the clocks beyond this is a step, not a slew."""
DEAD_AFTER_LOOKS = 30
"""Looks, not seconds: a process that was stopped as a whole for hours is not dead."""
AFTER_CRASH_S = 60.0
WORKERS = 32
STOP_S = 5.0
TICK_ID = "sweep"

Command = tuple[Literal["stop", "reload", "refresh", "resync", "dead"], str]
Report = Callable[[Event], None]
Reload = Callable[[Mapping[str, Refresher]], Mapping[str, Refresher]]


class SteadyTick(BaseTrigger):  # type: ignore[misc]  # apscheduler 3 ships no types
    """Every `seconds` from the last run, or from now if that has passed: it keeps no backlog."""

    def __init__(self, seconds: float) -> None:
        """Keep the period."""
        self._period = timedelta(seconds=seconds)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """Return the next run; APScheduler calls this after each one."""
        following = (previous or now) + self._period
        return following if following > now else now + self._period


class Agenda:
    """Which refresher is to be stepped when, by the boot clock. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        """Hold nothing yet."""
        self._clock = clock
        self._heap: list[tuple[float, int, Refresher]] = []
        self._order = itertools.count()
        self._lock = threading.Lock()

    def put(self, refresher: Refresher, wait_s: float) -> None:
        """Note that a refresher is to be stepped in `wait_s` seconds."""
        at = self._clock().boot + wait_s
        with self._lock:
            heapq.heappush(self._heap, (at, next(self._order), refresher))

    def take_due(self) -> list[Refresher]:
        """Remove and return the refreshers whose time has come."""
        now, due = self._clock().boot, []
        with self._lock:
            while self._heap and self._heap[0][0] <= now:
                due.append(heapq.heappop(self._heap)[2])
        return due

    def take_all(self) -> list[Refresher]:
        """Remove and return every refresher that waits."""
        with self._lock:
            waiting, self._heap = self._heap, []
        return [refresher for _, _, refresher in waiting]


class Daemon:
    """Keeps all tokens current until it is told to stop."""

    def __init__(
        self,
        refreshers: Mapping[str, Refresher],
        report: Report,
        reload: Reload,
        *,
        clock: Clock = system_clock,
        stop_s: float = STOP_S,
        tick_s: float = TICK_S,
    ) -> None:
        """Start nothing yet. `reload` maps the refreshers in force to those of a new configuration.

        `reload` raises ConfigError when the new configuration is no good. `stop_s` is how long a
        stop waits for work in hand, `tick_s` the time between two looks at what is due.
        """
        self._refreshers = dict(refreshers)
        self._report = report
        self._reload = reload
        self._clock = clock
        self._stop_s = stop_s
        self._tick_s = tick_s
        self._agenda = Agenda(clock)
        self._forced: set[str] = set()
        # Held while refreshers come into force or are forced, and while one is put back.
        self._lock = threading.Lock()
        self._pool = Pool(WORKERS)
        self._commands: SimpleQueue[Command] = SimpleQueue()
        self._guard = Guard(clock, self._commands.put, tick_s)
        self._scheduler = BackgroundScheduler(timezone=UTC, executors={"default": DebugExecutor()})

    def run(self) -> int:
        """Work until `stop` is called; return 0, or 70 if the sweep died (sysexits.h EX_SOFTWARE).

        In the main thread, SIGTERM and SIGINT stop, SIGHUP reloads, SIGUSR1 refreshes all.
        """
        with ExitStack() as stack:
            if threading.current_thread() is threading.main_thread():
                # First of all: until then SIGHUP kills, and PID 1 is deaf to SIGTERM.
                stack.enter_context(_signals(self._commands.put))
            self._tell(JobStarted(__version__, len(self._refreshers)))
            self._enter(self._refreshers.values())
            dead, reason = self._work()
            self._tell(JobStopped(reason))
        return 70 if dead else 0

    def stop(self, reason: str) -> None:
        """Have `run` finish the writes in hand and return; safe from any thread or signal."""
        self._commands.put(("stop", reason))

    def _work(self) -> tuple[bool, str]:
        """Sweep until a command ends it; tell whether the sweep died, and why it is over."""
        self._start_sweep()
        try:
            with self._guard:
                return self._obey()
        finally:
            self._pool.stop(self._stop_s)
            self._end_sweep()

    def _start_sweep(self) -> None:
        self._scheduler.add_listener(self._sweep_failed, EVENT_JOB_ERROR)
        self._scheduler.add_job(
            self._sweep,
            SteadyTick(self._tick_s),
            id=TICK_ID,
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
            next_run_time=datetime.now(UTC),
        )
        self._scheduler.start()

    def _end_sweep(self) -> None:
        """Shut the scheduler down; where the sweep hangs this hangs too, so it gets a deadline."""
        shutdown = threading.Thread(
            target=self._scheduler.shutdown, kwargs={"wait": False}, daemon=True
        )
        shutdown.start()
        shutdown.join(self._stop_s)

    def _obey(self) -> tuple[bool, str]:
        """Carry out commands until one ends the process."""
        while True:
            command, reason = self._next_command()
            match command:
                case "reload":
                    self._change_configuration()
                case "refresh":
                    self._force_all()
                case "resync":
                    self._tell(ClockStepped(float(reason)))
                    self._enter(self._agenda.take_all())
                    self._scheduler.modify_job(TICK_ID, next_run_time=datetime.now(UTC))
                case "dead":
                    self._tell(JobCrashed(error=reason, traceback=""))
                    return True, reason
                case _:
                    return False, reason

    def _next_command(self) -> Command:
        """Wait for a command, and wake each tick: the kernel may hand a signal to another thread.

        It does so when this one has a signal pending, and then nothing ends the wait here.
        """
        while True:
            with suppress(Empty):
                return self._commands.get(timeout=self._tick_s)

    def _sweep(self) -> None:
        """Hand what is due to the pool, worst first. It never waits for anything."""
        self._guard.ticked()
        for refresher in self._agenda.take_due():
            self._submit(refresher)

    def _submit(self, refresher: Refresher) -> None:
        """Hand a refresher to the pool; one that can't be goes back, for no one else has it."""
        try:
            self._pool.submit(refresher.seconds_left(), lambda: self._step(refresher))
        except Exception as error:  # noqa: BLE001  # the rest of the sweep must not be lost
            self._tell(crashed(error, refresher.name))
            self._put_back(refresher, AFTER_CRASH_S)

    def _step(self, refresher: Refresher) -> None:
        """Step one refresher and put it back on the agenda, whatever happens."""
        if not self._in_force(refresher):
            return
        wait_s = AFTER_CRASH_S
        try:
            for event in refresher.step(force=self._take_force(refresher.name)):
                self._tell(event)
            wait_s = refresher.wait_s()
        except BaseException as error:  # noqa: BLE001  # a bug with one token must not stop the others
            self._tell(crashed(error, refresher.name))
        self._put_back(refresher, wait_s)

    def _put_back(self, refresher: Refresher, wait_s: float) -> None:
        """Put a refresher on the agenda; at once if it was forced while it was being stepped."""
        with self._lock:
            if self._in_force(refresher):
                forced = refresher.name in self._forced
                self._agenda.put(refresher, 0.0 if forced else wait_s)

    def _in_force(self, refresher: Refresher) -> bool:
        """Tell whether the configuration still has this refresher."""
        return self._refreshers.get(refresher.name) is refresher

    def _take_force(self, name: str) -> bool:
        """Tell whether a token is to be refreshed though it isn't due; once for each command."""
        with self._lock:
            forced = name in self._forced
            self._forced.discard(name)
            return forced

    def _force_all(self) -> None:
        with self._lock:
            self._forced.update(self._refreshers)
            waiting = self._agenda.take_all()
        for refresher in waiting:
            self._submit(refresher)

    def _enter(self, refreshers: Iterable[Refresher]) -> None:
        """Decide afresh when each of these idle refreshers is to be stepped."""
        for refresher in refreshers:
            self._put_back(refresher, refresher.wait_s())

    def _change_configuration(self) -> None:
        try:
            changed = dict(self._reload(self._refreshers))
        except ConfigError as error:
            self._tell(ConfigRejected(error.problems))
        except Exception as error:  # noqa: BLE001  # a bug in reading it must not stop the work
            self._tell(crashed(error, None))
        else:
            self._put_in_force(changed)
            self._tell(JobReloaded(__version__, len(changed)))

    def _put_in_force(self, changed: dict[str, Refresher]) -> None:
        with self._lock:
            before, self._refreshers = self._refreshers, changed
            self._forced &= changed.keys()
            waiting = self._agenda.take_all()
        self._enter(waiting)
        self._enter(r for name, r in changed.items() if before.get(name) is not r)

    def _sweep_failed(self, event: JobExecutionEvent) -> None:
        self._tell(crashed(event.exception, None))

    def _tell(self, event: Event) -> None:
        """Report an event; an observer that fails (a full log disk) must not stop the work."""
        with suppress(Exception):
            self._report(event)


class Guard:
    """The watchdog: a thread on the monotonic clock that sees clock steps and a dead sweep."""

    def __init__(self, clock: Clock, command: Callable[[Command], None], tick_s: float) -> None:
        """Watch `clock` and a sweep that runs every `tick_s`; say what is found by `command`."""
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

    def ticked(self) -> None:
        """Note that the sweep is alive."""
        self._looks_since_tick = 0

    def look(self) -> None:
        """Compare the clocks with what they were, and see whether the sweep has run."""
        drift = self._measure()
        step, self._drift = drift - self._drift, drift
        self._looks_since_tick += 1
        if self._looks_since_tick > DEAD_AFTER_LOOKS:
            self._command(("dead", f"the sweep has missed {DEAD_AFTER_LOOKS} ticks"))
        if abs(step) > STEP_S:
            self._command(("resync", f"{step:.1f}"))

    def _measure(self) -> float:
        now = self._clock()
        return now.wall - now.boot

    def _watch(self) -> None:
        while not self._stop.wait(self._tick_s):
            self.look()


class _signals:  # noqa: N801  # used as a with-statement's word
    """Turn signals into commands for as long as the with-block lasts."""

    COMMANDS: Mapping[signal.Signals, Literal["stop", "reload", "refresh"]] = {
        signal.SIGTERM: "stop",
        signal.SIGINT: "stop",
        signal.SIGHUP: "reload",
        signal.SIGUSR1: "refresh",
    }

    def __init__(self, command: Callable[[Command], None]) -> None:
        self._command = command

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, self._on) for number in self.COMMANDS}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on(self, number: int, _: FrameType | None) -> None:
        # SimpleQueue.put is reentrant, so it may run in the middle of anything.
        name = signal.Signals(number)
        self._command((self.COMMANDS[name], name.name))
