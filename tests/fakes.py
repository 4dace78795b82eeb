"""Stand-ins that tests compose: a clock, a source of tokens and a store, each a few lines."""

import contextlib
from collections.abc import Callable, Iterator

from job.core.clock import Moment
from job.core.errors import SinkError
from job.core.ports import Superseded
from job.core.secret import Secret
from job.core.tokens import Record, Token, record_of

START = 1_764_000_000


class FakeClock:
    """Both clocks at once; `advance` moves time, `step` sets the wall clock alone."""

    def __init__(self, wall: float = START) -> None:
        self.moment = Moment(wall, 1_000.0)

    def __call__(self) -> Moment:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment = Moment(self.moment.wall + seconds, self.moment.boot + seconds)

    def step(self, seconds: float) -> None:
        self.moment = Moment(self.moment.wall + seconds, self.moment.boot)


def token(
    value: str = "tok-1", requested_at: int = START, life: int = 3600, **more: object
) -> Token:
    """Make a token; `more` replaces any other field."""
    fields: dict[str, object] = {
        "token_type": "Bearer",
        "scope": "",
        "expiry_source": "expires_in",
    } | more
    return Token(
        access_token=Secret(value),
        requested_at=requested_at,
        expires_at=requested_at + life,
        **fields,  # type: ignore[arg-type]
    )


def record(
    value: str = "tok-1", requested_at: int = START, life: int = 3600, key: str = "key"
) -> Record:
    """Make a record of such a token."""
    return record_of(token(value, requested_at, life), key)


class ScriptedSource:
    """A TokenSource that plays its script: a token, an error, or a function that gives either."""

    def __init__(self, *script: Token | Exception | Callable[[], Token]) -> None:
        self.script = list(script)
        self.fetched = 0
        self.has_changed = False

    def fetch(self) -> Token:
        self.fetched += 1
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, Token) else step()

    def changed(self) -> bool:
        return self.has_changed


class AnsweringSource:
    """A TokenSource that asks a function each time; `fetched` counts."""

    def __init__(self, answer: Callable[[], Token]) -> None:
        self.answer = answer
        self.fetched = 0
        self.has_changed = False

    def fetch(self) -> Token:
        self.fetched += 1
        return self.answer()

    def changed(self) -> bool:
        return self.has_changed


class MemorySink:
    """A Sink in memory that fails as told: the errors of each method are raised one by one."""

    def __init__(self, label: str = "memory", stored: Record | None = None) -> None:
        self.label = label
        self.stored = stored
        self.claim_errors: list[SinkError] = []
        self.read_errors: list[SinkError] = []
        self.write_errors: list[SinkError] = []
        self.written: list[Record] = []

    @contextlib.contextmanager
    def claim(self) -> Iterator[None]:
        if self.claim_errors:
            raise self.claim_errors.pop(0)
        yield

    def read(self) -> Record | None:
        if self.read_errors:
            raise self.read_errors.pop(0)
        return self.stored

    def write(self, record: Record) -> None:
        if self.write_errors:
            error = self.write_errors.pop(0)
            if isinstance(error, Superseded):
                self.stored = error.winner
            raise error
        self.stored = record
        self.written.append(record)
