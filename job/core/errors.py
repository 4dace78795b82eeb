"""Every error of the program. Two attributes drive all behaviour: `retryable` and `exit_code`.

Each third-party exception is translated into one of these in exactly one file, so nothing above
ever sees a requests, botocore or OS exception. Messages are written here by us, for people;
they never hold a body, a header or a secret.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class JobError(Exception):
    """Base of all errors.

    `code` is a short stable word for machines (`timeout`, `invalid_client`, `access_denied`);
    `message` says what is wrong and what to do, for people.
    """

    retryable: ClassVar[bool] = True
    exit_code: ClassVar[int] = 70

    def __init__(self, code: str, message: str) -> None:
        """Keep the code and the message."""
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        """Give the message followed by the code."""
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

    `origin` is the file, or whatever holds them; it is empty where the problem names it.
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

    `http_status` is None when there was no answer. `retry_after` is the server's wish in seconds
    from the moment of the answer (RFC 9110 section 10.2.3), or None. `sent` is False where it is
    certain that no token was asked for, so that no server has counted a request.
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
    """Raised when a successful answer holds no token that can be published."""

    exit_code = 75


class RequestRejected(ExchangeError):
    """Raised when the server refuses the request as it is: an operator has to act."""

    retryable = False
    exit_code = 77


class SecretUnavailable(ExchangeError):
    """Raised when a secret of the client cannot be read from its source.

    A fault that is `passing` is tried again soon, any other waits for an operator. `exit_code` is
    75 for the first, 77 when the source refuses us for lack of `permission`, else 78.
    """

    sent = False

    def __init__(
        self, code: str, message: str, *, passing: bool = False, permission: bool = False
    ) -> None:
        """Keep whether it may pass by itself, and whether a permission is missing."""
        super().__init__(code, message)
        self.passing = passing
        self.permission = permission

    @property
    def retryable(self) -> bool:  # type: ignore[override]
        """Tell what may pass by itself."""
        return self.passing

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """Tell what passes (75), a lack of permission (77) and the rest (78) apart."""
        if self.passing:
            return 75
        return 77 if self.permission else 78


class SinkError(JobError):
    """Base of what can go wrong between us and a store."""


class SinkUnavailable(SinkError):
    """Raised when a store may take the record later: throttled, unreachable, disk full."""

    exit_code = 74


class SinkRejected(SinkError):
    """Raised when a store refuses us until an operator acts: denied, missing, misplaced.

    `exit_code` is 77 when the refusal is about permissions, else 74.
    """

    retryable = False

    def __init__(self, code: str, message: str, *, permission: bool = False) -> None:
        """Keep whether the store refused us for lack of permission."""
        super().__init__(code, message)
        self.permission = permission

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """Tell a lack of permission (77) from every other refusal (74)."""
        return 77 if self.permission else 74
