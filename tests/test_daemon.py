import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue

import pytest
from fakes import START, FakeClock, MemorySink, ScriptedSource, token

from job import __version__
from job.core.clock import Moment
from job.core.errors import ConfigError
from job.core.events import (
    ClockStepped,
    ConfigRejected,
    Event,
    JobCrashed,
    JobReloaded,
    JobStarted,
    JobStopped,
    TokenUnchanged,
)
from job.core.refresher import Refresher
from job.core.schedule import Plan, Policy
from job.runners.daemon import Command, Daemon, SteadyTick
from job.runners.process import TO_RUN, Signals
from job.runners.sweep import WORKERS, DueQueue
from job.runners.watchdog import DEAD_AFTER_LOOKS, Watchdog

PATIENCE_S = 10.0
TICK_S = 0.02
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = 3600.0


class FakeRefresher:
    """A refresher that does what `work` says, and can be waited for.

    `stepped` has one entry for each step that has begun: whether it was forced.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], tuple[Event, ...]] = tuple,
        *,
        wait_s: float | Callable[[], float] = LATER,
        left: float | Callable[[], float] = LATER,
        first_wait_s: float = 0.0,
    ) -> None:
        self.name = name
        self.stepped = SimpleQueue[bool]()
        self._work = work
        self._left = left
        self._wait_s = wait_s
        self._next_wait_s: float | Callable[[], float] = first_wait_s
        self._running = threading.Lock()

    def step(self, *, force: bool = False) -> tuple[Event, ...]:
        assert self._running.acquire(blocking=False), "two threads step it at once"
        try:
            self.stepped.put(force)
            self._next_wait_s = self._wait_s
            return self._work()
        finally:
            self._running.release()

    def wait_s(self) -> float:
        return self._next_wait_s() if callable(self._next_wait_s) else self._next_wait_s

    def seconds_left(self) -> float:
        return self._left() if callable(self._left) else self._left

    def step_seen(self) -> bool:
        """Wait for the next step; tell whether it was forced."""
        return self.stepped.get(timeout=PATIENCE_S)

    def stepped_after(self, seconds: float, clock: FakeClock) -> bool:
        """Let time pass until it is stepped: once, or again if it wasn't put back in time."""
        for _ in range(100):
            clock.advance(seconds)
            with suppress(Empty):
                return self.stepped.get(timeout=PATIENCE_S / 100)
        pytest.fail(f"{self.name} is not stepped any more")


class Gate:
    """Work that says when it has begun and ends when it is let go; opened when the test ends."""

    def __init__(self, *events: Event) -> None:
        self._events = events
        self.begun = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> tuple[Event, ...]:
        self.begun.set()
        self.open.wait(PATIENCE_S)
        return self._events


class Scene:
    """A daemon at work, its events, and the signals that it gets."""

    def __init__(self, *refreshers: FakeRefresher, **options: object) -> None:
        self.events: list[Event] = []
        self.configured: Callable[[], Mapping[str, FakeRefresher]] = dict
        self._told = SimpleQueue[Event]()
        options = {"tick_s": TICK_S, "clock": FakeClock(), "stop_s": PATIENCE_S} | options
        named = {refresher.name: refresher for refresher in refreshers}
        self.daemon = Daemon(named, self.report, lambda _: self.configured(), **options)  # type: ignore[arg-type]

    def report(self, event: Event) -> None:
        self.events.append(event)
        self._told.put(event)

    def told(self, kind: type[Event]) -> Event:
        """Wait for the next event of this kind."""
        while not isinstance(event := self._told.get(timeout=PATIENCE_S), kind):
            pass
        return event

    def reload(self, *refreshers: FakeRefresher) -> None:
        """Put another configuration in force as an operator does."""
        self.configured = lambda: {refresher.name: refresher for refresher in refreshers}
        os.kill(os.getpid(), signal.SIGHUP)
        self.told(JobReloaded)

    def refresh(self) -> None:
        """Have all tokens refreshed as an operator does."""
        os.kill(os.getpid(), signal.SIGUSR1)

    def play(self, story: Callable[[], object], gates: Iterable[Gate] = ()) -> int:
        """Run the daemon in this thread until the story, told in another, is over.

        It hears the signals of this process. The gates are opened at the end, so that no hung step
        holds that up.
        """
        failed: list[BaseException] = []

        def tell() -> None:
            try:
                self.told(JobStarted)
                story()
            except BaseException as error:  # noqa: BLE001  # raised again below
                failed.append(error)
            for gate in gates:
                gate.open.set()
            self.daemon.obey("stop", "the story is over")

        teller = threading.Thread(target=tell)
        teller.start()
        with Signals(TO_RUN, leaving=SystemExit(0)) as signals:
            signals.hand_to(self.daemon.obey)
            status = self.daemon.run()
        teller.join(PATIENCE_S)
        if failed:
            raise failed[0]
        return status


@contextmanager
def gates(count: int, *events: Event) -> Iterator[list[Gate]]:
    """Make gates that are open at the end, whatever happens."""
    made = [Gate(*events) for _ in range(count)]
    with ExitStack() as stack:
        for gate in made:
            stack.callback(gate.open.set)
        yield made


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fail a test that leaves a thread or a changed signal handler."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
    before = set(threading.enumerate()), [signal.getsignal(number) for number in numbers]
    yield
    for thread in set(threading.enumerate()) - before[0]:
        thread.join(PATIENCE_S)
    assert set(threading.enumerate()) <= before[0]
    assert [signal.getsignal(number) for number in numbers] == before[1]


def failing(error: BaseException) -> Callable[[], tuple[Event, ...]]:
    """Return work that raises."""

    def work() -> tuple[Event, ...]:
        raise error

    return work


# The tick


@pytest.mark.fault("clock-step")
@pytest.mark.parametrize(
    ("passed", "following"),
    [
        (timedelta(0), timedelta(seconds=1)),
        (timedelta(seconds=0.25), timedelta(seconds=0.75)),
        (timedelta(seconds=1), timedelta(seconds=1)),
        (timedelta(days=365), timedelta(seconds=1)),
        (timedelta(days=57 * 365), timedelta(seconds=1)),
    ],
)
def test_the_tick_keeps_no_backlog(passed: timedelta, following: timedelta) -> None:
    """Promise: after any jump forward there is one next tick, at most a period away."""
    assert SteadyTick(1).get_next_fire_time(NOW - passed, NOW) == NOW + following


def test_the_first_tick_is_a_period_away() -> None:
    """Promise: without a run before, the period begins now."""
    assert SteadyTick(1).get_next_fire_time(None, NOW) == NOW + timedelta(seconds=1)


def test_the_tick_goes_on_when_it_is_put_before_an_hour_that_comes_again() -> None:
    """Promise: after a clock step back the tick that the guard asks for leads to the next one."""
    assert SteadyTick(1).get_next_fire_time(NOW - timedelta(hours=1), NOW - timedelta(hours=1)) == (
        NOW - timedelta(hours=1) + timedelta(seconds=1)
    )


# The agenda


def names(refreshers: list[Refresher]) -> list[str]:
    """Name refreshers in their order."""
    return [refresher.name for refresher in refreshers]


def test_the_agenda_gives_what_is_due_earliest_first_and_once() -> None:
    """Promise: each refresher comes when its time has come, and then not again."""
    clock = FakeClock()
    agenda = DueQueue(clock)
    for name, wait_s in (("c", 30.0), ("a", -5.0), ("b", 10.0), ("d", 30.0)):
        agenda.put(FakeRefresher(name), wait_s)  # type: ignore[arg-type]
    assert names(agenda.take_due()) == ["a"]
    clock.advance(9.5)
    assert names(agenda.take_due()) == []
    clock.advance(20.5)
    assert names(agenda.take_due()) == ["b", "c", "d"]
    assert names(agenda.take_due()) == []


def test_the_agenda_follows_the_boot_clock() -> None:
    """Promise: a step of the wall clock alone makes nothing due, and keeps nothing from it."""
    clock = FakeClock()
    agenda = DueQueue(clock)
    agenda.put(FakeRefresher("a"), 10.0)  # type: ignore[arg-type]
    clock.step(LATER)
    assert names(agenda.take_due()) == []
    clock.step(-2 * LATER)
    clock.advance(10.0)
    assert names(agenda.take_due()) == ["a"]


def test_the_agenda_gives_all_that_wait() -> None:
    """Promise: a forced refresh and a reload find every refresher that waits."""
    agenda = DueQueue(FakeClock())
    for name in ("a", "b"):
        agenda.put(FakeRefresher(name), LATER)  # type: ignore[arg-type]
    assert sorted(names(agenda.take_all())) == ["a", "b"]
    assert agenda.take_all() == []


# The guard


def looking() -> tuple[FakeClock, Watchdog, list[Command]]:
    """Make a guard whose thread is not started, with its clock and what it commands."""
    clock, commands = FakeClock(), list[Command]()
    return clock, Watchdog(clock, lambda *command: commands.append(command), 1.0), commands


@pytest.mark.fault("clock-step")
@pytest.mark.parametrize(
    ("step_s", "command"),
    [
        (3600.0, ("resync", "3600.0")),
        (-3600.0, ("resync", "-3600.0")),
        (2.1, ("resync", "2.1")),
        (-2.1, ("resync", "-2.1")),
        (365 * 86_400.0, ("resync", "31536000.0")),
    ],
)
def test_a_clock_step_is_seen_once(step_s: float, command: Command) -> None:
    """Promise: the first look after a step has everything decided afresh, the next ones don't."""
    clock, guard, commands = looking()
    guard.look()
    clock.step(step_s)
    for _ in range(3):
        guard.look()
    assert commands == [command]


@pytest.mark.fault("leap-second")
@pytest.mark.parametrize("smear_s", [1.0, -1.0])
@pytest.mark.slow
def test_a_leap_second_is_no_step(smear_s: float) -> None:
    """Promise: a leap second, at once or smeared over a day, disturbs nothing."""
    clock, guard, commands = looking()
    clock.step(smear_s)
    guard.look()
    for _ in range(86_400):
        clock.step(-smear_s / 86_400)
        guard.look()
        guard.ticked()
    assert commands == []


@pytest.mark.fault("clock-creeps")
@pytest.mark.parametrize("step_s", [0.5, -0.5, 1.9, -1.9])
def test_small_steps_add_up(step_s: float) -> None:
    """Promise: a clock that is set by less than a step again and again can't creep away."""
    clock, guard, commands = looking()
    for _ in range(60):
        clock.step(step_s)
        guard.look()
        guard.ticked()
    told = [float(reason) for _, reason in commands]
    assert sum(told) == pytest.approx(60 * step_s, abs=2.0)
    assert all(2.0 < abs(step) < 4.0 for step in told)


@pytest.mark.fault("suspend")
def test_suspend_is_no_step() -> None:
    """Promise: after a suspend both clocks have moved, and nothing is reported."""
    clock, guard, commands = looking()
    clock.advance(8 * LATER)
    guard.look()
    assert commands == []


@pytest.mark.fault("sweep-dead")
def test_a_dead_sweep_is_seen() -> None:
    """Promise: a sweep that misses ten ticks is called dead."""
    _, guard, commands = looking()
    for _ in range(DEAD_AFTER_LOOKS):
        guard.look()
    assert commands == []
    guard.look()
    assert commands == [("dead", "the sweep has missed 10 ticks")]


@pytest.mark.fault("sweep-dead")
def test_a_probe_sees_whether_the_sweep_is_alive() -> None:
    """Promise: it is told before the process ends of it, and not before there was a sweep."""
    daemon = Scene().daemon
    seen = []
    for _ in range(DEAD_AFTER_LOOKS):
        seen.append(daemon.is_alive())
        daemon._watchdog.look()  # as its own thread does each second
    assert seen == [True] * 6 + [False] * 4


def test_a_sweep_that_ticks_is_alive() -> None:
    """Promise: one tick among ten looks is enough."""
    _, guard, commands = looking()
    for _ in range(10):
        for _ in range(DEAD_AFTER_LOOKS):
            guard.look()
        guard.ticked()
    assert commands == []


@pytest.mark.fault("paused")
def test_a_process_that_was_stopped_for_hours_is_not_dead() -> None:
    """Promise: SIGSTOP or a debugger stops the guard too, and so counts as one look."""
    clock, guard, commands = looking()
    guard.ticked()
    for _ in range(3):
        clock.advance(12 * LATER)
        guard.look()
    assert commands == []


# The daemon


def test_what_is_due_is_stepped_and_what_is_not_waits() -> None:
    """Promise: each refresher is stepped when its time has come, and the first is at the start."""
    clock = FakeClock()
    now, later = FakeRefresher("now", wait_s=60.0), FakeRefresher("later", first_wait_s=30.0)
    scene = Scene(now, later, clock=clock)

    def story() -> None:
        assert now.step_seen() is False
        clock.advance(29.0)
        assert later.stepped.empty()
        clock.advance(1.0)
        assert later.step_seen() is False
        assert now.stepped.empty()
        assert now.stepped_after(60.0, clock) is False

    assert scene.play(story) == 0
    assert scene.events == [JobStarted(__version__, 2), JobStopped("the story is over")]
    assert later.stepped.empty()


def test_a_wait_of_nothing_costs_one_step_for_each_tick() -> None:
    """Promise: even a refresher that always wants to be stepped makes no hot loop."""
    eager = FakeRefresher("eager", wait_s=-1.0)
    scene = Scene(eager, tick_s=0.05)
    before = time.monotonic()
    assert scene.play(lambda: [eager.step_seen() for _ in range(4)]) == 0
    assert time.monotonic() - before >= 3 * 0.05
    assert eager.stepped.qsize() <= 1


def test_the_worst_is_handed_out_first() -> None:
    """Promise: when all are late at once, those whose readers have least time left go first."""
    order = list[str]()

    def noting(name: str) -> Callable[[], tuple[Event, ...]]:
        return lambda: (order.append(name), ())[1]

    with gates(WORKERS) as busy:
        hung = [FakeRefresher(f"hung-{n}", gate) for n, gate in enumerate(busy)]
        left = {"b": 100.0, "a": float("-inf"), "d": 1e9, "c": 200.0}
        clock = FakeClock()
        waiting = [
            FakeRefresher(name, noting(name), first_wait_s=5.0, left=seconds)
            for name, seconds in left.items()
        ]
        scene = Scene(*hung, *waiting, clock=clock)

        def story() -> None:
            assert all(gate.begun.wait(PATIENCE_S) for gate in busy)
            clock.advance(5.0)
            probes = two_probes()
            scene.reload(*hung, *waiting, *probes)
            sweep_seen(clock, *probes)
            busy[0].open.set()
            assert all(refresher.step_seen() is False for refresher in waiting)

        assert scene.play(story, busy) == 0
    assert order == ["a", "b", "c", "d"]


@pytest.mark.fault("cold-start")
@pytest.mark.slow
def test_ten_thousand_that_are_due_at_once_are_spread() -> None:
    """Promise: a cold start asks with 32 threads at most, for those with least time left first."""
    order, total = list[int](), 10_000
    finished = threading.Event()

    def noting(number: int) -> Callable[[], tuple[Event, ...]]:
        def work() -> tuple[Event, ...]:
            order.append(number)
            if len(order) == total:
                finished.set()
            return ()

        return work

    threads_before = set(threading.enumerate())
    # 7919 has no divisor in common with 10 000: the order of coming is none of time left.
    left = [(n * 7919) % total for n in range(total)]
    some = [FakeRefresher(str(n), noting(n), left=float(n)) for n in left]
    scene = Scene(*some)

    def story() -> int:
        assert finished.wait(PATIENCE_S)
        # The teller, the sweep, the guard and the reloader are there as well.
        assert len(set(threading.enumerate()) - threads_before) <= WORKERS + 4
        return 0

    assert scene.play(story) == 0
    assert sorted(order) == list(range(total))
    # Threads overtake each other, a few by much; in a wrong order the median would be 3000.
    overtaken = [abs(number - place) for place, number in enumerate(order)]
    assert statistics.median(overtaken) < 10 * WORKERS


@pytest.mark.fault("targets-hang")
def test_targets_that_hang_never_starve_the_others() -> None:
    """Promise: more hung targets than threads, all of them worse off, cost the others nothing.

    Each may hold a thread once; from then on all of them together have half of the threads.
    """
    clock, count = FakeClock(), 3 * WORKERS
    with gates(count) as first, gates(count) as again:
        pairs = list(zip(first, again, strict=True))
        hung = [
            FakeRefresher(f"hung-{n}", in_turn(*pair), left=float("-inf"), wait_s=1.0)
            for n, pair in enumerate(pairs)
        ]
        healthy = [FakeRefresher(f"healthy-{n}", first_wait_s=100.0) for n in range(WORKERS)]
        scene = Scene(*hung, *healthy, clock=clock)

        def story() -> None:
            for start in range(0, count, WORKERS):
                assert all(gate.begun.wait(PATIENCE_S) for gate in first[start : start + WORKERS])
                clock.advance(15.0)
                for gate in first[start : start + WORKERS]:
                    gate.open.set()
            for refresher in hung:
                refresher.step_seen()
            until_hung(clock, again)
            clock.advance(100.0)
            assert [refresher.step_seen() for refresher in healthy] == [False] * WORKERS
            assert sum(gate.begun.is_set() for gate in again) == WORKERS // 2

        assert scene.play(story, [*first, *again]) == 0


def in_turn(*works: Callable[[], tuple[Event, ...]]) -> Callable[[], tuple[Event, ...]]:
    """Return work that does these one after the other, and then nothing."""
    left = list(works)
    return lambda: left.pop(0)() if left else ()


def until_hung(clock: FakeClock, gates: list[Gate]) -> None:
    """Let time pass until half of the threads are in these gates."""
    for gate in gates:
        clock.advance(0.5)
        gate.begun.wait(0.01)
        if sum(gate.begun.is_set() for gate in gates) == WORKERS // 2:
            return
    pytest.fail("the hung ones do not get their share")


def two_probes() -> list[FakeRefresher]:
    """Make what shows that a sweep is over."""
    return [FakeRefresher(f"probe-{n}", first_wait_s=n * LATER, left=3 * LATER) for n in (1, 2)]


def sweep_seen(clock: FakeClock, *probes: FakeRefresher) -> None:
    """Wait until a whole sweep has begun and ended: for that, the one after it has begun."""
    for probe in probes:
        looked = threading.Event()
        probe._left = lambda looked=looked: (looked.set(), 3 * LATER)[1]  # type: ignore[misc]
        clock.advance(LATER)
        assert looked.wait(PATIENCE_S)


@pytest.mark.fault("exception-anywhere")
def test_a_crash_with_one_token_is_told_and_the_others_go_on() -> None:
    """Promise: a bug stops nobody else; it is told by type and place, and tried again later."""
    clock = FakeClock()
    bad = FakeRefresher("bad", failing(ValueError("s3cret")))
    good = FakeRefresher("good", lambda: (TokenUnchanged("good", "fp", 1, 2),), wait_s=1.0)
    scene = Scene(bad, good, clock=clock)

    def story() -> JobCrashed:
        crash = scene.told(JobCrashed)
        assert good.step_seen() is False
        assert good.stepped_after(1.0, clock) is False
        bad.step_seen()
        assert bad.stepped.empty()
        bad.stepped_after(60.0, clock)
        assert isinstance(crash, JobCrashed)
        assert (crash.error, crash.token) == ("ValueError", "bad")
        assert "test_daemon.py" in crash.traceback
        assert "s3cret" not in repr(scene.events)
        return crash

    assert scene.play(story) == 0
    assert scene.events.count(TokenUnchanged("good", "fp", 1, 2)) >= 2


@pytest.mark.fault("exception-anywhere")
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError()])
def test_no_exception_takes_a_thread_or_a_token_away(error: BaseException) -> None:
    """Promise: what would end a thread elsewhere is here a bug with one token."""
    clock = FakeClock()
    bad = FakeRefresher("bad", failing(error))
    scene = Scene(bad, clock=clock)

    def story() -> None:
        scene.told(JobCrashed)
        bad.step_seen()
        bad.stepped_after(60.0, clock)
        scene.told(JobCrashed)

    assert scene.play(story) == 0


@pytest.mark.fault("log-unwritable")
def test_an_observer_that_raises_stops_nothing() -> None:
    """Promise: a full log disk costs log lines, and no token."""
    clock, event = FakeClock(), TokenUnchanged("a", "fp", 1, 2)
    refresher = FakeRefresher("a", lambda: (event, event), wait_s=1.0)
    tellers = list[threading.Thread]()

    def report(told: Event) -> None:
        if isinstance(told, JobStarted):
            tellers.append(threading.Thread(target=story))
            tellers[0].start()
        raise OSError(28, "no space left on device")

    def story() -> None:
        refresher.step_seen()
        refresher.stepped_after(1.0, clock)
        daemon.obey("stop", "done")

    daemon = Daemon({"a": refresher}, report, dict, clock=clock, tick_s=TICK_S)  # type: ignore[dict-item]
    assert daemon.run() == 0
    tellers[0].join(PATIENCE_S)
    assert refresher.stepped.empty()


def test_it_works_outside_the_main_thread() -> None:
    """Promise: a program that embeds the daemon keeps its signals to itself."""
    told, statuses, done = SimpleQueue[Event](), SimpleQueue[int](), threading.Event()
    refresher = FakeRefresher("a", lambda: (done.set(), ())[1])
    daemon = Daemon({"a": refresher}, told.put, dict, tick_s=TICK_S)  # type: ignore[dict-item]
    thread = threading.Thread(target=lambda: statuses.put(daemon.run()))
    before = signal.getsignal(signal.SIGTERM)
    thread.start()
    assert done.wait(PATIENCE_S)
    assert signal.getsignal(signal.SIGTERM) is before
    daemon.obey("stop", "enough")
    assert statuses.get(timeout=PATIENCE_S) == 0
    thread.join(PATIENCE_S)
    assert [told.get_nowait() for _ in range(2)] == [
        JobStarted(__version__, 1),
        JobStopped("enough"),
    ]


# Reload


def test_a_reload_keeps_drops_and_enters() -> None:
    """Promise: an unchanged refresher keeps its time, a removed one is not stepped again."""
    clock = FakeClock()
    kept, removed = FakeRefresher("kept", wait_s=50.0), FakeRefresher("removed", wait_s=50.0)
    before, after = FakeRefresher("changed", wait_s=50.0), FakeRefresher("changed", wait_s=50.0)
    added = FakeRefresher("added", wait_s=50.0)
    scene = Scene(kept, removed, before, clock=clock)

    def story() -> None:
        for refresher in (kept, removed, before):
            refresher.step_seen()
        scene.reload(kept, after, added)
        for refresher in (after, added):
            refresher.step_seen()
        assert kept.stepped.empty()
        for refresher in (kept, after, added):
            refresher.stepped_after(50.0, clock)

    assert scene.play(story) == 0
    assert removed.stepped.empty()
    assert before.stepped.empty()
    assert scene.events == [
        JobStarted(__version__, 3),
        JobReloaded(__version__, 3),
        JobStopped("the story is over"),
    ]


@pytest.mark.fault("reload-broken")
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConfigError(["tokens.a.scope: no"]), ConfigRejected(("tokens.a.scope: no",))),
        (RecursionError("maximum recursion depth exceeded"), None),
    ],
)
def test_a_configuration_that_is_no_good_changes_nothing(
    error: Exception, told: ConfigRejected | None
) -> None:
    """Promise: the old configuration stays in force, also when reading the new one hits a bug."""
    clock = FakeClock()
    refresher = FakeRefresher("a", wait_s=10.0)
    scene = Scene(refresher, clock=clock)
    scene.configured = failing(error)  # type: ignore[assignment]

    def story() -> None:
        refresher.step_seen()
        os.kill(os.getpid(), signal.SIGHUP)
        found = scene.told(ConfigRejected if told else JobCrashed)
        assert told in (None, found)
        refresher.stepped_after(10.0, clock)

    assert scene.play(story) == 0
    assert not any(isinstance(event, JobReloaded) for event in scene.events)


@pytest.mark.fault("reload")
def test_a_reload_in_the_middle_of_a_step() -> None:
    """Promise: a kept refresher ends its step and goes on, a removed one ends its step and rests.

    Neither is stepped by two threads at once.
    """
    clock = FakeClock()
    event = TokenUnchanged("x", "fp", 1, 2)
    with gates(2, event) as (one, two):
        kept, removed = FakeRefresher("kept", one, wait_s=5.0), FakeRefresher("removed", two)
        scene = Scene(kept, removed, clock=clock)

        def story() -> None:
            kept.step_seen()
            removed.step_seen()
            scene.reload(kept)
            one.open.set()
            two.open.set()
            assert [scene.told(TokenUnchanged) for _ in "12"] == [event, event]
            kept.stepped_after(LATER, clock)
            kept.stepped_after(LATER, clock)

        assert scene.play(story, (one, two)) == 0
    assert removed.stepped.empty()
    assert not any(isinstance(event, JobCrashed) for event in scene.events)


def test_what_was_removed_while_it_waited_for_a_thread_is_not_stepped() -> None:
    """Promise: a token that has left the configuration is not asked for any more."""
    with gates(WORKERS) as busy:
        hung = [FakeRefresher(f"hung-{n}", gate, left=0.0) for n, gate in enumerate(busy)]
        clock = FakeClock()
        queued = FakeRefresher("queued", first_wait_s=5.0)
        seen = FakeRefresher("seen", first_wait_s=5.0, left=2 * LATER)
        scene = Scene(*hung, queued, seen, clock=clock)

        def story() -> None:
            assert all(gate.begun.wait(PATIENCE_S) for gate in busy)
            probes = two_probes()
            scene.reload(*hung, queued, seen, *probes)
            sweep_seen(clock, *probes)
            scene.reload(*hung, seen)
            busy[0].open.set()
            seen.step_seen()

        assert scene.play(story, busy) == 0
    assert queued.stepped.empty()


@pytest.mark.fault("reload-hangs")
@pytest.mark.slow
def test_a_configuration_that_hangs_holds_nothing_up() -> None:
    """Promise: while it is read, tokens are kept, clock steps are seen and a stop is obeyed."""
    clock = FakeClock()
    with gates(1) as (gate,):
        refresher = FakeRefresher("a", wait_s=10.0)
        scene = Scene(refresher, clock=clock, stop_s=1.0)
        scene.configured = lambda: (gate(), {})[1]

        def story() -> None:
            refresher.step_seen()
            os.kill(os.getpid(), signal.SIGHUP)
            assert gate.begun.wait(PATIENCE_S)
            refresher.stepped_after(10.0, clock)
            clock.step(LATER)
            scene.told(ClockStepped)
            before = time.monotonic()
            os.kill(os.getpid(), signal.SIGTERM)
            assert scene.told(JobStopped) == JobStopped("SIGTERM")
            assert time.monotonic() - before < 1.0

        assert scene.play(story) == 0


@pytest.mark.fault("signal-storm")
def test_a_storm_of_reloads_reads_the_configuration_a_few_times() -> None:
    """Promise: wishes that come while one is being fulfilled are fulfilled once more, together."""
    reads = list[int]()
    with gates(1) as (gate,):
        scene = Scene()
        scene.configured = lambda: (reads.append(1), gate(), {})[2]

        def story() -> None:
            scene.daemon.obey("reload", "SIGHUP")
            assert gate.begun.wait(PATIENCE_S)
            for _ in range(1000):
                scene.daemon.obey("reload", "SIGHUP")
            scene.daemon.obey("resync", "3600.0")
            scene.told(ClockStepped)
            gate.open.set()
            scene.told(JobReloaded)
            scene.told(JobReloaded)

        assert scene.play(story) == 0
    assert len(reads) == 2


@pytest.mark.parametrize(
    ("command", "reason", "error"), [("resync", "nonsense", "ValueError"), ("?", "", "ValueError")]
)
def test_a_command_that_fails_is_told_and_the_next_is_obeyed(
    command: str, reason: str, error: str
) -> None:
    """Promise: whatever goes wrong with a command, the process still hears SIGTERM."""
    scene = Scene()

    def story() -> None:
        scene.daemon.obey(command, reason)
        crash = scene.told(JobCrashed)
        assert isinstance(crash, JobCrashed)
        assert (crash.error, crash.token) == (error, None)
        os.kill(os.getpid(), signal.SIGTERM)
        assert scene.told(JobStopped) == JobStopped("SIGTERM")

    assert scene.play(story) == 0


# Force


@pytest.mark.fault("signal-storm")
def test_a_storm_of_wishes_is_one_refresh_for_each_tick() -> None:
    """Promise: however often SIGUSR1 comes, no token is asked for more than once in a tick."""
    refresher = FakeRefresher("a")
    scene = Scene(refresher, tick_s=0.05)

    def story() -> None:
        refresher.step_seen()
        for _ in range(2000):
            scene.daemon.obey("refresh", "SIGUSR1")
        scene.reload(refresher)

    before = time.monotonic()
    assert scene.play(story) == 0
    assert refresher.stepped.qsize() <= (time.monotonic() - before) / 0.05 + 1


def test_a_forced_refresh_reaches_all() -> None:
    """Promise: SIGUSR1 steps every token at once with `force`, and once."""
    clock = FakeClock()
    some = [FakeRefresher(name, wait_s=50.0) for name in "abc"]
    scene = Scene(*some, clock=clock)

    def story() -> None:
        assert [refresher.step_seen() for refresher in some] == [False] * 3
        scene.refresh()
        assert [refresher.step_seen() for refresher in some] == [True] * 3
        assert [r.stepped_after(50.0, clock) for r in some] == [False] * 3

    assert scene.play(story) == 0


def test_a_forced_refresh_reaches_what_is_being_stepped() -> None:
    """Promise: a token in a step when SIGUSR1 comes is refreshed right after it."""
    with gates(1) as (gate,):
        refresher = FakeRefresher("a", gate)
        scene = Scene(refresher)

        def story() -> None:
            assert refresher.step_seen() is False
            scene.refresh()
            scene.reload(refresher)
            gate.open.set()
            assert refresher.step_seen() is True

        assert scene.play(story) == 0
    assert refresher.stepped.empty()


def test_a_forced_refresh_of_a_removed_token_is_forgotten() -> None:
    """Promise: a token that comes back under an old name later isn't refreshed for no reason."""
    with gates(1) as (gate,):
        hung, back = FakeRefresher("a", gate), FakeRefresher("a")
        scene = Scene(hung)

        def story() -> None:
            assert hung.step_seen() is False
            scene.refresh()
            scene.reload()
            scene.reload(back)
            assert back.step_seen() is False

        assert scene.play(story, (gate,)) == 0


# The clock


def test_a_clock_step_is_told_and_everything_is_decided_afresh() -> None:
    """Promise: within a tick of a step every waiting refresher is asked again when it is due."""
    clock = FakeClock()
    refresher = FakeRefresher("a", wait_s=lambda: 0.0 if clock().wall < START else LATER)
    scene = Scene(refresher, clock=clock)

    def story() -> None:
        refresher.step_seen()
        clock.step(-LATER)
        assert scene.told(ClockStepped) == ClockStepped(-3600.0)
        assert refresher.step_seen() is False

    assert scene.play(story) == 0


@pytest.mark.fault("clock-step")
@pytest.mark.parametrize("step_s", [LATER, -LATER])
def test_a_real_token_is_replaced_after_a_clock_step(step_s: float) -> None:
    """Promise: a token whose readers would misjudge its expiry is replaced within a tick or two."""
    clock = FakeClock()
    source = ScriptedSource(
        token("one"), lambda: token("two", requested_at=int(START + 60 + step_s))
    )
    sink, wrote = MemorySink(), SimpleQueue[str]()
    write = sink.write

    def watched(record: object) -> None:
        write(record)  # type: ignore[arg-type]
        wrote.put(record.token.access_token.reveal())  # type: ignore[attr-defined]

    sink.write = watched  # type: ignore[method-assign]
    refresher = Refresher("a", source, [sink], Plan(Policy(), "seed"), "key", clock)
    scene = Scene(refresher, clock=clock)  # type: ignore[arg-type]

    def story() -> None:
        assert wrote.get(timeout=PATIENCE_S) == "one"
        clock.advance(60.0)
        clock.step(step_s)
        assert wrote.get(timeout=PATIENCE_S) == "two"

    assert scene.play(story) == 0
    assert source.fetched == 2


# The end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(number: signal.Signals) -> None:
    """Promise: SIGTERM and Ctrl-C end the work cleanly, and the log says which it was."""
    refresher = FakeRefresher("a")
    scene = Scene(refresher)

    def story() -> None:
        refresher.step_seen()
        os.kill(os.getpid(), number)
        assert scene.told(JobStopped) == JobStopped(number.name)

    assert scene.play(story) == 0
    assert scene.events == [JobStarted(__version__, 1), JobStopped(number.name)]


def test_signals_that_come_together_are_all_heard() -> None:
    """Promise: no signal waits for the next one, though the kernel gave it to another thread.

    It does so when the main thread has one pending.
    """
    scene = Scene()

    def story() -> None:
        for _ in range(10):
            scene.refresh()
            scene.reload()
        scene.refresh()
        os.kill(os.getpid(), signal.SIGTERM)
        assert scene.told(JobStopped) == JobStopped("SIGTERM")

    assert scene.play(story) == 0


def test_the_signals_are_heard_from_the_first_event_to_the_last() -> None:
    """Promise: whoever reacts to `job.started` with a signal doesn't kill the job."""
    told = list[Event]()

    def report(event: Event) -> None:
        told.append(event)
        if isinstance(event, JobStarted):
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGUSR1)
        if isinstance(event, JobReloaded):
            os.kill(os.getpid(), signal.SIGTERM)
        if isinstance(event, JobStopped):
            os.kill(os.getpid(), signal.SIGTERM)

    daemon = Daemon({}, report, lambda _: {}, tick_s=TICK_S)
    with Signals(TO_RUN, leaving=SystemExit(0)) as signals:
        signals.hand_to(daemon.obey)
        assert daemon.run() == 0
    assert told == [JobStarted(__version__, 0), JobReloaded(__version__, 0), JobStopped("SIGTERM")]


@pytest.mark.fault("sigterm")
def test_a_stop_finishes_the_step_in_hand() -> None:
    """Promise: a write that has begun is finished and told before the process leaves."""
    event = TokenUnchanged("a", "fp", 1, 2)
    with gates(1, event) as (gate,):
        scene = Scene(FakeRefresher("a", gate))

        def story() -> None:
            assert gate.begun.wait(PATIENCE_S)
            scene.daemon.obey("stop", "asked to")
            with pytest.raises(Empty):
                scene._told.get(timeout=0.05)
            gate.open.set()
            scene.told(JobStopped)

        assert scene.play(story) == 0
    assert scene.events == [JobStarted(__version__, 1), event, JobStopped("asked to")]


@pytest.mark.fault("sigterm")
def test_a_hung_step_holds_a_stop_up_for_its_deadline_only() -> None:
    """Promise: the process leaves in time, with status 0, whatever hangs."""
    with gates(1) as (gate,):
        scene = Scene(FakeRefresher("a", gate), stop_s=0.1)

        def story() -> None:
            assert gate.begun.wait(PATIENCE_S)
            before = time.monotonic()
            scene.daemon.obey("stop", "asked to")
            scene.told(JobStopped)
            assert time.monotonic() - before < 1.0

        assert scene.play(story) == 0


def test_a_stop_before_the_start_is_not_lost() -> None:
    """Promise: whoever stops too early is heard."""
    told = list[Event]()
    daemon = Daemon({}, told.append, lambda _: {}, tick_s=TICK_S)
    daemon.obey("stop", "at once")
    assert daemon.run() == 0
    assert told == [JobStarted(__version__, 0), JobStopped("at once")]


@pytest.mark.fault("sweep-dead")
@pytest.mark.slow
def test_a_sweep_that_hangs_ends_the_process_with_70() -> None:
    """Promise: a process that can't do its work any more leaves, for its supervisor to restart."""
    with gates(1) as (gate,):
        scene = Scene(FakeRefresher("a", left=lambda: len(gate())), tick_s=0.005, stop_s=0.1)
        before = time.monotonic()
        assert scene.play(lambda: scene.told(JobStopped)) == 70
        assert time.monotonic() - before < 2.0
    reason = "the sweep has missed 10 ticks"
    assert scene.events == [
        JobStarted(__version__, 1),
        JobCrashed(error=reason, traceback=""),
        JobStopped(reason),
    ]


@pytest.mark.fault("sweep-dead")
@pytest.mark.slow
def test_a_sweep_that_hangs_keeps_nobody_from_stopping() -> None:
    """Promise: with the scheduler's lock held for ever, clock steps and SIGTERM are obeyed."""
    clock = FakeClock()
    with gates(1) as (gate,):
        refresher = FakeRefresher("a", left=lambda: len(gate()))
        scene = Scene(refresher, clock=clock, tick_s=0.1, stop_s=1.0)

        def story() -> None:
            assert gate.begun.wait(PATIENCE_S)
            clock.step(LATER)
            scene.told(ClockStepped)
            before = time.monotonic()
            os.kill(os.getpid(), signal.SIGTERM)
            assert scene.told(JobStopped) == JobStopped("SIGTERM")
            assert time.monotonic() - before < 1.0

        assert scene.play(story, [gate]) == 0


def test_a_token_whose_time_left_cannot_be_told_goes_first() -> None:
    """Promise: a bug in one token's own state is told, and costs the rest of the sweep nothing."""
    bad, good = FakeRefresher("bad", left=lambda: 1 // 0), FakeRefresher("good")
    scene = Scene(bad, good)

    def story() -> None:
        crash = scene.told(JobCrashed)
        assert isinstance(crash, JobCrashed)
        assert (crash.error, crash.token) == ("ZeroDivisionError", "bad")
        assert [bad.step_seen(), good.step_seen()] == [False, False]

    assert scene.play(story) == 0


@pytest.mark.fault("exception-anywhere")
@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit(1), MemoryError()])
def test_a_sweep_that_raises_is_told_and_the_tick_goes_on(error: BaseException) -> None:
    """Promise: an exception in the sweep costs one tick."""
    inner, broken = FakeClock(), threading.Event()

    def clock() -> Moment:
        if broken.is_set() and threading.current_thread().name == "APScheduler":
            broken.clear()
            raise error
        return inner()

    refresher = FakeRefresher("a", wait_s=10.0)
    scene = Scene(refresher, clock=clock)

    def story() -> None:
        refresher.step_seen()
        broken.set()
        crash = scene.told(JobCrashed)
        assert isinstance(crash, JobCrashed)
        assert (crash.error, crash.token) == (type(error).__name__, None)
        refresher.stepped_after(10.0, inner)

    assert scene.play(story) == 0


def one_thread_too_many(start: Callable[[threading.Thread], None]) -> Callable[..., None]:
    """Return a Thread.start that fails as at a limit of processes, for the first worker only."""
    failures = [RuntimeError("can't start new thread")]

    def limited(thread: threading.Thread) -> None:
        if failures and "_work" in thread.name:
            raise failures.pop()
        start(thread)

    return limited


@pytest.mark.fault("no-threads")
def test_a_refresher_that_cannot_be_handed_out_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: when the system gives no thread, it is told, and tried again after a minute.

    Those that were due in the same sweep are handed out all the same.
    """
    clock = FakeClock()
    first, second = FakeRefresher("first", left=0.0), FakeRefresher("second")
    scene = Scene(first, second, clock=clock)
    monkeypatch.setattr(threading.Thread, "start", one_thread_too_many(threading.Thread.start))

    def story() -> None:
        crash = scene.told(JobCrashed)
        assert isinstance(crash, JobCrashed)
        assert (crash.error, crash.token) == ("RuntimeError", "first")
        second.step_seen()
        assert first.stepped.empty()
        first.stepped_after(60.0, clock)

    assert scene.play(story) == 0
