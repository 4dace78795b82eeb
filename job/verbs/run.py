"""`run`: keep all tokens current until a signal stops it."""

import os
import threading
from typing import TYPE_CHECKING

import click

from job.compose.job import Job, Options
from job.core.errors import ConfigError
from job.core.events import crashed
from job.observe.background import BackgroundReporter
from job.runners.process import TO_RUN, Signals
from job.verbs.common import COMMON, command, duration_option, leave

if TYPE_CHECKING:
    from job.compose.observers import Observers
    from job.config import Config
    from job.core.refresher import Refresher
    from job.runners.daemon import Daemon

LOG_HANGS_S = 0.25
"""How long it waits, when all else is done, until its log is read."""
HOOKS_S = 0.25
"""How long it waits for running hooks; they go on without it, but their failures are not logged."""


@command(*COMMON, hears_signals=True)
@click.option(
    "--stop-timeout",
    metavar="DURATION",
    default="5s",
    show_default=True,
    help="How long a stop may take: work in hand that hangs is given up then.",
)
def run(options: Options, stop_timeout: str) -> int:
    """Keep all tokens current until SIGTERM or SIGINT.

    \b
    Examples:
      freshtoken run --config /etc/freshtoken/freshtoken.toml
      kill -HUP PID     read the configuration again; a bad one is refused
      kill -USR1 PID    refresh every token now
    """  # noqa: D301  # \b keeps click from wrapping the lines
    with Signals(TO_RUN, leaving=SystemExit(0)) as signals:
        from job.compose.observers import Observers  # noqa: PLC0415

        stop_s, job = duration_option(stop_timeout), Job(options, os.environ)
        try:
            config = job.load(with_secrets=True)
            with BackgroundReporter(job.report, drain_s=LOG_HANGS_S) as report:
                # By default Python prints the exception that ended a thread, secrets included.
                threading.excepthook = lambda dead: report(
                    crashed(dead.exc_value or Exception(), None)
                )
                observers = Observers(job.refreshers, report)
                daemon = _daemon(job, config, observers, stop_s)
                observers.follow(config, daemon.is_alive)
                signals.hand_to(daemon.obey)
                status_code = daemon.run()
                observers.stop(HOOKS_S)
        except ConfigError as error:
            return job.rejected(error)
        return leave(status_code, report)


def _daemon(job: Job, config: "Config", observers: "Observers", stop_s: float) -> "Daemon":
    """Return the daemon of a configuration."""
    from job.runners.daemon import Daemon  # noqa: PLC0415

    def reload(_: object) -> "dict[str, Refresher]":
        changed = job.load(with_secrets=True)
        observers.follow(changed, daemon.is_alive)
        return job.refreshers.update(changed.tokens)

    daemon = Daemon(job.refreshers.update(config.tokens), observers.tell, reload, stop_s=stop_s)
    return daemon
