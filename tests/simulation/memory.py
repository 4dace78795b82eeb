"""A store in memory whose sink keeps the contract of job/sinks/__init__.py in the simplest way."""

from collections.abc import Iterator
from contextlib import contextmanager

from job.core.errors import SinkRejected, SinkUnavailable
from job.core.ports import Sink, Superseded
from job.core.tokens import Record
from simulation.process import Process
from simulation.stores import Place

CALL_S = 0.02
SLOW_S = (1.5, 9.0)
LOCK_WAIT_S = 20.0
LOCK_POLL_S = 0.25
OPERATOR = ("denied", "gone", "read_only")
WRITES_ONLY = ("full", "read_only", "lost_answer")


class MemoryStore:
    """One record, and a lock that a dead process lets go of."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.record: Record | None = None
        self.since = 0.0
        self.is_locked = False

    def sink(self, process: Process) -> Sink:
        return MemorySink(self, process)

    def texts(self) -> Iterator[tuple[str, float]]:
        if self.record:
            yield self.record.token.access_token.reveal(), self.since

    def put(self, record: Record, now: float) -> None:
        self.record, self.since = record, now
        self.place.stored(record.token.access_token.reveal())


class MemorySink:
    """A sink of that store for one process."""

    def __init__(self, store: MemoryStore, process: Process) -> None:
        self.label = f"memory:{store.place.number}"
        self._store = store
        self._process = process
        self._seen: Record | None = None

    @contextmanager
    def claim(self) -> Iterator[None]:
        self._call(writes=False)
        waited_s = 0.0
        while self._store.is_locked:
            if waited_s >= LOCK_WAIT_S:
                self._store.place.trouble(self._process, "locked")
                raise SinkUnavailable("locked", "a rival holds it")
            self._process.wait(LOCK_POLL_S)
            waited_s += LOCK_POLL_S
        self._store.is_locked = True
        try:
            yield
        finally:
            self._store.is_locked = False

    def read(self) -> Record | None:
        self._call(writes=False)
        self._seen = self._store.record
        return self._seen

    def write(self, record: Record) -> None:
        fault = self._call(writes=True)
        stored = self._store.record
        if stored is None or stored.receipt != record.receipt:
            if stored and stored is not self._seen and _is_newer(stored, record):
                self._seen = stored
                raise Superseded(stored)
            self._store.put(record, self._process.timeline.now)
        self._seen = None
        if fault == "lost_answer":
            self._fail("lost_answer")

    def _call(self, *, writes: bool) -> str:
        """Reach the store; raise what the active fault there raises."""
        place = self._store.place
        fault = place.fault(self._process.timeline.now)
        self._process.spend(place.rng.uniform(*SLOW_S) if fault == "slow" else CALL_S)
        if fault in ("", "slow", "lost_answer") or (fault in WRITES_ONLY and not writes):
            return fault
        return self._fail(fault)

    def _fail(self, fault: str) -> str:
        self._store.place.trouble(self._process, fault, for_operator=fault in OPERATOR)
        if fault in OPERATOR:
            raise SinkRejected(fault, "an operator has to act")
        raise SinkUnavailable(fault, "it will pass")


def _is_newer(stored: Record, record: Record) -> bool:
    return stored.receipt.requested_at >= record.receipt.requested_at
