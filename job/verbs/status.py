"""How every token fares in every sink: read, never written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from job.compose.refreshers import Wiring
from job.compose.token_source import key_of
from job.config import Config
from job.core.errors import SinkError
from job.core.ports import Sink
from job.core.schedule import Policy, due_at, risk_at
from job.core.text import duration, wrapped
from job.core.tokens import Record
from job.observe.wording import WORDS, badness, many, verdict

NEVER_STORED = "no token has been stored yet; run `freshtoken once`"
NOT_REFRESHED = "it is not being refreshed; see the log of `freshtoken run`"
LATE = "its refresh is late; see the log of `freshtoken run`"
OTHER_REQUEST = (
    "it was got for another request, the configuration has changed since; `freshtoken run` or "
    "`freshtoken once` replaces it"
)
OK, WARNING, CRITICAL = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Row:
    """How one token fares in one sink; times in epoch seconds, None where the sink tells none.

    `state` is current, due (past its refresh time), at_risk (less is left than is promised),
    expired, missing, unreadable, or unknown if the sink was not read yet. `obtained_at` is when
    the token was asked for.
    """

    token: str
    sink: str
    state: str
    expires_at: int | None = None
    left_s: int | None = None
    refresh_at: int | None = None
    fingerprint: str | None = None
    problem: str | None = None
    obtained_at: int | None = None

    @property
    def severity(self) -> int:
        """Return the state by the convention of monitoring plugins: 0, 1 or 2."""
        return {"current": OK, "due": WARNING, "at_risk": WARNING}.get(self.state, CRITICAL)

    @property
    def rank(self) -> tuple[int, float]:
        """Return what rows are sorted by, so that the worst is first."""
        return badness(self.state), float("inf") if self.left_s is None else self.left_s


@dataclass(slots=True)
class Look:
    """One sink of one token, as it was when it was read last; `read_at` in seconds since boot."""

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

    def row(self, now: float) -> Row:
        """Tell how what was found fares at `now`, in epoch seconds."""
        found = self.found
        if self.read_at is None:
            return Row(self.token, self.sink.label, "unknown")
        if isinstance(found, SinkError):
            return Row(self.token, self.sink.label, "unreadable", problem=found.message)
        if found is None:
            return Row(self.token, self.sink.label, "missing", problem=NEVER_STORED)
        state, problem = _state_of(found, self.request_key, self.policy, now)
        return Row(
            self.token,
            self.sink.label,
            state,
            found.token.expires_at,
            int(found.token.expires_at - now),
            int(due_at(found.token, self.policy, 0.0)),
            found.receipt.fingerprint,
            problem,
            found.token.requested_at,
        )


def looks(config: Config, wiring: Wiring) -> list[Look]:
    """Return every sink of every token, in the order of the configuration; none is read yet."""
    return [
        Look(name, sink, key_of(token), wiring.policy(token), settings.read_interval_s)
        for name, token in config.tokens.items()
        for settings, sink in zip(
            token.sinks, wiring.sinks(name, token, config.folder), strict=True
        )
    ]


def rows(found: Sequence[Look], now: float) -> list[Row]:
    """Read each sink once; `now` is in epoch seconds."""
    for look in found:
        look.read(0.0)
    return [look.row(now) for look in found]


def _state_of(
    record: Record, request_key: str, policy: Policy, now: float
) -> tuple[str, str | None]:
    if now >= record.token.expires_at:
        return "expired", NOT_REFRESHED
    other = record.receipt.request_key != request_key
    late = now >= due_at(record.token, policy, 0.0)
    problem = OTHER_REQUEST if other else LATE if late else None
    if now >= risk_at(record.token, policy):
        return "at_risk", problem
    return "due" if problem else "current", problem


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


def worst(found: Sequence[Row]) -> int:
    """Return the exit status of `status`."""
    return max((row.severity for row in found), default=CRITICAL)


def worst_first(found: Sequence[Row]) -> list[list[Row]]:
    """Return the rows token by token: the worst token first, and its worst sink first."""
    by_token = [
        sorted(group, key=attrgetter("rank"))
        for _, group in groupby(found, key=attrgetter("token"))
    ]
    return sorted(by_token, key=lambda group: group[0].rank)


def summary(found: Sequence[Row]) -> tuple[str, str]:
    """Return the one sentence about all tokens, and the state whose mark it bears."""
    states = [group[0].state for group in worst_first(found)]
    late = states.count("due")
    waits = "waits" if late == 1 else "wait"
    but = f"{late} of {many(len(states))} {waits} for a refresh" if late else ""
    return verdict(states, duration(min((row.left_s or 0 for row in found), default=0)), but)


def table(found: Sequence[Row], now: float) -> Iterator[str]:
    """Yield plain lines: the one sentence, a table, and below it what is wrong and what to do."""
    ordered = [row for group in worst_first(found) for row in group]
    yield summary(found)[0]
    yield ""
    cells = [("TOKEN", "STATE", "TIME LEFT", "REFRESH", "SINK")]
    cells += [
        (row.token, WORDS[row.state][1], time_left(row), refresh(row, now), row.sink)
        for row in ordered
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()
    problems = dict.fromkeys(f"{row.token}: {row.problem}" for row in ordered if row.problem)
    if problems:
        yield ""
    yield from (wrapped(problem, "", "  ") for problem in problems)


def time_left(row: Row) -> str:
    """Return how long readers of a sink have a token yet, or how long they have had none."""
    if row.left_s is None:
        return "-"
    gone = row.state == "expired"
    return f"none for {duration(-row.left_s)}" if gone else duration(row.left_s)


def refresh(row: Row, now: float) -> str:
    """Return when the token of a sink is to be refreshed, or since when it should have been."""
    if row.refresh_at is None:
        return "-"
    wait_s = row.refresh_at - now
    return f"in {duration(wait_s)}" if wait_s > 0 else f"{duration(-wait_s)} late"
