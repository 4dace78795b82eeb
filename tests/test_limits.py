"""How many exchanges may be made, and when, as pure arithmetic."""

import heapq
import itertools
import math
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from job.core.rate import Rate
from job.limits.budget import Budget
from job.limits.endpoint import SLOT_S, Endpoint
from job.values import value_reader

T0 = 1_764_000_000.0
HOUR = 3600.0
SOUNDCLOUD = Rate(50, 12 * HOUR)


def rate(text: str) -> Rate:
    """Read a rate as the configuration has it."""
    found: Rate = value_reader("")(Rate, text)
    return found


# Rates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50/12h", Rate(50, 43_200)),
        ("10/s", Rate(10, 1)),
        ("100/h", Rate(100, 3_600)),
        ("1000/day", Rate(1000, 86_400)),
        ("1000 / 1d", Rate(1000, 86_400)),
        ("6/minute", Rate(6, 60)),
        ("3/90", Rate(3, 90)),
        ("1/1h30m", Rate(1, 5_400)),
    ],
)
def test_a_rate_is_a_number_and_a_time(text: str, expected: Rate) -> None:
    """Rates are written as the pages of providers have them."""
    assert rate(text) == expected


@pytest.mark.parametrize(
    "text", ["", "5", "/h", "0/h", "5/", "5/0s", "-1/h", "1.5/h", "5/fortnight", "100001/d", "²/h"]
)
def test_anything_else_is_no_rate(text: str) -> None:
    """What allows nothing, or can't be read, is refused."""
    with pytest.raises(
        ValueError,
        match=r"^must be a rate, such as [^ ]*, [^ ]* or [^ ]*: a number, a slash and a dura",
    ):
        rate(text)


def test_a_rate_is_shown_as_it_is_written() -> None:
    """People see their own words, and what they come to."""
    assert [str(rate(text)) for text in ("50/12h", "10/s")] == ["50/12h", "10/1s"]
    assert SOUNDCLOUD.per_day == 100


# Endpoints


def test_the_first_begin_at_once_and_the_rest_get_a_place() -> None:
    """So many in any second; who is told to wait comes back once, at its turn."""
    endpoint = Endpoint(100, Rate(2, 1.0))
    waits = []
    for number in range(5):
        waits.append(endpoint.wait_s(f"t{number}", T0))
        if not waits[-1]:
            endpoint.begin(f"t{number}", T0)

    assert waits == [0, 0, 1, 1, 2]
    assert [endpoint.wait_s(f"t{number}", T0 + 1) for number in (2, 3, 4)] == [0, 0, 1]


def test_a_newcomer_waits_behind_those_who_have_a_place() -> None:
    """Nobody who was deferred is overtaken."""
    endpoint = Endpoint(100, Rate(1, 1.0))
    for who in ("a", "b"):
        endpoint.wait_s(who, T0)
    endpoint.begin("a", T0)

    assert endpoint.wait_s("c", T0 + 1) == 1
    assert endpoint.wait_s("b", T0 + 1) == 0


def test_what_has_begun_counts_and_not_what_was_planned() -> None:
    """Turns that were taken late leave less room in the next second."""
    endpoint = Endpoint(100, Rate(1, 1.0))
    assert [endpoint.wait_s(who, T0) for who in ("a", "b")] == [0, 1]
    endpoint.begin("a", T0 + 0.75)

    assert endpoint.wait_s("b", T0 + 1) == 0.75
    assert endpoint.wait_s("b", T0 + 1.75) == 0


@pytest.mark.slow
def test_no_more_run_at_once_than_may() -> None:
    """Who finds no slot free has a place among those who ask again."""
    endpoint = Endpoint(1, Rate(2, 60.0))
    for who in ("a", "b"):
        endpoint.wait_s(who, T0)
    endpoint.begin("a", T0)
    waits = [endpoint.full_s(f"t{number}", T0) for number in range(12)]

    assert endpoint.take_slot()
    assert not endpoint.take_slot()
    assert waits == pytest.approx([0.1] * 10 + [1.1] * 2, abs=1e-6)


@pytest.mark.fault("hung-endpoint-herd")
@pytest.mark.slow
def test_few_wait_in_place_for_a_server_that_hangs() -> None:
    """A hung exchange holds its own thread, and those of two others for a moment."""
    endpoint = Endpoint(1, Rate(100, 1.0))
    assert endpoint.take_slot()
    began = time.monotonic()
    with ThreadPoolExecutor(20) as threads:
        taken = [*threads.map(lambda _: endpoint.take_slot(), range(20))]

    assert taken == [False] * 20
    assert time.monotonic() - began < 20 * SLOT_S / 2


@pytest.mark.fault("hung-endpoint-herd")
@pytest.mark.parametrize("rate_", [Rate(50, 12 * HOUR), Rate(10, 1.0), Rate(100, 1.0)], ids=str)
def test_a_line_at_a_hung_server_is_looked_at_again(rate_: Rate) -> None:
    """However many wait for a server that hangs, some of them ask again in each second."""
    endpoint = Endpoint(1, rate_)
    ask_at = sorted(T0 + endpoint.full_s(f"t{number}", T0) for number in range(1000))
    a_second = max(10, rate_.per_day / 86_400)

    assert max(later - earlier for earlier, later in itertools.pairwise(ask_at)) <= 1.01
    assert ask_at[-1] - T0 == pytest.approx(1000 / a_second, abs=1.2)


@pytest.mark.fault("herd")
@pytest.mark.fault("hung-endpoint-herd")
@pytest.mark.parametrize("hangs_s", [0, 600])
@pytest.mark.slow
def test_10_000_tokens_are_a_line_and_no_crowd(hangs_s: int) -> None:
    """All get their place, at the rate; nobody asks all the time, even while the server hangs."""
    endpoint, count, ten = Endpoint(4, Rate(10, 1.0)), 10_000, 10
    line = [(T0, who) for who in range(count)]
    asked, begun, now = [0], [], T0
    while line:
        due = []
        while line and line[0][0] <= now:
            due.append(heapq.heappop(line)[1])
        for who in due:
            at = now + endpoint.wait_s(str(who), now)
            if at <= now < T0 + hangs_s:
                at = now + endpoint.full_s(str(who), now)
            if at > now:
                heapq.heappush(line, (at, who))
            else:
                endpoint.begin(str(who), now)
                begun.append(now)
        asked.append(len(due))
        now += 1.0

    assert asked[1] == count
    assert max(asked[2:]) <= 3 * ten
    assert max(begun.count(at) for at in {*begun}) == ten
    assert max(begun) - T0 <= hangs_s + count / ten + 2


def test_a_second_request_counts_for_the_rate() -> None:
    """Another secret that is tried in the same exchange is another request."""
    endpoint = Endpoint(1, Rate(2, 1.0))
    endpoint.begin("a", T0)

    assert [endpoint.another(at) for at in (T0, T0, T0 + 1)] == [True, False, True]


# Budgets


def spent(rate_: Rate, *times: float) -> Budget:
    """Make a budget of which this has been spent."""
    budget = Budget(rate_)
    for at in times:
        budget.spend(at)
    return budget


def test_nobody_waits_while_a_budget_is_far_from_spent() -> None:
    """Normal use is not slowed: four fifths of a budget are free."""
    budget = spent(SOUNDCLOUD, *(T0 + n for n in range(39)))

    assert budget.wait_s(T0 + 60, math.inf) == 0


@pytest.mark.fault("budget-short")
def test_the_rest_is_spread_over_the_time_left() -> None:
    """After a burst, the last fifth is evenly spread until the oldest counts no more."""
    budget = spent(SOUNDCLOUD, *(T0 + n for n in range(40)))
    now, made = T0 + 40, []
    while now < T0 + 12 * HOUR - 1:
        wait_s = budget.wait_s(now, math.inf)
        now += wait_s
        if now < T0 + 12 * HOUR:
            made.append(budget.spend(now))
    gaps = [later - earlier for earlier, later in itertools.pairwise(made)]

    assert len(made) == 10
    assert max(gaps) - min(gaps) < 1
    assert min(gaps) > HOUR


@pytest.mark.fault("budget-short")
def test_a_token_that_would_expire_goes_first() -> None:
    """Readers who can't wait get of what is kept; who can wait is deferred no longer than that."""
    budget = spent(SOUNDCLOUD, *(T0 + n for n in range(40)))

    assert budget.wait_s(T0 + 40, -math.inf) == 0
    assert budget.wait_s(T0 + 40, 600.0) == 600
    assert budget.wait_s(T0 + 640, 0.0) == 0


@pytest.mark.fault("budget-short")
def test_a_budget_is_never_overrun() -> None:
    """When nothing is left, everybody waits until the oldest counts no more."""
    budget = spent(Rate(2, HOUR), T0, T0 + 600)

    assert budget.wait_s(T0 + 601, -math.inf) == HOUR - 601
    assert budget.wait_s(T0 + HOUR, 0.0) == 0
    budget.spend(T0 + HOUR)
    assert budget.wait_s(T0 + HOUR, -math.inf) == 600


def test_steady_use_of_a_whole_budget_is_not_slowed() -> None:
    """Tokens that need nearly all of it, evenly, are refreshed when they are due."""
    budget, now = Budget(SOUNDCLOUD), T0
    for _ in range(200):
        assert budget.wait_s(now, math.inf) == 0
        budget.spend(now)
        now += 12 * HOUR / 48


def test_others_count_and_nonsense_does_not() -> None:
    """What another process has spent counts once, what can't be does not at all."""
    budget = spent(Rate(10, HOUR), T0)
    others = [T0, T0 + 1, T0 + 60, T0 - HOUR, T0 + 3 * HOUR]
    budget.add(others, T0 + 2)
    budget.add(others, T0 + 2)

    assert budget.spent == [T0, T0 + 1, T0 + 60]


def test_two_at_the_same_instant_are_two() -> None:
    """Times are kept apart, so that joining with what others have spent loses none."""
    budget = Budget(Rate(10, HOUR))
    kept = [budget.spend(T0), budget.spend(T0)]
    budget.add(kept, T0)

    assert len(budget.spent) == 2
    budget.give_back(kept[0])
    assert budget.spent == [kept[1]]


def test_what_counts_no_more_can_be_given_back() -> None:
    """A failure that took longer than the period of the budget is a failure like any other."""
    budget = Budget(Rate(10, 5))
    kept = budget.spend(T0)
    budget.add((), T0 + 6)
    budget.give_back(kept)
    assert budget.spent == []


def test_people_are_told_once_in_a_period() -> None:
    """Once that it is short, once that nothing is left; again a period later."""
    budget = spent(Rate(5, HOUR), T0, T0, T0, T0)
    short = budget.tell(T0)
    again = budget.tell(T0 + HOUR - 1)
    budget.spend(T0)
    over = budget.tell(T0)

    assert again is None
    assert budget.tell(T0 + 1) is None
    assert short
    assert over
    assert (short.spent, short.left, short.budget, short.message) == (
        4,
        1,
        "5/1h",
        (
            "4 of the 5 exchanges that max_exchanges allows this client in 1h are used up; the "
            "rest is spread over the time left, and kept for tokens that would expire: see the log "
            "for retries that used it up; else ask for fewer tokens, or a larger quota"
        ),
    )
    assert (over.spent, over.left, over.budget) == (5, 0, "5/1h")
    assert "none is made until the oldest of them counts no more" in over.message
    assert budget.tell(T0 + HOUR)
