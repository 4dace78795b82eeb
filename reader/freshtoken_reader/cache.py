"""Keeps the token of one store in memory, and reads the store again in time.

freshtoken promises that a token which is read is valid for `min_validity` more. When half of that
time has passed, the store is read again in the background; when four fifths have, the caller waits
for it. If reading fails, the token is used until its own expiry, if that is known.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, ClassVar

from freshtoken_reader.clock import Clock, system_clock
from freshtoken_reader.document import parse

if TYPE_CHECKING:
    from freshtoken_reader.stores import Store

MIN_VALIDITY_S = 300.0
"""The default `min_validity` of freshtoken."""
RETRY_S = 5.0
"""How long a store that failed, or is being read, is left alone while a cached token is usable."""
STALE, OVERDUE = 0.5, 0.8
"""When to read again, as a part of `min_validity`: in the background, and with the caller waiting.

The last fifth is for the request that the token is used in.
"""


class TokenUnavailable(Exception):
    """Raised when the store gives no token that can be used, and none is cached."""

    code: ClassVar[str] = "token_unavailable"

    def __str__(self) -> str:
        """Give the message followed by the code."""
        return f"{super().__str__()} [{self.code}]"


@dataclass(frozen=True)
class CachedToken:
    """A token that was read: the Authorization header, and what `glance` said then.

    Times are seconds since boot. From `stale_at` it is read again in the background, from
    `overdue_at` callers wait for that; from `expires_at` it isn't used.
    """

    header: str = field(repr=False)
    stale_at: float
    overdue_at: float
    expires_at: float
    glance: object


class TokenCache:
    """The token of a store, read again in time. Thread-safe; does not survive a fork."""

    def __init__(self, store: Store, min_validity: float, clock: Clock = system_clock) -> None:
        """Read nothing yet; `min_validity` is in seconds."""
        self._store = store
        self._min_validity = min_validity
        self._clock = clock
        self._cached: CachedToken | None = None
        self._lock = threading.Lock()
        self._reads = 0
        self._outcome: CachedToken | str = "it was never read"
        self._retry_at = 0.0

    def header(self) -> str:
        """Return the value of the Authorization header; raises TokenUnavailable.

        Waits for the store only if `header_at_once` has nothing, and only once if that fails.
        """
        header = self.header_at_once()
        return self._awaited_header() if header is None else header

    def header_at_once(self) -> str | None:
        """Return the header without waiting for a slow store; None if that can't be avoided."""
        cached, now = self._cached, self._clock().boot
        if cached is None or now >= cached.expires_at:
            return None
        if now >= cached.overdue_at and self._outcome is cached:
            return None
        if now >= self._retry_at and self._is_stale(cached, now):
            cached = self._refresh(cached, now)
        return cached.header

    def replacement(self, refused: str) -> str | None:
        """Return a header other than one that was refused, reading the store; None if none is."""
        try:
            header = self._read_unless(lambda cached: cached.header != refused).header
        except TokenUnavailable:
            return None
        return None if header == refused else header

    def _awaited_header(self) -> str:
        cached = self._cached
        try:
            return self._read_unless(lambda found: found is not cached).header
        except TokenUnavailable:
            if cached is None or self._clock().boot >= cached.expires_at:
                raise
            return cached.header

    def _is_stale(self, cached: CachedToken, now: float) -> bool:
        if self._store.glance is None or now >= cached.overdue_at:
            return now >= cached.stale_at
        with suppress(OSError):
            return self._store.glance() != cached.glance
        return False

    def _refresh(self, cached: CachedToken, now: float) -> CachedToken:
        """Read a store that is fast; have one that may be slow read in the background."""
        if self._store.glance is not None:
            return self._read_or_keep(cached)
        self._retry_at = now + RETRY_S
        with suppress(RuntimeError):  # no more threads: the next caller tries again
            threading.Thread(target=self._read_or_keep, args=(cached,), daemon=True).start()
        return cached

    def _read_or_keep(self, cached: CachedToken) -> CachedToken:
        with suppress(TokenUnavailable):
            return self._read_unless(lambda found: found is not cached)
        return cached

    def _read_unless(self, suffices: Callable[[CachedToken], bool]) -> CachedToken:
        """Read the store, unless what another thread has read in the meantime suffices.

        Threads that arrive together share one read, whether it fails or not.
        """
        reads = self._reads
        with self._lock:
            if self._cached is not None and suffices(self._cached):
                return self._cached
            if self._reads == reads:
                self._attempt()
            if isinstance(self._outcome, str):
                raise TokenUnavailable(self._outcome)
            return self._outcome

    def _attempt(self) -> None:
        self._reads += 1
        try:
            self._outcome = self._cached = self._read()
        except TokenUnavailable as error:
            self._outcome, self._retry_at = error.args[0], self._clock().boot + RETRY_S

    def _read(self) -> CachedToken:
        before = self._clock()
        try:
            glance = self._store.glance() if self._store.glance else None
            header, expires_at = parse(self._store.read())
        except Exception as error:  # noqa: BLE001  # what a file, boto3 or a caller's function raises
            raise self._unavailable(_name(error)) from None
        if header is None:
            raise self._unavailable("it holds no token")
        left = self._min_validity if expires_at is None else expires_at - before.wall
        if left <= 0:
            ago = f"{abs(left):.0f} s ago by this machine's clock"
            raise self._unavailable(f"its token expired {ago}")
        fresh, now = min(left, self._min_validity), before.boot
        return CachedToken(header, now + STALE * fresh, now + OVERDUE * fresh, now + left, glance)

    def _unavailable(self, reason: str) -> TokenUnavailable:
        cure = "see `freshtoken status` where it is written, and the permission to read it here"
        return TokenUnavailable(f"{self._store.label}: {reason}; {cure}")


def _name(error: Exception) -> str:
    """Return the error's type, or the code that those of AWS carry."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return str(code or type(error).__name__)
