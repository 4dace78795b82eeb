"""Where tokens wait for the limits of their endpoints and clients, which all threads share.

A waiting thread is missing elsewhere: an exchange that would wait longer than PATIENCE_S is
deferred.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from job.core.clock import Clock
from job.core.errors import ExchangeError
from job.core.ports import Deferred
from job.core.rate import Rate
from job.limits.budget import Budget
from job.limits.budget_file import BudgetFile, Spending
from job.limits.endpoint import Endpoint

PATIENCE_S = 0.1
"""The daemon ticks once a second, and what a rate of one a second allows comes a moment later."""
UNSENT = (
    "ca_file_unreadable",
    "connection_refused",
    "dns_failed",
    "proxy_failed",
    "tls_failed",
    "unusable_request",
)
"""Failures before the request was sent: the server has counted nothing."""


class Limits:
    """All limits of one process, under one lock."""

    def __init__(self, clock: Clock, sleep: Callable[[float], None] = time.sleep) -> None:
        """Limit nothing yet; `sleep` is called with at most PATIENCE_S."""
        self._clock = clock
        self._anchor = clock()
        self.sleep = sleep
        self.lock = threading.RLock()
        self._endpoints: dict[tuple[str, int, Rate], Endpoint] = {}
        self._budgets: dict[str, Budget] = {}

    def now(self) -> float:
        """Return epoch seconds by the boot clock, so that no step of the wall clock counts."""
        return self._anchor.wall + self._clock().boot - self._anchor.boot

    def endpoint(self, name: str, concurrency: int, rate: Rate) -> Endpoint:
        """Return the limits of an endpoint; all its tokens share them."""
        key = (name, concurrency, rate)
        with self.lock:
            if key not in self._endpoints:
                self._endpoints[key] = Endpoint(concurrency, rate)
            return self._endpoints[key]

    def budget(self, client: str, rate: Rate) -> Budget:
        """Return the budget of a client; all its tokens share it. A new rate forgets nothing."""
        with self.lock:
            before = self._budgets.get(client)
            if before is None or before.rate != rate:
                self._budgets[client] = Budget(rate)
                self._budgets[client].spent = before.spent if before else []
            return self._budgets[client]


@dataclass(slots=True, eq=False)
class Limiter:
    """Where one token waits for its endpoint, and for its client's budget if it has one.

    What is spent is kept in `file`.
    """

    token: str
    limits: Limits
    endpoint: Endpoint
    budget: Budget | None = None
    file: BudgetFile | None = None

    @contextmanager
    def exchange(self, spare_s: float) -> Iterator[None]:
        """Make one exchange in the block; raises Deferred if it may not be made now.

        `spare_s` is how long it can be deferred without harm to readers.
        """
        self._load()
        while wait_s := self._wait_s(spare_s):
            if wait_s > PATIENCE_S:
                raise self._deferred(wait_s, spare_s)
            self.limits.sleep(wait_s)
        with self._slot():
            spent_at = self._begin(spare_s)
            try:
                yield
            except ExchangeError as error:
                if self.budget and (not error.sent or error.code in UNSENT):
                    with self.limits.lock:
                        self.budget.give_back(spent_at)
                    self._save()
                raise

    def another(self) -> bool:
        """Count another request of the same exchange; False if the limits don't allow it now."""
        self._load()
        with self.limits.lock:
            now = self.limits.now()
            has_budget = not self.budget or not self.budget.wait_s(now, 0.0)
            allowed = has_budget and self.endpoint.another(now)
            if allowed and self.budget:
                self.budget.spend(now)
        if allowed:
            self._save()
        return allowed

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self.endpoint.take_slot():
            with self.limits.lock:
                raise Deferred(self.endpoint.full_s(self.token, self.limits.now()))
        try:
            yield
        finally:
            self.endpoint.slots.release()

    def _begin(self, spare_s: float) -> float:
        """Count an exchange and return when; raises Deferred if others were faster."""
        with self.limits.lock:
            now, wait_s = self.limits.now(), self._wait_s(spare_s)
            if not wait_s:
                self.endpoint.begin(self.token, now)
                spent_at = self.budget.spend(now) if self.budget else now
        if wait_s:
            raise self._deferred(wait_s, spare_s)
        self._save()
        return spent_at

    def _wait_s(self, spare_s: float) -> float:
        with self.limits.lock:
            now = self.limits.now()
            wait_s = self.budget.wait_s(now, spare_s) if self.budget else 0.0
            # Without budget no place in the queue is needed.
            return wait_s or self.endpoint.wait_s(self.token, now)

    def _deferred(self, wait_s: float, spare_s: float) -> Deferred:
        """Return what to raise, with what to report of a budget that is short."""
        shortage = None
        with self.limits.lock:
            now = self.limits.now()
            if self.budget and self.budget.wait_s(now, spare_s):
                shortage = self.budget.tell(now)
        if shortage:
            self._save()  # so that it is not reported again
        return Deferred(wait_s, shortage)

    def _load(self) -> None:
        """Count what other processes have spent."""
        if self.budget and self.file:
            kept = self.file.read()
            with self.limits.lock:
                self.budget.add(kept.spent, self.limits.now())
                self.budget.told = kept.told | self.budget.told

    def _save(self) -> None:
        if self.budget and self.file:
            with self.limits.lock:
                kept = Spending([*self.budget.spent], {**self.budget.told})
            self.file.write(kept)
