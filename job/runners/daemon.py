"""The scheduler process: a tick that sweeps, commands, a reader of new configurations, a watchdog.

APScheduler runs one recurring tick: no other pattern that we tried survived late workers, full
pools, suspend and every clock jump (docs/decisions/0003-one-tick.md).
"""

import functools
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue

from apscheduler.events import EVENT_JOB_ERROR
from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from job import __version__
from job.core import events
from job.core.clock import Clock, system_clock
from job.core.errors import ConfigError
from job.core.events import Event, crashed
from job.core.refresher import Refresher
from job.http import deadline
from job.runners.sweep import Sweep
from job.runners.watchdog import Watchdog

TICK_S = 1.0
STOP_S = 5.0
LEAVE_S = 1.0
"""The part of a stop's time that is kept for leaving, after the work in hand."""
TICK_ID = "sweep"

Command = tuple[str, str]
"""What is to be done, and why."""
Report = Callable[[Event], None]
Reload = Callable[[Mapping[str, Refresher]], Mapping[str, Refresher]]


class SteadyTick(BaseTrigger):  # type: ignore[misc]  # apscheduler 3 ships no types
    """Every `seconds` from the last run, or from now if that has passed: there is no backlog."""

    def __init__(self, seconds: float) -> None:
        """Keep the period."""
        self._period = timedelta(seconds=seconds)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """Return the next run; APScheduler calls this after each one."""
        following = (previous or now) + self._period
        return following if following > now else now + self._period


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

        `reload` raises ConfigError when the new configuration can't be used; it may be slow, and is
        called in a thread of its own. `stop_s` is how long a stop may take, `tick_s` the time
        between two sweeps.
        """
        self._refreshers = dict(refreshers)
        self._report = report
        self._reload = reload
        self._stop_s = stop_s
        self._tick_s = tick_s
        self._sweep = Sweep(self._tell, clock)
        self._commands: SimpleQueue[Command] = SimpleQueue()
        self._watchdog = Watchdog(clock, self.obey, tick_s)
        self._stopping = False
        self._reload_wanted = threading.Event()
        self._reloader = threading.Thread(target=self._reload_when_wanted, daemon=True)
        self._scheduler = BackgroundScheduler(timezone=UTC, executors={"default": DebugExecutor()})

    def run(self) -> int:
        """Work until told to stop; return 0, or 70 if the sweep died (sysexits.h EX_SOFTWARE)."""
        self._tell(events.JobStarted(__version__, len(self._refreshers)))
        self._sweep.put_in_force(self._refreshers)
        dead, reason = self._work()
        self._tell(events.JobStopped(reason))
        return 70 if dead else 0

    def obey(self, command: str, reason: str) -> None:
        """Take a command; safe from any thread, and in the middle of a signal handler.

        "stop" finishes the work in hand and has `run` return, "reload" reads the configuration,
        "refresh" refreshes every token now. `reason` is reported.
        """
        # SimpleQueue.put is reentrant, so a handler may call it in the middle of itself.
        self._commands.put((command, reason))

    def is_alive(self) -> bool:
        """Tell whether the sweep runs, or has not begun yet."""
        return self._watchdog.is_content()

    def _work(self) -> tuple[bool, str]:
        """Sweep until a command ends it; return whether the sweep died, and why it ended."""
        self._start_sweep()
        self._reloader.start()
        try:
            with self._watchdog:
                return self._obey()
        finally:
            self._sweep.stop(max(self._stop_s - LEAVE_S, 0.0))
            self._stopping = True
            self._reload_wanted.set()
            self._reloader.join(LEAVE_S / 4)
            with suppress(Exception):  # the work is over, whatever the scheduler does
                self._within(LEAVE_S / 4, functools.partial(self._scheduler.shutdown, wait=False))

    def _start_sweep(self) -> None:
        self._scheduler.add_listener(
            lambda event: self._tell(crashed(event.exception, None)), EVENT_JOB_ERROR
        )
        self._scheduler.add_job(
            self._sweep.run,
            SteadyTick(self._tick_s),
            args=[self._watchdog.ticked],
            id=TICK_ID,
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
            next_run_time=datetime.now(UTC),
        )
        self._scheduler.start()

    def _within(self, seconds: float, function: Callable[[], None]) -> None:
        """Call what takes the scheduler's lock; give up if the sweep hangs in it."""
        with suppress(TimeoutError):
            deadline.call(function, seconds, lambda: None)

    def _obey(self) -> tuple[bool, str]:
        while True:
            command, reason = self._next_command()
            if command == "stop":
                return False, reason
            if command == "dead":
                self._tell(events.JobCrashed(error=reason, traceback=""))
                return True, reason
            try:
                self._carry_out(command, reason)
            except Exception as error:  # noqa: BLE001  # a bug here must not end the process
                self._tell(crashed(error, None))

    def _carry_out(self, command: str, reason: str) -> None:
        match command:
            case "reload":
                self._reload_wanted.set()
            case "refresh":
                self._sweep.force_all()
            case "resync":
                self._tell(events.ClockStepped(float(reason)))
                self._sweep.resync()
                tick = functools.partial(self._scheduler.modify_job, TICK_ID)
                self._within(self._tick_s, lambda: tick(next_run_time=datetime.now(UTC)))
            case _:
                raise ValueError(command)

    def _next_command(self) -> Command:
        """Wait for a command, and wake each tick: another thread may get a signal.

        The kernel chooses one when a signal is pending here, and then nothing ends the wait.
        """
        while True:
            with suppress(Empty):
                return self._commands.get(timeout=self._tick_s)

    def _reload_when_wanted(self) -> None:
        """Read the configuration whenever it is wanted; requests that come together are one."""
        while self._reload_wanted.wait() and not self._stopping:
            self._reload_wanted.clear()
            self._change_configuration()

    def _change_configuration(self) -> None:
        try:
            changed = dict(self._reload(self._sweep.in_force))
        except ConfigError as error:
            self._tell(events.ConfigRejected(error.problems))
        except Exception as error:  # noqa: BLE001  # a bug in reading it must not stop the work
            self._tell(crashed(error, None))
        else:
            self._sweep.put_in_force(changed)
            self._tell(events.JobReloaded(__version__, len(changed)))

    def _tell(self, event: Event) -> None:
        """Report an event; an observer that fails (a full log disk) must not stop the work."""
        with suppress(Exception):
            self._report(event)
