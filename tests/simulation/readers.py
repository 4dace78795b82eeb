"""What the readers of one store have, counted by the true time."""

from dataclasses import dataclass
from typing import NamedTuple

from simulation.ledger import Minted


class Promise(NamedTuple):
    """What readers are promised.

    `is_holdable` is False where the server gives a new token only after the old one has died:
    the promise is then only that the gap is short.
    """

    min_validity: float
    is_holdable: bool = True

    def broken_at(self, token: Minted) -> float:
        """Return from when on the promise is broken for whoever still has to read this token.

        Where `min_validity` is over half of a life, nobody can hold it without asking twice in
        half of a life: a quarter of the life is promised then.
        """
        if not self.is_holdable:
            return min(token.expires_at, token.killed_at, token.outdated_at)
        least = self.min_validity if token.life >= 2 * self.min_validity else token.life / 4
        return min(token.expires_at - least, token.killed_at, token.outdated_at)


@dataclass(slots=True)
class Tally:
    """What is counted in a run. Seconds are those of readers, summed over all stores."""

    read_s: float = 0.0
    without_s: float = 0.0
    low_s: float = 0.0
    waiting_s: float = 0.0
    requests: int = 0
    minted: int = 0
    versions: int = 0
    writes: int = 0
    crashes: int = 0
    spare: int = 0
    slowest_s: float = 0.0
    slowest_start_s: float = 0.0

    def add(self, other: "Tally") -> None:
        for name in self.__slots__:
            mine, theirs = getattr(self, name), getattr(other, name)
            longest = name.startswith("slowest")
            setattr(self, name, max(mine, theirs) if longest else mine + theirs)


class Readers:
    """Readers who look all the time: what they find, and since when."""

    def __init__(self, begin: float, promise: Promise, tally: Tally) -> None:
        self.token: Minted | None = None
        self.since = begin
        self._promise = promise
        self._tally = tally

    @property
    def in_need_since(self) -> float:
        """Return from when on they need another token, maybe in the future."""
        return self._promise.broken_at(self.token) if self.token else self.since

    def find(self, token: Minted, now: float) -> None:
        """Let them find this token from now on."""
        self.count(now)
        self.token = token

    def count(self, now: float) -> None:
        """Count the time since the last call."""
        spent = now - self.since
        if self.token is None:
            self._tally.waiting_s += spent
        else:
            self._tally.read_s += spent
            self._tally.without_s += _overlap(self.token.dies_at, self.since, now)
            low_at = min(self.token.expires_at - self._promise.min_validity, self.token.dies_at)
            self._tally.low_s += _overlap(low_at, self.since, now)
        self.since = now


def _overlap(begin: float, since: float, now: float) -> float:
    return max(0.0, now - max(begin, since))
