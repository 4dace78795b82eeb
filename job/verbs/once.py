"""`once`: refresh what is due, for cron."""

import json
import os
from typing import TYPE_CHECKING

import click

from job.compose.job import Job, Options
from job.core.errors import ConfigError
from job.observe.background import BackgroundReporter
from job.runners.process import TO_END, Signals
from job.verbs.common import (
    COMMON,
    NO_TOKEN,
    UNWRITABLE,
    chosen_names,
    command,
    duration_option,
    leave,
)

if TYPE_CHECKING:
    from job.compose.observers import Observers

LOG_READ_S = 5.0
"""How long it waits, when all else is done, until its log is read."""
HOOKS_SETTLE_S = 30.0
"""How long it waits for hooks and their retries."""


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

        timeout_s, job = duration_option(timeout), Job(options, os.environ)
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
    """Write the metrics if a path is given, and return 0, or the status of a failed write.

    A failed write must not pass unseen: monitoring would go on with old numbers.
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
