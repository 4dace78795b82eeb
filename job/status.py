"""How every token fares in every sink: read, never written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from job.config import Config
from job.errors import SinkError
from job.schedule import Policy, due_at
from job.sinks import Sink
from job.sources import key_of
from job.text import duration, wrapped
from job.tokens import Record
from job.wire import Wiring

NEVER_STORED = "no token has been stored yet; run `freshtoken once`"
OK, WARNING, CRITICAL = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Row:
    """How one token fares in one sink. `state` is current, due, expired, missing or unreadable."""

    token: str
    sink: str
    state: str
    expires_at: int | None = None
    left_s: int | None = None
    refresh_at: int | None = None
    fingerprint: str | None = None
    problem: str | None = None

    @property
    def severity(self) -> int:
        """Return the state by the convention of monitoring plugins: 0, 1 or 2."""
        return {"current": OK, "due": WARNING}.get(self.state, CRITICAL)


def rows(config: Config, wiring: Wiring, now: float) -> list[Row]:
    """Read every sink of every token; `now` is in epoch seconds."""
    return [
        row_of(name, sink, key_of(settings), wiring.policy(settings), now)
        for name, settings in config.tokens.items()
        for sink in wiring.sinks(name, settings, config.folder)
    ]


def row_of(name: str, sink: Sink, request_key: str, policy: Policy, now: float) -> Row:
    """Read one sink."""
    try:
        record = sink.read()
    except SinkError as error:
        return Row(name, sink.label, "unreadable", problem=error.message)
    if record is None:
        return Row(name, sink.label, "missing", problem=NEVER_STORED)
    state, problem = _state_of(record, request_key, policy, now)
    return Row(
        name,
        sink.label,
        state,
        record.token.expires_at,
        int(record.token.expires_at - now),
        int(due_at(record.token, policy, 0.0)),
        record.receipt.fingerprint,
        problem,
    )


def _state_of(
    record: Record, request_key: str, policy: Policy, now: float
) -> tuple[str, str | None]:
    if now >= record.token.expires_at:
        return "expired", "it is not being refreshed: see the log of `freshtoken run`"
    if record.receipt.request_key != request_key:
        return "due", "it was got for another request: the configuration has changed since"
    if now >= due_at(record.token, policy, 0.0):
        return "due", "its refresh is late: see the log of `freshtoken run`"
    return "current", None


def current_record(sinks: Sequence[Sink], now: float) -> tuple[Record | None, list[SinkError]]:
    """Return the first valid record, or None and the errors of the sinks that can't be read."""
    errors = []
    for sink in sinks:
        try:
            record = sink.read()
        except SinkError as error:
            errors.append(error)
            continue
        if record is not None and now < record.token.expires_at:
            return record, []
    return None, errors


def worst(found: list[Row]) -> int:
    """Return the exit status of `status`."""
    return max((row.severity for row in found), default=CRITICAL)


def table(found: Sequence[Row], now: float) -> Iterator[str]:
    """Yield the lines of a table for people, and below it what is wrong and what to do."""
    cells = [("TOKEN", "STATE", "TIME LEFT", "REFRESH", "SINK")]
    cells += [(row.token, row.state, _left(row), _refresh(row, now), row.sink) for row in found]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()
    problems = dict.fromkeys(f"{row.token}: {row.problem}" for row in found if row.problem)
    if problems:
        yield ""
    yield from (wrapped(problem, "", "  ") for problem in problems)


def _left(row: Row) -> str:
    if row.left_s is None:
        return "-"
    return duration(row.left_s) if row.left_s > 0 else "none"


def _refresh(row: Row, now: float) -> str:
    if row.refresh_at is None:
        return "-"
    wait_s = row.refresh_at - now
    return f"in {duration(wait_s)}" if wait_s > 0 else f"{duration(-wait_s)} late"
