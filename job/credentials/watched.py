"""Sources that are used in turn, and whether what they give has changed."""

from job.core.clock import Clock, system_clock
from job.core.errors import SecretUnavailable
from job.core.ports import SecretSource
from job.core.secret import Secret
from job.credentials.base import CostlySource


class WatchedSecret:
    """Sources that are used in turn, with what each gave last, so that a change can be noticed.

    More than one is for a rotation without a gap: the server knows one of them at any time. One
    thread at a time may use it; others may look at `live`.
    """

    __slots__ = ("_clock", "_turn", "_watches")

    def __init__(self, *sources: SecretSource, clock: Clock = system_clock) -> None:
        """Watch what the sources give, beginning with the first."""
        self._watches = [_Watch(source) for source in sources]
        self._clock = clock
        self._turn = 0

    @property
    def count(self) -> int:
        """Return how many sources there are."""
        return len(self._watches)

    @property
    def position(self) -> int:
        """Return whose turn it is, counted from 1."""
        return self._turn + 1

    @property
    def live(self) -> list[Secret]:
        """Return all that is in memory."""
        return [watch.last for watch in self._watches if watch.last is not None]

    def next(self) -> None:
        """Turn to the next source, and after the last one to the first."""
        self._turn = (self._turn + 1) % self.count

    def resolve(self) -> Secret:
        """Return the secret as it is now, of the source whose turn it is."""
        return self._watches[self._turn].resolve()

    def changed(self) -> bool:
        """Tell whether a source that was asked now gives another secret than it gave then.

        What costs money is read every `look_s` seconds only, and a command never: running it every
        few seconds could be expensive, or prompt a person.
        """
        now = self._clock().boot
        return any(watch.has_changed(now) for watch in self._watches)


class _Watch:
    """One source, what it gave when it was asked last, and when it was last looked at."""

    __slots__ = ("_is_asked", "_look_s", "_looked_at", "_source", "last")

    def __init__(self, source: SecretSource) -> None:
        self._source = source
        self._look_s = source.look_s if isinstance(source, CostlySource) else 0.0
        self._looked_at: float | None = None
        self._is_asked = False
        self.last: Secret | None = None

    def resolve(self) -> Secret:
        self.last = None  # so that a source that gives nothing has changed once it gives again
        self._is_asked, self._looked_at = True, None
        self.last = self._source.resolve()
        return self.last

    def has_changed(self, now: float) -> bool:
        if self._looked_at is None:
            self._looked_at = now
        if not self._is_asked or now - self._looked_at < self._look_s:
            return False
        self._looked_at = now
        try:
            return self._source.resolve() != self.last
        except SecretUnavailable:
            return False
