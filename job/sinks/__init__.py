"""Stores for tokens. A sink keeps one record and gives it back."""

from contextlib import AbstractContextManager
from typing import Protocol

from job.errors import SinkError
from job.tokens import Record


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
        """Return the record that readers find now, or None if there is none of ours."""

    def write(self, record: Record) -> None:
        """Store the record durably, whole or not at all; writing it twice is writing it once.

        Raises Superseded when another writer has stored a newer record in the meantime.
        """
