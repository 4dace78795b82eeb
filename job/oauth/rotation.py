"""Several secrets of one client, tried one after the other: a rotation without a gap."""

from collections.abc import Callable
from dataclasses import replace

from job.core.errors import ExchangeError, RequestRejected, SecretUnavailable
from job.core.ports import TokenSource
from job.core.tokens import Token
from job.credentials.watched import WatchedSecret

UNAUTHENTICATED = 401
BLAMES_THE_CLIENT = ("invalid_client", "http_403")
"""What a server says of a wrong secret (RFC 6749 section 5.2); some say it by the status alone."""


class RotatingSource:
    """A source whose next secret is tried, in the same fetch, when the server refuses one.

    The one that worked is tried first the next time. `again` counts a further request, and tells
    whether the limits allow it.
    """

    def __init__(
        self, source: TokenSource, secret: WatchedSecret, again: Callable[[], bool]
    ) -> None:
        """Wrap the source that uses `secret`."""
        self._source = source
        self._secret = secret
        self._again = again

    def fetch(self) -> Token:
        """Return a new token, with the position of the secret that got it.

        Raises ExchangeError: what the server said of the first secret, or else what is wrong with
        its source.
        """
        errors: list[ExchangeError] = []
        while True:
            try:
                token = self._source.fetch()
            except (RequestRejected, SecretUnavailable) as error:
                if not _blames_the_secret(error):
                    raise
                errors.append(error)
            else:
                return replace(token, secret_position=self._secret.position)
            self._secret.next()
            is_last = len(errors) == self._secret.count
            # Nothing was sent with a secret that could not be read: the limits count no request.
            if is_last or (errors[-1].sent and not self._again()):
                raise _summed_up(errors)

    def changed(self) -> bool:
        """Tell whether any of the secrets has changed since it was used."""
        return self._source.changed()


def _blames_the_secret(error: ExchangeError) -> bool:
    if not error.sent:  # an issuer's metadata may want a login of its own
        return isinstance(error, SecretUnavailable)
    return error.http_status == UNAUTHENTICATED or error.code in BLAMES_THE_CLIENT


def _summed_up(errors: list[ExchangeError]) -> ExchangeError:
    first = next((error for error in errors if isinstance(error, RequestRejected)), errors[0])
    if len(errors) == 1 or isinstance(first, SecretUnavailable):
        return first
    return RequestRejected(
        first.code,
        f"{first.message}; {len(errors)} client secrets were tried",
        http_status=first.http_status,
        retry_after=first.retry_after,
    )
