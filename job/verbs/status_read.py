"""What `status` reads from the sinks of every token, and the plain text that it prints of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from job.compose.refreshers import sinks_of
from job.compose.token_source import key_of
from job.compose.tools import Tools
from job.config import Config
from job.core.errors import SinkError
from job.core.ports import Sink
from job.core.schedule import Policy, due_at, risk_at
from job.core.text import duration, wrapped
from job.core.tokens import Record
from job.observe.status import (
    STATES,
    SinkStatus,
    TokenStatus,
    Trouble,
    headline,
    state_of,
    worst_first,
)

NEVER_STORED = "no token has been stored yet; run `freshtoken once`"
NOT_REFRESHED = "it is not being refreshed; see the log of `freshtoken run`"
LATE = "its refresh is late; see the log of `freshtoken run`"
OTHER_REQUEST = (
    "it was got for another request, the configuration has changed since; `freshtoken run` or "
    "`freshtoken once` replaces it"
)


@dataclass(slots=True)
class Look:
    """One sink of one token, as last read at `read_at`, in seconds since boot."""

    token: str
    sink: Sink
    request_key: str
    policy: Policy
    every_s: float = 2.0
    read_at: float | None = None
    found: Record | SinkError | None = None

    def is_old(self, boot: float) -> bool:
        """Tell whether a watcher should read the sink again."""
        return self.read_at is None or boot - self.read_at >= self.every_s

    def read(self, boot: float) -> None:
        """Read the sink."""
        try:
            self.found = self.sink.read()
        except SinkError as error:
            self.found = error
        self.read_at = boot

    def status(self, now: float) -> SinkStatus:
        """Return what readers have at `now`, in epoch seconds."""
        found, label = self.found, self.sink.label
        if self.read_at is None:
            return SinkStatus(label, "unknown")
        if isinstance(found, SinkError):
            trouble = Trouble(int(now), found.code, found.message)
            return SinkStatus(label, "unreadable", trouble=trouble)
        if found is None:
            return SinkStatus(label, "missing", trouble=Trouble(int(now), "", NEVER_STORED))
        return self._held(found, now)

    def _held(self, record: Record, now: float) -> SinkStatus:
        token, due = record.token, due_at(record.token, self.policy, 0.0)
        held = record.receipt.request_key == self.request_key
        state, since = state_of(
            now,
            expires_at=token.expires_at,
            risk_at=risk_at(token, self.policy),
            due_at=due,
            held=held,
            obtained_at=token.requested_at if held else None,
        )
        late = NOT_REFRESHED if state == "expired" else LATE if now >= due else ""
        problem = late if held or state == "expired" else OTHER_REQUEST
        return SinkStatus(
            self.sink.label,
            state,
            token.expires_at,
            since,
            obtained_at=token.requested_at,
            refresh_at=int(due),
            fingerprint=record.receipt.fingerprint,
            held=held,
            trouble=Trouble(int(now), "", problem) if problem else None,
        )


def looks(config: Config, tools: Tools) -> list[Look]:
    """Return every sink of every token, in the order of the configuration, not read yet."""
    return [
        Look(name, sink, key_of(token), tools.policy(token), settings.read_interval_s)
        for name, token in config.tokens.items()
        for settings, sink in zip(token.sinks, sinks_of(name, token, tools), strict=True)
    ]


def statuses(found: Sequence[Look], now: float) -> list[TokenStatus]:
    """Return the status of each token, as its sinks were when they were read."""
    return [
        TokenStatus(name=name, sinks=tuple(look.status(now) for look in group))
        for name, group in groupby(found, key=attrgetter("token"))
    ]


def rows(tokens: Sequence[TokenStatus], now: float) -> Iterator[dict[str, str | int | None]]:
    """Yield a row for each sink of each token, in the order of the configuration."""
    for token in tokens:
        for sink in token.sinks:
            yield {
                "token": token.name,
                "sink": sink.label,
                "state": sink.state,
                "expires_at": sink.expires_at,
                "left_s": None if sink.expires_at is None else int(sink.expires_at - now),
                "refresh_at": sink.refresh_at,
                "fingerprint": sink.fingerprint,
                "problem": sink.trouble.message if sink.trouble else None,
                "obtained_at": sink.obtained_at,
            }


def table(tokens: Sequence[TokenStatus], now: float) -> Iterator[str]:
    """Yield plain lines: the one sentence, a table, and below it what is wrong and what to do."""
    yield headline(tokens, now)[0]
    yield ""
    cells = [("TOKEN", "STATE", "TIME LEFT", "REFRESH", "SINK")]
    cells += [
        (name, STATES[sink.state].word, time_left(sink, now), refresh(sink, now), sink.label)
        for name, sink in sinks_in_order(tokens)
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()
    problems = dict.fromkeys(
        f"{token.name}: {trouble.message}"
        for token in worst_first(tokens)
        for *_, trouble in token.troubles
    )
    if problems:
        yield ""
    yield from (wrapped(problem, "", "  ") for problem in problems)


def sinks_in_order(tokens: Sequence[TokenStatus]) -> list[tuple[str, SinkStatus]]:
    """Return each sink below the name of its token: the worst token, and its worst sink, first."""
    return [
        (token.name, sink) for token in worst_first(tokens) for sink in worst_first(token.sinks)
    ]


def time_left(sink: SinkStatus, now: float) -> str:
    """Return how long readers of a sink still have a token, or how long they have had none."""
    if sink.expires_at is None:
        return "-"
    left_s = sink.expires_at - now
    return f"none for {duration(-left_s)}" if sink.state == "expired" else duration(left_s)


def refresh(sink: SinkStatus, now: float) -> str:
    """Return when the token of a sink is to be replaced, or by how much that is late."""
    if sink.refresh_at is None:
        return "-"
    wait_s = sink.refresh_at - now
    return f"in {duration(wait_s)}" if wait_s > 0 else f"{duration(-wait_s)} late"
