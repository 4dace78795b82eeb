"""The verbs that do the work: `run` until it is told to stop, `once` for cron."""

import json
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from job.compose.job import Job, Options
from job.core.errors import ConfigError
from job.core.events import crashed
from job.observe.background import BackgroundReporter
from job.runners.process import TO_END, TO_RUN, Signals
from job.verbs.common import COMMON, NO_TOKEN, UNWRITABLE, chosen_names, command, duration

if TYPE_CHECKING:
    from job.compose.observers import Observers
    from job.config import Config
    from job.core.refresher import Refresher
    from job.runners.daemon import Daemon

LOG_HANGS_S = 0.25
"""How long `run` waits for whoever reads its log, when all else is done; `once` has more time."""
LOG_READ_S = 5.0
HOOKS_S = 0.25
"""How long `run` waits for hooks at work; they go on without it, but for their failures."""
HOOKS_SETTLE_S = 30.0
"""How long `once` waits for hooks and their further tries."""


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

        stop_s, job = duration(stop_timeout), Job(options, os.environ)
        try:
            config = job.load(with_secrets=True)
            with BackgroundReporter(job.report, drain_s=LOG_HANGS_S) as report:
                # By default Python prints what a thread died of, whatever stands in it.
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
    """Return the daemon of a configuration, which tells the log first and then who watches."""
    from job.runners.daemon import Daemon  # noqa: PLC0415

    def reload(_: object) -> "dict[str, Refresher]":
        changed = job.load(with_secrets=True)
        observers.follow(changed, daemon.is_alive)
        return job.refreshers.update(changed.tokens)

    daemon = Daemon(job.refreshers.update(config.tokens), observers.tell, reload, stop_s=stop_s)
    return daemon


@command(*COMMON, hears_signals=True)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--force", is_flag=True, help="Refresh now, due or not.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome of each token as JSON.")
@click.option(
    "--timeout",
    metavar="DURATION",
    default="50s",
    show_default=True,
    help="What is not done by then counts as failing for now.",
)
@click.option(
    "--metrics-file",
    metavar="PATH",
    help="Write Prometheus metrics there, for the textfile collector (PATH ends in .prom).",
)
def once(  # one argument for each option
    options: Options,
    names: tuple[str, ...],
    timeout: str,
    metrics_file: str | None,
    *,
    force: bool,
    as_json: bool,
) -> int:
    """Refresh what is due, then exit: for cron. Prints nothing when nothing was due.

    \b
    Examples:
      freshtoken once --config /etc/freshtoken/freshtoken.toml
      freshtoken once tiki --force

    \b
    Exit status, the worst of all tokens:
      0   every token is current in every sink
      75  a token endpoint is unreachable, or failing for now
      74  a sink failed
      77  the server or a store rejected us: credentials, permissions
      78  the configuration can't be used
      70  a bug of freshtoken
    """  # noqa: D301
    with Signals(TO_END, leaving=SystemExit(NO_TOKEN)) as signals:
        from job.compose.observers import Observers  # noqa: PLC0415
        from job.runners.once import Pass, summary  # noqa: PLC0415

        timeout_s, job = duration(timeout), Job(options, os.environ)
        try:
            config = job.load(with_secrets=True)
        except ConfigError as error:
            return job.rejected(error)
        refreshers = job.refreshers.update(config.tokens)
        chosen = [refreshers[name] for name in chosen_names(names, refreshers)]
        with BackgroundReporter(job.report, drain_s=LOG_READ_S) as report:
            observers = Observers(job.refreshers, report)
            observers.follow_once(config, metrics_file)
            one = Pass(chosen, observers.tell, force=force, timeout_s=timeout_s)
            signals.hand_to(one.stop)
            outcomes = one.run()
            observers.settle(HOOKS_SETTLE_S)
        found = summary(outcomes)
        status_code: int = found["exit_status"]
        if as_json:
            click.echo(json.dumps(found))
        return leave(_written(observers, metrics_file) or status_code, report)


def _written(observers: "Observers", path: str | None) -> int:
    """Write the metrics if that is asked for, and return 0, or the status of a file that can't be.

    Whoever watches by them would otherwise go on looking at old numbers.
    """
    if path is None:
        return 0
    try:
        observers.count().write(path)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        click.echo(f"{path}: the metrics can't be written ({reason}); check the path", err=True)
        return UNWRITABLE
    return 0


def leave(
    status_code: int, log: BackgroundReporter, at_once: Callable[[int], object] = os._exit
) -> int:
    """Return the status; a log that hangs has a lock that the interpreter's own end waits for."""
    if log.hangs:
        at_once(status_code)
    return status_code
