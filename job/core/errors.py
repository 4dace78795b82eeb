"""Every error of the program. Two attributes drive all behaviour: `retryable` and `exit_code`.

Each third-party exception is translated into one of these in exactly one file, so nothing above
ever sees a requests, botocore or OS exception. Messages are our own, for people; they never hold
a body, a header or a secret.
"""

from collections.abc import Sequence
from typing import NamedTuple


class JobError(Exception):
    """Base of all errors.

    `code` is a short stable word for machines (`timeout`, `invalid_client`, `access_denied`);
    `message` says what is wrong and what to do, for people.
    """

    retryable: bool = True
    exit_code: int = 70

    def __init__(self, code: str, message: str) -> None:
        """Keep the code and the message."""
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        """Return the message followed by the code."""
        return f"{self.message} [{self.code}]"


class Problem(NamedTuple):
    """What is wrong at a place, and the cure; never a value that could be a secret."""

    place: str
    text: str

    def __str__(self) -> str:
        """Give the line that people read."""
        return f"{self.place}: {self.text}"


class ConfigError(JobError):
    """Raised when the configuration cannot be used; `problems` has one line for each mistake.

    `origin` is the file or other place that holds them; it is empty where a problem names it.
    """

    retryable = False
    exit_code = 78

    def __init__(self, problems: Sequence[str], origin: str = "") -> None:
        """Keep the problems, each with its place and its cure."""
        super().__init__("configuration", "\n".join(problems))
        self.problems = tuple(problems)
        self.origin = origin


class ExchangeError(JobError):
    """Base of what can go wrong between us and the token endpoint.

    `http_status` is None when there was no answer. `retry_after` is the server's Retry-After in
    seconds from the moment of the answer (RFC 9110 section 10.2.3), or None. `sent` is False where
    certainly no token was requested, so that no server has counted anything.
    """

    sent = True

    def __init__(
        self,
        code: str,
        message: str,
        *,
        http_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Keep what the answer said beside the code and the message."""
        super().__init__(code, message)
        self.http_status = http_status
        self.retry_after = retry_after


class EndpointUnavailable(ExchangeError):
    """Raised when the token endpoint cannot be reached or says that it cannot answer now."""

    exit_code = 75


class ResponseInvalid(ExchangeError):
    """Raised when a successful response holds no token that can be published."""

    exit_code = 75


class RequestRejected(ExchangeError):
    """Raised when the server refuses the request as it is: an operator has to act."""

    retryable = False
    exit_code = 77


class SecretUnavailable(ExchangeError):
    """Raised when a secret of the client cannot be read from its source.

    A `passing` fault is tried again soon, any other waits for an operator. `exit_code` is 75 for
    the first, 77 when the source refuses us for lack of `permission`, else 78.
    """

    sent = False

    def __init__(
        self, code: str, message: str, *, passing: bool = False, permission: bool = False
    ) -> None:
        """Derive what drives behaviour; `passing` wins over `permission`."""
        super().__init__(code, message)
        self.retryable = passing
        self.exit_code = 75 if passing else 77 if permission else 78


class SinkError(JobError):
    """Base of what can go wrong between us and a store."""

    exit_code = 74


class SinkUnavailable(SinkError):
    """Raised when a store may take the record later: throttled, unreachable, disk full."""


class SinkRejected(SinkError):
    """Raised when a store refuses us until an operator acts: denied, missing, misplaced.

    `exit_code` is 77 when the refusal is about a `permission`, else 74.
    """

    retryable = False

    def __init__(self, code: str, message: str, *, permission: bool = False) -> None:
        """Derive the exit status."""
        super().__init__(code, message)
        self.exit_code = 77 if permission else 74
