"""Replicas on several hosts that share nothing but a secret: every order of their calls."""

from dataclasses import replace

import pytest
from interleavings.__main__ import LAYOUTS, secret_of
from interleavings.explore import FIRST, Breach, Budget, Explorer
from interleavings.rate import Hosts
from interleavings.replica import Setting

from job.core.schedule import Policy

pytestmark = pytest.mark.slow


def explore(
    layout: str,
    start: str,
    budget: Budget,
    *,
    replicas: int = 2,
    same_second: bool = False,
    at_work: bool = False,
) -> dict[int, int]:
    """Return how many orders of events there are, by the exchanges that they make.

    Raises Breach if in any of them an older token replaces a newer one, a token gets two versions,
    a death or a stale answer costs more than one exchange, a fault of another kind costs any, or
    the replicas end with a token that is not the one in the secret or older than theirs.
    """
    setting = replace(LAYOUTS[layout], create=start == "missing")
    explorer = Explorer(setting, budget, same_second=same_second)
    return dict(explorer.run(secret_of(start, setting), replicas, at_work=at_work))


STARTS = [
    ("json", "due"),
    ("json", "empty"),
    ("json", "missing"),
    ("raw", "due"),
    ("raw", "empty"),
    ("raw", "missing"),
    ("json_key", "due"),
    ("json_key raw", "due"),
]


@pytest.mark.fault("rivals-on-many-hosts")
@pytest.mark.fault("replica-paused")
@pytest.mark.parametrize(("layout", "start"), STARTS)
def test_two_replicas_meet_in_every_way(layout: str, start: str) -> None:
    """However their calls fall, one token is there at the end, and it is the newest.

    Either one of them asks and the other adopts, or both ask; there are many orders of both kinds.
    """
    orders = explore(layout, start, Budget())
    assert set(orders) == {1, 2}
    assert (orders[1] >= 50, orders[2] >= 1000) == (True, True), orders


@pytest.mark.fault("rivals-on-many-hosts")
@pytest.mark.fault("writer-dies-between-calls")
@pytest.mark.parametrize("at_work", [False, True])
@pytest.mark.parametrize(("layout", "start"), [one for one in STARTS if one != STARTS[5]][:6])
def test_one_of_them_dies_anywhere(layout: str, start: str, *, at_work: bool) -> None:
    """A death between any two calls costs one more exchange at most, and is made good.

    So it is when both have just started and look for what a dead one left, and when both are at
    work and find that in their way only.
    """
    orders = explore(layout, start, Budget(crashes=1), at_work=at_work)
    assert set(orders) == {1, 2, 3}
    assert sum(orders.values()) >= 100_000, orders


@pytest.mark.fault("sink-answer-lost")
@pytest.mark.fault("aws-stale-answer")
@pytest.mark.fault("rivals-on-many-hosts")
@pytest.mark.parametrize("at_work", [False, True])
@pytest.mark.parametrize(("layout", "start"), [("raw", "due"), ("json", "missing")])
def test_one_call_of_theirs_goes_wrong(layout: str, start: str, *, at_work: bool) -> None:
    """A call or its answer is lost, an answer is out of date, a new version is not yet visible."""
    orders = explore(layout, start, Budget(faults=1), at_work=at_work)
    assert set(orders) == {1, 2, 3}
    assert sum(orders.values()) >= 100_000, orders


@pytest.mark.fault("rivals-on-many-hosts")
@pytest.mark.parametrize("layout", ["json", "raw"])
def test_two_tokens_of_the_same_second(layout: str) -> None:
    """Where no time tells which token is newer, the one that is stored first stays."""
    found = explore(layout, "due", Budget(crashes=1), same_second=True)
    assert sorted(found) == [1, 2, 3]


@pytest.mark.fault("writer-dies-between-calls")
@pytest.mark.parametrize("start", ["due", "empty", "missing"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_replica_dies_twice(layout: str, start: str) -> None:
    """A replica alone makes one exchange, and one more for a death at the worst of moments."""
    assert set(explore(layout, start, Budget(crashes=2), replicas=1)) <= {1, 2, 3}
    assert explore(layout, start, Budget(), replicas=1) == {1: 1}


@pytest.mark.fault("sink-answer-lost")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_store_that_fails_costs_no_exchange(layout: str) -> None:
    """Of all that can go wrong once, only a token that is lost on its way makes a second one."""
    orders = explore(layout, "due", Budget(faults=1), replicas=1)
    assert orders[2] == 1
    assert set(orders) == {1, 2}


def test_a_plain_put_breaks_the_promise() -> None:
    """Without compare-and-swap an older token can replace a newer one: this search finds it."""
    setting = Setting(compare_and_swap=False)
    with pytest.raises(Breach, match="tok-1 replaces tok-2"):
        Explorer(setting, Budget()).run(setting.holding(FIRST), 2)


@pytest.mark.fault("rivals-on-many-hosts")
@pytest.mark.parametrize(
    ("life", "replicas", "most"),
    [(900, 2, 1.05), (900, 10, 1.15), (3600, 3, 1.05), (3600, 10, 1.1), (86_400, 10, 1.05)],
)
def test_nearly_every_period_has_one_exchange(life: int, replicas: int, most: float) -> None:
    """The jitter lets one replica be first, and the others adopt what it has stored."""
    rate = Hosts(replicas, life, Policy(), seed=1).live()
    assert rate.tokens >= 100
    assert 1.0 <= rate.exchanges_a_period <= most
    assert rate.versions <= rate.exchanges
