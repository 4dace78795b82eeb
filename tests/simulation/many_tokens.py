"""Minutes of many tokens in one process: the real sweep, queue and pool of job/runners/sweep.py.

More than two thirds of the tokens hang, and no other one may feel it (I10). The module
`threading` is the door between job/runners/pool.py and the kernel: here its threads are actors of
the timeline, so that a deadline takes no time.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from random import Random
from typing import Any
from unittest import mock

from job.core.events import Event, JobCrashed
from job.core.refresher import Refresher
from job.core.schedule import Policy
from job.runners import pool
from job.runners.daemon import TICK_S
from job.runners.sweep import Sweep
from simulation.audit import Breach
from simulation.endpoint import Lives
from simulation.faults import Spell
from simulation.play import Outcome, World, daylight_saving
from simulation.process import Process
from simulation.readers import Tally
from simulation.scenario import ONE, Scenario
from simulation.timeline import Actor, Over, Timeline

BEGIN = 1_764_000_000.5
MINUTES = 5.0
TOKENS = 40
HANGING = 0.7
"""This part of all tokens hangs in all it does; the others meet no fault."""
HANGS = (
    ("endpoint", "unreachable"),
    ("endpoint", "half_open"),
    ("endpoint", "slow"),
    ("sink0", "slow"),
)


def play_many_tokens(seed: int, sweep: type[Sweep] = Sweep) -> Outcome:
    """Run the night of a seed to its end or to the first breach."""
    timeline = Timeline(BEGIN, BEGIN + MINUTES * 60.0)
    scenarios = [*_scenarios(seed)]
    with ExitStack() as resources:
        resources.enter_context(daylight_saving())
        worlds = [World(scenario, Refresher, resources, timeline) for scenario in scenarios]
        resources.enter_context(mock.patch.object(pool, "threading", Threads(timeline)))
        return _outcome(scenarios[-1], worlds, ManyTokens(timeline, worlds, sweep))


def _scenarios(seed: int) -> Iterator[Scenario]:
    """Yield what each token meets."""
    rng = Random(seed)  # noqa: S311  # it has to be the same each time
    end = BEGIN + MINUTES * 60.0
    for number in range(TOKENS):
        hang = Spell(BEGIN, end, *rng.choice(HANGS))
        life = rng.choice((90, 120, 300))
        yield Scenario(
            seed=seed,
            begin=BEGIN,
            end=end,
            issuance="independent",
            lives=Lives(life, life, life),
            policy=Policy(min_validity=10.0, retry_budget=10.0),
            stores=("memory",),
            actors=ONE,
            is_mild=not _hangs(number),
            layout="json",
            spells=(hang,) if _hangs(number) else (),
        )


def _hangs(number: int) -> bool:
    return number % 10 < 10 * HANGING


def _outcome(scenario: Scenario, worlds: list[World], running: "ManyTokens") -> Outcome:
    breach, tally = "", Tally()
    try:
        running.run()
        for world in worlds:
            world.close()
    except Breach as found:
        breach = str(found)
    for world in worlds:
        tally.add(world.audit.tally)
    history = sorted(moment for world in worlds for moment in world.audit.history)
    return Outcome(scenario, tally, breach, tuple(history), has_many_tokens=True)


class Member:
    """One token as the daemon sees it (job.core.refresher), with its own world around it."""

    def __init__(self, name: str, process: Process, refresher: Refresher, *, is_well: bool) -> None:
        self.name = name
        self.is_well = is_well
        self.seconds_left = refresher.seconds_left
        self.process = process
        self._refresher = refresher
        self._due_at = process.timeline.now

    def step(self, *, force: bool = False) -> tuple[Event, ...]:
        process = self.process
        if self.is_well:
            process.audit.begins(process.log, process.timeline.now - self._due_at)
        events = self._refresher.step(force=force)
        for event in events:
            process.audit.told(process.log, event, process.skew)
        process.audit.stepped(process.log)
        return events

    def wait_s(self) -> float:
        wait_s = self._refresher.wait_s()
        self._due_at = self.process.timeline.now + max(wait_s, 0.0)
        return wait_s


class ManyTokens:
    """The one process: it sweeps each second, as APScheduler has it do."""

    def __init__(self, timeline: Timeline, worlds: list[World], sweep: type[Sweep]) -> None:
        self._timeline = timeline
        members: dict[str, Any] = {}
        for number, world in enumerate(worlds):
            name, process = f"token{number}", world.processes[0]
            refresher = process.start(partial(world.build, process))
            if _hangs(number):
                process.audit.excuse(process.log, BEGIN + MINUTES * 60.0)
            members[name] = Member(name, process, refresher, is_well=not _hangs(number))
        self._members = members
        clock = worlds[0].processes[0].clock
        self._sweep = sweep(self._report, clock)

    def run(self) -> None:
        """Let the night pass; raises Breach."""
        self._timeline.run([self._tick])

    def _tick(self) -> None:
        self._sweep.put_in_force(self._members)
        while True:
            self._sweep.run(lambda: None)  # the job that APScheduler runs
            self._timeline.sleep_until(self._timeline.now + TICK_S)

    def _report(self, event: Event) -> None:
        """Let nothing that the sweep catches be lost: the end of the night, or a breach."""
        if self._timeline.is_over:
            raise Over
        if isinstance(event, JobCrashed):
            raise Breach(next(self._breaches(), f"the sweep catches {event.error}"))

    def _breaches(self) -> Iterator[str]:
        return (m.process.audit.breach for m in self._members.values() if m.process.audit.breach)


class Threads:
    """The module `threading` as job/runners/pool.py meets it: only one thread runs at a time."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def Thread(self, target: Callable[[], None], *, daemon: bool) -> "Thread":  # noqa: N802  # as there
        return Thread(self._timeline, target)

    def Condition(self) -> "Condition":  # noqa: N802  # as there
        return Condition(self._timeline)


class Thread:
    """An actor of the timeline."""

    def __init__(self, timeline: Timeline, target: Callable[[], None]) -> None:
        self._timeline = timeline
        self._target = target

    def start(self) -> None:
        self._timeline.spawn(self._target)


class Condition:
    """Needs no lock: nobody else runs until the one that holds it sleeps."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._waiting: list[Actor] = []

    def __enter__(self) -> None:
        """Take the lock."""

    def __exit__(self, *_: object) -> None:
        """Give it back."""

    def wait_for(self, predicate: Callable[[], bool]) -> None:
        while not predicate():
            self._waiting.append(self._timeline.running)
            self._timeline.park()

    def notify(self) -> None:
        if self._waiting:
            self._timeline.wake(self._waiting.pop(0))
