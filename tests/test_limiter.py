"""Many tokens at shared limits, with the real refreshers, in virtual time."""

import heapq
import itertools
import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import START, AnsweringSource, FakeClock, MemorySink, ScriptedSource, token

from job.core.errors import EndpointUnavailable, ExchangeError, RequestRejected, SecretUnavailable
from job.core.events import Event, TokenBudgetShort, TokenRefreshed
from job.core.ports import Deferred
from job.core.rate import Rate
from job.core.refresher import Refresher
from job.core.schedule import Plan, Policy
from job.core.tokens import Token, record_of
from job.limits.budget import Budget
from job.limits.budget_file import BudgetFile, Spending
from job.limits.endpoint import Endpoint
from job.limits.limiter import Limiter, Limits

HOUR = 3600.0
TEN_A_SECOND = Rate(10, 1.0)


class World:
    """A clock, the limits of a process, and what has been asked of whom, and when."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.slept: list[float] = []
        self.limits = Limits(self.clock, self.sleep)
        self.asked: list[tuple[str, float]] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)

    @property
    def now(self) -> float:
        return self.clock.moment.wall - START

    def limiter(
        self,
        name: str,
        endpoint: str = "one",
        budget: Budget | None = None,
        file: BudgetFile | None = None,
        rate: Rate = TEN_A_SECOND,
        concurrency: int = 4,
    ) -> Limiter:
        shared = self.limits.endpoint(endpoint, concurrency, rate)
        return Limiter(name, self.limits, shared, budget, file)

    def refresher(
        self, name: str, limiter: Limiter, endpoint: str = "one", took_s: float = 0.0
    ) -> Refresher:
        def answer() -> Token:
            self.asked.append((endpoint, self.now))
            self.clock.advance(took_s)
            return token(f"{name}-{self.now}", int(self.clock.moment.wall))

        plan = Plan(Policy(), name)
        sink = MemorySink(name)
        return Refresher(
            name, AnsweringSource(answer), [sink], plan, "key", self.clock, limit=limiter.exchange
        )

    def run(self, refreshers: list[Refresher], until_s: float) -> list[tuple[float, Event]]:
        """Do what the daemon does: each second, step what is due, the worst first."""
        order = itertools.count()
        agenda = [(0.0, next(order), refresher) for refresher in refreshers]
        told: list[tuple[float, Event]] = []
        while agenda and self.now < until_s:
            due = []
            while agenda and agenda[0][0] <= self.now:
                due.append(heapq.heappop(agenda)[2])
            for refresher in sorted(due, key=Refresher.seconds_left):
                told += [(self.now, event) for event in refresher.step()]
                at = self.now + refresher.wait_s()
                heapq.heappush(agenda, (at, next(order), refresher))
            self.clock.advance(math.floor(self.now) + 1 - self.now)
        return told


def most_in_a_second(times: list[float]) -> int:
    """Return the most exchanges of any second."""
    return max(sum(at <= other < at + 1 for other in times) for at in times)


# The herd


@pytest.mark.fault("herd")
@pytest.mark.parametrize("took_s", [0.0, 0.02])
@pytest.mark.slow
def test_500_tokens_at_once_are_no_herd(took_s: float) -> None:
    """All are refreshed within a minute, 10 in any second; another endpoint knows nothing of it."""
    world = World()
    many = [world.refresher(f"t{n}", world.limiter(f"t{n}"), took_s=took_s) for n in range(500)]
    few = [world.refresher(f"x{n}", world.limiter(f"x{n}", "two"), "two") for n in range(5)]
    told = world.run([*many, *few], 100)
    times = [at for endpoint, at in world.asked if endpoint == "one"]
    others = [at for endpoint, at in world.asked if endpoint == "two"]

    assert {event.name for _, event in told} == {"token.refreshed", "token.delivered"}
    assert len(times) == 500
    assert most_in_a_second(times) == 10
    assert 49 <= max(times) < 52
    assert len(others) == 5
    assert max(others) < 1
    assert max(world.slept, default=0) <= 0.1


@pytest.mark.fault("herd")
def test_the_worst_go_first() -> None:
    """Of those that are due together, the ones whose readers have least left are first."""
    world = World()
    refreshers = []
    for number in range(20):
        name = f"t{number}"
        built = world.refresher(name, world.limiter(name, rate=Rate(1, 1.0)))
        left = 1800 + 30 * (number * 7 % 20)
        built.sinks[0].stored = record_of(  # type: ignore[attr-defined]  # a MemorySink
            token(name, START - 3600 + left, 3600), "key"
        )
        built.step()
        refreshers.append(built)
    world.clock.advance(1790)
    world.asked.clear()
    told = world.run(refreshers, 1890)
    names = [event.token for _, event in told if isinstance(event, TokenRefreshed)]

    by_life = sorted(range(20), key=lambda number: number * 7 % 20)
    assert names == [f"t{number}" for number in by_life]


@pytest.mark.fault("hung-endpoint-herd")
@pytest.mark.slow
def test_no_more_than_so_many_are_in_hand_at_once() -> None:
    """A server that hangs holds `max_concurrency` threads and no more; the rest is deferred."""
    world = World()
    limiters = [world.limiter(f"t{n}", concurrency=2) for n in range(4)]
    with limiters[0].exchange(0.0), limiters[1].exchange(0.0):
        for limiter in limiters[2:]:
            with pytest.raises(Deferred) as caught, limiter.exchange(0.0):
                pass
            assert 0 < caught.value.wait_s <= 15
    world.clock.advance(15)
    with limiters[2].exchange(0.0):
        pass


class Contended(Endpoint):
    """An endpoint where another token begins while one waits for its slot."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(4, Rate(1, 1.0))
        self._limits = limits

    def take_slot(self) -> bool:
        self.begin("faster", self._limits.now())
        return super().take_slot()


def test_a_slot_that_comes_too_late_is_given_back() -> None:
    """Whoever waited for a slot in vain holds none, and no more begin than may."""
    world = World()
    endpoint = Contended(world.limits)
    limiter = Limiter("t", world.limits, endpoint)
    with pytest.raises(Deferred) as caught, limiter.exchange(0.0):
        pass

    assert (caught.value.wait_s, caught.value.shortage) == (1.0, None)
    assert [endpoint.slots.acquire(blocking=False) for _ in range(5)] == [True] * 4 + [False]


def test_a_rate_that_is_reached_is_not_a_short_budget() -> None:
    """A client with budget left that waits for its endpoint is no news to people."""
    world = World()
    budget = world.limits.budget("client", Rate(2, HOUR))
    limiters = [world.limiter(name, budget=budget, rate=Rate(1, 1.0)) for name in "ab"]
    with limiters[0].exchange(0.0):
        pass
    with pytest.raises(Deferred) as caught, limiters[1].exchange(-math.inf):
        pass

    assert (caught.value.wait_s, caught.value.shortage) == (1.0, None)


def test_a_moment_is_waited_for() -> None:
    """A place that comes within a tenth of a second is worth waiting for in place."""
    world = World()
    rate = Rate(1, 0.0625)
    for name in ("a", "b"):
        with world.limiter(name, rate=rate).exchange(0.0):
            pass

    assert world.slept == [0.0625]


def test_a_clock_that_is_set_gives_no_exchanges() -> None:
    """Limits are by the boot clock: setting the wall clock forward spends no period."""
    world = World()
    budget = world.limits.budget("client", Rate(1, HOUR))
    limiter = world.limiter("a", budget=budget)
    with limiter.exchange(0.0):
        pass
    world.clock.step(2 * HOUR)

    with pytest.raises(Deferred), limiter.exchange(0.0):
        pass


# Budgets


@pytest.mark.fault("budget-short")
def test_a_deferred_exchange_is_no_failure_and_people_are_told_once() -> None:
    """60 tokens, and 50 exchanges in 12 hours: none fails, and one line says it."""
    world = World()
    budget = world.limits.budget("client", Rate(50, 12 * HOUR))
    many = [
        world.refresher(f"t{n}", world.limiter(f"t{n}", budget=budget, rate=Rate(100, 1.0)))
        for n in range(60)
    ]
    told = world.run(many, 60)
    events = [event for _, event in told if not isinstance(event, TokenRefreshed)]
    short = [event for event in events if isinstance(event, TokenBudgetShort)]

    assert len(world.asked) == 50
    assert {event.name for event in events} == {"token.delivered", "token.budget_short"}
    assert [(event.spent, event.left, event.budget, event.level) for event in short] == [
        (50, 0, "50/12h", "error")
    ]
    assert short[0].next_at == START + 12 * HOUR
    waits = [refresher.deferred_s() for refresher in many]
    assert sum(wait is not None for wait in waits) == 10


@pytest.mark.fault("budget-short")
def test_retries_are_spread_when_a_budget_runs_out() -> None:
    """A server that fails for half a day costs the budget once, and what is left lasts."""
    world = World()
    budget = world.limits.budget("client", Rate(50, 12 * HOUR))
    limiter = world.limiter("t", budget=budget)

    def fail() -> Token:
        world.asked.append(("one", world.now))
        raise EndpointUnavailable("http_503", "not now", http_status=503)

    source = AnsweringSource(fail)
    plan = Plan(Policy(), "t")
    limit = limiter.exchange
    failing = Refresher("t", source, [MemorySink()], plan, "key", world.clock, limit=limit)
    told = [event for _, event in world.run([failing], 12 * HOUR - 60)]
    short = [event for event in told if isinstance(event, TokenBudgetShort)]

    assert len(world.asked) <= 50
    assert sum(at > HOUR for _, at in world.asked) >= 9
    assert [(event.left, event.level) for event in short] == [(10, "warning"), (0, "error")]


def of_discovery() -> ExchangeError:
    """Return an outage that was met before the token endpoint was asked."""
    error = EndpointUnavailable("http_503", "not now", http_status=503)
    error.sent = False
    return error


def failing_with(world: World, error: ExchangeError, budget: Budget) -> None:
    """Make one exchange that fails so."""
    with pytest.raises(ExchangeError), world.limiter("t", budget=budget).exchange(0.0):
        raise error


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (EndpointUnavailable("timeout", "slow"), 1),
        (RequestRejected("invalid_client", "no", http_status=401), 1),
        (EndpointUnavailable("dns_failed", "no name"), 0),
        (EndpointUnavailable("connection_refused", "closed"), 0),
        (of_discovery(), 0),
        (SecretUnavailable("client_secret_unavailable", "no secret"), 0),
    ],
)
def test_only_what_was_sent_counts(error: ExchangeError, counts: int) -> None:
    """A network that is down, or a secret that is missing, spends nothing of a budget."""
    world = World()
    budget = world.limits.budget("client", Rate(50, 12 * HOUR))
    failing_with(world, error, budget)

    assert len(budget.spent) == counts


def test_an_unlimited_client_has_nothing_to_give_back() -> None:
    """A failure before the request is sent is fine without a budget."""
    with pytest.raises(ExchangeError), World().limiter("t").exchange(0.0):
        raise EndpointUnavailable("dns_failed", "no name")


def test_another_secret_is_another_request() -> None:
    """Each try counts; where the budget has no room for it, it is not made."""
    world = World()
    budget = world.limits.budget("client", Rate(2, HOUR))
    limiter = world.limiter("t", budget=budget)
    with limiter.exchange(0.0):
        allowed = [limiter.another(), limiter.another()]
    unlimited = world.limiter("u", "two")
    with unlimited.exchange(0.0):
        allowed.append(unlimited.another())

    assert allowed == [True, False, True]
    assert len(budget.spent) == 2


def test_limits_are_shared_and_survive_a_change() -> None:
    """Tokens of one client share a budget; a new rate forgets nothing that was spent."""
    limits = World().limits
    budget = limits.budget("client", Rate(50, HOUR))
    budget.spend(START)

    assert limits.budget("client", Rate(50, HOUR)) is budget
    changed = limits.budget("client", Rate(60, HOUR))
    assert (changed.rate, changed.spent) == (Rate(60, HOUR), [START])
    assert limits.endpoint("e", 4, Rate(1, 1)) is limits.endpoint("e", 4, Rate(1, 1))


# What is kept


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """What was spent, and what was told, is there after a restart, for the same client alone."""
    path = str(tmp_path / "one.json")
    rate = Rate(2, HOUR)
    first = World()
    limiter = first.limiter("t", budget=Budget(rate), file=BudgetFile(path, "client"))
    for _ in "12":
        with limiter.exchange(0.0):
            pass
    with pytest.raises(Deferred) as told, limiter.exchange(0.0):
        pass
    again = World()
    with (
        pytest.raises(Deferred) as silent,
        again.limiter("t", budget=Budget(rate), file=BudgetFile(path, "client")).exchange(0.0),
    ):
        pass
    with again.limiter("u", budget=Budget(rate), file=BudgetFile(path, "other")).exchange(0.0):
        pass

    assert told.value.shortage
    assert silent.value.shortage is None


def test_the_file_is_private_and_holds_times_only(tmp_path: Path) -> None:
    """It is beside the sink, for this user alone; nothing is left beside it."""
    file = BudgetFile(str(tmp_path / "one.json"), "client")
    file.write(Spending([1.5, 2.0], {True: 3.0}))

    assert [path.name for path in tmp_path.iterdir()] == [".one.json.budget"]
    assert stat.S_IMODE((tmp_path / ".one.json.budget").stat().st_mode) == 0o600
    document = json.loads((tmp_path / ".one.json.budget").read_text())
    assert document == {"client": "client", "spent": [1.5, 2.0], "told": [0.0, 3.0]}
    assert file.read() == Spending([1.5, 2.0], {True: 3.0})


def pipe(path: Path) -> None:
    """Put a named pipe where the file belongs."""
    import os  # noqa: PLC0415  # for this one only

    os.mkfifo(path)


@pytest.mark.fault("budget-file-damaged")
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: None,
        lambda path: path.write_bytes(b"\xff"),
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text('{"client": "client"}'),
        lambda path: path.write_text('{"client": "client", "spent": 5}'),
        lambda path: path.write_text('{"client": "client", "spent": ["x", true, -1, 1e999]}'),
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("elsewhere"),
        pipe,
    ],
)
def test_a_damaged_file_counts_as_nothing_spent(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    """No exchange fails of what is a help only, whatever is in its place."""
    damage(tmp_path / ".one.json.budget")
    file = BudgetFile(str(tmp_path / "one.json"), "client")

    assert file.read() == Spending([], {})
    with World().limiter("t", budget=Budget(Rate(2, HOUR)), file=file).exchange(0.0):
        pass


def test_what_is_no_file_costs_no_descriptor(tmp_path: Path) -> None:
    """A folder in the file's place is opened at each exchange, and closed too."""
    (tmp_path / ".one.json.budget").mkdir()
    file = BudgetFile(str(tmp_path / "one.json"), "client")
    before = os.listdir("/proc/self/fd")
    assert [file.read() for _ in range(3)] == [Spending([], {})] * 3
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.fault("budget-file-damaged")
def test_a_file_that_cant_be_written_is_kept_in_memory(tmp_path: Path) -> None:
    """A folder that is gone, or a disk that is full, costs no exchange."""
    budget = Budget(Rate(2, HOUR))
    file = BudgetFile(str(tmp_path / "gone" / "one.json"), "client")
    with World().limiter("t", budget=budget, file=file).exchange(0.0):
        pass

    assert len(budget.spent) == 1


def test_a_refresher_without_limits_is_never_deferred() -> None:
    """Without a limiter an exchange is made when it is due."""
    source = ScriptedSource(token())
    refresher = Refresher("t", source, [MemorySink()], Plan(Policy(), "t"), "key", FakeClock())
    refresher.step()

    assert (source.fetched, refresher.deferred_s()) == (1, None)
