"""What happens in a demo, in sentences and in numbers. `now` is always epoch seconds."""

import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from job.core import events

JOB = "job"
"""The name that stands before what concerns no token."""

SENTENCES: Mapping[type[events.Event], str] = {
    events.JobStarted: "started; tokens to keep current: {tokens}",
    events.JobStopped: "stopped: {reason}",
    events.JobCrashed: "a bug was caught: {error}",
    events.ClockStepped: "the clock was set by {step_s:+.0f} s; every token is decided afresh",
    events.TokenAdopted: "found {fingerprint} in {sink}, good for {expires_in}; "
    "nothing was fetched",
    events.TokenRefreshed: "fetched {fingerprint} in {exchange_ms} ms, good for {expires_in}",
    events.TokenDelivered: "stored {fingerprint} in {write_ms} ms",
    events.TokenUnchanged: "the server gave {fingerprint} again; asking anew in {refresh_in}",
    events.TokenRefreshFailed: "refresh failed ({code}), trying again in {retry_in}: {message}",
    events.TokenDeliveryFailed: "storing failed ({code}), trying again in {retry_in}: {message}",
    events.TokenAtRisk: "at risk: the stored token has {expires_in} left, {promise} are promised",
    events.TokenExpired: "expired: readers now get a token that is refused",
    events.TokenPromiseUnholdable: "the promise cannot be held: {reason}",
}
"""A sentence for each event that a demo shows; `{x_in}` is the time left until `x_at`."""

COUNTED: Mapping[type[events.Event], str] = {
    events.TokenRefreshed: "refreshes",
    events.TokenDelivered: "deliveries",
    events.TokenRefreshFailed: "failures",
    events.TokenDeliveryFailed: "failures",
    events.TokenExpired: "expiries",
}


def sentence_of(event: events.Event, now: float) -> tuple[str, str] | None:
    """Return the subject of an event and its sentence, or None if a demo does not show it."""
    sentence = SENTENCES.get(type(event))
    if sentence is None:
        return None
    fields = asdict(event)
    waits = {
        f"{name.removesuffix('_at')}_in": _length(value - now)
        for name, value in fields.items()
        if name.endswith("_at") and value is not None
    }
    promise = _length(fields.get("min_validity_s", 0))
    what = sentence.format_map(fields | waits | {"promise": promise})
    return fields.get("token") or JOB, what


def _length(seconds: float) -> str:
    """Return a length, rounded up, so that a wait shows 0 s only when it is over."""
    minutes, rest = divmod(max(math.ceil(seconds), 0), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class Tally:
    """Counts events, from any thread, and tells which of the tokens were kept current."""

    def __init__(self, names: Sequence[str]) -> None:
        """Start at zero."""
        self._names = names
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def observe(self, event: events.Event) -> None:
        """Count an event."""
        kind = COUNTED.get(type(event))
        if kind and isinstance(event, events.TokenEvent):
            with self._lock:
                self._counts[event.token, kind] += 1

    @property
    def failed(self) -> list[str]:
        """Return the tokens that were never refreshed, or expired in their file."""
        counts = self._counts
        return [n for n in self._names if not counts[n, "refreshes"] or counts[n, "expiries"]]

    def summary(self) -> str:
        """Return a line for each token, and a last one that says how the demo ended."""
        width, failed = max(map(len, self._names)), ", ".join(self.failed)
        lines = [f"{name:<{width}}  {self._line(name)}" for name in self._names]
        lines.append(f"Not kept current: {failed}." if failed else "Every token was kept current.")
        return "\n".join(lines)

    def _line(self, name: str) -> str:
        kinds = ("refreshes", "deliveries", "failures")
        counts = ", ".join(f"{kind} {self._counts[name, kind]}" for kind in kinds)
        return f"{counts}, {'WAS EXPIRED' if self._counts[name, 'expiries'] else 'never expired'}"
