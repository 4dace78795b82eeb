"""Hooks: what the operator wants done when a token changes, or when its readers are at risk.

Each hook runs in a thread of its own, so it delays no refresh and no other hook. A hook that fails
is tried again with backoff, and a newer occasion replaces one that waits.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

from job.core.clock import Clock
from job.core.events import (
    Event,
    HookFailed,
    HookRan,
    TokenAdopted,
    TokenAtRisk,
    TokenDelivered,
    TokenEvent,
    TokenExpired,
    TokenRefreshed,
)
from job.core.schedule import backoff

RETRY_CAP_S = 300.0
Occurrence = Literal["refreshed", "at_risk", "recovered"]


class HookError(Exception):
    """Raised when a hook failed; the text says why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why a hook runs. Its facts never include the token itself."""

    event: Occurrence
    token: str
    sink: str
    at: int
    fingerprint: str | None = None
    expires_at: int | None = None

    def facts(self) -> dict[str, str | int | None]:
        """Return what a hook is given, by the names of docs/hooks.md."""
        return asdict(self)


class Hook(Protocol):
    """One thing to do."""

    @property
    def label(self) -> str:
        """Return what the log calls it."""

    def run(self, occasion: Occasion) -> str:
        """Do it, within its time limit, and return what it printed; raises HookError."""


@dataclass(frozen=True, slots=True)
class TokenHooks:
    """The hooks of one token."""

    on_refresh: tuple[Hook, ...] = ()
    on_trouble: tuple[Hook, ...] = ()


def retry_delay(failures: int) -> float:
    """Return the seconds after which a hook that failed is tried again."""
    return backoff(failures, RETRY_CAP_S, 1.0)


class Hooks:
    """An observer that runs hooks on real change.

    `on_refresh` hooks run when a sink has taken a new token; `on_trouble` hooks once when readers
    are at risk and once when they no longer are.
    """

    def __init__(
        self,
        hooks_of: Callable[[str], TokenHooks],
        is_well: Callable[[str], bool],
        report: Callable[[Event], None],
        clock: Clock,
        retry_s: Callable[[int], float] = retry_delay,
    ) -> None:
        """Run nothing yet.

        `hooks_of` gives the current hooks of a token; `is_well` tells whether no reader of a token
        is at risk; `report` takes the outcome of each run; `retry_s` is the wait after so many
        failures.
        """
        self._hooks_of = hooks_of
        self._is_well = is_well
        self._report = report
        self._clock = clock
        self._retry_s = retry_s
        self._troubled: set[str] = set()
        self._expiries: dict[str, tuple[str, int]] = {}
        self._runs: dict[tuple[str, str], _HookRun] = {}

    def observe(self, event: Event) -> None:
        """Start the hooks that an event calls for; never waits."""
        if isinstance(event, TokenEvent):
            for occasion in self._occasions(event):
                hooks = self._hooks_of(event.token)
                is_refresh = occasion.event == "refreshed"
                for hook in hooks.on_refresh if is_refresh else hooks.on_trouble:
                    fresh = _HookRun(self._report, self._clock, self._retry_s)
                    run = self._runs.setdefault((event.token, hook.label), fresh)
                    run.request(hook, occasion)

    def settle(self, seconds: float) -> None:
        """Wait until no hook runs or waits for another try, but no longer than `seconds`."""
        until = self._clock().boot + seconds
        for run in self._runs.values():
            run.join(max(until - self._clock().boot, 0.0))

    def finish(self, seconds: float) -> None:
        """Wait up to `seconds` for the hooks that run; none is tried again after that."""
        until = self._clock().boot + seconds
        for run in self._runs.values():
            run.finish(max(until - self._clock().boot, 0.0))

    def _occasions(self, event: TokenEvent) -> Iterator[Occasion]:
        at = int(self._clock().wall)
        match event:
            case TokenRefreshed():
                self._expiries[event.token] = (event.fingerprint, event.expires_at)
            case TokenDelivered():
                fingerprint, expires_at = self._expiries.get(event.token, ("", 0))
                known = expires_at if fingerprint == event.fingerprint else None
                yield Occasion("refreshed", event.token, event.sink, at, event.fingerprint, known)
            case TokenAtRisk() | TokenExpired() if event.token not in self._troubled:
                self._troubled.add(event.token)
                expires_at = event.expires_at
                yield Occasion("at_risk", event.token, event.sink, at, expires_at=expires_at)
            case _:
                pass
        if isinstance(event, TokenDelivered | TokenAdopted) and self._has_recovered(event.token):
            yield Occasion("recovered", event.token, event.sink, at, event.fingerprint)

    def _has_recovered(self, token: str) -> bool:
        recovered = token in self._troubled and self._is_well(token)
        if recovered:
            self._troubled.discard(token)
        return recovered


class _HookRun:
    """The runs of one hook of one token: at most one at a time, and one that waits."""

    def __init__(
        self, report: Callable[[Event], None], clock: Clock, retry_s: Callable[[int], float]
    ) -> None:
        self._report = report
        self._clock = clock
        self._retry_s = retry_s
        self._next: tuple[Hook, Occasion] | None = None
        self._thread: threading.Thread | None = None
        self._is_over = False
        self._changed = threading.Condition()

    def request(self, hook: Hook, occasion: Occasion) -> None:
        """Run the hook soon; an occasion that still waits is dropped."""
        with self._changed:
            self._next = (hook, occasion)
            self._changed.notify()
            if self._thread is None and not self._is_over:
                self._thread = threading.Thread(target=self._work, name="hook", daemon=True)
                self._thread.start()

    def finish(self, seconds: float) -> None:
        """Give the current run this time to end, and start no other."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        self.join(seconds)

    def join(self, seconds: float) -> None:
        """Wait until there is nothing more to do."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _work(self) -> None:
        while (due := self._take()) is not None:
            failures = 0
            while not self._try(*due, failures + 1):
                failures += 1
                if self._is_superseded(self._retry_s(failures)):
                    break

    def _take(self) -> tuple[Hook, Occasion] | None:
        with self._changed:
            due, self._next = self._next, None
            if due is None:
                self._thread = None
            return due

    def _is_superseded(self, wait_s: float) -> bool:
        """Wait before another try, and tell whether it has become pointless."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_over or bool(self._next), wait_s)

    def _try(self, hook: Hook, occasion: Occasion, attempt: int) -> bool:
        token, event = occasion.token, occasion.event
        before = self._clock().boot
        try:
            output = hook.run(occasion)
        except HookError as error:
            retry_at = int(self._clock().wall + self._retry_s(attempt))
            self._report(HookFailed(token, hook.label, event, str(error), attempt, retry_at))
            return False
        took_ms = round(1000 * (self._clock().boot - before))
        self._report(HookRan(token, hook.label, event, took_ms, output))
        return True
