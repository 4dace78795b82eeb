"""Where tokens wait for the limits of their endpoints and clients, which all threads share.

A thread that waits is missing elsewhere: who would have to wait longer than PATIENCE_S is deferred.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from job.core.clock import Clock
from job.core.errors import ExchangeError
from job.core.ports import Deferred
from job.core.rate import Rate
from job.limits.budget import Budget
from job.limits.budget_file import BudgetFile, Spending
from job.limits.endpoint import Endpoint

PATIENCE_S = 0.1
"""The daemon's ticks are a second apart, and the places of a rate a moment later than that."""
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
    """All limits of one process, by one lock."""

    def __init__(self, clock: Clock, sleep: Callable[[float], None] = time.sleep) -> None:
        """Limit nothing yet; `sleep` is asked for no more than PATIENCE_S at a time."""
        self._clock = clock
        self._anchor = clock()
        self.sleep = sleep
        self.lock = threading.Lock()
        self._endpoints: dict[tuple[str, int, Rate], Endpoint] = {}
        self._budgets: dict[str, Budget] = {}

    def now(self) -> float:
        """Return epoch seconds by the boot clock: a step of the wall clock gives no exchanges."""
        return self._anchor.wall + self._clock().boot - self._anchor.boot

    def endpoint(self, name: str, concurrency: int, rate: Rate) -> Endpoint:
        """Return the limits of an endpoint; all that name it share them."""
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


class Limiter:
    """Where one token waits for its endpoint, and for its client's budget if it has one."""

    __slots__ = ("_budget", "_endpoint", "_file", "_limits", "_token")

    def __init__(
        self,
        token: str,
        limits: Limits,
        endpoint: Endpoint,
        budget: Budget | None = None,
        file: BudgetFile | None = None,
    ) -> None:
        """Count nothing yet; what is spent is kept in `file`."""
        self._token = token
        self._limits = limits
        self._endpoint = endpoint
        self._budget = budget
        self._file = file

    @contextmanager
    def exchange(self, spare_s: float) -> Iterator[None]:
        """Make one exchange in the block; raises Deferred where it may not be made now.

        `spare_s` is for how long it can be deferred without harm to readers.
        """
        self._load()
        self._wait(spare_s)
        with self._slot():
            spent_at = self._begin(spare_s)
            try:
                yield
            except ExchangeError as error:
                if not error.sent or error.code in UNSENT:
                    self._give_back(spent_at)
                raise

    def another(self) -> bool:
        """Count another request of the same exchange; False if the limits don't allow it now."""
        self._load()
        with self._limits.lock:
            now = self._limits.now()
            has_budget = not self._budget or not self._budget.wait_s(now, 0.0)
            allowed = has_budget and self._endpoint.another(now)
            if allowed and self._budget:
                self._budget.spend(now)
        if allowed:
            self._save()
        return allowed

    def _wait(self, spare_s: float) -> None:
        """Wait for budget and rate, in place if it is for a moment; else raises Deferred."""
        while True:
            with self._limits.lock:
                wait_s = self._wait_s(spare_s)
            if not wait_s:
                return
            if wait_s > PATIENCE_S:
                raise self._deferred(wait_s, spare_s)
            self._limits.sleep(wait_s)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._endpoint.take_slot():
            with self._limits.lock:
                wait_s = self._endpoint.full_s(self._token, self._limits.now())
            raise Deferred(wait_s)
        try:
            yield
        finally:
            self._endpoint.slots.release()

    def _begin(self, spare_s: float) -> float:
        """Count an exchange and return when; raises Deferred if others were faster."""
        with self._limits.lock:
            now, wait_s = self._limits.now(), self._wait_s(spare_s)
            if not wait_s:
                self._endpoint.begin(self._token, now)
                spent_at = self._budget.spend(now) if self._budget else now
        if wait_s:
            raise self._deferred(wait_s, spare_s)
        self._save()
        return spent_at

    def _wait_s(self, spare_s: float) -> float:
        """Return for how long to wait; call it with the lock."""
        now = self._limits.now()
        wait_s = self._budget.wait_s(now, spare_s) if self._budget else 0.0
        # The endpoint keeps a place for who asks it: not for one without a budget.
        return wait_s or self._endpoint.wait_s(self._token, now)

    def _deferred(self, wait_s: float, spare_s: float) -> Deferred:
        """Return what to raise, with what to tell people of a budget that is short."""
        shortage = None
        if self._budget:
            with self._limits.lock:
                now = self._limits.now()
                if self._budget.wait_s(now, spare_s):
                    shortage = self._budget.tell(now)
        if shortage:
            self._save()  # what was told stays told
        return Deferred(wait_s, shortage)

    def _give_back(self, spent_at: float) -> None:
        if self._budget:
            with self._limits.lock:
                self._budget.give_back(spent_at)
            self._save()

    def _load(self) -> None:
        """Count what other processes have spent."""
        if self._budget and self._file:
            kept = self._file.read()
            with self._limits.lock:
                self._budget.add(kept.spent, self._limits.now())
                self._budget.told = kept.told | self._budget.told

    def _save(self) -> None:
        if self._budget and self._file:
            with self._limits.lock:
                kept = Spending([*self._budget.spent], {**self._budget.told})
            self._file.write(kept)
