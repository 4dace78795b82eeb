"""What came of each token of a demo."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence

from job.core.events import (
    Event,
    TokenDelivered,
    TokenDeliveryFailed,
    TokenEvent,
    TokenExpired,
    TokenRefreshed,
    TokenRefreshFailed,
)

COUNTED: Mapping[type[Event], str] = {
    TokenRefreshed: "refreshes",
    TokenDelivered: "deliveries",
    TokenRefreshFailed: "failures",
    TokenDeliveryFailed: "failures",
    TokenExpired: "expiries",
}


class Tally:
    """Counts events, from any thread, and judges by them the tokens of these names."""

    def __init__(self, names: Sequence[str]) -> None:
        """Begin at nothing."""
        self._names = names
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def observe(self, event: Event) -> None:
        """Count an event."""
        kind = COUNTED.get(type(event))
        if kind and isinstance(event, TokenEvent):
            with self._lock:
                self._counts[event.token, kind] += 1

    @property
    def failed(self) -> list[str]:
        """Return the tokens that were never refreshed, or were once expired in their file."""
        counts = self._counts
        return [n for n in self._names if not counts[n, "refreshes"] or counts[n, "expiries"]]

    def summary(self) -> str:
        """Return what came of each token, and a last line that says how the demo ended."""
        width, failed = max(map(len, self._names)), ", ".join(self.failed)
        lines = [f"{name:<{width}}  {self._came_to(name)}" for name in self._names]
        lines.append(f"Not kept current: {failed}." if failed else "Every token was kept current.")
        return "\n".join(lines)

    def _came_to(self, name: str) -> str:
        kinds = ("refreshes", "deliveries", "failures")
        counts = ", ".join(f"{kind} {self._counts[name, kind]}" for kind in kinds)
        return f"{counts}, {'WAS EXPIRED' if self._counts[name, 'expiries'] else 'never expired'}"
