"""The seams: what the core needs from the rest of the program, one protocol for each. Pure.

docs/extending.md shows how to add a kind to each of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from job.core.errors import Problem, SinkError, SinkRejected
from job.core.memo import Memo
from job.core.secret import Secret
from job.core.tokens import Record, Token

EMPTY = Secret("")


class Inventory(Protocol):
    """Where tokens are listed."""

    @property
    def origin(self) -> str:
        """Return the name of the place for people, such as the path of a file."""

    @property
    def head(self) -> Mapping[str, Any]:
        """Return what is written for all tokens, in the keys of the file."""

    @property
    def folder(self) -> str:
        """Return where relative paths start."""

    def version(self) -> str:
        """Return a text that differs when an entry may have changed; this must be cheap."""

    def entries(self) -> Iterator[tuple[str, Any]]:
        """Yield the name of each token, and its entry as written."""

    def explained(self, problems: Iterable[Problem]) -> Iterable[Problem]:
        """Return what is wrong with entries, in the terms of those who wrote them."""


class SecretSource(Protocol):
    """Where a client secret comes from; it is read anew for every exchange."""

    def resolve(self) -> Secret:
        """Return the current secret; raises SecretUnavailable with the place and the cure."""


class TokenSource(Protocol):
    """Where tokens come from."""

    def fetch(self) -> Token:
        """Return a new token; raises ExchangeError."""

    def changed(self) -> bool:
        """Tell whether a rejected request is worth another try before its wait is over."""


class Conflict(Exception):
    """Raised by `Store.replace` when the store no longer holds the expected revision."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store holds: readers' text, what is kept beside it, and which revision that is.

    All three are empty where nothing is stored. `text` is a Secret because it holds the token.
    `revision` is opaque to all but the store.
    """

    text: Secret = EMPTY
    beside: str = ""
    revision: str = ""


class Store(Protocol):
    """A place that keeps one text for readers, with a small text of ours beside it.

    `RecordSink` (job/sinks/record_sink.py) makes a sink of it. Every method raises SinkUnavailable
    when trying again may help, SinkRejected when an operator has to act, `replace` also Conflict,
    and nothing else. No failure loses the text that was stored. One thread at a time uses a store.
    """

    @property
    def label(self) -> str:
        """Return the place's name in events: its kind and its place, never a secret."""

    @property
    def in_one_step(self) -> bool:
        """Tell whether a text and what is beside it always change together."""

    def lock(self) -> AbstractContextManager[None]:
        """Hold this around load, exchange and replace, so that rival writers request no token too.

        Entering it also finishes what a writer that died had begun. Raises SinkUnavailable when a
        rival holds it longer than an exchange can take. In a store without locks it holds nothing,
        and a rival causes a Conflict.
        """

    def load(self) -> Stored:
        """Return what readers find now; this needs no lock."""

    def replace(self, text: Secret, beside: str, expected: Stored) -> None:
        """Store both durably, whole or not at all; a repetition changes nothing.

        `expected` is what `load` returned last. Raises Conflict unless the store still holds that
        revision. The lock is held. `beside` is empty where the text says everything.
        """

    def foreign(self) -> SinkRejected:
        """Return the refusal to replace a text that freshtoken has not written, with its cure."""


class Superseded(SinkError):
    """Raised by a write that lost to another writer; `winner` is the newer record now stored."""

    def __init__(self, winner: Record) -> None:
        """Keep the record that is in the store."""
        super().__init__("superseded", "another writer has stored a newer token")
        self.winner = winner


class Sink(Protocol):
    """A place where readers find the token. It raises what a `Store` does, and Superseded."""

    @property
    def label(self) -> str:
        """Return the sink's name in events: its kind and its place, never a secret."""

    def claim(self) -> AbstractContextManager[None]:
        """Hold this around read, exchange and write, as the lock of a store."""

    def read(self) -> Record | None:
        """Return the record that readers find now, or None if freshtoken has written none."""

    def write(self, record: Record) -> None:
        """Store the record as a store does; raises Superseded if a rival stored a newer one."""


class Memory(Protocol):
    """Where memos outlast the refreshers that wrote them. Neither call raises.

    Losing a memo costs patience, never a token.
    """

    def load(self, name: str) -> Memo | None:
        """Return what was saved last for the token of that name, or None."""

    def save(self, name: str, memo: Memo | None) -> None:
        """Replace what was saved before; None forgets it."""


Limit = Callable[[float], AbstractContextManager[None]]
"""The context of one exchange. It takes the seconds for which the exchange can be deferred without
harm, and raises Deferred if it may not be made now."""


def unlimited(_: float) -> AbstractContextManager[None]:
    """Allow every exchange."""
    return nullcontext()


class Shortage(NamedTuple):
    """What to report of a budget that is nearly, or completely, spent.

    `budget` is as the configuration writes it; `message` says what it means and what to do.
    """

    spent: int
    left: int
    budget: str
    message: str


class Deferred(Exception):
    """Raised in place of an exchange that a limit defers by `wait_s`. This is not a failure.

    `shortage` is given when it is to be reported.
    """

    def __init__(self, wait_s: float, shortage: Shortage | None = None) -> None:
        """Keep how long to wait, and what to report."""
        super().__init__(wait_s)
        self.wait_s = wait_s
        self.shortage = shortage
