"""Where tokens take their turns: the limits of endpoints and clients, shared by all threads.

Nobody waits here for longer than PATIENCE_S, for a thread that waits is missing elsewhere. Who has
to wait longer is put off.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from job.core.clock import Clock
from job.core.errors import ExchangeError
from job.core.ports import Deferred, Shortage
from job.core.rate import Rate
from job.limits.budget_file import BudgetFile, Spending
from job.limits.turns import Budget, Endpoint

PATIENCE_S = 0.1
"""The daemon's ticks are a second apart, and the turns of a rate a moment later than that."""
UNSENT = (
    "ca_file_unreadable",
    "connection_refused",
    "dns_failed",
    "proxy_failed",
    "tls_failed",
    "unusable_request",
)
"""Failures before the request was sent: the server has counted nothing."""


class Throttle:
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
        """Return the turns at an endpoint; all that name it share them."""
        key = (name, concurrency, rate)
        with self.lock:
            return self._endpoints.setdefault(key, Endpoint(concurrency, rate))

    def budget(self, client: str, rate: Rate) -> Budget:
        """Return the budget of a client; all its tokens share it. A new rate forgets nothing."""
        with self.lock:
            before = self._budgets.get(client)
            if before is None or before.rate != rate:
                self._budgets[client] = Budget(rate)
                self._budgets[client].spent = before.spent if before else []
            return self._budgets[client]


class Gate:
    """Where one token takes its turns: at its endpoint, and out of its client's budget if any."""

    __slots__ = ("_budget", "_endpoint", "_file", "_throttle", "_token")

    def __init__(
        self,
        token: str,
        throttle: Throttle,
        endpoint: Endpoint,
        budget: Budget | None = None,
        file: BudgetFile | None = None,
    ) -> None:
        """Take no turn yet; what is spent is kept in `file`."""
        self._token = token
        self._throttle = throttle
        self._endpoint = endpoint
        self._budget = budget
        self._file = file

    @contextmanager
    def turn(self, spare_s: float) -> Iterator[None]:
        """Make one exchange in the block; raises Deferred where it may not be made now.

        `spare_s` is for how long it can be put off without harm to readers.
        """
        began, spent_at = self._begin(spare_s)
        try:
            yield
        except ExchangeError as error:
            if not error.sent or error.code in UNSENT:
                self._give_back(spent_at)
            raise
        finally:
            with self._throttle.lock:
                self._endpoint.end(self._throttle.now() - began)

    def again(self) -> bool:
        """Count another request of the same turn; False if the limits don't allow it now."""
        self._load()
        with self._throttle.lock:
            now = self._throttle.now()
            allowed = self._wait_for_budget(now, 0.0) <= 0 and self._endpoint.again(now)
            if allowed and self._budget:
                self._budget.spend(now)
        if allowed:
            self._save()
        return allowed

    def _begin(self, spare_s: float) -> tuple[float, float]:
        """Wait a little if need be and count an exchange; return when, and when for the budget."""
        self._load()
        while True:
            with self._throttle.lock:
                now = self._throttle.now()
                wait_s, shortage = self._wait_s(now, spare_s)
                if wait_s <= 0:
                    self._endpoint.begin(self._token, now)
                    spent_at = self._budget.spend(now) if self._budget else now
                    break
            if wait_s > PATIENCE_S or shortage:
                if shortage:
                    self._save()  # what was told stays told
                raise Deferred(wait_s, shortage)
            self._throttle.sleep(wait_s)
        self._save()
        return now, spent_at

    def _wait_s(self, now: float, spare_s: float) -> tuple[float, Shortage | None]:
        """Return for how long to wait, and what to tell people of it."""
        wait_s = self._wait_for_budget(now, spare_s)
        shortage = self._budget.tell(now) if self._budget and wait_s > 0 else None
        # The endpoint keeps a place for who asks it: not for one without a budget.
        return wait_s or self._endpoint.wait_s(self._token, now), shortage

    def _wait_for_budget(self, now: float, spare_s: float) -> float:
        return self._budget.wait_s(now, spare_s) if self._budget else 0.0

    def _give_back(self, spent_at: float) -> None:
        if self._budget:
            with self._throttle.lock:
                self._budget.give_back(spent_at)
            self._save()

    def _load(self) -> None:
        """Count what other processes have spent."""
        if self._budget and self._file:
            kept = self._file.read()
            with self._throttle.lock:
                self._budget.add(kept.spent, self._throttle.now())
                self._budget.told = kept.told | self._budget.told

    def _save(self) -> None:
        if self._budget and self._file:
            with self._throttle.lock:
                kept = Spending([*self._budget.spent], {**self._budget.told})
            self._file.write(kept)
