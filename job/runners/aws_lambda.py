"""The handler for AWS Lambda: the pass of `once`, within the time that an invocation has.

Nothing is kept from one invocation to the next, so a warm start does what a cold one does.
"""

import os
import time
from typing import Any, Protocol

from job.compose.job import Job, Options
from job.compose.observers import Observers
from job.core.errors import ConfigError
from job.core.events import crashed
from job.observe.background import BackgroundReporter
from job.runners.once import OWN_BUG, STOP_S, Outcome, Pass, summary

MARGIN_S = 2.0
"""The time kept for the answer: AWS kills an invocation that is late, and its log with it."""
LOG_S = 1.0


class Context(Protocol):
    """What the handler needs of the context that AWS passes (Lambda guide, Python context)."""

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the invocation may still take."""


class InvocationFailed(Exception):
    """Raised so that AWS counts the invocation as failed, with its retries, alarms, dead letters.

    It has the exit status of `once` and the tokens that failed; the log says why.
    """

    def __init__(self, exit_status: int, what: str) -> None:
        """Keep the exit status."""
        super().__init__(f"exit status {exit_status}: {what}; the log lines above say why")
        self.exit_status = exit_status


def handler(event: object, context: Context) -> dict[str, Any]:  # noqa: ARG001  # Lambda's signature
    """Refresh what is due, and return what `once --json` prints.

    The configuration is found as everywhere: $FRESHTOKEN_CONFIG (a file of the package or of a
    layer), freshtoken.toml in the package, or FRESHTOKEN_ variables. `event` is ignored. The log
    goes to standard error, in JSON. Raises InvocationFailed.
    """
    until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - MARGIN_S
    job = Job(Options(log_format="json"), os.environ)
    try:
        outcomes = _pass(job, until)
    except ConfigError as error:
        raise InvocationFailed(job.rejected(error), "the configuration can't be used") from None
    except Exception as error:  # noqa: BLE001  # reported as an event, without its values
        job.report(crashed(error, None))
        raise InvocationFailed(OWN_BUG, "a bug of freshtoken") from None
    found = summary(outcomes)
    if found["exit_status"]:
        failed = [outcome.token for outcome in outcomes if outcome.exit_status]
        raise InvocationFailed(found["exit_status"], f"not current: {', '.join(failed)}")
    return found


def _pass(job: Job, until: float) -> list[Outcome]:
    """Make the pass until a moment of the monotonic clock, hooks included; raises ConfigError.

    After the answer AWS freezes the process, so nothing may be left for later.
    """
    config = job.load(with_secrets=True)
    refreshers = job.refreshers.update(config.tokens).values()
    with BackgroundReporter(job.report, drain_s=LOG_S) as report:
        observers = Observers(job.refreshers, report)
        observers.follow_once(config, None)
        left = max(until - time.monotonic(), 0.0)
        stop_s = min(STOP_S, left / 2)
        one = Pass(refreshers, observers.tell, force=False, timeout_s=left - stop_s, stop_s=stop_s)
        outcomes = one.run()
        observers.settle(max(until - time.monotonic(), 0.0))
    return outcomes
