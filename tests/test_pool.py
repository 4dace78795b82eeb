import functools
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from job.runners.pool import Pool

PATIENCE_S = 10.0


class Gate:
    """A task that says when it has begun and then waits until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        self.open.wait(PATIENCE_S)


@pytest.fixture
def gates() -> Iterator[Callable[[], Gate]]:
    """Make gates that are opened at the end of the test, whatever happens."""
    made: list[Gate] = []

    def make() -> Gate:
        made.append(Gate())
        return made[-1]

    yield make
    for gate in made:
        gate.open.set()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Fail a test whose pool leaves a thread that is not on its way out."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_S)
    assert set(threading.enumerate()) <= before


def begun(gate: Gate) -> bool:
    """Wait until a task has begun."""
    return gate.begun.wait(PATIENCE_S)


def test_it_starts_no_thread_before_there_is_work() -> None:
    """Promise: a pool that is not used costs nothing, and stops at once."""
    before = set(threading.enumerate())
    pool = Pool(32)
    assert set(threading.enumerate()) <= before
    assert pool.stop(0.0) is True


def test_it_starts_only_the_threads_it_needs() -> None:
    """Promise: one task after another needs one thread, however large the pool may become."""
    before, pool = set(threading.enumerate()), Pool(32)
    for _ in range(20):
        done = threading.Event()
        pool.submit(0.0, done.set)
        assert done.wait(PATIENCE_S)
    # A thread that has just done its work may not be back at its place: it then gets a helper.
    assert len(set(threading.enumerate()) - before) <= 2
    assert pool.stop(PATIENCE_S) is True


def test_it_takes_the_worst_first(gates: Callable[[], Gate]) -> None:
    """Promise: what waits is done in the order of urgency, and equals in the order of coming."""
    pool, gate, order, done = Pool(1), gates(), list[str](), threading.Event()
    pool.submit(0.0, gate)
    assert begun(gate)
    for urgency, name in ((9.0, "d"), (float("-inf"), "a"), (5.0, "b"), (5.0, "c")):
        pool.submit(urgency, functools.partial(order.append, name))
    pool.submit(float("inf"), done.set)
    gate.open.set()
    assert done.wait(PATIENCE_S)
    assert order == ["a", "b", "c", "d"]
    assert pool.stop(PATIENCE_S) is True


def test_it_is_bounded(gates: Callable[[], Gate]) -> None:
    """Promise: no more tasks run at once than the pool has threads."""
    before, pool, first = set(threading.enumerate()), Pool(3), [gates() for _ in range(3)]
    for gate in first:
        pool.submit(0.0, gate)
    assert all(begun(gate) for gate in first)
    fourth = gates()
    pool.submit(0.0, fourth)
    assert len(set(threading.enumerate()) - before) == 3
    assert not fourth.begun.is_set()
    first[1].open.set()
    assert begun(fourth)
    for gate in [*first, fourth]:
        gate.open.set()
    assert pool.stop(PATIENCE_S) is True


@pytest.mark.slow
def test_a_hung_task_keeps_no_other_from_running(gates: Callable[[], Gate]) -> None:
    """Promise: tasks that come together share no thread while the pool may have another.

    The one idle thread is woken for the first of them; the others must not count on it too.
    """
    for _ in range(50):
        pool, done = Pool(3), threading.Event()
        pool.submit(0.0, done.set)
        assert done.wait(PATIENCE_S)
        together = [gates() for _ in range(3)]
        for gate in together:
            pool.submit(0.0, gate)
        assert all(gate.begun.wait(2) for gate in together)
        for gate in together:
            gate.open.set()
        assert pool.stop(PATIENCE_S) is True


def test_stop_drops_what_waits_and_finishes_what_runs(gates: Callable[[], Gate]) -> None:
    """Promise: a stop waits for the work in hand, and begins none."""
    pool, gate, dropped, stopped = Pool(1), gates(), gates(), SimpleQueue[bool]()
    pool.submit(0.0, gate)
    pool.submit(0.0, dropped)
    assert begun(gate)
    stopper = threading.Thread(target=lambda: stopped.put(pool.stop(PATIENCE_S)))
    stopper.start()
    stopper.join(0.05)
    assert stopper.is_alive()
    gate.open.set()
    stopper.join(PATIENCE_S)
    assert stopped.get_nowait() is True
    assert not dropped.begun.is_set()


def test_stop_keeps_its_deadline_for_all_threads_together(gates: Callable[[], Gate]) -> None:
    """Promise: hung tasks hold a stop up for its deadline, once and not once for each of them."""
    pool, hung = Pool(5), [gates() for _ in range(5)]
    for gate in hung:
        pool.submit(0.0, gate)
    assert all(begun(gate) for gate in hung)
    before = time.monotonic()
    assert pool.stop(0.1) is False
    assert 0.1 <= time.monotonic() - before < 0.4


def test_what_comes_after_stop_is_dropped(gates: Callable[[], Gate]) -> None:
    """Promise: a stopped pool starts no thread and runs nothing."""
    before, pool, late = set(threading.enumerate()), Pool(2), gates()
    assert pool.stop(0.0) is True
    pool.submit(0.0, late)
    assert set(threading.enumerate()) <= before
    assert pool.stop(PATIENCE_S) is True
    assert not late.begun.is_set()


def test_its_threads_never_keep_the_process_alive(gates: Callable[[], Gate]) -> None:
    """Promise: a hung task does not hold up the end of the process."""
    before, pool, gate = set(threading.enumerate()), Pool(1), gates()
    pool.submit(0.0, gate)
    assert begun(gate)
    assert [thread.daemon for thread in set(threading.enumerate()) - before] == [True]
    assert pool.stop(0.0) is False


@pytest.mark.fault("no-threads")
def test_no_thread_to_be_had_is_told_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a task is never kept where nothing would ever run it."""
    pool, ran = Pool(2), list[str]()
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", no_more_threads)
        with pytest.raises(RuntimeError):
            pool.submit(0.0, lambda: ran.append("lost"))
    done = threading.Event()
    pool.submit(1.0, done.set)
    assert done.wait(PATIENCE_S)
    assert pool.stop(PATIENCE_S) is True
    assert ran == []


@pytest.mark.fault("no-threads")
def test_the_threads_that_are_there_do_the_work_at_a_limit(
    gates: Callable[[], Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a limit of processes makes the pool smaller, and nothing is lost."""
    pool, gate, done = Pool(2), gates(), threading.Event()
    pool.submit(0.0, gate)
    assert begun(gate)
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", no_more_threads)
        pool.submit(0.0, done.set)
    gate.open.set()
    assert done.wait(PATIENCE_S)
    assert pool.stop(PATIENCE_S) is True


def no_more_threads(_: threading.Thread) -> None:
    """Fail as Thread.start does when the system gives no more threads."""
    msg = "can't start new thread"
    raise RuntimeError(msg)


def test_many_submitters_lose_nothing() -> None:
    """Promise: whatever comes from whichever thread is run exactly once."""
    pool, ran = Pool(4), SimpleQueue[int]()
    everything = threading.Semaphore(0)

    def task(number: int) -> None:
        ran.put(number)
        everything.release()

    def submit(first: int) -> None:
        for number in range(first, first + 250):
            pool.submit(float(number % 7), functools.partial(task, number))

    submitters = [threading.Thread(target=submit, args=(n * 250,)) for n in range(4)]
    for submitter in submitters:
        submitter.start()
    for submitter in submitters:
        submitter.join(PATIENCE_S)
    assert all(everything.acquire(timeout=PATIENCE_S) for _ in range(1000))
    assert pool.stop(PATIENCE_S) is True
    assert sorted(ran.get_nowait() for _ in range(1000)) == list(range(1000))


@pytest.mark.fault("targets-hang")
def test_slow_tasks_have_half_of_the_threads(gates: Callable[[], Gate]) -> None:
    """Promise: tasks that hang leave threads to the others, however many and urgent they are."""
    pool, slow, swift = Pool(4), [gates() for _ in range(6)], [gates() for _ in range(3)]
    for gate in slow:
        pool.submit(float("-inf"), gate, slow=True)
    assert all(begun(gate) for gate in slow[:2])
    for gate in swift:
        pool.submit(1e9, gate)
    assert all(begun(gate) for gate in swift[:2])
    assert not any(gate.begun.is_set() for gate in [*slow[2:], swift[2]])
    swift[0].open.set()
    assert begun(swift[2])
    slow[0].open.set()
    assert begun(slow[2])
    assert not any(gate.begun.is_set() for gate in slow[3:])
    for gate in [*slow, *swift]:
        gate.open.set()
    assert pool.stop(PATIENCE_S) is True


@pytest.mark.parametrize("size", [1, 2, 3])
def test_slow_tasks_always_have_a_thread(size: int) -> None:
    """Promise: slow tasks are done too, one after the other, and waiting ones wake up for it."""
    pool, done = Pool(size), [threading.Event() for _ in range(20)]
    for event in done:
        pool.submit(0.0, event.set, slow=True)
        pool.submit(0.0, lambda: None)
    assert all(event.wait(PATIENCE_S) for event in done)
    assert pool.stop(PATIENCE_S) is True
