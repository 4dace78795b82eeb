"""The metadata of an issuer, read when needed and kept for a while."""

import copy
import threading

from job.core.clock import Clock
from job.core.errors import ExchangeError
from job.http.transport import Transport
from job.oauth.metadata import Metadata, metadata_of, places_of
from job.oauth.request import get_request
from job.oauth.token_response import TokenResponse

MAX_AGE_S = 3_600.0
"""Endpoints move rarely, and when one refuses a client the metadata is read again at once."""
KEPT_S = 300.0
"""How long older metadata is used without another try, after a try has failed."""
AGAIN_S = 5.0
"""The shortest time between two failures: many tokens may wait for one issuer."""


class Discovery:
    """The metadata of one issuer. Threads may share it; one at a time reads it."""

    def __init__(self, issuer: str, transport: Transport, clock: Clock) -> None:
        """Read nothing yet."""
        self._issuer = issuer
        self._transport = transport
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Metadata | None = None
        self._failed: ExchangeError
        self._ask_at = float("-inf")

    def metadata(self) -> Metadata:
        """Return the metadata, read again when it is an hour old.

        If that fails, the older metadata still counts; without any, raises ExchangeError.
        """
        with self._lock:
            if self._clock().boot >= self._ask_at:
                self._ask()
            if self._known is None:
                # A copy, because threads that share an exception share its traceback.
                raise copy.copy(self._failed)
            return self._known

    def doubt(self, metadata: Metadata) -> None:
        """Have the metadata read again, because its endpoint refused a request."""
        with self._lock:
            if metadata is self._known:
                self._ask_at = self._clock().boot

    def _ask(self) -> None:
        try:
            self._known, wait_s = self._found(), MAX_AGE_S
        except ExchangeError as error:
            error.sent = False
            self._failed = error
            wait_s = KEPT_S if self._known else AGAIN_S
        self._ask_at = self._clock().boot + wait_s

    def _found(self) -> Metadata:
        """Return the metadata of the first place that has it; else raise the clearest reason."""
        failures: list[ExchangeError] = []
        for place in places_of(self._issuer):
            try:
                return self._read(place)
            except ExchangeError as error:
                failures.append(error)
                if error.retryable:
                    break
        # "Not here" is raised only if no place gives a better reason.
        raise next((error for error in failures if error.code != "no_metadata"), failures[0])

    def _read(self, place: str) -> Metadata:
        sent_at = self._clock().wall
        reply = self._transport.send(get_request(place))
        return metadata_of(self._issuer, place, TokenResponse(*reply, sent_at))
