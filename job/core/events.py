"""The vocabulary: one frozen type for each outcome. The core returns them, observers report them.

The name of each and its fields are the contract (docs/events.md); a field is never a secret.
`_at` is epoch seconds, `_s` seconds, `_ms` milliseconds.
"""

import traceback
from dataclasses import dataclass
from typing import ClassVar, Literal

Level = Literal["debug", "info", "warning", "error", "critical"]


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events: a stable name and a level."""

    name: ClassVar[str]
    level: ClassVar[Level] = "info"


@dataclass(frozen=True, slots=True)
class ConfigurationInForce(Event):
    """Base of the events that say how many tokens are kept from now on."""

    version: str
    tokens: int


@dataclass(frozen=True, slots=True)
class JobStarted(ConfigurationInForce):
    """The scheduler process has begun its work."""

    name: ClassVar[str] = "job.started"


@dataclass(frozen=True, slots=True)
class JobStopped(Event):
    """The scheduler process ends, and why."""

    name: ClassVar[str] = "job.stopped"

    reason: str


@dataclass(frozen=True, slots=True)
class JobReloaded(ConfigurationInForce):
    """A new configuration is in force."""

    name: ClassVar[str] = "job.reloaded"


@dataclass(frozen=True, slots=True)
class JobCrashed(Event):
    """A bug of freshtoken was caught; `traceback` shows places, never values."""

    name: ClassVar[str] = "job.crashed"
    level: ClassVar[Level] = "critical"

    error: str
    traceback: str
    token: str | None = None


@dataclass(frozen=True, slots=True)
class ConfigRejected(Event):
    """A configuration could not be used; the one in force stays."""

    name: ClassVar[str] = "config.rejected"
    level: ClassVar[Level] = "error"

    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClockStepped(Event):
    """The wall clock was set; the schedule of every token has been computed again."""

    name: ClassVar[str] = "clock.stepped"
    level: ClassVar[Level] = "warning"

    step_s: float


@dataclass(frozen=True, slots=True)
class TokenEvent(Event):
    """Base of the events about one token."""

    token: str


class TokenFailure(TokenEvent):
    """Base of the failures of one token, which say whether a retry can help."""

    __slots__ = ()

    retryable: bool  # not a field: each kind has it at its own position

    @property
    def level(self) -> Level:  # type: ignore[override]
        """Return "warning" if a retry can help, "error" if a person must act."""
        return "warning" if self.retryable else "error"


@dataclass(frozen=True, slots=True)
class ReadersAlarm(TokenEvent):
    """Base of the alarms: the worst sink, and the expiry of its token."""

    sink: str
    expires_at: int
    failures: int
    min_validity_s: int


@dataclass(frozen=True, slots=True)
class TokenAdopted(TokenEvent):
    """A token found in a sink is good: no exchange was needed."""

    name: ClassVar[str] = "token.adopted"

    fingerprint: str
    expires_at: int
    refresh_at: int
    sink: str


@dataclass(frozen=True, slots=True)
class TokenRefreshed(TokenEvent):
    """The exchange gave a new token; `note` says what is remarkable about the answer, if anything.

    If the client has several secrets, `secret_position` is that of the one that got the token.
    """

    name: ClassVar[str] = "token.refreshed"

    fingerprint: str
    expires_at: int
    expiry_source: str
    refresh_at: int
    exchange_ms: int
    attempts: int
    note: str = ""
    secret_position: int | None = None


@dataclass(frozen=True, slots=True)
class TokenDelivered(TokenEvent):
    """A sink has stored the token."""

    name: ClassVar[str] = "token.delivered"

    sink: str
    fingerprint: str
    write_ms: int


@dataclass(frozen=True, slots=True)
class TokenUnchanged(TokenEvent):
    """The server returned the token in hand again."""

    name: ClassVar[str] = "token.unchanged"
    level: ClassVar[Level] = "warning"

    fingerprint: str
    expires_at: int
    refresh_at: int


@dataclass(frozen=True, slots=True)
class TokenRefreshFailed(TokenFailure):
    """An exchange failed; `message` says what to do. `expires_at` is the stored token's."""

    name: ClassVar[str] = "token.refresh_failed"

    code: str
    message: str
    http_status: int | None
    failures: int
    retry_at: int
    expires_at: int | None
    retryable: bool
    exit_code: int


@dataclass(frozen=True, slots=True)
class TokenDeliveryFailed(TokenFailure):
    """A sink could not be read or written; `message` says what to do."""

    name: ClassVar[str] = "token.delivery_failed"

    sink: str
    code: str
    message: str
    failures: int
    retry_at: int
    retryable: bool
    exit_code: int


@dataclass(frozen=True, slots=True)
class TokenAtRisk(ReadersAlarm):
    """Readers now get a token with less than `min_validity_s` left. Reported once per token."""

    name: ClassVar[str] = "token.at_risk"
    level: ClassVar[Level] = "error"


@dataclass(frozen=True, slots=True)
class TokenExpired(ReadersAlarm):
    """Readers now get an expired token. Reported once per token."""

    name: ClassVar[str] = "token.expired"
    level: ClassVar[Level] = "critical"


@dataclass(frozen=True, slots=True)
class TokenPromiseUnholdable(TokenEvent):
    """The life that the server gives is too short for the promise; `reason` has the arithmetic."""

    name: ClassVar[str] = "token.promise_unholdable"
    level: ClassVar[Level] = "warning"

    life_s: int
    min_validity_s: int
    reason: str


@dataclass(frozen=True, slots=True)
class TokenBudgetShort(TokenEvent):
    """The budget of a token's client is nearly, or completely, spent. Reported once a period."""

    name: ClassVar[str] = "token.budget_short"

    spent: int
    left: int
    budget: str
    message: str
    next_at: int

    @property
    def level(self) -> Level:  # type: ignore[override]
        """Return "warning" while exchanges are left, else "error"."""
        return "warning" if self.left else "error"


@dataclass(frozen=True, slots=True)
class HookRan(TokenEvent):
    """A hook succeeded; `output` is the beginning of what it printed."""

    name: ClassVar[str] = "hook.ran"
    level: ClassVar[Level] = "debug"

    hook: str
    occasion: str
    took_ms: int
    output: str


@dataclass(frozen=True, slots=True)
class HookFailed(TokenEvent):
    """A hook failed, and is retried without a new token."""

    name: ClassVar[str] = "hook.failed"
    level: ClassVar[Level] = "warning"

    hook: str
    occasion: str
    message: str
    failures: int
    retry_at: int


def crashed(error: BaseException, token: str | None) -> JobCrashed:
    """Describe a bug by its type and places; its message and locals could hold a secret."""
    frames = traceback.extract_tb(error.__traceback__)
    places = "\n".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
    return JobCrashed(type(error).__name__, places, token)
