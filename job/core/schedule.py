"""When to replace a token and when to try again. Pure: no clock, no randomness, no I/O.

Times are epoch seconds, lengths are seconds. A `jitter` or `draw` is a number from 0 up to 1.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Literal

from job.core.tokens import Record, Token

Reissue = Literal["independent", "revokes_previous", "same_until_expiry"]

BACKOFF_FIRST_S = 1.0
BACKOFF_CAP_S = 60.0
BACKOFF_CAP_AT_RISK_S = 15.0
REJECTED_S = 300.0
"""The slow lane: an operator has to act, and every attempt may count as a failed login."""
SINK_REJECTED_S = 60.0
"""Shorter, for a store does not lock us out and is often repaired in a moment."""
RETRY_AFTER_CAP_S = 3600.0
LAST_CHANCE_S = 15.0
"""Whatever wait the server asks for, one attempt is made this long before expiry."""
AFTER_EXPIRY_S = 1.0
LEAST_GAP_S = 1.0
"""Never two exchanges within a second, whatever the server and the operator ask for."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's wishes for one token; lengths in seconds."""

    refresh_at: float = 0.67
    jitter: float = 0.05
    min_validity: float = 300.0
    retry_budget: float = 60.0
    min_interval: float = 30.0
    max_age: float | None = None
    reissue: Reissue = "independent"
    fresh_window: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A policy and the random draws for one token: each a hash of `seed` and its purpose.

    A token has the same jitter on the same host, however often the program starts: with a new draw
    at each look, every refresh would drift to the start of its range. Replicas on other hosts have
    other seeds, so they refresh at other moments.
    """

    policy: Policy
    seed: str

    def jitter(self, record: Record) -> float:
        """Return the draw for a token, from 0 up to 1."""
        return self._hash(record.receipt.fingerprint)

    def draw(self, failures: int) -> float:
        """Return the draw for a retry, from 0 up to 1."""
        return self._hash(str(failures))

    def _hash(self, what: str) -> float:
        digest = hashlib.sha256(f"{self.seed}\0{what}".encode()).digest()
        return int.from_bytes(digest[:6]) / 2**48


def due_at(token: Token, policy: Policy, jitter: float) -> float:
    """Return when to exchange again.

    1. `refresh_at` of the lifetime, but not later than `min_validity` and `retry_budget` before
       expiry (`revokes_previous`: as late as that and the last chance allow, because the new token
       kills the old one, and one writer has no rival to avoid).
    2. Up to `jitter` of the lifetime earlier, so that one replica is first.
    3. Never before half of the lifetime, so that margins longer than it cause no storm.
    4. Not before the `fresh_window`: only in it does the server give a new token.
    5. The server's `refresh_in` and the operator's `max_age`, also up to `jitter` of them earlier,
    6. but never within `min_interval` of the request, or within half of a shorter lifetime.
    `same_until_expiry`: just after expiry, because the server gives nothing new before.
    """
    lifetime = token.lifetime
    if policy.reissue == "same_until_expiry":
        return token.expires_at + AFTER_EXPIRY_S
    pull = policy.jitter * jitter
    target = token.requested_at + policy.refresh_at * lifetime
    if policy.reissue == "revokes_previous":
        pull, target = 0.0, token.expires_at - LAST_CHANCE_S
    due = (
        min(target, token.expires_at - policy.min_validity - policy.retry_budget) - pull * lifetime
    )
    due = max(due, token.requested_at + lifetime / 2)
    if policy.fresh_window is not None:
        due = max(due, token.expires_at - policy.fresh_window + AFTER_EXPIRY_S)
    for hint in (token.refresh_in, policy.max_age):
        if hint is not None:
            due = min(due, token.requested_at + hint - pull * hint)
    return max(due, token.requested_at + min(policy.min_interval, lifetime / 2))


def broken_promise(token: Token, policy: Policy) -> str | None:
    """Return why readers of this token can't be promised `min_validity`, or None if they can."""
    due = due_at(token, policy, 0.0)
    left = token.expires_at - due
    if left >= policy.min_validity:
        return None
    if left <= 0:
        return (
            f"this provider gives a new token only after the old one has expired: readers are "
            f"without a valid token for about {abs(left):.0f} s and one exchange"
        )
    whole = math.floor(left)
    return (
        f"a token that lives {token.lifetime} s is refreshed after {token.lifetime - whole} s, "
        f"when {whole} s are left; min_validity asks for {policy.min_validity:.0f} s. Set "
        f"min_validity to {whole}s or less, or have the provider give longer tokens"
    )


def risk_at(token: Token, policy: Policy) -> float:
    """Return when readers of this token become at risk unless it is replaced.

    Where the promise can't be kept, which is reported by itself, that is when the replacement is
    late: half way from the due moment to expiry.
    """
    if broken_promise(token, policy) is None:
        return token.expires_at - policy.min_validity
    return token.expires_at - max(token.expires_at - due_at(token, policy, 0.0), 0.0) / 2


def backoff(failures: int, cap: float, draw: float) -> float:
    """Return full-jitter exponential backoff: uniform up to 1, 2, 4 ... `cap`, at least 1 s."""
    ceiling = min(cap, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 16))
    return max(BACKOFF_FIRST_S, draw * ceiling)
