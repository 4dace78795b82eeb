"""What all simulated stores share: their readers' view, their faults, and a watch on each sink."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Protocol

from job.core.errors import SinkError, SinkRejected
from job.core.ports import Sink
from job.core.tokens import Record
from simulation.audit import Audit, Breach
from simulation.faults import Faults
from simulation.ledger import Ledger, Minted
from simulation.process import Process

OPERATOR_S = 60.0
"""A store that refuses until an operator acts is tried again after this time."""
FLAKY = 0.3


class Store(Protocol):
    """A place where readers look."""

    def sink(self, process: Process) -> Sink:
        """Return the sink through which a process that has just started writes here."""

    def texts(self) -> Iterator[tuple[str, float]]:
        """Yield every text that a process that claims this store finds, and since when."""


class Place:
    """Where a store is: its number, its faults and who watches it."""

    def __init__(self, number: int, faults: Faults, audit: Audit, rng: Random) -> None:
        self.number = number
        self.name = f"sink{number}"
        self.rng = rng
        self.tally = audit.tally
        self._faults = faults
        self._audit = audit

    def fault(self, now: float) -> str:
        """Return the kind of fault that a call meets now, or an empty string."""
        spell = self._faults.now(self.name, now)
        if spell is None or (spell.kind == "flaky" and self.rng.random() > FLAKY):
            return ""
        return spell.kind

    def trouble(self, process: Process, what: str, *, for_operator: bool = False) -> None:
        """Excuse a process that meets a fault here."""
        until = process.timeline.now + (OPERATOR_S if for_operator else 0.0)
        self._audit.note(self.name, what)
        self._audit.excuse(process.log, until, [self.number])
        self._audit.failed(process.log, self.number)

    def stored(self, text: str) -> None:
        """Tell what readers find from now on."""
        self._audit.stored(self.number, text)


class WatchedSink:
    """A sink that passes everything on, notes it and sees that the contract is kept."""

    def __init__(self, sink: Sink, place: Place, process: Process) -> None:
        self.label = sink.label
        self._sink = sink
        self._place = place
        self._process = process

    @contextmanager
    def claim(self) -> Iterator[None]:
        log = self._process.log
        log.looked.discard(self._place.number)
        began = self._process.timeline.now
        with ExitStack() as claims:
            with self._judged("claim"):
                claims.enter_context(self._sink.claim())
            log.claimed_at[self._place.number] = began
            yield

    def read(self) -> Record | None:
        with self._judged("read"):
            record = self._sink.read()
        self._process.log.looked.add(self._place.number)
        return record

    def write(self, record: Record) -> None:
        with self._judged("write"):
            self._sink.write(record)
        self._process.audit.tally.writes += 1

    @contextmanager
    def _judged(self, what: str) -> Iterator[None]:
        try:
            yield
        except SinkError as error:
            kind = "rejects" if isinstance(error, SinkRejected) else "fails"
            self._process.audit.note(self._process.name, f"{what} {self.label} {kind}: {error}")
            raise
        except Exception as error:
            raise Breach(f"a sink raises SinkError only, not {type(error).__name__}") from error


def tokens_in(stores: list[Store], ledger: Ledger) -> Iterator[tuple[int, Minted, float]]:
    """Yield every token that a process could read, with the number of its store and since when."""
    for number, store in enumerate(stores):
        for text, since in store.texts():
            token = ledger.inside(text)
            if token:
                yield number, token, since
