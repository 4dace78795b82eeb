"""What happens in a demo, in sentences. Pure. `now` is always epoch seconds."""

import math
from collections.abc import Mapping
from dataclasses import asdict

from job.core.events import (
    ClockStepped,
    Event,
    JobCrashed,
    JobStarted,
    JobStopped,
    TokenAdopted,
    TokenAtRisk,
    TokenDelivered,
    TokenDeliveryFailed,
    TokenExpired,
    TokenPromiseUnholdable,
    TokenRefreshed,
    TokenRefreshFailed,
    TokenUnchanged,
)

JOB = "job"
"""Who speaks in a line about no token."""

SENTENCES: Mapping[type[Event], str] = {
    JobStarted: "started; tokens to keep current: {tokens}",
    JobStopped: "stopped: {reason}",
    JobCrashed: "a bug was caught: {error}",
    ClockStepped: "the clock was set by {step_s:+.0f} s; every token is decided afresh",
    TokenAdopted: "found {fingerprint} in {sink}, good for {expires_in}; nothing was fetched",
    TokenRefreshed: "fetched {fingerprint} in {exchange_ms} ms, good for {expires_in}",
    TokenDelivered: "stored {fingerprint} in {write_ms} ms",
    TokenUnchanged: "the server gave {fingerprint} again; asking anew in {refresh_in}",
    TokenRefreshFailed: "refresh failed ({code}), trying again in {retry_in}: {message}",
    TokenDeliveryFailed: "storing failed ({code}), trying again in {retry_in}: {message}",
    TokenAtRisk: "at risk: the stored token has {expires_in} left, {promise} are promised",
    TokenExpired: "expired: readers now get a token that is refused",
    TokenPromiseUnholdable: "the promise cannot be held: {reason}",
}
"""One sentence for each event that a demo can show; `{x_in}` is the time left until `x_at`."""


def sentence_of(event: Event, now: float) -> tuple[str, str] | None:
    """Return whom an event seen at `now` is about, and the sentence; None if of no interest."""
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
    """Return a length in seconds that have begun, so that a wait is over at 0 s and not before."""
    minutes, rest = divmod(max(math.ceil(seconds), 0), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
