"""The seams: what the core asks of the rest, one protocol for each. Pure.

docs/extending.md shows how to add a kind to each of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from job.core.errors import Problem, SinkError, SinkRejected
from job.core.memo import Memo
from job.core.secret import Secret
from job.core.tokens import Record, Token

EMPTY = Secret("")


class Inventory(Protocol):
    """Where tokens are listed."""

    @property
    def origin(self) -> str:
        """Return what people call the place, such as the path of a file."""

    @property
    def head(self) -> Mapping[str, Any]:
        """Return what is written for all tokens, in the keys of the file."""

    @property
    def folder(self) -> str:
        """Return where relative paths start."""

    def version(self) -> str:
        """Return a text that differs when an entry may have changed; it costs almost nothing."""

    def entries(self) -> Iterator[tuple[str, Any]]:
        """Yield the name of each token, and its entry as it is written."""

    def explained(self, problems: Iterable[Problem]) -> Iterable[Problem]:
        """Return what is wrong with entries, in the terms of those who wrote them."""


class SecretSource(Protocol):
    """Where a client secret comes from. It is asked again for every exchange."""

    def resolve(self) -> Secret:
        """Return the secret as it is now; raises SecretUnavailable with the place and the cure."""


class TokenSource(Protocol):
    """Where tokens come from."""

    def fetch(self) -> Token:
        """Return a new token; raises ExchangeError."""

    def changed(self) -> bool:
        """Tell whether a request that was rejected is worth another try before its time."""


class Conflict(SinkError):
    """Raised by `Store.replace` when the store no longer holds the expected revision."""

    exit_code = 74

    def __init__(self) -> None:
        """Say so; the writer looks again and decides."""
        super().__init__("conflict", "another writer was faster")


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store holds: readers' text, what is kept beside it, and which revision that is.

    All three are empty where nothing is stored. `text` is a Secret, for it holds the token.
    `revision` is the store's own word for this state; nobody else looks into it.
    """

    text: Secret = EMPTY
    beside: str = ""
    revision: str = ""


class Store(Protocol):
    """A place that keeps one text for readers, with a small text of ours beside it.

    `RecordSink` (job/sinks/record_sink.py) makes a sink of it. Every method raises SinkUnavailable
    when trying again may help, SinkRejected when an operator has to act, `replace` also Conflict,
    and nothing else. None of them ever leaves the store without the text that it had. One thread
    at a time uses a store.
    """

    @property
    def label(self) -> str:
        """Return the place's name in events: its kind and its place, never a secret."""

    @property
    def in_one_step(self) -> bool:
        """Tell whether readers find a new text together with what is beside it, at every moment."""

    def lock(self) -> AbstractContextManager[None]:
        """Hold this around load, exchange and replace: it keeps rival writers from minting too.

        Entering it also finishes what a writer that died had begun. Raises SinkUnavailable when a
        rival keeps it longer than an exchange can take. A store without locks holds nothing:
        a rival then shows as a Conflict.
        """

    def load(self) -> Stored:
        """Return what readers find now; nobody needs the lock for that."""

    def replace(self, text: Secret, beside: str, expected: Stored) -> None:
        """Store both durably, whole or not at all; doing it twice is doing it once.

        `expected` is what `load` returned last. Raises Conflict unless the store still holds that
        revision. The lock is held; `beside` is empty where the text itself is enough.
        """

    def foreign(self) -> SinkRejected:
        """Return the refusal to replace a text that freshtoken has not written, with its cure."""


class Superseded(SinkError):
    """Raised by a write that lost to another writer; `winner` is the newer record now stored."""

    exit_code = 74

    def __init__(self, winner: Record) -> None:
        """Keep the record that is in the store."""
        super().__init__("superseded", "another writer has stored a newer token")
        self.winner = winner


class Sink(Protocol):
    """A place where readers find the token.

    Every method raises SinkUnavailable when trying again may help, SinkRejected when an operator
    has to act, and nothing else. None of them ever leaves the store without the token it had.
    """

    @property
    def label(self) -> str:
        """Return the sink's name in events: its kind and its place, never a secret."""

    def claim(self) -> AbstractContextManager[None]:
        """Hold this around read, exchange and write: it keeps rival writers from minting too.

        Entering it also finishes what a writer that died had begun. Raises SinkUnavailable when a
        rival keeps it longer than an exchange can take.
        """

    def read(self) -> Record | None:
        """Return the record that readers find now, or None if freshtoken has written none."""

    def write(self, record: Record) -> None:
        """Store the record durably, whole or not at all; writing it twice is writing it once.

        Raises Superseded when another writer has stored a newer record in the meantime.
        """


class Memory(Protocol):
    """Where what is known of tokens outlasts the refreshers that learned it. Neither call raises.

    Losing a memo costs patience, never a token.
    """

    def load(self, name: str) -> Memo | None:
        """Return what was saved last for the token of that name, or None."""

    def save(self, name: str, memo: Memo | None) -> None:
        """Remember this of a token, in place of what was saved before; None forgets it."""


Limit = Callable[[float], AbstractContextManager[None]]
"""The context of one exchange: it takes how long the exchange can be deferred without harm, and
raises Deferred where it may not be made now."""


def unlimited(_: float) -> AbstractContextManager[None]:
    """Let every exchange be made when it is due."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Shortage:
    """What to tell people about a budget that is nearly, or completely, spent.

    `budget` is as the configuration writes it; `message` says what it means and what to do.
    """

    spent: int
    left: int
    budget: str
    message: str


class Deferred(Exception):
    """Raised in place of an exchange that a limit defers by `wait_s`. This is not a failure.

    `shortage` is there when people are to be told.
    """

    def __init__(self, wait_s: float, shortage: Shortage | None = None) -> None:
        """Keep how long to wait, and what to tell."""
        super().__init__(wait_s)
        self.wait_s = wait_s
        self.shortage = shortage
