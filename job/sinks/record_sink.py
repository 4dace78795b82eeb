"""The one sink above all stores: it renders and parses records, and decides who may overwrite."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import NamedTuple

from job.core.errors import SinkUnavailable
from job.core.ports import Conflict, Store, Stored, Superseded
from job.core.secret import Secret
from job.core.tokens import OutputFormat, Record, is_ours, parse, render, render_receipt

ATTEMPTS = 3


class _Found(NamedTuple):
    """What a store holds, and the record in it, if any."""

    stored: Stored
    record: Record | None


class RecordSink:
    """A record in a store, laid out as its readers want it. One thread at a time may use it.

    A text that freshtoken has not written is not replaced unless `overwrite`. Of two writers the
    one with the newer token wins; the loser gets Superseded, once for each record that it meets: a
    record from a clock that was ahead must not block a place for ever.
    """

    __slots__ = ("_claimed", "_found", "_known", "_layout", "_overwrite", "_store")

    def __init__(self, store: Store, layout: OutputFormat, *, overwrite: bool = False) -> None:
        """Touch nothing yet."""
        self._store = store
        self._layout = layout
        self._overwrite = overwrite
        self._claimed = False
        self._found: _Found | None = None
        self._known: str | None = None

    @property
    def label(self) -> str:
        """Return the sink's name in events."""
        return self._store.label

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Hold the store's lock; what `read` finds meanwhile is what `write` expects to replace."""
        with self._store.lock():
            try:
                self._claimed = True
                yield
            finally:
                self._claimed = False
                self._found = None

    def read(self) -> Record | None:
        """Return the stored record, or None if freshtoken has stored no whole one."""
        found = self._look()
        self._known = found.record.receipt.fingerprint if found.record else None
        # Outside a claim it would be out of date at the write, and keep a token in memory.
        self._found = found if self._claimed else None
        return found.record

    def write(self, record: Record) -> None:
        """Store the record, unless it is there already.

        Raises Superseded for a newer record that was not there at the last `read`.
        """
        with nullcontext() if self._claimed else self.claim():
            for _ in range(ATTEMPTS):
                found, self._found = self._found or self._look(), None
                if found.record and found.record.receipt == record.receipt:
                    break
                self._yield_to_newer(found.record, record)
                with suppress(Conflict):
                    self._replace(found, record)
                    break
            else:
                what = "other writers were faster each time"
                cure = "if this goes on, give each job a place of its own"
                raise SinkUnavailable("contended", f"{self.label}: {what}; {cure}")
        self._known = None

    def _look(self) -> _Found:
        stored = self._store.load()
        text = stored.text.reveal()
        record = parse(text, self._layout, stored.beside)
        ours = record or not text or self._overwrite or is_ours(text) or is_ours(stored.beside)
        if not ours:
            raise self._store.foreign()
        return _Found(stored, record)

    def _yield_to_newer(self, stored: Record | None, record: Record) -> None:
        if stored is None or stored.receipt.fingerprint == self._known:
            return
        if stored.receipt.requested_at >= record.receipt.requested_at:
            self._known = stored.receipt.fingerprint
            raise Superseded(stored)

    def _replace(self, found: _Found, record: Record) -> None:
        text, beside = render(record, self._layout), ""
        if not self._layout.carries_receipt:
            previous = None if self._store.in_one_step else found.record
            beside = render_receipt(record, self._layout, previous)
        self._store.replace(Secret(_encodable(text)), _encodable(beside), found.stored)


def _encodable(text: str) -> str:
    """Return the text without what UTF-8 can't hold, such as a lone surrogate in a scope."""
    return text.encode(errors="replace").decode()
