"""What is remembered of a token: by the refresher after it, and in each kind of memory."""

from collections.abc import Callable

import pytest
from fakes import START, FakeClock, MemorySink, ScriptedSource, record, token

from job.core.errors import EndpointUnavailable, SinkUnavailable
from job.core.memo import Memo
from job.core.ports import Memory
from job.core.refresher import Refresher
from job.core.schedule import Plan, Policy
from job.core.state import Alarm
from job.memory.in_process import InProcess

KINDS: dict[str, Callable[[], Memory]] = {"in process": InProcess}
DOWN = EndpointUnavailable("timeout", "no answer")
FULL = SinkUnavailable("disk_full", "no room")


def refresher(memory: Memory, clock: FakeClock, sink: MemorySink, *script: object) -> Refresher:
    """Make the refresher of a token, as a start or a reload does."""
    source = ScriptedSource(*script)  # type: ignore[arg-type]  # tokens and errors
    return Refresher("t", source, [sink], Plan(Policy(), "seed"), "key", clock, memory=memory)


@pytest.fixture(params=KINDS)
def memory(request: pytest.FixtureRequest) -> Memory:
    """Return an empty memory of each kind."""
    return KINDS[request.param]()


def test_what_is_saved_is_loaded_until_it_is_forgotten(memory: Memory) -> None:
    """Promise: each token has its own memo, the last one counts, and None forgets it."""
    first, last = Memo(failures=1), Memo(2, Alarm.AT_RISK, True, {"file:/t": 3})  # noqa: FBT003  # positions are the fields
    memory.save("a", first)
    memory.save("a", last)
    memory.save("b", first)
    memory.save("b", None)
    memory.save("c", None)
    assert [memory.load(name) for name in "abc"] == [last, None, None]


def test_failures_go_on_counting(memory: Memory) -> None:
    """Promise: the refresher that a reload makes counts on, and does not wait for what was."""
    clock, sink = FakeClock(), MemorySink()
    (failed,) = refresher(memory, clock, sink, DOWN).step()
    assert memory.load("t") == Memo(failures=1)
    (again,) = refresher(memory, clock, sink, DOWN).step()
    assert [failed.failures, again.failures] == [1, 2]  # type: ignore[attr-defined]


def test_failures_of_a_sink_go_on_counting(memory: Memory) -> None:
    """Promise: the same for each sink, by its label."""
    clock, sink = FakeClock(), MemorySink()
    sink.write_errors = [FULL, FULL]
    refresher(memory, clock, sink, token()).step()
    assert memory.load("t") == Memo(sink_failures={"memory": 1})
    events = refresher(memory, clock, sink, token("tok-2")).step()
    assert [event.failures for event in events if event.name == "token.delivery_failed"] == [2]  # type: ignore[attr-defined]


def test_an_alarm_is_told_once(memory: Memory) -> None:
    """Promise: readers of an expired token are told of once, whoever steps it next."""
    clock, sink = FakeClock(START + 4000), MemorySink(stored=record())
    told = [event.name for event in refresher(memory, clock, sink, DOWN).step()]
    again = [event.name for event in refresher(memory, clock, sink, DOWN).step()]
    assert [told, again] == [["token.refresh_failed", "token.expired"], ["token.refresh_failed"]]


def test_an_unholdable_promise_is_told_once(memory: Memory) -> None:
    """Promise: a life that is too short is told of once, not after each reload."""
    clock, sink = FakeClock(), MemorySink()
    names = [
        event.name
        for _ in range(2)
        for event in refresher(memory, clock, sink, token(life=60)).step()
    ]
    assert names.count("token.promise_unholdable") == 1


def test_success_leaves_nothing_to_remember(memory: Memory) -> None:
    """Promise: a token that is well costs no memory."""
    clock, sink = FakeClock(), MemorySink()
    refresher(memory, clock, sink, DOWN).step()
    refresher(memory, clock, sink, token()).step()
    assert memory.load("t") is None
