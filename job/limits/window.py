"""At most so many starts in any period: the sliding window. Pure.

Times are epoch seconds by a clock that never steps; they come in as arguments.
"""

import math
from collections import deque

from job.core.rate import Rate


class Window:
    """The last starts; no more than `rate.count` lie within any `rate.period_s`."""

    def __init__(self, rate: Rate) -> None:
        """Begin empty."""
        self._period_s = rate.period_s
        self._starts: deque[float] = deque(maxlen=rate.count)

    def free_at(self) -> float:
        """Return when one more start fits; it may be past."""
        is_full = len(self._starts) == self._starts.maxlen
        return self._starts[0] + self._period_s if is_full else -math.inf

    def add(self, at: float) -> None:
        """Count a start; none may lie before the one that was added last."""
        self._starts.append(at)

    def reserve(self, earliest: float) -> float:
        """Count a start at the first moment that fits, and return it."""
        at = max(earliest, self.free_at())
        self.add(at)
        return at
